//! Answers that are about every record: credentials refused, nothing at that address. The run stops, says why, and
//! what was not delivered is planned again.

use domain::fault::Code;
use domain::run::Status;
use serde_json::json;
use support::double::Behaviour;
use support::project::Project;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_run_stops_and_the_next_one_delivers() {
    for (status, code) in [
        (401, Code::DestinationUnauthorized),
        (403, Code::DestinationUnauthorized),
        (404, Code::DestinationMisconfigured),
        (405, Code::DestinationMisconfigured),
        (410, Code::DestinationMisconfigured),
        (301, Code::DestinationMisconfigured),
    ] {
        let mut project = Project::webhook(200);
        project.connections["there"]["concurrency"] = json!(1);
        // Five batches arrive, then it stops.
        project.double.answer_next(5, Behaviour::Ok);
        project.double.answer(Behaviour::message(status, "not like this"));
        let run = project.run().await;
        assert_eq!((run.status, run.fault.as_ref().map(|f| f.code)), (Status::Failed, Some(code)), "{status}");
        assert_eq!(
            (run.tally.accepted(), run.tally.rejected, run.tally.unsent),
            (50, 0, 150),
            "{status}: {:?}",
            run.tally
        );
        // Some records are tried alone, in case it was one of them; then nobody asks again.
        assert!((7..=20).contains(&project.double.count()), "{status}: {} requests", project.double.count());
        project.double.recover();
        let run = project.run().await;
        assert_eq!((run.status, run.counts.added, run.tally.accepted()), (Status::Complete, 150, 150), "{status}");
        project.assert_arrived();
        assert_eq!(project.double.duplicates(), 0, "{status}: what was accepted is not sent again");
    }
}

#[test]
fn the_binary_says_what_to_do() {
    for (status, parts) in [
        (401, ["[destination_unauthorized]", "refuses the credentials", "Renew the credentials"]),
        (403, ["[destination_unauthorized]", "it answers 403: not for you", "planned again by the next run"]),
        (404, ["[destination_misconfigured]", "404", "Correct the connection"]),
    ] {
        let project = Project::webhook(20);
        project.double.answer(Behaviour::message(status, "not for you"));
        let said = project.sluice(&["run", "crm"]);
        said.failed(1, &parts).said(1, &["failed", "20 were not delivered; the next run plans them again"]);
        project.double.recover();
        project.sluice(&["run", "crm"]).said(0, &["complete"]);
        project.assert_arrived();
    }
}

#[test]
fn a_redirect_names_the_place_and_no_more() {
    let project = Project::webhook(5);
    let location = ("location".to_owned(), "https://other.test/secret-path?token=planted".to_owned());
    project.double.answer(Behaviour::Status(302, vec![location], String::new()));
    let said = project.sluice(&["run", "crm"]);
    said.failed(1, &["[destination_misconfigured]", "302", "other.test", "name the final address in `url`"]);
    assert!(!said.err.contains("planted") && !said.err.contains("secret-path"), "{}", said.err);
}
