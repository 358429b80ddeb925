//! The events of the writer. The texts of the messages are those of a run that the extractor has just planned.

use std::sync::Arc;
use std::time::Duration;

use aws::telemetry::Metrics;
use domain::run::Status;
use support::double::{Behaviour, RetryAfter};
use support::page::Page;

use crate::rig::{Rig, event, ids, with_bodies};

pub const TESTED: &[&str] =
    &["delivered-again", "one", "pointer", "redriven", "several-one-poisoned", "throttled", "unreadable"];

const MESSAGE: usize = 262_144;
const NONE: [String; 0] = [];

/// A stack whose extractor has just planned a run: the texts of its messages.
async fn planned(rows: u32, message: usize) -> (Rig, Vec<String>) {
    let rig = Rig::new(rows, message).await;
    rig.extract(event("extractor/manual.json"), "i1").await.unwrap();
    let mut texts = rig.take(&rig.queue).await;
    texts.sort();
    (rig, texts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_batch_is_delivered_once_however_often_it_comes() {
    let (rig, texts) = planned(5, MESSAGE).await;
    assert_eq!(rig.write(with_bodies("writer/one.json", &[&texts[0]])).await, NONE);
    assert_eq!((rig.run().await.status, rig.double.records().len(), rig.double.count()), (Status::Complete, 5, 1));
    assert_eq!(rig.write(with_bodies("writer/delivered-again.json", &[&texts[0]])).await, NONE);
    assert_eq!(rig.double.count(), 1);
    // A newer run makes it old.
    rig.sql("update contacts set email = 'new' where id = 1");
    rig.extract(event("extractor/manual.json"), "i2").await.unwrap();
    rig.deliver().await;
    let (count, head) = (rig.double.count(), rig.store().head(crate::rig::SYNC).await.unwrap());
    assert_eq!(rig.write(with_bodies("writer/redriven.json", &[&texts[0]])).await, NONE);
    assert_eq!(
        (rig.double.count(), rig.store().head(crate::rig::SYNC).await.unwrap()),
        (count, head),
        "nothing was sent, nothing moved"
    );
    assert_eq!(rig.take(&rig.dlq).await, NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_poisoned_message_takes_no_other_along() {
    let (rig, texts) = planned(15, MESSAGE).await;
    let cut = &texts[1][..texts[1].len() - 40];
    assert_eq!(rig.write(with_bodies("writer/several-one-poisoned.json", &[&texts[0], cut, &texts[2]])).await, NONE);
    assert_eq!((rig.double.count(), rig.double.records().len()), (2, 10));
    assert_eq!(rig.take(&rig.dlq).await, [cut]);
    assert_eq!(rig.run().await.status, Status::Running, "its batch is not done, and nobody says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn what_is_no_batch_is_set_aside() {
    let (rig, _) = planned(1, MESSAGE).await;
    let unreadable = event("writer/unreadable.json");
    let text = unreadable["Records"][0]["body"].as_str().unwrap().to_owned();
    assert_eq!(rig.write(unreadable).await, NONE);
    assert_eq!(rig.take(&rig.dlq).await, [text]);
    assert_eq!(rig.double.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_batch_larger_than_a_message_comes_from_the_bucket() {
    let rig = Rig::new(0, 4096).await;
    let long = "x".repeat(2000);
    rig.sql(&format!("delete from contacts; insert into contacts values (1, '{long}'), (2, '{long}'), (3, '{long}')"));
    rig.extract(event("extractor/manual.json"), "i1").await.unwrap();
    let texts = rig.take(&rig.queue).await;
    assert!(texts.len() == 1 && texts[0].len() < 4096, "it points at the bucket");
    assert_eq!(rig.write(with_bodies("writer/pointer.json", &[&texts[0]])).await, NONE);
    assert_eq!((rig.run().await.status, rig.double.records().len()), (Status::Complete, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_throttled_batch_waits_and_uses_up_no_attempt() {
    let (mut rig, texts) = planned(5, MESSAGE).await;
    let said = Page::default();
    rig.writer.metrics = Arc::new(Metrics::with_writer("sluicegate", said.clone()));
    let throttled = with_bodies("writer/throttled.json", &[&texts[0]]);
    rig.double.answer(Behaviour::retry_after(429, RetryAfter::Seconds(0.1)));
    for round in 1..=12 {
        assert_eq!(rig.write(throttled.clone()).await, ids(&throttled));
        assert_eq!(rig.double.count(), round, "it was tried");
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    rig.double.recover();
    assert_eq!(rig.write(throttled).await, NONE);
    let run = rig.run().await;
    assert_eq!((run.status, run.tally.accepted(), run.tally.throttled), (Status::Complete, 5, 12), "{run:?}");
    // Who watches sees every request, and every time that it was too many.
    assert_eq!((said.sum("Requests"), said.sum("Throttles"), said.sum("RecordsAccepted")), (13.0, 12.0, 5.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_batch_of_a_sync_that_was_deleted_is_set_aside() {
    let (rig, texts) = planned(1, MESSAGE).await;
    let message = rig.writer.queue.read(&texts[0]).await.unwrap();
    let header = domain::batch::BatchHeader { sync_version: "0000000000000000".into(), ..message.header };
    let text = rig.text_of(domain::batch::Message { header, body: message.body }).await;
    assert_eq!(rig.write(with_bodies("writer/one.json", &[&text])).await, NONE);
    assert_eq!(rig.take(&rig.dlq).await, [text]);
}
