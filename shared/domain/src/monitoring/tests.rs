//! Syncs over several runs: what is told after each.

use serde_json::json;

use super::*;
use crate::alert_settings::Alerts;
use crate::clock::Millis;
use crate::clock::Span;
use crate::fault::{Code, Fault};
use crate::monitoring::alert::AlertSeverity;
use crate::monitoring::health::SyncHealth;
use crate::readback::Differing;
use crate::run::OnSuccess;
use crate::run::Run;

/// Run `n`, an hour after the one before, with this status and the fault that goes with it.
fn run(n: i64, status: Status) -> Run {
    let fault = match status {
        Status::Failed => Some(Fault::new(Code::WarehouseUnreachable, "warehouse analytics: gone")),
        Status::Blocked => Some(Fault::new(Code::GuardTripped, "A guard stopped the run")),
        Status::Incomplete => Some(Fault::new(Code::Stalled, "It made no progress.")),
        _ => None,
    };
    let json = json!({
        "id": format!("r{n}"), "sync": "crm", "sync_version": "v", "generation": n, "trigger": "manual", "status": status,
        "started": hour(n), "ended": hour(n), "progress": hour(n), "full": true, "counts": crate::change::Counts::default(), "plan_hash": "p",
        "batches": 1, "tally": {}, "tripped": [], "invalid": [], "fault": fault, "on_success": OnSuccess::default(),
    });
    serde_json::from_value(json).unwrap()
}

fn hour(n: i64) -> Millis {
    Millis(n * 3_600_000)
}

/// What is told over these runs, each with what was known before it; titles, `-` for nothing.
fn titles(settings: &Alerts, delivered: Option<Millis>, runs: &[Run]) -> Vec<String> {
    let mut before = Vec::new();
    let mut out = Vec::new();
    for run in runs {
        let facts = AlertInput {
            run,
            delivered,
            seen: None,
            records: 0,
            usual: Default::default(),
            before: &before,
            settings,
            stack: None,
            now: run.started,
        };
        let decision = decide(&facts);
        out.push(decision.alert.map_or("-".to_owned(), |alert| alert.title));
        before = decision.told;
    }
    out
}

fn all() -> Alerts {
    Alerts::default()
}

#[test]
fn a_problem_is_told_once_and_its_end_once() {
    use Status::{Blocked, Complete, Failed, Incomplete};
    let runs: Vec<Run> = [Complete, Failed, Failed, Complete, Complete, Blocked, Incomplete, Complete]
        .iter()
        .zip(0..)
        .map(|(s, n)| run(n, *s))
        .collect();
    let expected = [
        "-",
        "Sync crm: failed (warehouse_unreachable)",
        "-",
        "Sync crm: no longer failed",
        "-",
        "Sync crm: blocked (guard_tripped)",
        "Sync crm: incomplete (stalled)",
        "Sync crm: no longer incomplete",
    ];
    assert_eq!(titles(&all(), None, &runs), expected);
}

#[test]
fn another_fault_is_another_problem() {
    let mut other = run(2, Status::Failed);
    other.fault = Some(Fault::new(Code::DestinationUnauthorized, "No."));
    assert_eq!(
        titles(&all(), None, &[run(1, Status::Failed), other]),
        ["Sync crm: failed (warehouse_unreachable)", "Sync crm: failed (destination_unauthorized)"]
    );
}

#[test]
fn partial_is_a_share_and_lasts_while_records_are_held() {
    let of = |n, rejected, held| {
        let mut run = run(n, if rejected > 0 { Status::Partial } else { Status::Complete });
        run.counts.added = rejected;
        run.counts.unchanged = 100 - rejected - held;
        run.counts.held = held;
        run.refused.held = held;
        run.tally.rejected = rejected;
        run
    };
    let five = Alerts { partial_percent: Some(5.0), ..all() };
    assert_eq!(
        titles(&five, None, &[of(1, 5, 0), of(2, 6, 0), of(3, 0, 6), of(4, 6, 0), of(5, 0, 5)]),
        ["-", "Sync crm: partial", "-", "-", "Sync crm: no longer partial"]
    );
    // A single rejected record, in a run that sends nothing else.
    assert_eq!(titles(&all(), None, &[of(1, 1, 0)]), ["-"]);
    assert_eq!(titles(&Alerts { partial_percent: Some(0.0), ..all() }, None, &[of(1, 1, 0)]), ["Sync crm: partial"]);
}

#[test]
fn a_run_that_ended_early_resolves_nothing_unseen() {
    let mut partial = run(1, Status::Partial);
    partial.tally.rejected = 9;
    partial.counts.added = 10;
    let runs = [partial.clone(), run(2, Status::Failed), run(3, Status::Complete)];
    assert_eq!(
        titles(&all(), None, &runs),
        ["Sync crm: partial", "Sync crm: failed (warehouse_unreachable)", "Sync crm: no longer failed, partial"]
    );
    let failed = run(2, Status::Failed);
    let before = [KnownProblem { problem: Problem::Partial, code: None, since: hour(1) }];
    let facts = AlertInput {
        run: &failed,
        delivered: None,
        seen: None,
        records: 0,
        usual: Default::default(),
        before: &before,
        settings: &all(),
        stack: None,
        now: hour(2),
    };
    let alert = decide(&facts).alert.unwrap();
    assert!(alert.text().contains("Still partial: As before, since 1970-01-01T01:00:00Z"), "{}", alert.text());
}

#[test]
fn records_held_too_long_and_data_too_old_are_told() {
    let held = |n, since: i64, records| {
        let mut run = run(n, Status::Complete);
        run.counts.unchanged = 10_000;
        run.counts.held = records;
        run.refused = crate::run::FailedBefore { held: records, since: (records > 0).then(|| hour(since)) };
        run
    };
    let settings = Alerts { held: Some(Span::seconds(2 * 3600)), ..all() };
    assert_eq!(
        titles(&settings, None, &[held(2, 1, 3), held(4, 1, 3), held(5, 1, 3), held(6, 0, 0)]),
        ["-", "Sync crm: held", "-", "Sync crm: no longer held"]
    );

    let fresh = Alerts { freshness: Some(Span::seconds(2 * 3600)), ..all() };
    let mut before = Vec::new();
    let mut told = Vec::new();
    for (n, status, delivered) in [
        (1, Status::Complete, 1),
        (2, Status::Failed, 1),
        (4, Status::Failed, 1),
        (5, Status::Failed, 1),
        (6, Status::Complete, 6),
    ] {
        let run = run(n, status);
        let facts = AlertInput {
            run: &run,
            delivered: Some(hour(delivered)),
            seen: None,
            records: 0,
            usual: Default::default(),
            before: &before,
            settings: &fresh,
            stack: None,
            now: hour(n),
        };
        let decision = decide(&facts);
        before = decision.told;
        told.push(decision.alert.map_or("-".to_owned(), |a| a.title));
    }
    assert_eq!(
        told,
        ["-", "Sync crm: failed (warehouse_unreachable)", "Sync crm: stale", "-", "Sync crm: no longer failed, stale"]
    );
}

#[test]
fn what_did_not_land_is_told_until_all_of_a_sample_landed() {
    let of = |n, checked, landed| {
        let mut run = run(n, Status::Complete);
        run.tally.read_back.checked = checked;
        run.tally.read_back.landed = landed;
        if landed < checked {
            run.tally.read_back.differing = [("it's 7", &["name"][..], false), ("8", &[], false), ("9", &[], true)]
                .map(|(key, fields, still_there)| Differing {
                    key: key.into(),
                    fields: fields.iter().map(|f| (*f).to_owned()).collect(),
                    still_there,
                })
                .to_vec();
        }
        run
    };
    assert_eq!(
        titles(&all(), None, &[of(1, 10, 7), of(2, 10, 7), of(3, 0, 0), of(4, 10, 10)]),
        ["Sync crm: not landed", "-", "-", "Sync crm: no longer not landed"]
    );
    let run = of(1, 10, 7);
    let facts = AlertInput {
        run: &run,
        delivered: None,
        seen: None,
        records: 0,
        usual: Default::default(),
        before: &[],
        settings: &all(),
        stack: Some("prod"),
        now: hour(1),
    };
    let text = decide(&facts).alert.unwrap().text();
    for part in [
        "Of 10 accepted records",
        "3 are not there as they were sent",
        "1 are not there at all",
        "1 were deleted and are still there",
        "differ: name",
        r"sluice explain crm 'it'\''s 7' --stack prod",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn an_alert_says_what_how_many_why_and_where_to_look() {
    let mut run = run(1, Status::Partial);
    run.counts.added = 100;
    run.counts.invalid = 2;
    run.tally = crate::run::Tally { sent: 100, created: 90, rejected: 10, ..Default::default() };
    (0..7).for_each(|_| run.tally.reason("INVALID_EMAIL", "Email address is invalid", || "planted-key".into()));
    (0..3).for_each(|_| run.tally.reason("too_long", &"x".repeat(1000), || "planted-key".into()));
    let settings = all();
    let facts = AlertInput {
        run: &run,
        delivered: None,
        seen: None,
        records: 0,
        usual: Default::default(),
        before: &[],
        settings: &settings,
        stack: None,
        now: hour(1),
    };
    let alert = decide(&facts).alert.unwrap();
    let text = alert.text();
    for part in [
        "Sync crm: partial",
        "12 of 102 records (11.8 %)",
        "100 to send · 90 accepted · 10 rejected",
        "7 × INVALID_EMAIL: Email address is invalid",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(
        text.contains("Look further: sluice dead-letters list crm") && text.contains("Run r1 at") && text.contains("…")
    );
    assert!(!text.contains("planted") && text.len() < 1000, "{text}");
    let json = alert.json();
    assert_eq!(
        (&json["kind"], &json["severity"], &json["problems"][0]["problem"]),
        (&json!("problem"), &json!("warning"), &json!("partial"))
    );
    assert_eq!(
        (&json["numbers"]["accepted"], &json["reasons"][0]["count"], &json["text"]),
        (&json!(90), &json!(7), &json!(text))
    );
}

#[test]
fn what_nobody_wants_to_hear_is_not_told() {
    let only = Alerts { on: Some(vec![Problem::Blocked]), ..all() };
    let runs = [run(1, Status::Failed), run(2, Status::Blocked), run(3, Status::Failed)];
    assert_eq!(titles(&only, None, &runs), ["-", "Sync crm: blocked (guard_tripped)", "Sync crm: no longer blocked"]);
}

#[test]
fn that_no_run_starts_is_told_once_and_its_end_once() {
    use crate::monitoring::health::{Overdue, Stalled};
    let (settings, first, second) = (all(), run(1, Status::Complete), run(9, Status::Complete));
    let overdue = SyncHealth { overdue: Some(Overdue { since: Some(hour(1)), due: hour(2) }), ..SyncHealth::default() };
    let stalled = SyncHealth { stalled: Some(Stalled { run: "r2".into(), since: hour(2) }), ..SyncHealth::default() };
    let well = SyncHealth::default();
    // Looks at the same run, then runs that are told of as they are closed.
    let story = [
        (&first, Some(&well), "-"),
        (&first, Some(&overdue), "Sync crm: overdue"),
        (&first, Some(&overdue), "-"),
        (&first, None, "-"),
        (&second, None, "Sync crm: no longer overdue"),
        (&second, Some(&overdue), "Sync crm: overdue"),
        (&second, Some(&well), "Sync crm: no longer overdue"),
        (&second, Some(&stalled), "Sync crm: stalled"),
        (&second, Some(&stalled), "-"),
        (&second, Some(&well), "Sync crm: no longer stalled"),
    ];
    let mut before = Vec::new();
    for (at, (run, seen, expected)) in story.into_iter().enumerate() {
        let facts = AlertInput {
            run,
            delivered: None,
            seen,
            records: 0,
            usual: Default::default(),
            before: &before,
            settings: &settings,
            stack: Some("prod"),
            now: hour(5),
        };
        let decision = decide(&facts);
        assert_eq!(decision.alert.as_ref().map_or("-", |alert| &alert.title), expected, "{at}");
        before = decision.told;
    }
    let facts = AlertInput {
        run: &first,
        delivered: None,
        seen: Some(&overdue),
        records: 0,
        usual: Default::default(),
        before: &[],
        settings: &settings,
        stack: Some("prod"),
        now: hour(5),
    };
    let alert = decide(&facts).alert.unwrap();
    let text = alert.text();
    for part in [
        "No run has started since 1970-01-01T01:00:00Z, although one was due at 1970-01-01T02:00:00Z.",
        "sluice apply --stack prod",
        "sluice runs crm",
    ] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert_eq!((alert.severity, &alert.json()["problems"][0]["problem"]), (AlertSeverity::Error, &json!("overdue")));
}

#[test]
fn data_that_grow_old_while_nothing_runs_are_told_by_a_watch() {
    let fresh = Alerts { freshness: Some(Span::seconds(2 * 3600)), ..all() };
    let (run, well) = (run(1, Status::Complete), SyncHealth::default());
    let told = |now, before: &[KnownProblem]| {
        let delivered = Some(hour(1));
        decide(&AlertInput {
            run: &run,
            delivered,
            seen: Some(&well),
            records: 0,
            usual: Default::default(),
            before,
            settings: &fresh,
            stack: None,
            now: hour(now),
        })
    };
    assert_eq!(told(3, &[]).alert, None);
    let stale = told(4, &[]);
    assert_eq!(stale.alert.unwrap().title, "Sync crm: stale");
    assert_eq!(told(5, &stale.told).alert, None);
}

#[test]
fn a_run_far_above_the_usual_is_told_once_and_its_end() {
    let used = |n, mega: u64| {
        let mut run = run(n, Status::Complete);
        run.usage = crate::usage::WarehouseUsage::bytes(mega * 1_000_000);
        run
    };
    let mut before = Vec::new();
    let mut out = Vec::new();
    let mut silent = run(4, Status::Complete);
    silent.usage = Default::default();
    for run in [used(1, 100), used(2, 600), used(3, 700), silent, used(5, 100)] {
        let facts = AlertInput {
            run: &run,
            delivered: None,
            seen: None,
            records: 0,
            usual: crate::usage::WarehouseUsage::bytes(100_000_000),
            before: &before,
            settings: &all(),
            stack: None,
            now: run.started,
        };
        let decision = decide(&facts);
        out.push(decision.alert.map_or("-".to_owned(), |alert| format!("{} {:?}", alert.title, alert.severity)));
        before = decision.told;
    }
    assert_eq!(out, ["-", "Sync crm: costly Warning", "-", "-", "Sync crm: no longer costly Resolved"]);
}
