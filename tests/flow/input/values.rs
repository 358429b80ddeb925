//! Values that no destination should get, or that ours cannot take: each harms its own record only.

use domain::run::{Run, Status};
use serde_json::json;
use support::project::{Project, assert_balances};

/// One record of 20 is invalid: the others arrive, it is told by key, field and rule; corrected, it arrives.
async fn one_is_invalid(project: &Project, harm: &str, field: &str, rule: &str, mend: &str) -> Run {
    project.warehouse(harm);
    let run = project.run().await;
    assert_eq!(
        (run.status, run.counts.invalid, run.counts.added, run.tally.accepted()),
        (Status::Partial, 1, 19, 19),
        "{:?}",
        run.invalid
    );
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
    project.product(
        "drop table customers; create table customers (id integer primary key, email varchar(20), name text, n real)",
    );
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
    assert!(
        !run.invalid[0].why.got.contains("not an address"),
        "a record's value is not repeated: {:?}",
        run.invalid[0]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_are_none() {
    for number in ["9e999", "-9e999"] {
        let project = Project::webhook(20);
        one_is_invalid(
            &project,
            &format!("update customers set n = {number} where id = 7"),
            "n",
            "",
            "update customers set n = 1.5 where id = 7",
        )
        .await;
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
    let run = one_is_invalid(
        &project,
        harm,
        "record",
        "must fit into one message",
        "update customers set name = 'small' where id = 7",
    )
    .await;
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

/// What a column of numbers would make another text of is refused by record, and what it keeps arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_is_not_turned_into_a_number() {
    for declared in ["string", "numeric", "decimal(10, 2)"] {
        let project = Project::table(0);
        project.warehouse(
            "drop table customers; create table customers (id integer primary key, email text, name text, n text)",
        );
        project.warehouse(
            "insert into customers (id, n) values (1, '008'), (2, '1.10'), (3, '12345678901234567890'), (4, 'eight'), (5, '8'), (6, ' 8'), (7, '1e3')",
        );
        project.product(&format!(
            "drop table customers; create table customers (id integer primary key, email text, name text, n {declared})"
        ));
        let run = project.run().await;
        let there: Vec<String> = project
            .there()
            .values()
            .map(|r| r["n"].as_str().map_or_else(|| r["n"].to_string(), str::to_owned))
            .collect();
        assert_eq!(there, ["eight", "8"], "{declared}: {run:#?}");
        assert_eq!(run.tally.read_back.checked, run.tally.read_back.landed, "{declared}: {:?}", run.tally.read_back);
        assert!(run.tally.reasons["numeric_value_out_of_range"].detail.contains("declare it as TEXT"), "{declared}");
    }
}

#[test]
fn a_mistyped_column_in_double_quotes_is_no_text() {
    let mut project = Project::webhook(2);
    project.sync()["model"]["sql"] = json!("select id, \"emial\" as email, name, n from customers");
    project.sluice(&["run", "crm"]).failed(1, &["no such column", "emial"]);
    assert_eq!(project.double.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_may_be_as_wide_as_sqlite_takes_it() {
    let names: Vec<String> = (0..1_500).map(|n| format!("c{n}")).collect();
    let mut project = Project::table(0);
    let columns = names.join(", ");
    project.warehouse(&format!(
        "create table wide (id integer primary key, {columns}); insert into wide (id, c0, c1499) values (1, 'a', 'b')"
    ));
    project.product(&format!("create table wide (id integer primary key, {columns})"));
    project.sync()["model"]["sql"] = json!("select * from wide");
    project.sync()["destination"]["object"] = json!("wide");
    project.sync()["guards"] = json!({ "max_change_percent": null });
    let mut mapping = vec![json!({ "from": "id", "to": "id", "identifier": true })];
    mapping.extend(names.iter().map(|name| json!({ "from": name, "to": name })));
    project.sync()["mapping"] = json!(mapping);
    assert_eq!(project.run().await.tally.created, 1);
    project.warehouse("update wide set c700 = 'x'");
    let run = project.run().await;
    assert_eq!((run.tally.updated, run.tally.read_back.landed), (1, 1), "{run:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_value_moves_and_is_swapped() {
    let mut project = Project::table(4);
    project.sync()["mode"] = json!("mirror");
    project.sync()["guards"] = json!({ "max_delete_percent": null, "max_change_percent": null });
    project.product("create unique index by_email on customers (email)");
    assert_eq!(project.run().await.tally.created, 4);
    for change in [
        "update customers set email = case id when 1 then 'c2@h.test' when 2 then 'x' else email end",
        "update customers set email = case id when 3 then 'c4@h.test' when 4 then 'c3@h.test' else email end",
        "delete from customers where id = 4; update customers set email = 'c3@h.test' where id = 1",
        "delete from customers where id = 3; insert into customers values (6, 'c4@h.test', 'Six', 1)",
    ] {
        project.warehouse(change);
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.rejected, run.tally.exhausted),
            (domain::run::Status::Complete, 0, 0),
            "{change}: {run:#?}"
        );
        project.assert_arrived();
    }
}
