//! Answers about one record that look like answers about everything, answers about everything that look like one about
//! a record, and answers that would keep a writer busy for ever.

use std::time::Duration;

use domain::fault::Code;
use domain::ports::Clock as _;
use domain::ports::SystemClock;
use domain::run::Status;
use serde_json::json;
use support::double::{Behaviour, RetryAfter};
use support::project::{Project, assert_balances};

/// A firewall that dislikes what one record says answers as if the credentials were wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_about_everything_may_be_about_one_record() {
    for status in [301, 401, 403, 404, 405, 410] {
        for keys in [vec![1], vec![95], vec![41, 42, 43]] {
            let project = Project::webhook(100);
            let refused = keys.len() as u64;
            project.double.answer(Behaviour::RefuseKeys(status, keys.iter().map(u32::to_string).collect()));
            let run = project.run().await;
            assert_eq!(
                (run.status, run.tally.accepted(), run.tally.rejected),
                (Status::Partial, 100 - refused, refused),
                "{status} {keys:?} {:?}",
                run.fault
            );
            assert_balances(&run);
            let mut letters: Vec<String> =
                project.store().await.dead_letters("crm", 9).await.unwrap().into_iter().map(|l| l.key).collect();
            letters.sort();
            assert_eq!(letters, keys.iter().map(u32::to_string).collect::<Vec<_>>(), "{status}");
            assert_eq!(
                (project.run().await.tally.requests, project.there().len() as u64),
                (0, 100 - refused),
                "{status}: and it blocks nothing"
            );
        }
    }
}

/// One record to a request, so that nothing can be halved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_found_without_batches_too() {
    let mut project = Project::webhook(60);
    project.connections["there"]["batch_size"] = json!(1);
    project.connections["there"]["retry_pause"] = json!("10ms");
    let bad = ["7", "8", "17", "18", "27", "28", "37", "38", "47", "48", "57", "58"];
    project.double.answer(Behaviour::RefuseKeys(403, bad.map(str::to_owned).into()));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.rejected), (Status::Partial, 48, 12), "{:?}", run.fault);
    assert!(run.tally.reasons.values().all(|reason| reason.detail.contains("403")), "{:?}", run.tally.reasons);
}

/// The word that once stood for waiting within the engine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_word_of_a_destination_makes_a_record_wait_for_ever() {
    for word in ["throttled", "unavailable", "retry", "job_unfinished"] {
        let mut project = Project::webhook(10);
        project.connections["there"]["retry_pause"] = json!("5ms");
        project.sync()["destination"]["options"]["results"]["retry"] = json!([word]);
        project.double.answer(Behaviour::fail_keys([7], word));
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.accepted(), run.tally.exhausted),
            (Status::Partial, 9, 1),
            "{word}: {:?}",
            run.fault
        );
        assert_eq!(run.tally.reasons.keys().collect::<Vec<_>>(), [word], "the reason is the destination's own");
    }
}

/// Whatever a destination says of when to come back, it is not asked again and again in no time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_of_no_time_still_grows() {
    for after in [RetryAfter::Seconds(0.0), RetryAfter::Garbage, RetryAfter::None] {
        let mut project = Project::webhook(10);
        project.connections["there"]["retry_pause"] = json!("40ms");
        project.double.answer_next(5, Behaviour::retry_after(429, after.clone()));
        let run = project.run().await;
        assert_eq!((run.status, run.tally.accepted(), run.tally.throttled), (Status::Complete, 10, 5), "{after:?}");
        let at: Vec<_> = project.double.requests().iter().map(|request| request.at).collect();
        for (times, gap) in at.windows(2).map(|pair| pair[1].duration_since(pair[0])).enumerate() {
            assert!(gap >= Duration::from_millis(20 << times), "{after:?}: {gap:?} after {} pauses", times + 1);
        }
    }
}

/// What is refused again and again for one reason is no matter of records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_refuses_everything_is_soon_left_alone() {
    let project = Project::webhook(2_000);
    project.double.answer(Behaviour::message(400, "the header api-version is missing"));
    let run = project.run().await;
    assert_eq!(
        (run.status, run.fault.as_ref().map(|f| f.code)),
        (Status::Failed, Some(Code::DestinationMisconfigured))
    );
    let what = run.fault.unwrap().what;
    assert!(what.contains("100 requests in a row") && what.contains("api-version is missing"), "{what}");
    assert!(project.double.count() < 150, "{} requests", project.double.count());
    project.double.recover();
    let run = project.run().await;
    assert_eq!(run.status, Status::Partial, "those that were refused alone are held");
    assert_eq!(run.tally.accepted() + run.counts.held, 2_000);
}

/// A destination that names a year far away closes nothing for long.
#[test]
fn an_absurd_pause_is_short_and_can_be_lifted() {
    let epoch = RetryAfter::Seconds(4_070_908_800.0);
    for after in [
        RetryAfter::Date(Duration::from_secs(72 * 366 * 86_400)),
        epoch,
        RetryAfter::Seconds(1e11),
        RetryAfter::Seconds(86_400.0),
    ] {
        let mut project = Project::webhook(20);
        project.connections["there"]["concurrency"] = json!(1);
        project.connections["there"]["rate"] = json!({ "requests": 1000, "per": "1 second" });
        project.double.answer_next(1, Behaviour::retry_after(429, after));
        project
            .sluice(&["run", "crm"])
            .failed(1, &["used up until 2", "sluice limits lift there"])
            .said(1, &["incomplete"]);
        project
            .sluice(&["run", "crm"])
            .failed(1, &["Connection `there` is paused until 20", "sluice limits lift there"]);
        let shown = project.sluice(&["--json", "limits", "show", "there"]).json();
        let latest = SystemClock.now().plus(Duration::from_secs(15 * 60)).to_string();
        assert!(shown["paused_until"].as_str().unwrap() <= latest.as_str(), "{shown} is later than {latest}");
        project.sluice(&["limits", "show", "there"]).said(0, &["sends nothing before 20", "sluice limits lift there"]);
        project.sluice(&["limits", "lift", "there"]).said(0, &["the next run sends at once"]);
        project.sluice(&["limits", "show", "there"]).said(0, &["is not paused"]);
        project.sluice(&["run", "crm"]).said(0, &["complete"]);
        project.assert_arrived();
        project.sluice(&["limits", "show", "ther"]).failed(1, &["did you mean `there`?"]);
    }
}
