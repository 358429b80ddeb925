//! The destination fails and comes back, or does not: attempts are five at most, and nothing is lost.

use std::time::Duration;

use domain::run::Status;
use serde_json::json;
use support::double::{Behaviour, RetryAfter};
use support::project::{Project, assert_balances};

fn passing_failures() -> Vec<(&'static str, Behaviour)> {
    vec![
        ("500", Behaviour::message(500, "oops")),
        ("502", Behaviour::Html(502)),
        ("503", Behaviour::status(503)),
        ("503 in no time", Behaviour::retry_after(503, RetryAfter::Seconds(0.001))),
        ("503 garbage", Behaviour::retry_after(503, RetryAfter::Garbage)),
        ("reset", Behaviour::Reset),
        ("reset after", Behaviour::ResetAfter),
        ("half a body", Behaviour::HalfBody),
        ("HTML for JSON", Behaviour::Html(200)),
        ("too few results", Behaviour::TooFewResults),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_passes_is_made_good_in_the_same_run() {
    for (name, failure) in passing_failures() {
        let project = Project::webhook(20);
        project.double.answer_next(2, failure);
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.accepted(), run.tally.sent),
            (Status::Complete, 20, 20),
            "{name}: {:?}",
            run.tally
        );
        assert_balances(&run);
        project.assert_arrived();
    }
}

/// Five attempts for each of two batches, then the records are set aside; the next run sends them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_stays_is_given_up_after_five_attempts() {
    for (name, failure) in passing_failures() {
        let lone = matches!(failure, Behaviour::TooFewResults);
        let project = Project::webhook(20);
        project.double.answer(failure);
        let run = project.run().await;
        let exhausted = if lone { 2 } else { 20 };
        assert_eq!(
            (run.status, run.tally.exhausted, run.tally.accepted()),
            (Status::Partial, exhausted, 20 - exhausted),
            "{name}: {:?}",
            run.tally
        );
        assert_eq!(project.double.count(), 10, "{name}: five attempts for each batch");
        assert_balances(&run);
        let letters = project.store().await.dead_letters("crm", 100).await.unwrap();
        assert_eq!(letters.len() as u64, exhausted, "{name}");
        assert!(letters.iter().all(|l| l.attempts == 5), "{name}: {:?}", letters[0]);
        project.double.recover();
        let run = project.run().await;
        assert_eq!((run.status, run.tally.accepted()), (Status::Complete, exhausted), "{name}: {:?}", run.counts);
        project.assert_arrived();
        assert!(project.store().await.dead_letters("crm", 100).await.unwrap().is_empty(), "{name}");
        assert_eq!(project.run().await.tally.requests, 0, "{name}");
    }
}

#[test]
fn the_binary_tells_that_attempts_ran_out() {
    let project = Project::webhook(20);
    project.double.answer(Behaviour::message(500, "the database is down"));
    project
        .sluice(&["run", "crm"])
        .said(3, &["partial", "20 × unavailable", "500", "the database is down", "dead-letters list crm"]);
    project.double.recover();
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

/// The value went back before the next run, and the destination may have the new one: it is sent all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_and_a_value_that_goes_back() {
    let project = Project::webhook(20);
    project.run().await;
    project.warehouse("update customers set name = 'New' where id = 7");
    project.double.answer(Behaviour::ResetAfter);
    let run = project.run().await;
    assert_eq!((run.status, run.tally.exhausted), (Status::Partial, 1));
    assert_eq!(project.there()["7"]["name"], "New", "it arrived without an answer");
    project.double.recover();
    project.warehouse("update customers set name = 'Customer 7' where id = 7");
    project.run().await;
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_takes_too_long() {
    let mut project = Project::webhook(10);
    project.connections["there"]["timeout"] = json!("300ms");
    project.double.answer_next(1, Behaviour::Hang(Duration::from_secs(20)));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.requests), (Status::Complete, 10, 2));
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_is_not_there() {
    let mut project = Project::webhook(10);
    let url = project.connections["there"]["url"].clone();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    project.connections["there"]["url"] = json!(format!("http://{free}/"));
    let run = project.try_run().await;
    // Nobody there at preflight ends the run; nobody there at the first request is tried five times.
    if let Ok(run) = &run {
        assert_eq!((run.status, run.tally.exhausted, run.tally.requests), (Status::Partial, 10, 5));
    }
    project.connections["there"]["url"] = url;
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 10));
    project.assert_arrived();
}
