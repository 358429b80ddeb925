//! Whole syncs by Bulk API 2.0 jobs, and single jobs.

use domain::batch::WriteBatch;
use domain::job::Poll;
use domain::mode::Op;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::Destination;
use domain::run::Status;
use domain::value::{Type, Value as Cell};
use doubles::salesforce::Fail;
use serde_json::json;

use crate::rig::{Batch, World, open, start};

/// A sync whose plans of more than 300 records go by jobs of 250.
async fn by_jobs(mode: &'static str, rows: i64) -> World {
    World { config: json!({ "jobs_above": 100, "job_records": 250 }), ..World::new(mode, rows).await }
}

/// What an org does to jobs on a bad day.
fn misbehave(world: &World) {
    let mut org = world.double.org();
    (org.locks_every, org.leaves_unprocessed, org.rows_of_a_page, org.polls_of_a_job) = (Some(50), 5, 40, 3);
    org.fails.extend([Fail::With(503, "SERVER_UNAVAILABLE")]);
    org.fails_every = Some((11, Fail::After));
}

#[tokio::test]
async fn every_row_of_every_job_is_accounted_for() {
    let mut world = by_jobs("mirror", 900).await;
    misbehave(&world);
    let run = world.run_well().await;
    assert_eq!(run.tally.accepted(), 900);
    assert!(run.tally.retried > 0, "rows were locked, or left unprocessed");
    world.assert_arrived();
    assert!(world.double.org().count("job") > 0);
    assert!(
        world.double.org().uploads.iter().all(|parents| parents.is_sorted()),
        "rows of one parent are next to each other"
    );

    world.double.org().recover();
    let before = world.double.org().rows;
    world.run_well().await;
    assert_eq!(world.double.org().rows, before, "nothing changed, so nothing was sent");

    (1..=300).for_each(|id| drop(world.rows.remove(&id)));
    (301..=600).for_each(|id| {
        (world.rows.get_mut(&id).unwrap().account, world.rows.get_mut(&id).unwrap().score) = (None, None)
    });
    misbehave(&world);
    world.run_well().await;
    world.assert_arrived();
    assert_eq!(world.double.org().count("query"), 0, "deletes went by the record ids that jobs had given");
}

#[tokio::test]
async fn every_request_of_a_job_is_counted_and_none_is_for_nothing() {
    let mut world = by_jobs("upsert", 500).await;
    let run = world.run_well().await;
    // Two jobs: create, upload, look and start, look, the last look, and the rows that went well: no row failed.
    assert_eq!((world.double.org().count("job"), run.tally.requests), (14, 14));
    world.add(501, 750);
    world.rows.get_mut(&750).unwrap().name = "forbidden".into();
    let run = world.run().await;
    assert_eq!(
        (world.double.org().count("job"), run.tally.requests),
        (14 + 8, 8),
        "those that failed are asked for, too"
    );
}

#[tokio::test]
async fn a_job_tells_each_bad_row_from_the_good_ones() {
    let mut world = by_jobs("upsert", 400).await;
    world.rows.get_mut(&7).unwrap().name = "forbidden".into();
    world.rows.get_mut(&8).unwrap().account = Some("Z");
    let run = world.run().await;
    assert_eq!((run.status, run.tally.rejected, run.tally.created), (Status::Partial, 2, 398), "{:#?}", run.tally);
    assert_eq!(run.tally.reasons.keys().collect::<Vec<_>>(), ["FIELD_CUSTOM_VALIDATION_EXCEPTION", "INVALID_FIELD"]);
    world.rows.remove(&7);
    world.rows.remove(&8);
    world.assert_arrived();
}

#[tokio::test]
async fn appended_rows_are_matched_by_what_they_echo() {
    let world = by_jobs("append", 400).await;
    world.double.org().locks_every = Some(60);
    let run = world.run_well().await;
    assert_eq!(run.tally.created, 400);
    world.assert_arrived();
}

#[tokio::test]
async fn rows_without_an_identifier_stand_for_each_other() {
    let double = start().await;
    let to = open(&double, "Contact", json!({ "jobs_above": 1 }), json!({})).await;
    let batch =
        Batch::new(&[("LastName", Type::Text, false)], &["a", "forbidden", "b\r\nc", "a"].map(|n| vec![Cell::Text(n)]));
    let records = batch.records();
    let outcomes = done(&*to, &WriteBatch { sync: "crm", op: Op::Append, layout: &batch.layout, records: &records })
        .await
        .unwrap();
    let good: Vec<bool> =
        outcomes.iter().map(|o| matches!(o, Outcome::Accepted { effect: Effect::Created, .. })).collect();
    assert_eq!(good, [true, false, true, true], "{outcomes:?}");
    assert_eq!(double.org().object("Contact").records().len(), 3);
}

const FIELDS: [(&str, Type, bool); 3] =
    [("Ext__c", Type::Text, true), ("LastName", Type::Text, false), ("Score__c", Type::Int, false)];

fn contacts(count: i64) -> Batch {
    let names: Vec<String> = (0..count).map(|n| format!("E{n}")).collect();
    Batch::new(&FIELDS, &names.iter().map(|n| vec![Cell::Text(n), Cell::Text(n), Cell::Int(1)]).collect::<Vec<_>>())
}

/// Submits a batch and asks until it is done.
async fn done(to: &dyn Destination, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
    let jobs = to.jobs().unwrap();
    assert!(jobs.takes(batch));
    let ticket = jobs.submit(batch).await.result?;
    loop {
        if let Poll::Finished(outcomes) = jobs.poll(&ticket, batch).await.result? {
            let again = jobs.poll(&ticket, batch).await.result?;
            assert_eq!(again, Poll::Finished(outcomes.clone()), "a poll can be repeated");
            assert_eq!(outcomes.len(), batch.records.len());
            return Ok(outcomes);
        }
    }
}

#[tokio::test]
async fn a_job_begins_with_the_first_poll() {
    let double = start().await;
    let to = open(&double, "Contact", json!({ "jobs_above": 1 }), json!({})).await;
    let batch = contacts(10);
    let records = batch.records();
    let batch = WriteBatch { sync: "crm", op: Op::Upsert, layout: &batch.layout, records: &records };
    let before = double.org().rows;
    to.jobs().unwrap().submit(&batch).await.result.unwrap();
    assert_eq!(double.org().rows, before, "a ticket that was lost had no effect");
    let outcomes = done(&*to, &batch).await.unwrap();
    assert!(outcomes.iter().all(
        |o| matches!(o, Outcome::Accepted { effect: Effect::Created, record_id: Some(id) } if id.starts_with("003"))
    ));
    let outcomes = done(&*to, &batch).await.unwrap();
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Accepted { effect: Effect::Updated, .. })));
}

#[tokio::test]
async fn what_a_job_cannot_do_goes_by_collections() {
    let double = start().await;
    let to = open(&double, "Contact", json!({ "jobs_above": 2 }), json!({})).await;
    let takes = |batch: &Batch, op| {
        let records = batch.records();
        to.jobs().unwrap().takes(&WriteBatch { sync: "crm", op, layout: &batch.layout, records: &records })
    };
    let three = contacts(3);
    assert!(takes(&three, Op::Upsert) && takes(&three, Op::Append) && !takes(&contacts(2), Op::Upsert));
    assert!(!takes(&three, Op::Update) && !takes(&three, Op::Delete), "no record id is known");
    assert!(takes(&contacts(3).with_ids(&[Some("003a"), Some("003b"), Some("003c")]), Op::Delete));
    let odd = Batch::new(&FIELDS, &["1", "2", "#N/A"].map(|n| vec![Cell::Text(n), Cell::Text(n), Cell::Int(1)]));
    assert!(!takes(&odd, Op::Upsert), "the text that clears can only be written by a collection");
    assert!(odd.write(&*to, Op::Upsert).await.unwrap().iter().all(|o| matches!(o, Outcome::Accepted { .. })));
    assert_eq!(double.org().object("Contact").records_by("Ext__c")["#N/A"]["LastName"], "#N/A");
}

#[tokio::test]
async fn a_failed_job_is_refused_and_a_lost_one_unknown() {
    let double = start().await;
    let to = open(&double, "Contact", json!({ "jobs_above": 1 }), json!({})).await;
    let fields = [("Ext__c", Type::Text, true), ("LastNam", Type::Text, false)];
    let batch = Batch::new(&fields, &["1", "2"].map(|n| vec![Cell::Text(n), Cell::Text(n)]));
    let records = batch.records();
    let batch = WriteBatch { sync: "crm", op: Op::Upsert, layout: &batch.layout, records: &records };
    let error = done(&*to, &batch).await.unwrap_err();
    assert!(
        matches!(&error, WriteError::Refused { detail, .. } if detail.contains("Field name not found : LastNam")),
        "{error:?}"
    );
    let gone = to.jobs().unwrap().poll(&domain::job::Ticket("750000000000999AAA".into()), &batch).await.result.unwrap();
    assert_eq!(gone, Poll::Finished(vec![Outcome::unmentioned(); 2]));
}

#[tokio::test]
async fn rows_that_share_what_they_are_found_by() {
    let double = start().await;
    let to = open(&double, "Contact", json!({ "jobs_above": 1 }), json!({})).await;
    let batch =
        Batch::new(&FIELDS, &["1", "x", "X", "1", "3", "4"].map(|n| vec![Cell::Text(n), Cell::Text(n), Cell::Null]));
    let records = batch.records();
    let outcomes = done(&*to, &WriteBatch { sync: "crm", op: Op::Upsert, layout: &batch.layout, records: &records })
        .await
        .unwrap();
    let code = |o: &Outcome| match o {
        Outcome::Rejected { code, .. } => code.clone(),
        Outcome::Accepted { .. } => "ok".into(),
        other => panic!("{other:?}"),
    };
    let codes: Vec<String> = outcomes.iter().map(code).collect();
    assert_eq!(
        codes,
        ["duplicate_identifier", "DUPLICATE_VALUE", "DUPLICATE_VALUE", "duplicate_identifier", "ok", "ok"]
    );

    // Two records of the state that lead to one record there: one row deletes it, both are done.
    let ids = double.org().object("Contact").records_by("Ext__c");
    let (three, four) = (ids["3"]["Id"].as_str().unwrap(), ids["4"]["Id"].as_str().unwrap());
    let batch = Batch::new(&FIELDS[..1], &["3", "3b", "4"].map(|n| vec![Cell::Text(n)])).with_ids(&[
        Some(three),
        Some(three),
        Some(four),
    ]);
    let records = batch.records();
    let outcomes = done(&*to, &WriteBatch { sync: "crm", op: Op::Delete, layout: &batch.layout, records: &records })
        .await
        .unwrap();
    assert_eq!(outcomes, vec![Outcome::accepted(Effect::Deleted); 3]);
    assert!(double.org().object("Contact").records().is_empty());
}
