//! A destination over HTTP that records what it got and can be told how to fail.
//!
//! It runs in a thread of its own, so it answers whatever the test's runtime does. For the webhook's default body
//! it keeps what a destination would keep: the last version of each record by key, and every delivery.

#![allow(clippy::expect_used, reason = "a double that cannot start is a test that cannot run")]

pub mod behaviour;
mod serve;
mod store;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

pub use self::behaviour::{Behaviour, Quota, RetryAfter};
pub use self::store::{Delivered, Recorded};
use self::store::{Shared, State};

/// A running double. Everything stops when it is dropped.
pub struct Double {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Double {
    /// Starts on a free port of 127.0.0.1 and accepts everything.
    pub fn start() -> Self {
        Self::with(false)
    }

    /// Starts one that reads bodies, drops them, answers `{}` and counts: for benchmarks.
    pub fn count_only() -> Self {
        Self::with(true)
    }

    fn with(count_only: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::new(count_only));
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let thread = std::thread::Builder::new()
            .name("double".into())
            .spawn(move || serve::run(listener, serving, stopped))
            .expect("a thread");
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT/`
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Behaves like this until told otherwise.
    pub fn answer(&self, behaviour: Behaviour) {
        self.state().script.standing = behaviour;
    }

    /// Behaves like this for the next `times` requests, after those that were asked for before.
    pub fn answer_next(&self, times: usize, behaviour: Behaviour) {
        self.state().script.queue(times, behaviour);
    }

    /// Behaves like this at every `nth` request (counted from now), where nothing is queued.
    pub fn answer_every(&self, nth: usize, behaviour: Behaviour) {
        self.state().script.every(nth, behaviour);
    }

    /// Answers 401 to every request without this header.
    pub fn require_header(&self, name: &str, value: &str) {
        self.state().required = Some((name.to_owned(), value.to_owned()));
    }

    /// Accepts everything again: no queue, no nth, no quota, no header, no delay.
    pub fn recover(&self) {
        let mut state = self.state();
        state.script = Default::default();
        state.quota = None;
        state.required = None;
    }

    /// Waits this long before every answer.
    pub fn delay(&self, delay: Duration) {
        self.state().script.delay = delay;
    }

    /// Allows so many requests in a window; the others get 429 and are counted as violations.
    pub fn quota(&self, quota: Quota) {
        self.state().quota = Some(quota);
    }

    /// Requests beyond the quota so far.
    pub fn violations(&self) -> usize {
        self.state().violations
    }

    /// Requests so far, bodies read.
    pub fn count(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies so far.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Every request in the order of arrival (none in `count_only`).
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// The fields of every record it has, by the JSON text of its key.
    pub fn records(&self) -> std::collections::BTreeMap<String, Value> {
        self.state().records.clone()
    }

    /// Every record it took, in order, repetitions included.
    pub fn deliveries(&self) -> Vec<Delivered> {
        self.state().deliveries.clone()
    }

    /// How many deliveries repeat an id that was taken before.
    pub fn duplicates(&self) -> usize {
        let mut seen = std::collections::HashSet::new();
        self.state().deliveries.iter().filter(|d| !seen.insert(d.id.clone())).count()
    }

    /// Forgets requests and deliveries; keeps the records and the script.
    pub fn forget(&self) {
        let mut state = self.state();
        state.requests.clear();
        state.deliveries.clear();
        state.violations = 0;
    }

    /// Stops: open connections are cut.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a test asserts often.
impl Double {
    /// Panics unless it has exactly these records (fields by the JSON text of the key).
    pub fn assert_records(&self, expected: &std::collections::BTreeMap<String, Value>) {
        let records = self.records();
        let missing: Vec<_> = expected.keys().filter(|k| !records.contains_key(*k)).take(5).collect();
        let extra: Vec<_> = records.keys().filter(|k| !expected.contains_key(*k)).take(5).collect();
        let different: Vec<_> =
            expected.iter().filter(|(k, v)| records.get(*k).is_some_and(|r| r != *v)).take(5).collect();
        assert!(
            missing.is_empty() && extra.is_empty() && different.is_empty(),
            "the destination has {} of {} records; missing {missing:?}, extra {extra:?}, different {different:?} (the first of each)",
            records.len(),
            expected.len()
        );
    }
}

#[cfg(test)]
mod tests;
