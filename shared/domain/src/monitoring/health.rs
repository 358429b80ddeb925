//! What a look at a sync shows while nothing happens: that no run has started although one was due, that a run is stuck
//! and nobody takes over, that what the destination has is too old. A run that ends tells of itself; this is for all
//! that no run can tell. Pure: whoever looks brings the facts and the time.

use std::time::Duration;

use serde::Serialize;

use crate::clock::{Millis, Span};
use crate::finding::Finding;
use crate::head::Head;
use crate::run::Run;
use crate::schedule::Schedule;

/// How late a start may be, and how long a stuck run may wait for the tick that takes over. The scheduler is exact to
/// the minute; the rest is for a function that AWS starts late, or that fails and is tried again.
pub const GRACE: Duration = Duration::from_secs(600);

/// What is known of a sync.
#[derive(Debug, Clone, Copy)]
pub struct SyncSnapshot<'a> {
    /// When it runs.
    pub schedule: &'a Schedule,
    /// It must not start by schedule or event: then nothing is expected of it.
    pub paused: bool,
    /// When its definition was applied.
    pub applied: Millis,
    /// When it was resumed last.
    pub resumed: Option<Millis>,
    /// Its head.
    pub head: &'a Head,
    /// Its newest run.
    pub last: Option<&'a Run>,
    /// When the run that holds the head last settled a batch.
    pub progress: Option<Millis>,
    /// A run that is silent for this long is taken over by the next tick.
    pub stall: Duration,
    /// How old its data may be, by its own settings.
    pub freshness: Option<Span>,
    /// How late its data may be by its schedule, where it says nothing itself.
    pub lateness: Option<Duration>,
    /// Now.
    pub now: Millis,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SyncHealth {
    /// Seconds since the last run that delivered began; none before the first, and while the sync is paused.
    pub freshness_seconds: Option<u64>,
    /// That is too long.
    pub freshness_missed: bool,
    /// No run has started although one was due.
    pub overdue: Option<Overdue>,
    /// A run makes no progress, and no other has taken over.
    pub stalled: Option<Stalled>,
}

/// A run that should have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Overdue {
    /// When the last one started; none: none ever did.
    pub since: Option<Millis>,
    /// When this one was due.
    pub due: Millis,
}

/// A run that makes no progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stalled {
    /// Its id.
    pub run: String,
    /// When it last got anywhere.
    pub since: Millis,
}

impl Overdue {
    /// In a sentence.
    pub fn in_words(&self) -> String {
        let since = self
            .since
            .map_or_else(|| "No run has ever started".to_owned(), |since| format!("No run has started since {since}"));
        format!("{since}, although one was due at {}.", self.due)
    }
}

impl Stalled {
    /// In a sentence.
    pub fn in_words(&self) -> String {
        format!("Run {} has made no progress since {}, and no other has taken over.", self.run, self.since)
    }
}

/// Looks. The finding says what is wrong with the schedule: then nobody can know when a run is due.
pub fn assess(known: &SyncSnapshot<'_>) -> Result<SyncHealth, Finding> {
    let stalled = stalled(known);
    if known.paused {
        return Ok(SyncHealth { stalled, ..SyncHealth::default() });
    }
    Ok(SyncHealth {
        freshness_seconds: known.head.delivered.map(|delivered| known.now.since(delivered).as_secs()),
        freshness_missed: is_missed(known)?,
        overdue: overdue(known)?,
        stalled,
    })
}

/// When the run that holds the head last got anywhere.
fn last_sign(known: &SyncSnapshot<'_>) -> Option<Millis> {
    known.head.active.as_ref().map(|active| known.progress.map_or(active.since, |progress| progress.max(active.since)))
}

/// Overdue is measured from the last moment at which a start was not expected: a tick that finds a run at work is
/// skipped, so a run that takes longer than its interval makes nothing overdue.
fn overdue(known: &SyncSnapshot<'_>) -> Result<Option<Overdue>, Finding> {
    let at_work = last_sign(known).map(|sign| sign.plus(known.stall));
    let run = known.last.map(|run| run.ended.unwrap_or(run.started).max(run.started));
    let quiet = [known.resumed, at_work, run].into_iter().flatten().fold(known.applied, Millis::max);
    let due = known.schedule.due_after(quiet)?.filter(|due| known.now > due.until.plus(GRACE));
    Ok(due.map(|due| Overdue { since: known.last.map(|run| run.started), due: due.from }))
}

fn stalled(known: &SyncSnapshot<'_>) -> Option<Stalled> {
    let (active, since) = (known.head.active.as_ref()?, last_sign(known)?);
    (known.now > since.plus(known.stall).plus(GRACE)).then(|| Stalled { run: active.run.clone(), since })
}

/// By its own settings data grow old from the moment they were read. The default of a stack counts from when the next
/// run was due: one number cannot be right for a sync that runs by the minute and for one that runs by the week, and
/// one that is started by hand or by an event is never late.
fn is_missed(known: &SyncSnapshot<'_>) -> Result<bool, Finding> {
    let since = known.head.delivered.unwrap_or(known.applied);
    if let Some(most) = known.freshness {
        return Ok(known.now.since(since) > most.0);
    }
    let Some(most) = known.lateness else { return Ok(false) };
    let due = known.schedule.due_after(since.max(known.resumed.unwrap_or(since)))?;
    Ok(due.is_some_and(|due| known.now > due.until.plus(most)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::change::Counts;
    use crate::head::ActiveRun;
    use crate::run::OnSuccess;

    const STALL: Duration = Duration::from_secs(30 * 60);

    fn minute(n: i64) -> Millis {
        Millis(n * 60_000)
    }

    fn run(started: i64, ended: Option<i64>) -> Run {
        let json = json!({
            "id": "r", "sync": "crm", "sync_version": "v", "generation": 1, "trigger": "manual", "status": "complete", "started": minute(started),
            "ended": ended.map(minute), "progress": minute(started), "full": true, "counts": Counts::default(), "plan_hash": null, "batches": 1,
            "tally": {}, "tripped": [], "invalid": [], "fault": null, "on_success": OnSuccess::default(),
        });
        serde_json::from_value(json).unwrap()
    }

    /// A sync applied at minute 0, and what a look shows at minute `now`.
    struct Case {
        schedule: serde_json::Value,
        paused: bool,
        resumed: Option<i64>,
        last: Option<Run>,
        active: Option<(i64, Option<i64>)>,
        delivered: Option<i64>,
        freshness: Option<u64>,
        lateness: Option<u64>,
    }

    impl Default for Case {
        fn default() -> Self {
            let schedule = json!({ "every": "1 hour" });
            Self {
                schedule,
                paused: false,
                resumed: None,
                last: None,
                active: None,
                delivered: None,
                freshness: None,
                lateness: None,
            }
        }
    }

    impl Case {
        fn seen(&self, now: i64) -> SyncHealth {
            let schedule: Schedule = serde_json::from_value(self.schedule.clone()).unwrap();
            let active = self.active.map(|(since, _)| ActiveRun { run: "r9".into(), since: minute(since) });
            let head = Head { active, delivered: self.delivered.map(minute), ..Head::default() };
            assess(&SyncSnapshot {
                schedule: &schedule,
                paused: self.paused,
                applied: minute(0),
                resumed: self.resumed.map(minute),
                head: &head,
                last: self.last.as_ref(),
                progress: self.active.and_then(|(_, progress)| progress).map(minute),
                stall: STALL,
                freshness: self.freshness.map(|minutes| Span::seconds(minutes * 60)),
                lateness: self.lateness.map(|minutes| Duration::from_secs(minutes * 60)),
                now: minute(now),
            })
            .unwrap()
        }

        /// The first minute at which it is overdue, and when the start was due.
        fn overdue_at(&self) -> Option<(i64, i64)> {
            (0..30_000).find_map(|now| self.seen(now).overdue.map(|overdue| (now, overdue.due.0 / 60_000)))
        }
    }

    #[test]
    fn a_start_is_overdue_after_its_window_and_a_grace() {
        let case = |schedule| Case { schedule, ..Case::default() };
        for (schedule, expected) in [
            (json!({ "every": "1 hour" }), Some((71, 60))),
            (json!({ "every": "1 minute" }), Some((12, 1))),
            (json!({ "every": "1 hour", "flexible": "20m" }), Some((91, 60))),
            (json!({ "cron": "30 2 * * *" }), Some((161, 150))),
            (json!({ "cron": "30 2 * * *", "flexible": "1h" }), Some((221, 150))),
            (json!("manual"), None),
            (json!({ "on": { "source": "dbt" } }), None),
        ] {
            assert_eq!(case(schedule.clone()).overdue_at(), expected, "{schedule}");
        }
        assert_eq!(Case { paused: true, ..Case::default() }.overdue_at(), None);
        assert_eq!(
            Case { resumed: Some(1_000), ..Case::default() }.seen(1_070).overdue,
            None,
            "what was missed while paused was meant"
        );
    }

    #[test]
    fn it_is_counted_from_the_last_run() {
        let after = |last, schedule| Case { last: Some(last), schedule, ..Case::default() };
        let hourly = || json!({ "every": "1 hour" });
        assert_eq!(
            after(run(200, Some(205)), hourly()).seen(276).overdue,
            Some(Overdue { since: Some(minute(200)), due: minute(265) })
        );
        assert_eq!(after(run(200, Some(205)), hourly()).seen(275).overdue, None);
        // Daily at half past two: the run of that minute is the run of that day, and one by hand does not stand for it.
        let daily = || json!({ "cron": "30 2 * * *" });
        assert_eq!(after(run(150, Some(155)), daily()).overdue_at(), Some((161 + 1440, 150 + 1440)));
        assert_eq!(after(run(100, Some(105)), daily()).overdue_at(), Some((161, 150)));
    }

    #[test]
    fn a_run_that_takes_longer_than_its_interval_makes_nothing_overdue() {
        let quarter = || json!({ "every": "15 minutes" });
        let at_work =
            Case { schedule: quarter(), last: Some(run(60, None)), active: Some((60, Some(300))), ..Case::default() };
        for now in [80, 200, 310, 329] {
            assert_eq!(at_work.seen(now).overdue, None, "{now}: the ticks find a run that makes progress");
        }
        let ended = Case { schedule: quarter(), last: Some(run(60, Some(310))), ..Case::default() };
        assert_eq!((ended.seen(320).overdue, ended.seen(335).overdue), (None, None));
        assert!(ended.seen(336).overdue.is_some());
        // It is stuck since minute 300; from minute 330 on a tick would take over, and none does.
        assert_eq!(at_work.seen(356).overdue, Some(Overdue { since: Some(minute(60)), due: minute(345) }));
    }

    #[test]
    fn a_run_is_stuck_when_nobody_takes_over_from_it() {
        let stuck = |schedule, paused| Case {
            schedule,
            paused,
            active: Some((60, None)),
            last: Some(run(60, None)),
            ..Case::default()
        };
        for (schedule, paused) in
            [(json!("manual"), false), (json!({ "every": "1 hour" }), true), (json!({ "every": "1 day" }), false)]
        {
            let case = stuck(schedule.clone(), paused);
            assert_eq!(case.seen(100).stalled, None, "{schedule}");
            assert_eq!(case.seen(101).stalled, Some(Stalled { run: "r9".into(), since: minute(60) }), "{schedule}");
        }
        let moving = Case { active: Some((60, Some(100))), ..Case::default() };
        assert_eq!(moving.seen(120).stalled, None);
        assert_eq!(Case::default().seen(9_000).stalled, None);
    }

    #[test]
    fn data_grow_old_although_nothing_runs() {
        let own = Case { schedule: json!("manual"), freshness: Some(120), delivered: Some(60), ..Case::default() };
        assert_eq!((own.seen(180).freshness_seconds, own.seen(180).freshness_missed), (Some(7_200), false));
        assert_eq!((own.seen(181).freshness_seconds, own.seen(181).freshness_missed), (Some(7_260), true));
        let never = Case { delivered: None, ..own };
        assert_eq!(
            (never.seen(121).freshness_seconds, never.seen(121).freshness_missed),
            (None, true),
            "since it was applied"
        );
        let paused = Case { paused: true, delivered: Some(60), freshness: Some(120), ..Case::default() };
        assert_eq!(paused.seen(9_000), SyncHealth::default());
    }

    #[test]
    fn the_stacks_default_counts_from_when_a_run_was_due() {
        let late = |schedule| Case { schedule, lateness: Some(60), delivered: Some(150), ..Case::default() };
        let missed_at = |case: &Case| (0..30_000).find(|now| case.seen(*now).freshness_missed);
        assert_eq!(missed_at(&late(json!({ "every": "15 minutes" }))), Some(150 + 15 + 60 + 1));
        assert_eq!(missed_at(&late(json!({ "cron": "30 2 * * *" }))), Some(150 + 1440 + 60 + 1));
        assert_eq!(missed_at(&late(json!("manual"))), None);
        assert_eq!(missed_at(&Case { lateness: None, ..late(json!({ "every": "15 minutes" })) }), None);
        assert_eq!(
            missed_at(&Case { freshness: Some(10_000), ..late(json!({ "every": "15 minutes" })) }),
            Some(10_151),
            "its own settings go before"
        );
        let resumed = Case { resumed: Some(500), ..late(json!({ "every": "15 minutes" })) };
        assert!(!resumed.seen(575).freshness_missed && resumed.seen(576).freshness_missed, "a pause is no lateness");
    }
}
