//! The AWS emulator that `tests/run` starts: clients for it, and queues, buckets and secrets of single tests.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws::Clients;
use aws::queue::SqsQueue;

/// Most bytes of a message, as a stack has it.
pub const MESSAGE_BYTES: usize = 262_144;

/// The emulator's address, which `tests/run` puts into the environment.
pub fn endpoint() -> String {
    std::env::var("SLUICEGATE_TEST_AWS")
        .expect("SLUICEGATE_TEST_AWS is not set: start these tests with ./tests/run, which starts an AWS emulator")
}

/// The folder of the tools of tests/requirements.txt, which `tests/run` puts into the environment.
pub fn tools() -> std::path::PathBuf {
    std::env::var_os("SLUICEGATE_TEST_TOOLS")
        .expect("SLUICEGATE_TEST_TOOLS is not set: start these tests with ./tests/run")
        .into()
}

/// Clients of the emulator.
pub async fn clients() -> Clients {
    Clients::emulator(&endpoint()).await
}

/// A name that nothing else has.
pub fn name(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    format!("{what}-{}-{}-{}", std::process::id(), since.as_millis(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A fresh queue; its URL.
pub async fn queue(visibility: Duration) -> String {
    let create = clients().await.sqs().create_queue().queue_name(name("q"));
    let create = create.attributes("VisibilityTimeout".into(), visibility.as_secs().to_string());
    create.send().await.expect("a queue can be created").queue_url.expect("a queue has a URL")
}

pub async fn bucket() -> String {
    let name = name("b");
    aws::plan_store::create_bucket(&clients().await, &name).await.expect("a bucket can be created");
    name
}

/// A fresh queue with a bucket of its own.
pub async fn sqs(visibility: Duration) -> SqsQueue {
    SqsQueue::new(&clients().await, &queue(visibility).await, &bucket().await, MESSAGE_BYTES)
}
