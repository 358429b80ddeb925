//! Reading accepted records back: a destination that lies is found out, whatever the lie; one that does not is
//! believed; and it costs no more than the sample.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::destination_schema::DestinationSchema;
use domain::fault::Fault;
use domain::layout::Layout;
use domain::outcome::{Outcome, WriteError};
use domain::ports::{Destination, Limits, PreflightRequest};
use domain::run::{Run, Status};
use local::drive;
use serde_json::json;
use support::project::{Project, assert_balances, request};

/// Counts what is read.
struct Counted {
    inner: Arc<dyn Destination>,
    calls: AtomicUsize,
    records: AtomicUsize,
}

#[async_trait]
impl Destination for Counted {
    fn limits(&self) -> Limits {
        Limits { batch_records: 10, ..self.inner.limits() }
    }
    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        self.inner.preflight(need).await
    }
    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        self.inner.write(batch).await
    }
    fn reads_back(&self) -> bool {
        self.inner.reads_back()
    }
    async fn read(&self, layout: &Layout, identifiers: &[Vec<u8>]) -> Result<Option<Vec<Option<Vec<u8>>>>, Fault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(identifiers.len(), Ordering::Relaxed);
        self.inner.read(layout, identifiers).await
    }
}

/// A run in batches of ten, with the calls and the records that were read.
async fn run(project: &Project) -> (Run, usize, usize) {
    let mut engine = project.engine().await.unwrap();
    let counted = Arc::new(Counted {
        inner: engine.context.destination.clone(),
        calls: AtomicUsize::new(0),
        records: AtomicUsize::new(0),
    });
    engine.context.destination = counted.clone();
    let run = drive::run(&engine, &request()).await.unwrap();
    assert_balances(&run);
    (run, counted.calls.load(Ordering::Relaxed), counted.records.load(Ordering::Relaxed))
}

#[tokio::test]
async fn an_honest_destination_has_all_of_the_sample() {
    let mut project = Project::table(95);
    let (first, calls, records) = run(&project).await;
    let read_back = &first.tally.read_back;
    assert_eq!((read_back.checked, read_back.landed, records), (10, 10, 10));
    assert!(read_back.differing.is_empty() && calls <= 10);
    let (idle, calls, _) = run(&project).await;
    assert_eq!((idle.tally.sent, idle.tally.read_back.checked, calls), (0, 0, 0), "nothing sent, nothing read");
    project.add_rows(96, 99);
    let (few, _, records) = run(&project).await;
    assert_eq!(
        (few.tally.read_back.checked, few.tally.read_back.landed, records),
        (4, 4, 4),
        "fewer than the sample: all of them"
    );
    project.sync()["readback"] = json!({ "sample": 0 });
    project.add_rows(100, 120);
    let (off, calls, _) = run(&project).await;
    assert_eq!((off.tally.accepted(), off.tally.read_back.checked, calls), (21, 0, 0));
    project.assert_arrived();
}

/// What a lie does to the table after every write, and what the report must say of it.
async fn found_out(lie: &str, fields: &[&str]) {
    let project = Project::table(60);
    project.product(lie);
    let (told, _, records) = run(&project).await;
    assert_eq!((told.status, told.tally.accepted()), (Status::Complete, 60), "the destination said yes to all of it");
    let read_back = &told.tally.read_back;
    assert_eq!((read_back.checked, read_back.landed, records), (10, 0, 10), "{lie}");
    assert_eq!(read_back.differing.len(), 10);
    for differing in &read_back.differing {
        assert_eq!(differing.fields, fields, "{lie}");
        assert!((1..=60).contains(&differing.key.parse::<u32>().unwrap()));
    }
}

#[tokio::test]
async fn a_destination_that_accepts_and_does_not_store_is_found_out() {
    found_out("create trigger lie after insert on customers begin delete from customers where id = new.id; end", &[])
        .await;
}

#[tokio::test]
async fn a_destination_that_stores_another_value_is_found_out() {
    found_out("create trigger lie after insert on customers begin update customers set name = 'somebody', n = n + 1 where id = new.id; end", &["n", "name"])
        .await;
}

#[tokio::test]
async fn a_destination_that_truncates_is_found_out() {
    found_out("create trigger lie after insert on customers begin update customers set email = substr(email, 1, 4) where id = new.id; end", &["email"]).await;
}

#[tokio::test]
async fn a_lie_about_some_records_is_found_in_those_of_the_sample() {
    let mut project = Project::table(60);
    project.sync()["readback"] = json!({ "sample": 60 });
    project.product("create trigger lie after insert on customers when new.id % 3 = 0 begin delete from customers where id = new.id; end");
    let (told, ..) = run(&project).await;
    assert_eq!((told.tally.read_back.checked, told.tally.read_back.landed), (60, 40));
    assert!(told.tally.read_back.differing.iter().all(|d| d.key.parse::<u32>().unwrap() % 3 == 0));
}

#[tokio::test]
async fn a_delete_that_did_not_take_place_is_found_out() {
    let mut project = Project::table(60);
    project.sync()["mode"] = json!("mirror");
    project.sync()["guards"] = json!({ "max_delete_percent": 100, "max_change_percent": 100 });
    run(&project).await;
    project.warehouse("delete from customers where id <= 4");
    let (honest, ..) = run(&project).await;
    assert_eq!((honest.tally.deleted, honest.tally.read_back.checked, honest.tally.read_back.landed), (4, 4, 4));
    project.product("create trigger lie after delete on customers when old.id < 8 begin insert into customers (id) values (old.id); end");
    project.warehouse("delete from customers where id <= 8; update customers set name = 'other' where id >= 58");
    let (told, _, records) = run(&project).await;
    let read_back = &told.tally.read_back;
    assert_eq!(
        (told.tally.deleted, read_back.checked, read_back.landed, records),
        (4, 7, 4, 7),
        "of one sample with what was written"
    );
    let mut there: Vec<_> = read_back.differing.iter().map(|d| (d.key.as_str(), d.still_there)).collect();
    there.sort_unstable();
    assert_eq!(there, [("5", true), ("6", true), ("7", true)]);
    project.warehouse("delete from customers where id <= 9");
    project.product("drop trigger lie; create trigger lie after delete on customers begin insert into customers (id) values (old.id); end");
    project
        .sluice(&["run", "crm"])
        .said(0, &["read back: 0 of 1 sampled records landed", "accepted, but key 9 was deleted and is still there"]);
}

/// The sample is a share of keys: of the same plan it is the same, wherever the batches are cut.
#[tokio::test]
async fn the_same_keys_are_looked_at_in_every_run() {
    let keys = async || {
        let project = Project::table(60);
        project
            .product("create trigger lie after insert on customers begin delete from customers where id = new.id; end");
        let mut keys: Vec<String> =
            run(&project).await.0.tally.read_back.differing.into_iter().map(|d| d.key).collect();
        keys.sort();
        keys
    };
    assert_eq!(keys().await, keys().await);
}

#[tokio::test]
async fn what_is_rejected_is_not_read_and_a_webhook_cannot_be() {
    let mut project = Project::table(40);
    project.sync()["mode"] = json!("mirror");
    project.sync()["readback"] = json!({ "sample": 100 });
    project.product(
        "create trigger refuse before insert on customers when new.id <= 5 begin select raise(abort, 'no'); end",
    );
    let (first, ..) = run(&project).await;
    assert_eq!((first.tally.rejected, first.tally.read_back.checked, first.tally.read_back.landed), (5, 35, 35));
    let (hook, calls, _) = run(&Project::webhook(20)).await;
    assert_eq!((hook.tally.accepted(), hook.tally.read_back.checked, calls), (20, 0, 0));
}

#[test]
fn the_report_says_what_landed_and_what_differs() {
    let project = Project::table(30);
    project.product("create trigger lie after insert on customers begin update customers set name = 'planted-value' where id = new.id; end");
    let said = project.sluice(&["run", "crm"]);
    said.said(
        0,
        &["read back: 0 of 10 sampled records landed as they were sent", "differs in name", "sluice explain crm KEY"],
    );
    assert!(!said.out.contains("planted"), "which field, not which value: {}", said.out);
    let json = project.sluice(&["--json", "runs", "crm"]).json();
    assert_eq!(
        (&json[0]["tally"]["read_back"]["checked"], &json[0]["tally"]["read_back"]["landed"]),
        (&json!(10), &json!(0))
    );
}
