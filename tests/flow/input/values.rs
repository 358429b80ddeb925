//! Values that no destination should get, or that ours cannot take: each harms its own record only.

use domain::run::{Run, Status};
use serde_json::json;
use support::project::{Project, assert_balances};

/// One record of 20 is invalid: the others arrive, it is told by key, field and rule; corrected, it arrives.
async fn one_is_invalid(project: &Project, harm: &str, field: &str, rule: &str, mend: &str) -> Run {
    project.warehouse(harm);
    let run = project.run().await;
    assert_eq!((run.status, run.counts.invalid, run.counts.added, run.tally.accepted()), (Status::Partial, 1, 19, 19), "{:?}", run.invalid);
    assert_balances(&run);
    let why = &run.invalid[0];
    assert_eq!((why.key.as_str(), why.why.field.as_str()), ("7", field), "{why:?}");
    assert!(why.why.rule.contains(rule), "{why:?}");
    assert_eq!(project.there().len(), 19);
    // It is not sent, and still told, while it is wrong.
    let said = project.sluice(&["run", "crm"]);
    said.said(3, &["partial", &format!("invalid: key 7: `{field}`"), rule]);
    project.warehouse(mend);
    let again = project.run().await;
    assert_eq!((again.status, again.counts.added), (Status::Complete, 1));
    project.assert_arrived();
    run
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_too_long_for_the_column() {
    let project = Project::table(20);
    project.product("drop table customers; create table customers (id integer primary key, email varchar(20), name text, n real)");
    // SQLite itself does not mind the length: the declared one is what the product's authors meant.
    project.warehouse("update customers set email = 'a-very-long-address-indeed@h.test' where id = 7");
    let run = project.run().await;
    if run.counts.invalid == 0 {
        assert_eq!(run.status, Status::Complete, "taken, because the database takes it");
        project.assert_arrived();
    } else {
        assert_eq!((run.status, run.counts.invalid), (Status::Partial, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_longer_than_the_rule_allows() {
    let mut project = Project::webhook(20);
    project.sync()["validate"] = json!([{ "field": "name", "max_length": 15 }]);
    one_is_invalid(
        &project,
        "update customers set name = 'a name that is long' where id = 7",
        "name",
        "15",
        "update customers set name = 'short' where id = 7",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_fails_validation() {
    let mut project = Project::webhook(20);
    project.sync()["validate"] = json!([{ "field": "email", "format": "email" }, { "field": "n", "min": 0 }]);
    let run = one_is_invalid(
        &project,
        "update customers set email = 'not an address' where id = 7",
        "email",
        "email",
        "update customers set email = 'ok@h.test' where id = 7",
    )
    .await;
    assert!(!run.invalid[0].why.got.contains("not an address"), "a record's value is not repeated: {:?}", run.invalid[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_are_none() {
    for number in ["9e999", "-9e999"] {
        let project = Project::webhook(20);
        one_is_invalid(&project, &format!("update customers set n = {number} where id = 7"), "n", "", "update customers set n = 1.5 where id = 7").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_is_not_utf8() {
    let project = Project::webhook(20);
    let harm = "update customers set name = cast(x'ff41' as text) where id = 7";
    one_is_invalid(&project, harm, "name", "read", "update customers set name = 'A' where id = 7").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_larger_than_a_message() {
    let project = Project::webhook(20);
    let harm = "update customers set name = printf('%.*c', 2000000, 'x') where id = 7";
    let run = one_is_invalid(&project, harm, "record", "must fit into one message", "update customers set name = 'small' where id = 7").await;
    assert!(run.invalid[0].why.got.ends_with("bytes") && run.invalid[0].why.got.len() < 20, "{:?}", run.invalid[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_the_mapping_does_not_list() {
    let mut project = Project::webhook(20);
    let harm = "update customers set name = 'gold'; update customers set name = 'platin' where id = 7";
    project.line("name")["values"] = json!({ "gold": "gold", "silver": "silver" });
    one_is_invalid(&project, harm, "name", "", "update customers set name = 'silver' where id = 7").await;
}

/// A record that was there and becomes invalid stays as it is: a mirror does not delete it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_becomes_invalid_is_left_alone() {
    let mut project = Project::table(20);
    project.sync()["mode"] = json!("mirror");
    project.sync()["validate"] = json!([{ "field": "n", "min": 0 }]);
    project.run().await;
    let before = project.there();
    project.warehouse("update customers set n = -1 where id = 7");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.invalid, run.counts.to_send()), (Status::Partial, 1, 0));
    assert_eq!(project.there(), before);
    project.warehouse("update customers set n = 5 where id = 7");
    assert_eq!(project.run().await.counts.changed, 1);
    project.assert_arrived();
}
