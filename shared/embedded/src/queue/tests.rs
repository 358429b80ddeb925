//! What is the memory queue's own: its bound in bytes, and time to the millisecond, which is turned here.
//! What every queue must do is in the contract suite.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::batch::{BatchHeader, Message};
use domain::layout::Layout;
use domain::mode::Op;
use domain::ports::{BatchQueue as _, Delivery};
use tokio::time::{Instant, sleep};

use super::MemoryQueue;

const VISIBILITY: Duration = Duration::from_secs(4);
const SOON: Duration = Duration::from_secs(2);

fn message(number: u32, body: Vec<u8>) -> Message {
    let header = BatchHeader {
        sync: "s".into(),
        sync_version: "v1".into(),
        run: "r1".into(),
        generation: 3,
        number,
        op: Op::Upsert,
        records: 1,
        sample_below: 0,
        bucket_bits: 4,
        layout: Layout::new(Vec::new()),
    };
    Message { header, body: body.into() }
}

async fn one(queue: &MemoryQueue) -> Delivery {
    let mut received = queue.receive(1, Duration::from_secs(20)).await.unwrap();
    assert_eq!(received.len(), 1);
    received.remove(0)
}

/// A queue with room for one body of 10,000 bytes.
fn narrow() -> Arc<MemoryQueue> {
    Arc::new(MemoryQueue::new(VISIBILITY).with_bytes(12_000).with_max_body_bytes(50_000))
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_senders_wait_until_there_is_room() {
    let queue = narrow();
    queue.send(message(0, vec![0; 10_000])).await.unwrap();
    let senders: Vec<_> = (1..4)
        .map(|number| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.send(message(number, vec![0; 10_000])).await.unwrap() })
        })
        .collect();
    sleep(SOON).await;
    assert!(senders.iter().all(|sender| !sender.is_finished()));
    let first = one(&queue).await;
    sleep(Duration::from_millis(10)).await;
    assert!(senders.iter().all(|sender| !sender.is_finished()), "received is not done: it is still held");
    queue.done(&first.receipt).await.unwrap();
    let mut numbers = BTreeSet::from([first.message.header.number]);
    for _ in 0..3 {
        let delivery = one(&queue).await;
        assert!(numbers.insert(delivery.message.header.number));
        queue.done(&delivery.receipt).await.unwrap();
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(numbers, BTreeSet::from([0, 1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_queue_goes_through_when_it_is_empty() {
    let queue = narrow();
    for number in 0..3 {
        queue.send(message(number, vec![0; 50_000])).await.unwrap();
        let waiting = tokio::time::timeout(SOON, queue.send(message(9, vec![0; 100]))).await;
        assert!(waiting.is_err(), "it fills the queue");
        let delivery = one(&queue).await;
        assert_eq!(delivery.message.header.number, number, "a sender that gave up left nothing behind");
        queue.done(&delivery.receipt).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_gives_up_takes_no_wake_up_with_it() {
    let queue = narrow();
    for number in 0..50 {
        let [gives_up, waits] = [1, 2].map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { one(&queue).await })
        });
        sleep(Duration::from_millis(1)).await;
        queue.send(message(number, vec![1])).await.unwrap();
        gives_up.abort();
        // Aborted before or after it took the message: in either case the other one gets it in time.
        let delivery = waits.await.unwrap();
        assert_eq!(delivery.message.header.number, number);
        queue.done(&delivery.receipt).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_come_back_exactly_when_they_are_due() {
    let queue = narrow();
    let begun = Instant::now();
    queue.send(message(1, vec![1])).await.unwrap();
    one(&queue).await;
    let again = one(&queue).await;
    assert_eq!((begun.elapsed(), again.receives), (VISIBILITY, 2));
    queue.delay(&again.receipt, Duration::from_secs(9)).await.unwrap();
    let late = one(&queue).await;
    assert_eq!((begun.elapsed(), late.receives), (VISIBILITY + Duration::from_secs(9), 3));
    queue.done(&late.receipt).await.unwrap();
    let idle = Instant::now();
    assert_eq!(queue.receive(5, SOON).await.unwrap(), []);
    assert_eq!(idle.elapsed(), SOON);
}

#[tokio::test(start_paused = true)]
async fn who_waits_already_learns_when_a_message_comes_back() {
    let queue = narrow();
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { one(&queue).await }
    });
    sleep(Duration::from_millis(1)).await;
    // Taken by this receiver before the other one has run: that one is left with a time to look again.
    queue.send(message(1, vec![1])).await.unwrap();
    let taken = queue.receive(1, Duration::ZERO).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(waiting.await.unwrap().receives, 2);
}
