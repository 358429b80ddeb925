//! Mistakes in the model: columns it lacks, SQL that fails at once, half-way, or never ends.

use domain::fault::Code;
use domain::run::Status;
use serde_json::json;
use support::project::Project;

#[test]
fn a_column_that_the_model_lacks() {
    let mut project = Project::webhook(3);
    let good = project.syncs[0].clone();
    project.line("email")["from"] = json!("emial");
    project
        .sluice(&["run", "crm"])
        .failed(1, &["[preflight_failed]", "emial → email", "no column `emial`", "did you mean `email`?", " next: "]);
    project.syncs[0] = good.clone();
    project.sync()["model"]["key"] = json!(["idd"]);
    project
        .sluice(&["run", "crm"])
        .failed(1, &["[preflight_failed]", "model.key", "no column `idd`", "did you mean `id`?"]);
    project.syncs[0] = good.clone();
    project.sync()["model"]["cursor"] = json!("updated_at");
    project.sluice(&["run", "crm"]).failed(
        1,
        &["[preflight_failed]", "model.cursor", "no column `updated_at`", "the model has id, email, name, n"],
    );
    project.sluice(&["check", "crm"]).said(1, &["✗ crm", "model.cursor"]);
    assert_eq!(project.double.count(), 0);
    project.syncs[0] = good;
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

#[test]
fn several_mistakes_are_told_at_once() {
    let mut project = Project::webhook(3);
    project.line("email")["from"] = json!("emial");
    project.line("name")["from"] = json!("nmae");
    project.sync()["validate"] = json!([{ "field": "agee", "min": 1 }]);
    project.sluice(&["run", "crm"]).failed(1, &["`emial`", "`nmae`", "validate: agee"]);
}

#[test]
fn sql_with_a_syntax_error() {
    let mut project = Project::webhook(3);
    let good = project.syncs[0].clone();
    for (sql, part) in [
        ("selct id from customers", "begins with SELECT"),
        ("select id, email frm customers f", "syntax error"),
        ("select id from custmers", "no such table"),
        ("delete from customers", "SELECT"),
        ("select id from customers; select 1", "statement"),
    ] {
        project.sync()["model"]["sql"] = json!(sql);
        project.sluice(&["run", "crm"]).failed(1, &["[model_failed]", "here", part, " next: "]);
    }
    project.syncs[0] = good;
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

/// A model that fails after rows were read must not look like one that ended there: a mirror would delete the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_fails_half_way_sends_nothing() {
    let mut project = Project::table(5000);
    project.sync()["mode"] = json!("mirror");
    project.run().await;
    project.assert_arrived();
    let before = project.there();
    let good = project.syncs[0].clone();
    project.warehouse("update customers set name = 'changed' where id < 100");
    // abs() of the smallest integer overflows, at the last row only.
    project.sync()["model"]["sql"] = json!(
        "select id, email, name, case when id = 5000 then abs(-9223372036854775807 - 1) else n end as n from customers"
    );
    let fault = project.try_run().await.unwrap().fault.unwrap();
    assert_eq!(fault.code, Code::ModelFailed);
    assert!(fault.what.contains("here") && fault.next_step().contains("Nothing was sent"), "{fault}");
    assert_eq!(project.there(), before, "nothing is changed and nothing is deleted");
    let runs = project.store().await.runs("crm", 1).await.unwrap();
    assert_eq!((runs[0].status, runs[0].fault.as_ref().map(|f| f.code)), (Status::Failed, Some(Code::ModelFailed)));
    project.syncs[0] = good;
    assert_eq!(project.run().await.counts.changed, 99);
    project.assert_arrived();
}

#[test]
fn a_warehouse_that_is_not_there_or_no_database() {
    let mut project = Project::webhook(3);
    project.connections["here"]["path"] = json!("wherehouse.db");
    project.sluice(&["run", "crm"]).failed(1, &["[warehouse_unreachable]", "wherehouse.db", "correct `path`"]);
    project
        .write("text.db", "this is no database, but it is long enough to be looked at as if it were one, page by page");
    project.connections["here"]["path"] = json!("text.db");
    project.sluice(&["run", "crm"]).failed(1, &["text.db", " next: "]);
    project.connections["here"]["path"] = json!("warehouse.db");
    project.sluice(&["run", "crm"]).said(0, &["complete"]);
    project.assert_arrived();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_model_that_takes_too_long() {
    let mut project = Project::webhook(3);
    let address = std::env::var("SLUICEGATE_TEST_POSTGRES").expect("tests/run sets it");
    let (user, rest) = address.trim_start_matches("postgres://").split_once('@').expect("user@host");
    let (place, database) = rest.split_once('/').expect("host/database");
    let (host, port) = place.split_once(':').expect("host:port");
    let port: u16 = port.parse().unwrap();
    let good = project.syncs[0].clone();
    project.connections["slow"] = json!({ "type": "postgres", "host": host, "port": port, "database": database, "user": user, "tls": "disable", "statement_timeout": "200ms" });
    project.sync()["model"]["warehouse"] = json!("slow");
    project.sync()["model"]["sql"] =
        json!("select 1 as id, 'a@h.test' as email, 'A' as name, 1 as n from pg_sleep(60)");
    let said = project.sluice(&["run", "crm"]);
    said.failed(1, &["[model_timeout]", "slow", "statement_timeout"]);
    assert_eq!(project.double.count(), 0);
    project.syncs[0] = good;
    project.run().await;
    project.assert_arrived();
}
