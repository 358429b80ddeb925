//! What every queue does, whatever it is built on. A queue is a line in [`QUEUES`]; the cases know nothing
//! but the port, and each gets a queue with nothing in it. Nothing here relies on an order of messages.
#![allow(clippy::unwrap_used, clippy::type_complexity)]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::batch::{BatchHeader, Message};
use domain::fault::Code;
use domain::layout::Layout;
use domain::mode::Op;
use domain::ports::{BatchQueue, Delivery};
use embedded::MemoryQueue;
use tokio::time::sleep;

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Queue = Arc<dyn BatchQueue>;

/// How long a received message stays invisible.
const VISIBILITY: Duration = Duration::from_secs(3);
/// So far within that, that a machine under load does not matter.
const SOON: Duration = Duration::from_millis(500);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A name, and how to open a fresh one.
type Entry = (&'static str, fn() -> Task<Queue>);

/// The queues under test.
const QUEUES: &[Entry] = &[("embedded", || Box::pin(async { Arc::new(MemoryQueue::new(VISIBILITY)) as Queue }))];
/// Those that need a server.
const SERVED: &[Entry] = &[("aws", || Box::pin(async { Arc::new(support::aws::sqs(VISIBILITY).await) as Queue }))];

macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), |queue| Box::pin($case(queue)))),*] };
}

const CASES: &[(&str, fn(Queue) -> Task<()>)] = cases![
    a_message_comes_back_until_it_is_done,
    what_is_done_is_gone,
    a_delay_hides_a_message_and_no_longer,
    a_delay_of_nothing_shows_it_at_once,
    an_old_receipt_does_nothing,
    an_empty_queue_is_waited_for_and_then_given_up,
    who_waits_gets_what_is_sent,
    a_body_of_the_largest_size_goes_through,
    a_larger_body_is_refused,
    receivers_get_each_message_once,
    at_most_so_many_are_received,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_queue_passes_every_case() {
    every_case_of(QUEUES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn every_queue_with_a_server_passes_every_case() {
    every_case_of(SERVED).await;
}

async fn every_case_of(queues: &[Entry]) {
    // All at once: they spend their time waiting, and a real queue's clock cannot be turned.
    let mut running = Vec::new();
    for (name, open) in queues {
        for (case, run) in CASES {
            let queue = open().await;
            running.push((format!("{name}: {case}"), tokio::spawn(run(queue))));
        }
    }
    let mut failed = Vec::new();
    for (case, run) in running {
        if run.await.is_err() {
            failed.push(case);
        }
    }
    assert_eq!(failed, Vec::<String>::new());
}

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

/// Receives one message, which must come within [`LONG`].
async fn one(queue: &Queue) -> Delivery {
    let mut received = queue.receive(1, LONG).await.unwrap();
    assert_eq!(received.len(), 1);
    received.remove(0)
}

async fn nothing(queue: &Queue, wait: Duration) {
    assert_eq!(queue.receive(10, wait).await.unwrap(), []);
}

async fn a_message_comes_back_until_it_is_done(queue: Queue) {
    queue.send(message(7, vec![1, 0, 255])).await.unwrap();
    let mut receipts = BTreeSet::new();
    for receives in 1..=3 {
        let delivery = one(&queue).await;
        assert_eq!(delivery.message, message(7, vec![1, 0, 255]), "whole, every time");
        assert_eq!(delivery.receives, receives);
        assert!(receipts.insert(delivery.receipt.0), "every delivery has a receipt of its own");
        nothing(&queue, SOON).await;
    }
}

async fn what_is_done_is_gone(queue: Queue) {
    queue.send(message(1, vec![1])).await.unwrap();
    let delivery = one(&queue).await;
    queue.done(&delivery.receipt).await.unwrap();
    queue.done(&delivery.receipt).await.unwrap();
    queue.delay(&delivery.receipt, Duration::ZERO).await.ok();
    nothing(&queue, VISIBILITY * 2).await;
}

async fn a_delay_hides_a_message_and_no_longer(queue: Queue) {
    queue.send(message(1, vec![1])).await.unwrap();
    queue.delay(&one(&queue).await.receipt, VISIBILITY + SOON).await.unwrap();
    nothing(&queue, VISIBILITY).await;
    let again = one(&queue).await;
    assert_eq!(again.receives, 2);
    queue.delay(&again.receipt, SOON).await.unwrap();
    // The receipt of a delivery is good until the next one.
    queue.done(&again.receipt).await.unwrap();
    nothing(&queue, VISIBILITY).await;
}

async fn a_delay_of_nothing_shows_it_at_once(queue: Queue) {
    queue.send(message(1, vec![1])).await.unwrap();
    let first = one(&queue).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.receive(1, VISIBILITY - SOON).await.unwrap() }
    });
    sleep(Duration::from_millis(10)).await;
    queue.delay(&first.receipt, Duration::ZERO).await.unwrap();
    assert_eq!(waiting.await.unwrap().len(), 1, "before its visibility time is over");
}

async fn an_old_receipt_does_nothing(queue: Queue) {
    queue.send(message(1, vec![1])).await.unwrap();
    let first = one(&queue).await;
    let second = one(&queue).await;
    assert_eq!(second.receives, 2);
    queue.done(&first.receipt).await.ok();
    assert_eq!(one(&queue).await.receives, 3, "the slow receiver's `done` does not take it from the next");
}

async fn an_empty_queue_is_waited_for_and_then_given_up(queue: Queue) {
    nothing(&queue, Duration::ZERO).await;
    nothing(&queue, SOON).await;
    queue.send(message(1, vec![1])).await.unwrap();
    assert_eq!(queue.receive(10, Duration::ZERO).await.unwrap().len(), 1, "what is there needs no wait");
}

async fn who_waits_gets_what_is_sent(queue: Queue) {
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { one(&queue).await.message.header.number })
        })
        .collect();
    sleep(Duration::from_millis(10)).await;
    for number in 0..4 {
        queue.send(message(number, vec![1])).await.unwrap();
    }
    let mut received = BTreeSet::new();
    for task in waiting {
        received.insert(task.await.unwrap());
    }
    assert_eq!(received, BTreeSet::from([0, 1, 2, 3]));
}

async fn a_body_of_the_largest_size_goes_through(queue: Queue) {
    let body: Vec<u8> = (0..queue.max_body_bytes()).map(|i| (i % 251) as u8).collect();
    queue.send(message(1, body.clone())).await.unwrap();
    assert!(one(&queue).await.message.body == body);
}

async fn a_larger_body_is_refused(queue: Queue) {
    let fault = queue.send(message(5, vec![0; queue.max_body_bytes() + 1])).await.unwrap_err();
    assert_eq!(fault.code, Code::QueueUnusable);
    nothing(&queue, Duration::ZERO).await;
}

async fn receivers_get_each_message_once(queue: Queue) {
    const MESSAGES: u32 = 400;
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                loop {
                    let received = queue.receive(3, SOON).await.unwrap();
                    if received.is_empty() {
                        return numbers;
                    }
                    for delivery in received {
                        numbers.push(delivery.message.header.number);
                        queue.done(&delivery.receipt).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for number in 0..MESSAGES {
        queue.send(message(number, vec![1])).await.unwrap();
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut numbers = Vec::new();
    for receiver in receivers {
        numbers.extend(receiver.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>());
}

async fn at_most_so_many_are_received(queue: Queue) {
    for number in 0..10 {
        queue.send(message(number, vec![1])).await.unwrap();
    }
    let mut numbers = BTreeSet::new();
    while numbers.len() < 10 {
        let received = queue.receive(4, SOON).await.unwrap();
        assert!((1..=4).contains(&received.len()));
        numbers.extend(received.into_iter().map(|delivery| delivery.message.header.number));
    }
}
