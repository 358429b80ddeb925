//! Ticks that meet: two extractors begun by one, a run that nobody goes on with.

use std::time::Duration;

use aws::telemetry::Metrics;
use domain::fault::Code;
use domain::run::Status;
use support::page::Page;

use crate::rig::{Rig, event, with_bodies};

const MESSAGE: usize = 262_144;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn extractors_begun_by_one_tick_at_the_same_time_make_one_run() {
    let rig = Rig::new(40, MESSAGE).await;
    // Each a process of its own, as Lambda begins them; two are the same invocation, tried again too early.
    let twins = [rig.another_extractor(), rig.another_extractor(), rig.another_extractor()];
    let extract = |extractor, invocation| rig.extract_by(extractor, event("extractor/scheduled.json"), invocation);
    let answers = tokio::join!(extract(&twins[0], "i1"), extract(&twins[1], "i1"), extract(&twins[2], "i2"));
    let answers = [answers.0.unwrap(), answers.1.unwrap(), answers.2.unwrap()];
    let (begun, skipped): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.get("run").is_some());
    assert_eq!(begun.len(), 1, "{answers:?}");
    assert!(
        skipped
            .iter()
            .all(|answer| ["already_run", "run_active"].contains(&answer["skipped"]["code"].as_str().unwrap())),
        "{skipped:?}"
    );
    rig.deliver().await;
    let (skipped, runs): (Vec<_>, Vec<_>) = rig.runs().await.into_iter().partition(|run| run.status == Status::Skipped);
    assert_eq!((runs.len(), runs[0].status, runs[0].tally.accepted()), (1, Status::Complete, 40));
    assert!(
        skipped
            .iter()
            .all(|run| run.fault.as_ref().unwrap().code == Code::RunActive && run.tally == Default::default()),
        "{skipped:?}"
    );
    assert_eq!((rig.double.records().len(), rig.double.duplicates()), (40, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn an_abandoned_run_is_taken_over_and_its_messages_change_nothing() {
    let mut rig = Rig::new(10, MESSAGE).await;
    rig.extract(event("extractor/scheduled.json"), "i1").await.unwrap();
    let mut texts = rig.take(&rig.queue).await;
    texts.sort();
    assert_eq!(texts.len(), 2);
    // Half of it is delivered. The other message is lost for a while, and a tick comes: too early, then late enough.
    assert_eq!(rig.write(with_bodies("writer/one.json", &[&texts[0]])).await, Vec::<String>::new());
    let early = rig.extract(event("extractor/rule.json"), "i2").await.unwrap();
    assert_eq!(early["skipped"]["code"], "run_active", "{early}");
    rig.extractor.settings.common.stall = Duration::ZERO;
    let said = Page::default();
    rig.extractor.metrics = Metrics::with_writer("sluicegate", said.clone());
    rig.sql("update contacts set email = 'newer' where id <= 10");
    let later = rig.extract(event("extractor/manual.json"), "i3").await.unwrap();
    assert_eq!(
        later["run"]["counts"]["changed"].as_u64().unwrap() + later["run"]["counts"]["added"].as_u64().unwrap(),
        10,
        "{later}"
    );
    rig.deliver().await;
    let runs = rig.runs().await;
    assert_eq!((runs[0].status, runs[0].tally.accepted(), runs[1].status), (Status::Complete, 10, Status::Incomplete));
    assert_eq!(runs[1].fault.as_ref().map(|fault| fault.code), Some(Code::Stalled));
    assert!(runs[1].tally.accepted() == 5 && runs[1].tally.unsent == 5, "{:?}", runs[1].tally);
    assert_eq!(
        (said.sum("RunsStarted"), said.sum("RunsIncomplete"), said.sum("RecordsUnsent")),
        (1.0, 1.0, 5.0),
        "who watches is told of it"
    );
    // The message that was lost comes after all, with what the records were then.
    let count = rig.double.count();
    assert_eq!(rig.write(with_bodies("writer/redriven.json", &[&texts[1]])).await, Vec::<String>::new());
    assert_eq!(rig.double.count(), count);
    assert!(rig.double.records().values().all(|record| record["email"] == "newer"));
}
