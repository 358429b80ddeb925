//! Identifiers are what the destination takes them for: two spellings of one record are one record.

use domain::run::Status;
use serde_json::json;
use support::project::Project;

/// A mirror of people with a text key, mapped to an identifier that the destination does not tell apart by case.
fn people(transform: Option<&str>, collation: &str) -> Project {
    let mut project = Project::table(0);
    project.warehouse("create table people (email text primary key, name text)");
    project.product(&format!("drop table customers; create table customers (id text collate {collation} primary key, name text, email text, n real)"));
    let sync = project.sync();
    sync["mode"] = json!("mirror");
    sync["guards"] = json!({ "max_delete_percent": null, "max_change_percent": null, "min_rows": null });
    sync["model"] = json!({ "warehouse": "here", "sql": "select email, name from people", "key": ["email"] });
    let mut identifier = json!({ "from": "email", "to": "id", "identifier": true });
    if let Some(transform) = transform {
        identifier["transform"] = json!([transform]);
    }
    sync["mapping"] = json!([identifier, { "from": "name", "to": "name" }]);
    project
}

fn names(project: &Project) -> Vec<(String, String)> {
    let connection = rusqlite::Connection::open(project.path("product.db")).unwrap();
    let mut statement = connection.prepare("select id, name from customers order by id").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_spelt_anew_deletes_nothing() {
    // By a transform, and by the destination's own comparison.
    for (transform, collation) in
        [(Some("lowercase"), "binary"), (None, "nocase"), (Some("trim"), "binary"), (None, "rtrim")]
    {
        let project = people(transform, collation);
        project.warehouse("insert into people values ('Ada@h.test', 'Ada'), ('bob@h.test', 'Bob')");
        assert_eq!(project.run().await.tally.accepted(), 2, "{transform:?} {collation}");
        assert_eq!(project.run().await.tally.requests, 0);
        let anew = if transform == Some("trim") || collation == "rtrim" { "Ada@h.test  " } else { "ada@h.test" };
        project.warehouse(&format!("update people set email = '{anew}', name = 'Ada L.' where name = 'Ada'"));
        let plan = project.sluice(&["plan", "crm"]);
        plan.said(0, &["keys spelt anew: 1"]);
        let run = project.run().await;
        assert_eq!(
            (run.status, run.counts.respelt, run.tally.deleted),
            (Status::Complete, 1, 0),
            "{transform:?} {collation}: {run:?}"
        );
        let there = names(&project);
        assert_eq!(
            (there.len(), there.iter().any(|(_, name)| name == "Ada L.")),
            (2, true),
            "{transform:?} {collation}: {there:?}"
        );
        assert_eq!(project.run().await.tally.requests, 0, "{transform:?} {collation}");
        // And the record is deleted when it really goes.
        project.warehouse("delete from people where name = 'Ada L.'");
        assert_eq!((project.run().await.tally.deleted, names(&project).len()), (1, 1), "{transform:?} {collation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_spelt_anew_and_back_again_arrives_both_times() {
    for mode in ["upsert", "update", "mirror"] {
        let mut project = people(Some("lowercase"), "binary");
        project.warehouse("insert into people values ('Ada@h.test', 'Ada'), ('bob@h.test', 'Bob')");
        project.product("insert into customers (id) values ('ada@h.test'), ('bob@h.test')");
        project.sync()["mode"] = json!(mode);
        project.run().await;
        for (email, name) in [("ada@h.test", "Ada L."), ("Ada@h.test", "Ada"), ("ada@h.test", "Ada L.")] {
            project.warehouse(&format!("update people set email = '{email}', name = '{name}' where name like 'Ada%'"));
            let run = project.run().await;
            assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 1), "{mode}: {run:?}");
            assert!(
                names(&project).contains(&("ada@h.test".into(), name.into())),
                "{mode} {name}: {:?}",
                names(&project)
            );
        }
        assert_eq!(project.run().await.tally.requests, 0, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_keys_of_one_record_are_refused_wherever_batches_are_cut() {
    for collation in ["nocase", "rtrim"] {
        let mut project = people(None, collation);
        project.sync()["destination"]["options"] = json!({ "batch_size": 2 });
        let twin = if collation == "nocase" { "ADA@h.test" } else { "ada@h.test " };
        project.warehouse(&format!(
            "insert into people values ('ada@h.test', 'Ada'), ('{twin}', 'Twin');
             insert into people select 'p' || value || '@h.test', 'P' from json_each('[1,2,3,4,5,6,7]')"
        ));
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.accepted(), run.counts.invalid),
            (Status::Partial, 7, 2),
            "{collation}: {run:?}"
        );
        assert_eq!(names(&project).len(), 7, "{collation}: neither was sent");
        // One of them goes: the other is the record.
        project.warehouse("delete from people where name = 'Twin'");
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.created, run.tally.deleted),
            (Status::Complete, 1, 0),
            "{collation}: {run:?}"
        );
        // The twin comes: the row that both are is left as it is.
        project.warehouse(&format!("insert into people values ('{twin}', 'Twin')"));
        let run = project.run().await;
        assert_eq!((run.counts.invalid, run.tally.deleted, names(&project).len()), (2, 0, 8), "{collation}: {run:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_a_key_hold_the_deletes() {
    let project = people(None, "binary");
    project.warehouse("drop table people; create table people (email text, name text); insert into people values ('a', 'A'), ('b', 'B'), ('c', 'C')");
    assert_eq!(project.run().await.tally.accepted(), 3);
    project.warehouse("update people set email = null where email = 'a'; delete from people where email = 'b'");
    let run = project.run().await;
    assert_eq!(
        (run.tally.deleted, run.counts.deletes_held, names(&project).len()),
        (0, 2, 3),
        "which of them went, nobody can tell: {run:?}"
    );
    assert!(run.notes.iter().any(|note| note.contains("2 deletes wait")), "{:?}", run.notes);
    project.warehouse("update people set email = 'a' where email is null");
    assert_eq!((project.run().await.tally.deleted, names(&project).len()), (1, 2));
}
