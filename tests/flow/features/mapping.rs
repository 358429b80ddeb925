//! Changes of the mapping and of the model's columns.

use async_trait::async_trait;
use domain::fault::Fault;
use domain::ports::{ModelSchema, Query, RowStream, Warehouse};
use domain::run::Status;
use domain::value::Type;
use local::drive;
use serde_json::json;
use std::sync::Arc;
use support::project::{Project, request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_mapping_sends_everything_again_once_approved() {
    let mut project = Project::webhook(30);
    project.run().await;
    project.line("name")["transform"] = json!(["uppercase"]);
    let blocked = project.run().await;
    assert_eq!(
        (blocked.status, blocked.counts.changed, blocked.tripped[0].guard.as_str()),
        (Status::Blocked, 30, "max_change_percent")
    );
    let run = project.approve(blocked.plan_hash.as_deref().unwrap()).await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 30));
    assert_eq!(project.there()["7"]["name"], "CUSTOMER 7");
    assert_eq!(project.run().await.tally.requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_lines_and_columns_means_nothing() {
    let mut project = Project::webhook(30);
    project.run().await;
    project.sync()["mapping"].as_array_mut().unwrap().reverse();
    assert_eq!(project.run().await.tally.requests, 0);
    project.sync()["model"]["sql"] = json!("select n, name, email, id from customers order by id desc");
    let run = project.run().await;
    assert_eq!((run.status, run.counts.unchanged, run.tally.requests), (Status::Complete, 30, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_its_own_is_used_by_name() {
    let mut project = Project::webhook(30);
    project.run().await;
    let inline = project.sync()["model"].clone();
    std::fs::create_dir(project.path("models")).unwrap();
    project.write("models/people.yaml", &inline.to_string());
    let sync = project.sync().clone();
    let mut text = String::new();
    for (name, value) in sync.as_object().unwrap() {
        let value = if name == "model" { "people".to_owned() } else { value.to_string() };
        text.push_str(&format!("{name}: {value}\n"));
    }
    project.write("syncs/crm.yaml", &text);
    let said = project.sluice_as_saved(&["run", "crm", "--json"]);
    let run: serde_json::Value = serde_json::from_str(&said.said(0, &[]).out).unwrap();
    assert_eq!(
        (&run["status"], &run["counts"]["unchanged"]),
        (&json!("complete"), &json!(30)),
        "the same model, named"
    );
    std::fs::rename(project.path("models/people.yaml"), project.path("models/persons.yaml")).unwrap();
    project.sluice_as_saved(&["check", "crm"]).said(1, &["models/ does not have", "models/ has persons"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_in_another_case_is_found() {
    let mut project = Project::webhook(30);
    project.run().await;
    // As many warehouses give the names that a model does not quote.
    project.sync()["model"]["sql"] =
        json!("select id as \"ID\", email as \"EMAIL\", name as \"Name\", n as \"N\" from customers");
    project.sync()["model"]["cursor"] = json!({ "column": "n", "full_check": "1 day" });
    let run = project.run().await;
    assert_eq!((run.status, run.counts.unchanged, run.tally.requests), (Status::Complete, 30, 0));
    let run = project.run().await;
    assert_eq!((run.full, run.counts.rows), (false, 1), "the condition names the column as the warehouse does");
    project.sluice(&["explain", "crm", "7"]).said(0, &["c7@"]);
    project.sync()["model"]["sql"] =
        json!("select id, email, name, n, name as \"NAME\", name as \"Name\" from customers");
    project.line("name")["from"] = json!("nAme");
    project.sluice(&["check", "crm"]).said(1, &["`nAme` may be any of the columns `name`, `NAME`, `Name`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_is_not_mapped_costs_nothing() {
    let mut project = Project::webhook(30);
    project.run().await;
    project.sync()["model"]["sql"] = json!("select id, email, name, n, random() as noise from customers");
    assert_eq!(project.run().await.tally.requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_null_is_left_out_or_clears() {
    let mut project = Project::table(5);
    project.run().await;
    project.warehouse("update customers set name = null where id = 3");
    assert_eq!(project.run().await.counts.changed, 1);
    assert_eq!(project.there()["3"]["name"], "Customer 3", "no null wipes out what is there");
    project.line("name")["nulls"] = json!("clear");
    project.run().await;
    assert!(project.there()["3"].get("name").is_none());
    project.assert_arrived();
}

/// A warehouse that describes one column as of another type.
struct Typed(Arc<dyn Warehouse>, &'static str, Type);

#[async_trait]
impl Warehouse for Typed {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let mut described = self.0.describe(query).await?;
        described.columns.iter_mut().filter(|c| c.name == self.1).for_each(|c| c.kind = self.2);
        Ok(described)
    }
    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        self.0.rows(query).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_that_changes_its_type_blocks_the_run() {
    let project = Project::webhook(20);
    let run = |column, kind| {
        let project = &project;
        async move {
            let mut engine = project.engine().await.unwrap();
            engine.warehouse = Arc::new(Typed(Arc::clone(&engine.warehouse), column, kind));
            drive::run(&engine, &request()).await.unwrap()
        }
    };
    assert_eq!(run("email", Type::Text).await.status, Status::Complete);
    let blocked = run("email", Type::Int).await;
    assert_eq!(blocked.status, Status::Blocked);
    assert!(
        blocked.tripped.iter().any(|t| t.guard == "column_drift" && t.why == "column `email` was text and is now int"),
        "{:?}",
        blocked.tripped
    );
    assert_eq!(blocked.tally.requests, 0);
    assert_eq!(run("email", Type::Text).await.status, Status::Complete, "back to what it was");
    project.assert_arrived();
}
