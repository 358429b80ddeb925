//! What the double has seen and kept.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hyper::body::Bytes;
use serde_json::Value;

use super::behaviour::{Quota, Script};

#[derive(Debug, Clone)]
pub struct Recorded {
    /// When it was whole.
    pub at: Instant,
    pub method: String,
    /// Its path with the query.
    pub path: String,
    /// Its headers; names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Recorded {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One record of the webhook's default body.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    pub id: String,
    /// The JSON text of its key.
    pub key: String,
    /// `upsert`, `append` or `delete`.
    pub operation: String,
    pub fields: Value,
}

/// What the server and the test share.
pub(super) struct Shared {
    pub(super) count_only: bool,
    pub(super) requests: AtomicU64,
    pub(super) bytes: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) script: Script,
    pub(super) quota: Option<Quota>,
    /// A header and the value it must have.
    pub(super) required: Option<(String, String)>,
    pub(super) violations: usize,
    pub(super) requests: Vec<Recorded>,
    pub(super) records: BTreeMap<String, Value>,
    pub(super) deliveries: Vec<Delivered>,
}

impl Shared {
    pub(super) fn new(count_only: bool) -> Self {
        Self { count_only, requests: AtomicU64::new(0), bytes: AtomicU64::new(0), state: Mutex::default() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes records: the last version by key; a delete removes.
    pub(super) fn take(&mut self, records: impl IntoIterator<Item = Delivered>) {
        for record in records {
            if record.operation == "delete" {
                self.records.remove(&record.key);
            } else {
                self.records.insert(record.key.clone(), record.fields.clone());
            }
            self.deliveries.push(record);
        }
    }
}

/// The records of a body in the webhook's default shape; none when it has another.
pub(super) fn records(body: &[u8]) -> Vec<Delivered> {
    #[derive(serde::Deserialize)]
    struct Body {
        operation: String,
        records: Vec<Record>,
    }
    #[derive(serde::Deserialize)]
    struct Record {
        id: String,
        key: Value,
        fields: Value,
    }
    let Ok(body) = serde_json::from_slice::<Body>(body) else { return Vec::new() };
    let of =
        |r: Record| Delivered { id: r.id, key: r.key.to_string(), operation: body.operation.clone(), fields: r.fields };
    body.records.into_iter().map(of).collect()
}
