//! What the state says is about one place, one mode, one key and one identifier. An edit of these asks once and loses
//! nothing.

use domain::fault::Code;
use domain::run::{Run, Status};
use serde_json::json;
use support::project::{Project, execute};

/// A mirror of ten customers to a table, after a run that was delivered and one that had nothing to do.
async fn mirror() -> Project {
    let mut project = Project::table(10);
    project.sync()["mode"] = json!("mirror");
    project.run().await;
    assert_eq!(project.run().await.tally.requests, 0);
    project
}

#[track_caller]
fn asked(run: &Run, guards: &[&str]) -> String {
    assert_eq!(
        (run.status, run.fault.as_ref().map(|f| f.code)),
        (Status::Blocked, Some(Code::GuardTripped)),
        "{run:?}"
    );
    assert_eq!(run.tripped.iter().map(|t| t.guard.as_str()).collect::<Vec<_>>(), guards, "{run:?}");
    run.plan_hash.clone().unwrap()
}

/// A copy of the product's database, empty, under another name.
fn other_database(project: &mut Project, name: &str) {
    execute(&project.path(name), "create table customers (id integer primary key, email text, name text, n real)");
    project.connections["there"]["path"] = json!(name);
}

fn count(project: &Project, file: &str) -> u32 {
    let connection = rusqlite::Connection::open(project.path(file)).unwrap();
    connection.query_row("select count(*) from customers", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_place_asks_and_then_gets_everything() {
    let mut project = mirror().await;
    other_database(&mut project, "other.db");
    for _ in 0..2 {
        let run = project.run().await;
        asked(&run, &["another_place"]);
        assert!(
            run.tripped[0].why.contains("product.db") && run.tripped[0].why.contains("other.db"),
            "{}",
            run.tripped[0].why
        );
        assert_eq!(count(&project, "other.db"), 0, "nothing is sent unasked");
    }
    project.warehouse("delete from customers where id = 3");
    let hash = asked(&project.run().await, &["another_place"]);
    let run = project.approve(&hash).await;
    assert_eq!(
        (run.status, run.counts.added, run.counts.removed),
        (Status::Complete, 9, 0),
        "nothing of the old place is deleted at the new one"
    );
    assert_eq!(
        (count(&project, "other.db"), count(&project, "product.db")),
        (9, 10),
        "and the old place is left as it is"
    );
    assert_eq!(project.run().await.tally.requests, 0);
    project.warehouse("delete from customers where id = 4");
    assert_eq!((project.run().await.tally.deleted, count(&project, "other.db")), (1, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_place_under_another_name_is_said_to_be_so() {
    let mut project = mirror().await;
    // The same file through another door: nobody has to say anything.
    std::os::unix::fs::symlink(project.path("product.db"), project.path("link.db")).unwrap();
    project.connections["there"]["path"] = json!("link.db");
    assert_eq!((project.run().await.status, project.run().await.tally.requests), (Status::Complete, 0));
    // A file that was moved.
    std::fs::rename(project.path("product.db"), project.path("moved.db")).unwrap();
    project.connections["there"]["path"] = json!("moved.db");
    project.sluice(&["run", "crm"]).failed(4, &["another_place", "sluice state same-place crm", "sluice plan crm"]);
    project.sluice(&["state", "same-place", "crm"]).said(0, &["sluice run crm"]);
    let run = project.run().await;
    assert_eq!((run.status, run.tally.requests), (Status::Complete, 0));
    project.warehouse("delete from customers where id = 4");
    assert_eq!(project.run().await.tally.deleted, 1, "what was learnt is still known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_never_took_anything_asks_nothing() {
    let mut project = Project::table(5);
    project.connections["there"]["path"] = json!("product.db");
    project.product("drop table customers; create table customers (id integer primary key, email text, name text, n real check (n < 0))");
    assert_eq!(project.run().await.tally.rejected, 5);
    other_database(&mut project, "other.db");
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 5), "{run:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mode_that_is_switched_carries_over_what_is_known() {
    for idle in [false, true] {
        let mut project = Project::table(10);
        project.run().await;
        if idle {
            project.run().await;
        }
        project.warehouse("delete from customers where id <= 2");
        project.run().await;
        project.sync()["mode"] = json!("mirror");
        let run = project.run().await;
        let hash = asked(&run, &["another_mode"]);
        assert!(run.tripped[0].why.contains("2 records that were sent before are gone"), "{}", run.tripped[0].why);
        assert_eq!(run.counts.undeletable, 2);
        let run = project.approve(&hash).await;
        assert_eq!(
            (run.status, run.tally.sent, run.counts.undeletable),
            (Status::Complete, 0, 2),
            "nothing is sent for it"
        );
        // From now on it is a mirror.
        project.warehouse("delete from customers where id = 5; update customers set name = 'New' where id = 6");
        let run = project.run().await;
        assert_eq!((run.tally.deleted, run.tally.updated), (1, 1), "{run:?}");
        assert_eq!(project.there().len(), 9, "the two that left before it was a mirror are nobody's");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_key_or_identifier_asks_and_deletes_nothing() {
    let mut project = Project::table(10);
    project.run().await;
    project.sync()["model"]["key"] = json!(["id", "email"]);
    let hash = asked(&project.run().await, &["another_key"]);
    let run = project.approve(&hash).await;
    assert_eq!((run.status, run.tally.created, project.there().len()), (Status::Complete, 0, 10), "{run:?}");
    project.assert_arrived();
    assert_eq!(project.run().await.tally.requests, 0);

    let mut project = mirror().await;
    project.product("create unique index by_email on customers (email)");
    project.sync()["model"]["key"] = json!(["email"]);
    project.line("id")["identifier"] = json!(false);
    project.line("email")["identifier"] = json!(true);
    let hash = asked(&project.run().await, &["another_key", "another_identifier"]);
    project.warehouse("delete from customers where id = 7");
    let run = project.run().await;
    assert_ne!(asked(&run, &["another_key", "another_identifier"]), hash, "another plan, another hash");
    let run = project.approve(&run.plan_hash.unwrap()).await;
    assert_eq!(
        (run.status, run.tally.deleted, project.there().len()),
        (Status::Complete, 0, 10),
        "an identifier that is not known deletes nothing: {run:?}"
    );
    assert_eq!(project.run().await.tally.requests, 0);
    project.warehouse("delete from customers where id = 8");
    assert_eq!(
        (project.run().await.tally.deleted, project.there().len()),
        (1, 9),
        "what was sent by it can be deleted by it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_shown_sent_anew_forgotten_and_renamed() {
    let mut project = mirror().await;
    let shown = project.sluice(&["state", "show", "crm"]);
    shown.said(0, &["10", "customers of the file product.db", "mirror", "id"]);
    assert_eq!(project.sluice(&["--json", "state", "show", "crm"]).json()["accepted"], 10);

    // Rows that somebody changed there are sent anew when it is asked for: some, or all of them.
    project.product("update customers set name = 'Changed by a person'");
    assert_eq!(project.run().await.tally.requests, 0);
    project.sluice(&["state", "resend", "crm", "3", "4"]).said(0, &["2 record(s) will be sent", "sluice run crm"]);
    assert_eq!(project.run().await.tally.updated, 2);
    assert_eq!(
        (&project.there()["3"]["name"], &project.there()["5"]["name"]),
        (&json!("Customer 3"), &json!("Changed by a person"))
    );
    project.sluice(&["state", "resend", "crm", "99"]).failed(1, &["no row with the key `99`"]);
    project.sluice(&["state", "resend", "crm"]).failed(2, &["Add --yes"]);
    project.sluice(&["state", "resend", "crm", "--yes"]).said(0, &["10 record(s)"]);
    let run = project.approve_whatever().await;
    assert_eq!((run.status, run.tally.updated), (Status::Complete, 10));
    project.assert_arrived();

    // Under another name it goes on.
    let mut renamed = project.syncs[0].clone();
    renamed["name"] = json!("people");
    std::fs::remove_file(project.path("syncs/crm.yaml")).unwrap();
    project.syncs[0] = renamed;
    project.sluice(&["state", "rename", "crm", "people"]).said(0, &["`people` goes on with the 10 record(s) of `crm`"]);
    project.sluice(&["run", "people"]).said(0, &["complete", "10"]);
    project.warehouse("delete from customers where id = 1");
    project.sluice(&["run", "people"]).said(0, &["complete"]);
    assert_eq!(project.there().len(), 9, "it can still delete what it sent under its old name");
    project.sluice(&["state", "rename", "crm", "people"]).failed(1, &["has a state of its own"]);

    project.sluice(&["state", "forget", "people"]).failed(2, &["Add --yes"]);
    project.sluice(&["state", "forget", "people", "--yes"]).said(0, &["9 record(s) are forgotten"]);
    assert_eq!(project.sluice(&["--json", "state", "show", "people"]).json()["accepted"], 0);
    let run = project.sluice(&["--json", "run", "people"]).json();
    assert_eq!((&run["counts"]["added"], &run["status"]), (&json!(9), &json!("complete")), "{run}");
}
