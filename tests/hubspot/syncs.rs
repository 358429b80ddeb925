//! Whole syncs against the double: after a run its records equal the model, and nothing was sent in vain.

use std::collections::BTreeMap;

use domain::run::{Run, Status};
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::gate::{InjectedFault, TOKEN};
use serde_json::{Value, json};
use support::project::{Project, assert_balances};

use crate::rig::double;

/// A line that maps a column.
pub fn line(from: &str, to: &str) -> Value {
    json!({ "from": from, "to": to })
}

/// `rows` customers as contacts of a double.
pub fn project(double: &HubSpotDouble, rows: u32) -> Project {
    let mut project = Project::webhook(rows);
    project.connections["there"] = json!({ "type": "hubspot", "token": "${env:HUBSPOT_TOKEN}", "url": double.url(), "allow_private": true, "retry_pause": "1ms", "timeout": "20s" });
    project.secrets.insert("HUBSPOT_TOKEN".into(), TOKEN.into());
    project.sync()["destination"] = json!({ "connection": "there", "object": "contacts" });
    // Most tests count requests, and reading back makes its own.
    project.sync()["readback"] = json!({ "sample": 0 });
    project.sync()["mapping"] = json!([{ "from": "id", "to": "crm_id", "identifier": true }, line("email", "email"), line("name", "firstname"), { "from": "n", "to": "score", "nulls": "clear" }]);
    project
}

/// What the model gives, as contacts.
fn wanted(project: &Project) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let names = [("id", "crm_id"), ("email", "email"), ("name", "firstname"), ("n", "score")];
    let fields =
        |row: Value| names.iter().filter_map(|(from, to)| Some(((*to).to_owned(), text(row.get(*from)?)))).collect();
    project.model().into_iter().map(|(key, row)| (key, fields(row))).collect()
}

/// Panics unless the double's contacts are what the model gives.
#[track_caller]
pub fn arrived(project: &Project, double: &HubSpotDouble) {
    let (wanted, there) = (wanted(project), double.portal().objects["contacts"].by("crm_id"));
    let differs = wanted.iter().find(|(key, fields)| there.get(*key) != Some(fields));
    assert!(
        wanted == there,
        "{} of {} contacts; first that differs: {differs:?}, there: {:?}",
        there.len(),
        wanted.len(),
        differs.map(|(key, _)| there.get(key))
    );
}

fn complete(run: &Run, accepted: u64) {
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, accepted), "{run:?}");
    assert_balances(run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_changed_is_sent() {
    let double = double();
    let project = project(&double, 250);
    complete(&project.run().await, 250);
    arrived(&project, &double);
    assert_eq!(double.portal().count("upsert"), 3, "100 records to a request");
    project.run().await;
    double.portal().forget();
    let run = project.run().await;
    assert_eq!((run.tally.requests, double.portal().count("upsert")), (0, 0));
    project
        .warehouse("update customers set name = 'New' where id in (3, 77); update customers set n = null where id = 9");
    complete(&project.run().await, 3);
    let sent = double.portal().count("upsert");
    assert_eq!((sent, double.portal().idle_writes), (1, 0), "no request for what had not changed");
    arrived(&project, &double);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_kind_lose_nothing() {
    let faults = vec![
        InjectedFault::Cut,
        InjectedFault::Status(503),
        InjectedFault::CutAfter,
        InjectedFault::EmptyResults,
        InjectedFault::Html,
        InjectedFault::LastResultMissing,
        InjectedFault::Status(502),
    ];
    for (mode, nth) in [("upsert", 2), ("mirror", 3), ("upsert", 4)] {
        let double = double();
        let mut project = project(&double, 300);
        project.sync()["mode"] = json!(mode);
        project.sync()["guards"] = json!({ "max_change_percent": 100, "max_delete_percent": 100 });
        project.connections["there"]["batch_size"] = json!(20);
        double.portal().gate.quota.max = 10_000;
        double.portal().gate.fail_every(nth, faults.clone());
        let mut run = project.run().await;
        assert_balances(&run);
        project.warehouse(
            "update customers set name = 'Changed' where id % 3 = 0; delete from customers where id % 50 = 0",
        );
        project.add_rows(301, 320);
        for _ in 0..8 {
            run = project.run().await;
            assert_balances(&run);
            // What ran out of attempts is held for a while.
            project.later(std::time::Duration::from_secs(7 * 24 * 3600));
            if run.status == Status::Complete && run.counts.to_send() == 0 {
                break;
            }
        }
        assert_eq!((run.status, run.counts.to_send()), (Status::Complete, 0), "{mode} {nth}: {run:?}");
        if mode == "mirror" {
            arrived(&project, &double);
        } else {
            let (wanted, there) = (wanted(&project), double.portal().objects["contacts"].by("crm_id"));
            assert!(wanted.iter().all(|(key, fields)| there.get(key) == Some(fields)), "{mode} {nth}");
        }
        double.portal().forget();
        assert_eq!((project.run().await.tally.requests, double.portal().count("upsert")), (0, 0), "{mode} {nth}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_archives_what_left_the_model() {
    let double = double();
    let mut project = project(&double, 120);
    project.sync()["mode"] = json!("mirror");
    project.sync()["guards"] = json!({ "max_delete_percent": 100 });
    double.portal().add("contacts", &[("crm_id", "9999"), ("firstname", "Not ours")]);
    complete(&project.run().await, 120);
    project.warehouse("delete from customers where id <= 20");
    let run = project.run().await;
    assert_eq!((run.status, run.tally.deleted), (Status::Complete, 20), "{run:?}");
    let portal = double.portal();
    assert_eq!((portal.count("archive"), portal.count("read")), (1, 0), "the ids were kept from the upsert");
    assert_eq!(
        (portal.objects["contacts"].records.len(), portal.objects["contacts"].by("crm_id").contains_key("9999")),
        (101, true)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_skips_and_counts_what_is_not_there() {
    let double = double();
    for id in ["1", "2", "3"] {
        double.portal().add("contacts", &[("crm_id", id)]);
    }
    let mut project = project(&double, 30);
    project.sync()["mode"] = json!("update");
    let run = project.run().await;
    assert_eq!(
        (run.status, run.tally.updated, run.tally.skipped, run.tally.created),
        (Status::Complete, 3, 27, 0),
        "{run:?}"
    );
    assert_eq!(double.portal().objects["contacts"].records.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn append_creates_once_and_never_touches_again() {
    let double = double();
    let mut project = project(&double, 40);
    project.sync()["mode"] = json!("append");
    complete(&project.run().await, 40);
    project.warehouse("update customers set name = 'New' where id = 5");
    project.add_rows(41, 45);
    complete(&project.run().await, 5);
    let portal = double.portal();
    assert_eq!((portal.objects["contacts"].records.len(), portal.count("create")), (45, 2));
    assert_eq!(portal.objects["contacts"].by("crm_id")["5"]["firstname"], "Customer 5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_record_is_found_by_halving_when_the_batch_is_refused() {
    let double = double();
    double.portal().add("contacts", &[("email", "c7@h.test"), ("crm_id", "other")]);
    let mut project = project(&double, 64);
    project.sync()["mapping"] =
        json!([{ "from": "email", "to": "email", "identifier": true }, line("name", "firstname"), line("n", "score")]);
    project.warehouse("update customers set n = 5000 where id = 33");
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.rejected), (Status::Partial, 63, 1), "{run:?}");
    assert_eq!(run.tally.reasons["PROPERTY_VALIDATION_RULE"].count, 1);
    let sent = double.portal().count("upsert");
    assert!(sent <= 13, "one request, and two for each halving of 64: {sent}");
    let letters = project.store().await.dead_letters("crm", 9).await.unwrap();
    assert!(letters[0].key == "33" && letters[0].detail.contains("`score`"), "{letters:?}");
    double.portal().forget();
    assert_eq!((project.run().await.counts.held, double.portal().count("upsert")), (1, 0), "it is held, not hammered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_mapped_and_a_plan_shows_what_differs() {
    let double = double();
    let mut project = project(&double, 3);
    let stage = json!({ "from": "name", "to": "lifecyclestage", "values": { "Customer 1": "Lead", "Customer 2": "Customer", "Customer 3": "customer" } });
    project.sync()["mapping"].as_array_mut().unwrap()[2] = stage;
    project.warehouse("update customers set email = 'C2@h.test' where id = 2");
    double
        .portal()
        .add("contacts", &[("crm_id", "2"), ("email", "c2@h.test"), ("lifecyclestage", "customer"), ("score", "7")]);
    let engine = project.engine().await.unwrap();
    let differs = engine::explain::explain(&engine, "2").await.unwrap().differs.unwrap();
    let differs: Vec<_> = differs.iter().map(|d| (d.field.as_str(), d.there.as_str(), d.here.as_str())).collect();
    assert_eq!(
        differs,
        [("score", "7", "1")],
        "the label is its value and the address its lower case, so they do not differ"
    );
    let run = project.run().await;
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, 3), "{run:?}");
    let by = double.portal().objects["contacts"].by("crm_id");
    assert_eq!(["1", "2", "3"].map(|id| by[id]["lifecyclestage"].clone()), ["lead", "customer", "customer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_read_back_as_hubspot_stores_it() {
    let double = double();
    let mut project = project(&double, 120);
    project.sync()["readback"] = json!({ "sample": 10 });
    let run = project.run().await;
    complete(&run, 120);
    assert_eq!((run.tally.read_back.checked, run.tally.read_back.landed), (10, 10), "{:?}", run.tally.read_back);
    assert!(double.portal().count("read") >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes_are_read_back() {
    let double = double();
    let mut project = project(&double, 30);
    project.sync()["mode"] = json!("mirror");
    project.sync()["readback"] = json!({ "sample": 10 });
    project.sync()["guards"] = json!({ "max_delete_percent": 100, "max_change_percent": 100 });
    complete(&project.run().await, 30);
    project.warehouse("delete from customers where id <= 3");
    let honest = project.run().await;
    assert_eq!((honest.tally.deleted, honest.tally.read_back.checked, honest.tally.read_back.landed), (3, 3, 3));
    // It says yes, and nothing is done.
    double.portal().gate.fail_next(1, InjectedFault::Status(204));
    project.warehouse("delete from customers where id = 4");
    let told = project.run().await;
    assert_eq!((told.tally.deleted, told.tally.read_back.checked, told.tally.read_back.landed), (1, 1, 0));
    assert!(told.tally.read_back.differing[0].still_there && told.tally.read_back.differing[0].key == "4");
}
