//! Odd answers, and the many ways to say "slow down".

use std::time::Duration;

use domain::run::Status;
use serde_json::json;
use support::double::{Behaviour, RetryAfter};
use support::project::{Project, assert_balances};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_too_many_harms_nobody() {
    let project = Project::webhook(20);
    project.double.answer(Behaviour::TooManyResults);
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.requests), (Status::Complete, 20, 2));
    assert_balances(&run);
    project.assert_arrived();
}

/// Results by position: a list of another length says nothing about any record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_by_position_of_the_wrong_length() {
    for odd in [Behaviour::TooFewResults, Behaviour::TooManyResults] {
        let mut project = Project::webhook(20);
        project.sync()["destination"]["options"] = json!({ "results": {} });
        project.double.answer(odd);
        let run = project.run().await;
        assert_eq!((run.status, run.tally.exhausted, run.tally.accepted()), (Status::Partial, 20, 0));
        assert_balances(&run);
        assert_eq!(run.tally.reasons["unknown_outcome"].count, 20);
        project.double.recover();
        assert_eq!(project.run().await.tally.accepted(), 20);
        project.assert_arrived();
    }
}

/// Being asked to slow down is no attempt: seven times and more is no failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slowing_down_costs_no_attempt() {
    for after in [RetryAfter::None, RetryAfter::Seconds(0.01), RetryAfter::Date(Duration::ZERO), RetryAfter::Garbage] {
        let project = Project::webhook(10);
        project.double.answer_next(7, Behaviour::retry_after(429, after.clone()));
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.accepted(), run.tally.throttled, run.tally.requests),
            (Status::Complete, 10, 7, 8),
            "{after:?}"
        );
        assert_balances(&run);
        assert_eq!(project.double.count(), 8);
        project.assert_arrived();
    }
}

/// What the destination asks for is kept, by every writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_is_kept() {
    for after in [RetryAfter::Seconds(1.2), RetryAfter::Date(Duration::from_millis(2500))] {
        let mut project = Project::webhook(40);
        project.connections["there"]["concurrency"] = json!(1);
        project.double.answer_next(1, Behaviour::retry_after(429, after.clone()));
        let run = project.run().await;
        assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 40));
        let requests = project.double.requests();
        let pause = requests[1].at.duration_since(requests[0].at);
        assert!(pause >= Duration::from_millis(1100), "{after:?}: the next request came after {pause:?}");
        project.assert_arrived();
    }
}

/// A pause longer than a run waits ends the run; the next one goes on.
#[test]
fn a_pause_of_hours_ends_the_run() {
    let mut project = Project::webhook(20);
    project.connections["there"]["concurrency"] = serde_json::json!(1);
    project.double.answer(Behaviour::retry_after(429, RetryAfter::Seconds(7200.0)));
    project
        .sluice(&["run", "crm"])
        .failed(1, &["[destination_limit]", "used up until", "quota is back"])
        .said(1, &["incomplete", "20 were not delivered"]);
    project.double.recover();
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

/// With a rate the pause is kept for every run of the connection: the next one says so and does not wait.
#[test]
fn a_pause_of_hours_is_remembered_with_the_rate() {
    let mut project = Project::webhook(20);
    project.connections["there"]["concurrency"] = serde_json::json!(1);
    project.connections["there"]["rate"] = serde_json::json!({ "requests": 1000, "per": "1 second" });
    project.double.answer(Behaviour::retry_after(429, RetryAfter::Seconds(7200.0)));
    project.sluice(&["run", "crm"]).failed(1, &["[destination_limit]", "used up until"]);
    project.double.recover();
    project.double.forget();
    let asked = project.double.count();
    project
        .sluice(&["run", "crm"])
        .failed(1, &["[destination_limit]", "is paused until", "Run again after that"])
        .said(1, &["20 were not delivered"]);
    assert_eq!(project.double.count(), asked, "nothing is asked of a destination that is paused");
}
