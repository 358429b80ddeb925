//! What buckets are made of, and what goes wrong with them when they are told to.

use std::collections::{BTreeMap, BTreeSet};

use hyper::body::Bytes;

/// Puts what is put here somewhere else, too.
pub type PutMirror = Box<dyn Fn(&str, &[u8]) + Send>;

/// Buckets in memory.
pub struct S3Buckets {
    pub access_key: String,
    pub secret_key: String,
    /// Where the buckets lie.
    pub region: String,
    /// Objects by bucket and key.
    pub objects: BTreeMap<(String, String), Bytes>,
    pub(super) buckets: BTreeSet<String>,
    /// Told of every object that is put: its address and its bytes.
    pub mirror: Option<PutMirror>,
    /// Keys of a page of a list.
    pub page_keys: usize,
    pub(super) failures: Vec<(S3Step, S3Failure, u32)>,
    /// Parts of objects that were given out: key and bytes, in order.
    pub served: Vec<(String, usize)>,
    /// Keys that were deleted, in order.
    pub deleted: Vec<String>,
}

/// Where something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Step {
    Get,
    /// Getting bytes by their numbers.
    Range,
    List,
    Delete,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum S3Failure {
    /// A status, an error code and a message.
    Error(u16, &'static str, &'static str),
    /// The connection is closed without an answer.
    Cut,
    /// The connection is closed after so many bytes of the answer.
    CutAfter(usize),
    /// The object is another than it was: so many bytes are left out at its end.
    Shorter(usize),
}

impl S3Buckets {
    /// Buckets of these names, without an object.
    pub fn new(names: &[&str]) -> Self {
        Self {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "planted-secret-key".into(),
            region: "eu-west-1".into(),
            objects: BTreeMap::new(),
            buckets: names.iter().map(|name| (*name).to_owned()).collect(),
            mirror: None,
            page_keys: 1000,
            failures: Vec::new(),
            served: Vec::new(),
            deleted: Vec::new(),
        }
    }

    /// Puts an object at `s3://BUCKET/KEY`; false where there is no such bucket.
    pub fn put(&mut self, address: &str, body: impl Into<Bytes>) -> bool {
        let Some((bucket, key)) = split(address).filter(|(bucket, _)| self.buckets.contains(bucket)) else {
            return false;
        };
        let body = body.into();
        if let Some(mirror) = &self.mirror {
            mirror(address, &body);
        }
        self.objects.insert((bucket, key), body);
        true
    }

    /// True when nothing lies at this address or below it.
    pub fn is_empty_below(&self, address: &str) -> bool {
        let Some((bucket, prefix)) = split(address) else { return true };
        !self.objects.keys().any(|(b, key)| *b == bucket && key.starts_with(&prefix))
    }

    /// The next `times` requests of this kind go wrong so.
    pub fn fail(&mut self, step: S3Step, failure: S3Failure, times: u32) {
        self.failures.push((step, failure, times));
    }

    /// Nothing goes wrong any more.
    pub fn failures_end(&mut self) {
        self.failures.clear();
    }

    pub(super) fn failure(&mut self, step: S3Step) -> Option<S3Failure> {
        let at = self.failures.iter().position(|(known, _, times)| *known == step && *times > 0)?;
        self.failures[at].2 -= 1;
        Some(self.failures[at].1.clone())
    }
}

/// The bucket and the key of an address.
fn split(address: &str) -> Option<(String, String)> {
    let (bucket, key) = address.strip_prefix("s3://")?.split_once('/')?;
    Some((bucket.to_owned(), key.to_owned()))
}
