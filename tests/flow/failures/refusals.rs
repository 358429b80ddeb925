//! The destination refuses records: told in a result for each, or by a 400 for the whole batch.

use domain::run::Status;
use serde_json::json;
use support::double::Behaviour;
use support::project::{Project, assert_balances};

/// 64 records in one batch, one of them bad, and nothing but a 400: it is found by halving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_record_in_a_refused_batch_is_found() {
    let mut project = Project::webhook(64);
    project.connections["there"]["batch_size"] = json!(64);
    project.double.answer(Behaviour::refuse_keys([37]));
    let run = project.run().await;
    assert_eq!(
        (run.status, run.tally.accepted(), run.tally.rejected, run.tally.exhausted),
        (Status::Partial, 63, 1, 0)
    );
    assert_balances(&run);
    // 2 · log2 64, the first request, and no more.
    assert!(
        run.tally.requests <= 2 * 6 + 2 && project.double.count() == run.tally.requests,
        "{} requests",
        run.tally.requests
    );
    assert_eq!(run.tally.reasons["bad_record"].count, 1);
    let there = project.there();
    assert!(there.len() == 63 && !there.contains_key("37"));
    let letters = project.store().await.dead_letters("crm", 10).await.unwrap();
    assert_eq!(letters.iter().map(|l| (l.key.as_str(), l.code.as_str())).collect::<Vec<_>>(), [("37", "bad_record")]);
    // Corrected in the warehouse, it is sent at once.
    project.double.recover();
    project.warehouse("update customers set name = 'Better' where id = 37");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added), (Status::Complete, 1));
    project.assert_arrived();
    assert!(project.store().await.dead_letters("crm", 10).await.unwrap().is_empty(), "what arrived is no dead letter");
}

#[test]
fn the_binary_tells_which_and_ends_with_3() {
    let mut project = Project::webhook(64);
    project.connections["there"]["batch_size"] = json!(64);
    project.double.answer(Behaviour::refuse_keys([37]));
    project.sluice(&["run", "crm"]).said(
        3,
        &["partial", "1 × bad_record", "a record is not valid", "first: key 37", "sluice dead-letters list crm"],
    );
    project.sluice(&["dead-letters", "list", "crm"]).said(0, &["37", "bad_record"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_bad_records_in_a_refused_batch() {
    for status in [400, 409, 413, 422] {
        let mut project = Project::webhook(32);
        project.connections["there"]["batch_size"] = json!(32);
        let bad = [3, 4, 29];
        project.double.answer(Behaviour::refuse_keys(bad));
        if status != 400 {
            // The whole first request, whatever is in it.
            project.double.answer_next(1, Behaviour::message(status, "refused"));
        }
        let run = project.run().await;
        assert_eq!((run.status, run.tally.accepted(), run.tally.rejected), (Status::Partial, 29, 3), "{status}");
        assert_balances(&run);
        assert_eq!(project.there().len(), 29);
        project.double.recover();
        project.warehouse("update customers set name = name || '!'");
        project.approve_whatever().await;
        project.assert_arrived();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_inside_a_200() {
    let project = Project::webhook(30);
    project.double.answer(Behaviour::fail_keys([5, 15, 16], "invalid"));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.rejected), (Status::Partial, 27, 3));
    assert_eq!(run.tally.requests, 3, "a batch that was taken in part is not sent again");
    assert_balances(&run);
    assert_eq!(run.tally.reasons["invalid"].count, 3);
    project.double.recover();
    let held = project.run().await;
    assert_eq!((held.counts.held, held.tally.requests), (3, 0), "unchanged, they are held");
    let said = project.sluice(&["dead-letters", "retry", "crm"]);
    said.said(0, &["3 record(s) will be sent again"]);
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added, run.tally.accepted()), (Status::Complete, 3, 3));
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_to_be_sent_again_is_sent_again() {
    let project = Project::webhook(10);
    project.double.answer_next(2, Behaviour::fail_keys([5], "retry"));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.requests, run.tally.retried), (Status::Complete, 10, 3, 1));
    assert_balances(&run);
    let times = |key: u64| {
        project
            .double
            .requests()
            .iter()
            .filter(|r| r.json()["records"].as_array().unwrap().iter().any(|r| r["key"] == key))
            .count()
    };
    assert_eq!((times(5), times(6)), (3, 1), "the others are not sent again");
    project.assert_arrived();
}
