//! Records that were rejected: held while unchanged, with pauses, and their dead letters.

use std::time::Duration;

use domain::run::Status;
use support::double::Behaviour;
use support::project::Project;

/// 20 records, 7 and 8 rejected.
async fn with_two_rejected() -> Project {
    let project = Project::webhook(20);
    project.double.answer(Behaviour::fail_keys([7, 8], "invalid"));
    let run = project.run().await;
    assert_eq!((run.status, run.tally.rejected), (Status::Partial, 2));
    project.double.forget();
    project
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unchanged_it_is_held_and_changed_it_is_sent() {
    let project = with_two_rejected().await;
    for _ in 0..2 {
        let run = project.run().await;
        assert_eq!((run.status, run.counts.held, run.tally.requests), (Status::Partial, 2, 0), "held is not delivered");
    }
    project.warehouse("update customers set name = 'Better' where id = 7");
    project.double.recover();
    let run = project.run().await;
    assert_eq!((run.counts.held, run.counts.added, run.tally.accepted()), (1, 1, 1));
    let letters = project.store().await.dead_letters("crm", 9).await.unwrap();
    assert_eq!(letters.iter().map(|l| l.key.as_str()).collect::<Vec<_>>(), ["8"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_pause_it_is_sent_and_pauses_grow() {
    let project = with_two_rejected().await;
    project.later(Duration::from_secs(3590));
    assert_eq!(project.run().await.counts.held, 2);
    project.later(Duration::from_secs(20));
    let run = project.run().await;
    assert_eq!((run.counts.held, run.counts.added, run.tally.rejected), (0, 2, 2), "after an hour it is tried again");
    project.later(Duration::from_secs(3700));
    assert_eq!(project.run().await.counts.held, 2, "the second pause is longer");
    project.later(Duration::from_secs(3700));
    project.double.recover();
    let run = project.run().await;
    assert_eq!((run.status, run.counts.added), (Status::Complete, 2));
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_leaves_the_model_is_forgotten() {
    let project = with_two_rejected().await;
    project.warehouse("delete from customers where id in (7, 8)");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.held, run.tally.requests), (Status::Complete, 0, 0));
    assert!(project.store().await.dead_letters("crm", 9).await.unwrap().is_empty());
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_exported_and_sent_again() {
    let project = with_two_rejected().await;
    project.sluice(&["dead-letters", "list", "crm"]).said(0, &["7", "8", "upsert", "invalid", "the record is invalid"]);
    let exported = project.sluice(&["dead-letters", "export", "crm"]);
    let lines: Vec<serde_json::Value> = exported.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((exported.code, lines.len()), (0, 2));
    let seventh = lines.iter().find(|l| l["key"] == "7").unwrap();
    assert_eq!((&seventh["record"]["email"], &seventh["code"]), (&"c7@h.test".into(), &"invalid".into()));
    project
        .sluice(&["dead-letters", "retry", "crm", "9"])
        .failed(1, &["[not_found]", "no dead letter with the key `9`", "dead-letters list crm"]);
    project.sluice(&["dead-letters", "retry", "crm", "7"]).said(0, &["1 record(s) will be sent again"]);
    project.double.recover();
    let run = project.run().await;
    assert_eq!((run.counts.added, run.counts.held, run.tally.accepted()), (1, 1, 1));
    project.sluice(&["dead-letters", "list", "crm"]).said(0, &["8"]);
    project.sluice(&["dead-letters", "retry", "crm", "8"]).said(0, &["1 record(s)"]);
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.sluice(&["dead-letters", "list", "crm"]).said(0, &["`crm` has no dead letters."]);
    project.assert_arrived();
}
