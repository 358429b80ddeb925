//! The events of the extractor.

use domain::fault::Code;
use domain::run::{Status, Trigger};
use serde_json::json;

use crate::rig::{Rig, SYNC, event};

pub const TESTED: &[&str] = &[
    "approve",
    "check",
    "dry-run",
    "explain",
    "full",
    "manual",
    "not-for-us",
    "other-system",
    "other-system-failed",
    "resume",
    "rule",
    "scheduled",
    "unknown-sync",
    "watch",
];

const MESSAGE: usize = 262_144;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_tick_begins_one_run_however_often_it_comes() {
    let rig = Rig::new(12, MESSAGE).await;
    for (file, tick) in
        [("scheduled", "1f6c8a52-0b1e-4f0e-9d3c-7c1f2d9a4b60"), ("rule", "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa")]
    {
        let event = event(&format!("extractor/{file}.json"));
        let answer = rig.extract(event.clone(), "i1").await.unwrap();
        assert_eq!(answer["run"]["sync"], SYNC, "{file}: {answer}");
        let busy = rig.extract(event.clone(), "i1").await.unwrap();
        assert_eq!(busy["skipped"]["code"], "already_run", "{file}: {busy}");
        rig.deliver().await;
        let run = rig.run().await;
        assert_eq!((run.status, run.trigger), (Status::Complete, Trigger::Schedule { tick: tick.into() }), "{file}");
        assert_eq!(rig.extract(event, "i2").await.unwrap()["skipped"]["code"], "already_run", "{file}");
    }
    assert_eq!((rig.runs().await.len(), rig.double.records().len(), rig.double.duplicates()), (2, 12, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_run_asked_for_by_hand_happens_also_while_paused() {
    let rig = Rig::new(3, MESSAGE).await;
    rig.extractor.definitions.set_paused(SYNC, true, crate::rig::now()).await.unwrap();
    let tick = rig.extract(event("extractor/scheduled.json"), "i0").await.unwrap();
    assert_eq!(tick["skipped"]["code"], "paused");
    assert!(rig.runs().await.is_empty());
    rig.extract(event("extractor/manual.json"), "i1").await.unwrap();
    rig.deliver().await;
    assert_eq!((rig.run().await.status, rig.double.records().len()), (Status::Complete, 3));
    rig.extract(event("extractor/full.json"), "i2").await.unwrap();
    let full = rig.run().await;
    assert!(full.full && full.status == Status::Complete && full.counts.unchanged == 3, "{full:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn questions_are_answered_and_write_nothing() {
    let rig = Rig::new(5, MESSAGE).await;
    let plan = rig.extract(event("extractor/dry-run.json"), "i1").await.unwrap();
    assert_eq!((&plan["plan"]["counts"]["added"], &plan["plan"]["sync"]), (&json!(5), &json!(SYNC)), "{plan}");
    let check = rig.extract(event("extractor/check.json"), "i2").await.unwrap();
    assert_eq!(check["check"]["ok"], true, "{check}");
    let explained = rig.extract(event("extractor/explain.json"), "i3").await.unwrap();
    assert_eq!(explained["explain"]["record"]["email"], "c4@example.com", "{explained}");
    assert!(rig.runs().await.is_empty() && rig.double.count() == 0);
    assert_eq!(rig.store().head(SYNC).await.unwrap().generation, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_guard_is_overruled_for_the_plan_that_was_looked_at() {
    let rig = Rig::new(150, MESSAGE).await;
    rig.extract(event("extractor/manual.json"), "i1").await.unwrap();
    rig.deliver().await;
    rig.sql("update contacts set email = 'changed' || id");
    let blocked = rig.extract(event("extractor/manual.json"), "i2").await.unwrap();
    assert_eq!(blocked["run"]["status"], "blocked", "{blocked}");
    let mut approve = event("extractor/approve.json");
    let other = rig.extract(approve.clone(), "i3").await.unwrap();
    assert_eq!(other["run"]["fault"]["code"], "plan_changed", "the file's hash is that of another plan: {other}");
    let plan = rig.extract(event("extractor/dry-run.json"), "i4").await.unwrap();
    approve["approve"] = plan["plan"]["plan_hash"].clone();
    rig.extract(approve, "i5").await.unwrap();
    rig.deliver().await;
    assert_eq!((rig.run().await.status, rig.run().await.tally.accepted()), (Status::Complete, 150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn events_of_other_systems_concern_those_who_wait_for_them() {
    let rig = Rig::new(1, MESSAGE).await;
    for file in ["other-system-failed", "not-for-us"] {
        assert_eq!(
            rig.extract(event(&format!("extractor/{file}.json")), "i1").await.unwrap(),
            json!({ "started": [] }),
            "{file}"
        );
    }
    // The function that the sync would run in does not exist here: that it is asked for shows in the fault.
    let fault = rig.extract(event("extractor/other-system.json"), "i2").await.unwrap_err();
    assert!(fault.what.contains("nobody"), "{fault}");
    // What the extractor sends to itself then.
    let caused = extractor::trigger::event_trigger(SYNC, "6a7e8feb-b491-4cf7-a9f1-bf3703467718");
    for invocation in ["i3", "i4"] {
        rig.extract(caused.clone(), invocation).await.unwrap();
        rig.deliver().await;
    }
    assert_eq!(rig.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_run_that_is_over_is_not_resumed() {
    let rig = Rig::new(7, MESSAGE).await;
    let mut resume = event("extractor/resume.json");
    assert_eq!(rig.extract(resume.clone(), "i1").await.unwrap_err().code, Code::NotFound, "its version is not known");
    resume["version"] = rig.definition.sync.version().into();
    assert_eq!(rig.extract(resume.clone(), "i1").await.unwrap_err().code, Code::NotFound, "its run is not known");
    rig.extract(event("extractor/manual.json"), "i2").await.unwrap();
    rig.deliver().await;
    let run = rig.run().await;
    (resume["resume"]["run"], resume["resume"]["generation"]) = (run.id.clone().into(), run.generation.into());
    let answer = rig.extract(resume, "i3").await.unwrap();
    assert_eq!((&answer["run"]["id"], &answer["run"]["status"]), (&json!(run.id), &json!("complete")), "{answer}");
    assert_eq!(rig.take(&rig.queue).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_sync_that_is_not_there_is_named() {
    let rig = Rig::new(1, MESSAGE).await;
    let fault = rig.extract(event("extractor/unknown-sync.json"), "i1").await.unwrap_err();
    assert!(
        fault.code == Code::NotFound && fault.what.contains("crm-kontacts") && fault.next_step().contains("apply"),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_secret_that_is_missing_fails_a_run_that_everyone_can_see() {
    let mut rig = Rig::new(1, MESSAGE).await;
    rig.definition.destination.config["headers"] = json!({ "authorization": "Bearer ${secret:sluicegate/none#token}" });
    rig.extractor.definitions.put(&rig.definition, crate::rig::now()).await.unwrap();
    let answer = rig.extract(event("extractor/manual.json"), "i1").await.unwrap();
    assert_eq!(
        (&answer["run"]["status"], &answer["run"]["fault"]["code"]),
        (&json!("failed"), &json!("secret_missing")),
        "{answer}"
    );
    assert!(answer["run"]["fault"]["what"].as_str().unwrap().contains("sluicegate/none"), "{answer}");
    assert_eq!(rig.runs().await.len(), 1);
    assert!(rig.store().head(SYNC).await.unwrap().active.is_none(), "the next run may begin");
}
