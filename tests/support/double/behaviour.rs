//! How the double answers, and when.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::store::Delivered;

/// Makes a result for each record.
pub type ResultsFn = Arc<dyn Fn(&[Delivered]) -> Vec<Value> + Send + Sync>;

/// An answer. Where it says that records are taken, the double has them afterwards.
#[derive(Clone)]
pub enum Behaviour {
    /// 200; the records are taken, and `results` says so of each.
    Ok,
    /// This status, headers and body; the records are taken when the status is 2xx.
    Status(u16, Vec<(String, String)>, String),
    /// This status with an HTML page; nothing is taken.
    Html(u16),
    /// The connection is closed without an answer; nothing is taken.
    Reset,
    /// The records are taken, then the connection is closed without an answer.
    ResetAfter,
    /// The records are taken; the answer declares more bytes than it has.
    HalfBody,
    /// The records are taken; the answer comes after this time.
    Hang(Duration),
    /// 200 with these results; records whose result has status `ok` are taken, by position.
    Results(Vec<Value>),
    /// The same with results made from the records.
    ResultsOf(ResultsFn),
    /// 200; records with these keys (JSON text) get this status and are not taken, all others are.
    FailKeys(HashSet<String>, String),
    /// This status when the request holds a record with one of these keys (then none is taken), else as
    /// [`Behaviour::Ok`].
    RefuseKeys(u16, HashSet<String>),
    /// 200; all records are taken, and the last result is left out.
    TooFewResults,
    /// 200; all records are taken, and there is a result for a record that was not sent.
    TooManyResults,
}

impl Behaviour {
    /// This status, with nothing else to say.
    pub fn status(code: u16) -> Self {
        Behaviour::Status(code, Vec::new(), String::new())
    }

    /// This status with a JSON message.
    pub fn message(code: u16, message: &str) -> Self {
        Behaviour::Status(code, Vec::new(), serde_json::json!({ "message": message }).to_string())
    }

    /// This status with a `Retry-After`.
    pub fn retry_after(code: u16, after: RetryAfter) -> Self {
        Behaviour::Status(
            code,
            after.header().map(|v| ("retry-after".to_owned(), v)).into_iter().collect(),
            String::new(),
        )
    }

    /// 200; records with these keys fail with this status.
    pub fn fail_keys<K: fmt::Display>(keys: impl IntoIterator<Item = K>, status: &str) -> Self {
        Behaviour::FailKeys(keys.into_iter().map(|k| k.to_string()).collect(), status.to_owned())
    }

    /// 400 for every request that holds a record with one of these keys.
    pub fn refuse_keys<K: fmt::Display>(keys: impl IntoIterator<Item = K>) -> Self {
        Behaviour::RefuseKeys(400, keys.into_iter().map(|k| k.to_string()).collect())
    }

    /// 500 for every request that holds a record with one of these keys.
    pub fn break_at_keys<K: fmt::Display>(keys: impl IntoIterator<Item = K>) -> Self {
        Behaviour::RefuseKeys(500, keys.into_iter().map(|k| k.to_string()).collect())
    }
}

/// The forms of a `Retry-After` header.
#[derive(Debug, Clone, PartialEq)]
pub enum RetryAfter {
    None,
    /// Seconds, whole or not.
    Seconds(f64),
    /// An HTTP date this long from now.
    Date(Duration),
    /// Something nobody can read.
    Garbage,
}

impl RetryAfter {
    pub fn header(&self) -> Option<String> {
        match self {
            RetryAfter::None => None,
            RetryAfter::Seconds(seconds) => Some(seconds.to_string()),
            RetryAfter::Date(from_now) => Some(http_date(SystemTime::now() + *from_now)),
            RetryAfter::Garbage => Some("in a while".into()),
        }
    }
}

/// `Wed, 21 Oct 2015 07:28:00 GMT`
fn http_date(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    // ISO 8601 from the product's own rendering: YYYY-MM-DDTHH:MM:SS.
    let iso = domain::value::render::datetime(seconds * 1_000_000);
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        [iso[5..7].parse::<usize>().unwrap_or(1) - 1];
    let day = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(seconds / 86_400 % 7) as usize];
    format!("{day}, {} {month} {} {} GMT", &iso[8..10], &iso[..4], &iso[11..19])
}

/// So many requests in a sliding window.
#[derive(Debug, Clone)]
pub struct Quota {
    requests: usize,
    window: Duration,
    after: RetryAfter,
    taken: VecDeque<Instant>,
}

impl Quota {
    /// `requests` in any `window`; a request too many is answered 429 with this `Retry-After`.
    pub fn new(requests: usize, window: Duration, after: RetryAfter) -> Self {
        Self { requests, window, after, taken: VecDeque::new() }
    }

    /// Takes a request in; the answer to one too many.
    pub(super) fn take(&mut self, now: Instant) -> Option<Behaviour> {
        while self.taken.front().is_some_and(|at| now.duration_since(*at) >= self.window) {
            self.taken.pop_front();
        }
        if self.taken.len() >= self.requests {
            return Some(Behaviour::retry_after(429, self.after.clone()));
        }
        self.taken.push_back(now);
        None
    }
}

/// What to answer next.
pub(super) struct Script {
    pub(super) standing: Behaviour,
    pub(super) delay: Duration,
    queue: VecDeque<Behaviour>,
    every: Option<(usize, usize, Behaviour)>,
}

impl Default for Script {
    fn default() -> Self {
        Self { standing: Behaviour::Ok, delay: Duration::ZERO, queue: VecDeque::new(), every: None }
    }
}

impl Script {
    pub(super) fn queue(&mut self, times: usize, behaviour: Behaviour) {
        self.queue.extend(std::iter::repeat_n(behaviour, times));
    }

    pub(super) fn every(&mut self, nth: usize, behaviour: Behaviour) {
        self.every = Some((nth.max(1), 0, behaviour));
    }

    pub(super) fn next(&mut self) -> Behaviour {
        if let Some(queued) = self.queue.pop_front() {
            return queued;
        }
        if let Some((nth, count, behaviour)) = &mut self.every {
            *count += 1;
            if *count % *nth == 0 {
                return behaviour.clone();
            }
        }
        self.standing.clone()
    }
}
