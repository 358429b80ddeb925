//! The plain case, against both kinds of destination.

use domain::run::Status;
use support::project::{Project, assert_balances};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_and_then_nothing_is_sent() {
    for project in [Project::webhook(25), Project::table(25)] {
        let run = project.run().await;
        assert_eq!((run.status, run.counts.added, run.tally.accepted()), (Status::Complete, 25, 25));
        assert_balances(&run);
        project.assert_arrived();
        let idle = project.run().await;
        assert_eq!((idle.status, idle.counts.unchanged, idle.tally.requests), (Status::Complete, 25, 0));
        project.warehouse("update customers set name = 'Ada' where id = 7");
        let run = project.run().await;
        assert_eq!((run.counts.changed, run.tally.accepted()), (1, 1));
        project.assert_arrived();
    }
}

#[test]
fn the_binary_does_the_same() {
    let project = Project::table(25);
    project.sluice(&["run", "crm"]).said(0, &["complete", "25"]);
    project.assert_arrived();
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.sluice(&["check"]).said(0, &["✓ crm"]);
}
