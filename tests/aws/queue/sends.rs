//! Sending: together, throttled, refused in part, too large for a message.

use std::collections::BTreeSet;

use aws::queue::QueueUrls;
use domain::fault::{Code, Fault};
use futures_util::future::join_all;
use support::aws::{bucket, clients, queue};
use support::proxy::Harm;

use super::*;

const VISIBILITY: Duration = Duration::from_secs(60);
const SEND: &str = "SendMessageBatch";

async fn send(queue: &SqsQueue, numbers: std::ops::Range<u32>) -> Vec<Result<(), Fault>> {
    join_all(numbers.map(|number| queue.send(message(number, &["a"])))).await
}

/// The numbers of everything in the queue, each as often as it is there.
async fn received(queue: &SqsQueue) -> Vec<u32> {
    let mut out = Vec::new();
    loop {
        let deliveries = queue.receive(10, Duration::from_secs(1)).await.unwrap();
        if deliveries.is_empty() {
            out.sort_unstable();
            return out;
        }
        out.extend(deliveries.iter().map(|delivery| delivery.message.header.number));
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn messages_sent_at_once_share_requests() {
    let (queue, proxy) = harmed(VISIBILITY).await;
    assert!(send(&queue, 0..40).await.iter().all(Result::is_ok));
    assert_eq!(proxy.requests(SEND), 4);
    assert_eq!(received(&queue).await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_throttled_send_is_tried_again() {
    let (queue, proxy) = harmed(VISIBILITY).await;
    proxy.plan(SEND, Harm::Refuse(400, "ThrottlingException", "Rate exceeded"), 2);
    assert!(send(&queue, 0..3).await.iter().all(Result::is_ok));
    assert!(proxy.all_done());
    assert_eq!(received(&queue).await, [0, 1, 2]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_send_throttled_for_good_is_a_fault_for_each_message() {
    let (queue, proxy) = harmed(VISIBILITY).await;
    proxy.plan(SEND, Harm::Refuse(400, "ThrottlingException", "Rate exceeded"), 20);
    for sent in send(&queue, 0..3).await {
        let fault = sent.unwrap_err();
        assert_eq!(fault.code, Code::QueueUnusable);
        assert!(fault.what.contains("too many requests"), "{fault}");
    }
    assert!(received(&queue).await.is_empty());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_message_that_sqs_could_not_take_is_sent_again() {
    let (queue, proxy) = harmed(VISIBILITY).await;
    proxy.plan(SEND, Harm::LoseEntry(0), 1);
    // The second request has the lost message alone.
    proxy.plan(SEND, Harm::FailEntry(0, "InternalError", false), 1);
    for sent in send(&queue, 0..5).await {
        sent.unwrap();
    }
    assert!(proxy.all_done());
    let received = received(&queue).await;
    assert_eq!(received.iter().collect::<BTreeSet<_>>().len(), 5, "{received:?}");
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_message_that_is_refused_is_a_fault_of_its_sender_only() {
    let (queue, proxy) = harmed(VISIBILITY).await;
    proxy.plan(SEND, Harm::FailEntry(2, "InvalidMessageContents", true), 1);
    let sent = send(&queue, 0..5).await;
    let refused: Vec<_> = sent.iter().enumerate().filter_map(|(at, sent)| Some((at, sent.as_ref().err()?))).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!((refused[0].0, refused[0].1.code), (2, Code::QueueUnusable));
    assert!(refused[0].1.what.contains("InvalidMessageContents"), "{}", refused[0].1);
    assert_eq!(proxy.requests(SEND), 1);
    assert_eq!(received(&queue).await, [0, 1, 3, 4]);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn who_is_denied_is_told_the_permission() {
    let (queue, proxy) = harmed(VISIBILITY).await;
    proxy.plan(
        SEND,
        Harm::Refuse(
            403,
            "AccessDeniedException",
            "User u is not authorized to perform: sqs:SendMessage on resource: q",
        ),
        1,
    );
    let fault = queue.send(message(1, &["a"])).await.unwrap_err();
    assert_eq!(fault.code, Code::QueueUnusable);
    assert!(
        fault.what.contains("User u is not authorized") && fault.next_step().contains("sqs:SendMessage"),
        "{fault}"
    );
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_queue_that_is_missing_says_so() {
    let clients = clients().await;
    let fault = QueueUrls::new(&clients, "no-such-stack-").url("hubspot").await.unwrap_err();
    assert_eq!(fault.code, Code::QueueUnusable);
    assert!(
        fault.what.contains("`no-such-stack-hubspot` does not exist") && fault.next_step().contains("Deploy the stack"),
        "{fault}"
    );
    let url = format!("{}-gone", queue(VISIBILITY).await);
    let gone = SqsQueue::new(&clients, &url, &bucket().await, MESSAGE_BYTES);
    for fault in [gone.send(message(1, &["a"])).await.unwrap_err(), gone.receive(1, Duration::ZERO).await.unwrap_err()]
    {
        assert!(fault.what.contains("does not exist"), "{fault}");
    }
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_url_is_looked_up_once() {
    let proxy = Proxy::start(endpoint()).await;
    let url = queue(VISIBILITY).await;
    let name = url.rsplit('/').next().unwrap();
    let urls = QueueUrls::new(&Clients::emulator(&proxy.url).await, &name[..2]);
    for _ in 0..2 {
        assert!(urls.url(&name[2..]).await.unwrap().ends_with(name));
    }
    assert_eq!(proxy.requests("GetQueueUrl"), 1);
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn a_large_body_goes_through_the_bucket_and_is_removed_when_done() {
    let (clients, bucket) = (clients().await, bucket().await);
    let url = queue(VISIBILITY).await;
    let queue = SqsQueue::new(&clients, &url, &bucket, MESSAGE_BYTES);
    let objects = async || {
        let listed = clients.s3().list_objects_v2().bucket(&bucket).send().await.unwrap();
        listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let large = message(7, &["x".repeat(MESSAGE_BYTES).as_str()]);
    queue.send(message(6, &["small"])).await.unwrap();
    assert_eq!(objects().await, Vec::<String>::new());
    queue.done(&one(&queue).await.receipt).await.unwrap();
    queue.send(large.clone()).await.unwrap();
    assert_eq!(objects().await, ["batches/r1/000007"]);
    let delivery = one(&queue).await;
    assert!(delivery.message == large);
    queue.done(&delivery.receipt).await.unwrap();
    assert_eq!(objects().await, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn what_is_no_message_of_ours_is_set_aside_with_a_reason() {
    let clients = clients().await;
    let (url, dlq) = (queue(VISIBILITY).await, queue(VISIBILITY).await);
    let bucket = bucket().await;
    let read = SqsQueue::new(&clients, &url, &bucket, MESSAGE_BYTES);
    read.send(message(7, &["x".repeat(MESSAGE_BYTES).as_str()])).await.unwrap();
    let received = clients.sqs().receive_message().queue_url(&url).wait_time_seconds(10).send().await.unwrap();
    let text = received.messages()[0].body().unwrap().to_owned();
    assert!(read.read(&text).await.is_ok());
    clients.s3().delete_object().bucket(&bucket).key("batches/r1/000007").send().await.unwrap();
    let fault = read.read(&text).await.unwrap_err();
    assert_eq!(fault.code, Code::MessageUnreadable);
    assert!(fault.what.contains("batches/r1/000007") && fault.what.contains("not there"), "{fault}");
    let fault = read.read("planted-record").await.unwrap_err();
    assert!(fault.what.contains("not from Sluicegate") && !fault.what.contains("planted"), "{fault}");
    read.dead_letter_message(&dlq, "planted-record", &fault.what).await.unwrap();
    let aside = clients
        .sqs()
        .receive_message()
        .queue_url(&dlq)
        .wait_time_seconds(10)
        .message_attribute_names("All")
        .send()
        .await
        .unwrap();
    assert_eq!(aside.messages()[0].body(), Some("planted-record"));
    let reason = aside.messages()[0].message_attributes().unwrap()[aws::queue::REASON].string_value().unwrap();
    assert_eq!(reason, fault.what);
}
