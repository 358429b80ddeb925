//! Whole syncs by collections, with the org failing as it does: in the end it has what the model gives, inside its
//! day's requests, and nothing was sent that had not changed.

use domain::fault::Code;
use domain::run::Status;
use doubles::salesforce::Fail;
use serde_json::json;

use local::drive;

use crate::rig::{World, request};

/// What an org does on a bad day.
fn misbehave(world: &World) {
    let mut org = world.double.org();
    org.locks_every = Some(7);
    org.fails.extend([Fail::With(503, "SERVER_UNAVAILABLE")]);
    org.fails_every = Some((9, Fail::After));
}

#[tokio::test]
async fn an_upsert_arrives_and_sends_only_what_changed() {
    let mut world = World::new("upsert", 450).await;
    misbehave(&world);
    let run = world.run_well().await;
    assert_eq!(run.tally.accepted(), 450);
    assert!(run.tally.retried > 0, "rows were locked");
    world.assert_arrived();

    world.double.org().recover();
    let before = world.double.org().count("upsert");
    world.run_well().await;
    assert_eq!(world.double.org().count("upsert"), before, "nothing changed, so nothing was sent");

    for id in 1..=10 {
        world.rows.get_mut(&id).unwrap().name = "Changed".into();
    }
    (world.rows.get_mut(&11).unwrap().account, world.rows.get_mut(&11).unwrap().score) = (None, None);
    let count = || {
        let org = world.double.org();
        (org.rows, org.count("upsert"))
    };
    let (rows, requests) = count();
    world.run_well().await;
    assert_eq!(count(), (rows + 11, requests + 1), "one request, eleven rows");
    world.assert_arrived();
}

#[tokio::test]
async fn a_mirror_deletes_by_the_ids_it_remembers() {
    let mut world = World::new("mirror", 300).await;
    misbehave(&world);
    world.run_well().await;
    world.assert_arrived();
    (1..=40).for_each(|id| drop(world.rows.remove(&id)));
    world.add(301, 320);
    let id = world.contacts()["E5"]["Id"].as_str().unwrap().to_owned();
    world.double.org().object("Contact").remove(&id);
    let run = world.run_well().await;
    assert_eq!((run.tally.deleted, run.tally.accepted()), (40, 60));
    world.assert_arrived();
    assert_eq!(world.double.org().count("query"), 0, "every record id was remembered");
}

#[tokio::test]
async fn an_update_never_inserts() {
    let mut world = World::new("upsert", 250).await;
    world.run_well().await;
    let mut updating = World { mode: "update", ..World::new("update", 250).await };
    std::mem::swap(&mut updating.double, &mut world.double);
    updating.add(251, 260);
    updating.rows.values_mut().for_each(|row| row.name = format!("New {}", row.name));
    misbehave(&updating);
    let run = updating.run().await;
    assert_eq!((run.tally.updated, run.tally.skipped, run.tally.created), (250, 10, 0), "{:#?}", run.tally);
    assert!(run.tally.balances());
    let contacts = updating.contacts();
    assert!(contacts.len() == 250 && contacts.values().all(|c| c["LastName"].as_str().unwrap().starts_with("New ")));
}

#[tokio::test]
async fn an_append_sends_each_record_once() {
    let mut world = World::new("append", 230).await;
    world.double.org().locks_every = Some(7);
    world.run_well().await;
    world.assert_arrived();
    let first = world.rows.clone();
    world.rows.values_mut().for_each(|row| row.name = "Changed".into());
    world.add(231, 240);
    let run = world.run_well().await;
    assert_eq!(run.tally.created, 10);
    let added = world.rows.clone();
    world.rows = added.into_iter().map(|(id, row)| (id, first.get(&id).cloned().unwrap_or(row))).collect();
    world.assert_arrived();
}

#[tokio::test]
async fn bad_records_are_rejected_by_name_and_the_others_arrive() {
    let mut world = World::new("upsert", 60).await;
    world.rows.get_mut(&7).unwrap().name = "forbidden".into();
    world.rows.get_mut(&8).unwrap().account = Some("Z");
    let run = world.run().await;
    assert_eq!((run.status, run.tally.rejected, run.tally.created), (Status::Partial, 2, 58));
    let codes: Vec<&str> = run.tally.reasons.keys().map(String::as_str).collect();
    assert_eq!(codes, ["FIELD_CUSTOM_VALIDATION_EXCEPTION", "INVALID_FIELD"]);
    assert!(run.tally.reasons["INVALID_FIELD"].detail.contains("Z not found"), "{:#?}", run.tally.reasons);
    world.rows.remove(&7);
    world.rows.remove(&8);
    world.assert_arrived();
}

#[tokio::test]
async fn a_plan_larger_than_the_day_sends_nothing() {
    let world = World { config: json!({ "keep_requests": 2 }), ..World::new("upsert", 1_000).await };
    let used = world.double.org().used_requests;
    world.double.org().most_requests = used + 8;
    let run = world.run().await;
    let fault = run.fault.unwrap();
    assert_eq!((run.status, fault.code), (Status::Failed, Code::DestinationLimit));
    assert!(fault.what.contains("about 5 requests") && fault.what.contains("2 of which are kept"), "{}", fault.what);
    assert_eq!(world.double.org().count("upsert"), 0);
    world.double.org().most_requests += 100;
    world.run_well().await;
    world.assert_arrived();
}

#[tokio::test]
async fn a_used_up_day_stops_the_run_and_the_next_delivers() {
    let world = World { config: json!({ "concurrency": 1 }), ..World::new("upsert", 1_000).await };
    {
        // Others take what this run was told it would have: it plans five requests, six are left, one gets through.
        let mut org = world.double.org();
        (org.others_use, org.most_requests) = (7, org.used_requests + 30);
    }
    let run = world.run().await;
    assert_eq!((run.status, run.fault.unwrap().code), (Status::Incomplete, Code::DestinationLimit));
    assert_eq!((run.tally.created, world.double.org().refused_requests), (200, 1), "nobody went on asking");
    world.double.org().most_requests = 100_000;
    world.run_well().await;
    world.assert_arrived();
}

#[tokio::test]
async fn a_full_org_stops_the_run() {
    let world = World::new("upsert", 30).await;
    world.double.org().storage_full = true;
    let run = world.run().await;
    assert_eq!((run.status, run.fault.unwrap().code), (Status::Failed, Code::DestinationMisconfigured));
    world.double.org().recover();
    world.run_well().await;
    world.assert_arrived();
}

#[tokio::test]
async fn a_sample_is_read_back_as_salesforce_stores_it() {
    let mut world = World::new("upsert", 450).await;
    world.read_back = 10;
    let run = world.run_well().await;
    assert_eq!((run.tally.read_back.checked, run.tally.read_back.landed), (10, 10), "{:?}", run.tally.read_back);
}

#[tokio::test]
async fn deletes_are_read_back() {
    let mut world = World::new("mirror", 30).await;
    world.read_back = 10;
    world.run_well().await;
    (1..=3).for_each(|id| drop(world.rows.remove(&id)));
    let honest = world.run_well().await;
    assert_eq!((honest.tally.deleted, honest.tally.read_back.checked, honest.tally.read_back.landed), (3, 3, 3));
    world.double.org().puts_back_deleted = true;
    world.rows.remove(&4);
    let told = world.run_well().await;
    assert_eq!((told.tally.deleted, told.tally.read_back.checked, told.tally.read_back.landed), (1, 1, 0));
    assert!(told.tally.read_back.differing[0].still_there && told.tally.read_back.differing[0].key == "E4");
}

/// The id of a record that was found by one external id says nothing of the record that another one leads to.
#[tokio::test]
async fn an_id_learnt_under_another_identifier_is_not_used() {
    let mut world = World::new("upsert", 3).await;
    world.run_well().await;
    world.mode = "update";
    world.key = "id";
    let run = world.run().await;
    let engine = world.engine().await;
    let hash = run.plan_hash.unwrap();
    drive::run(&engine, &engine::started::RunRequest { approve: Some(hash), ..request() }).await.unwrap();
    world.rows.get_mut(&1).unwrap().name = "One".into();
    world.run_well().await;
    // Row 1 is corrected: it is the person with the external id E2, and row 2 is nobody's.
    world.rows.remove(&2);
    let row = world.rows.get_mut(&1).unwrap();
    (row.ext, row.name) = (Some("E2"), "Two".into());
    world.run_well().await;
    let there = world.contacts();
    assert_eq!(
        (there["E1"]["LastName"].as_str(), there["E2"]["LastName"].as_str()),
        (Some("One"), Some("Two")),
        "{there:?}"
    );
}
