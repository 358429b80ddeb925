//! The org: who may come in, what a day allows, how it fails, and which path leads where.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use serde_json::{Value, json};

use super::auth::Signed;
use super::bulk::BulkJob;
use super::object::SObject;
use crate::server::{DoubleReply, DoubleRequest};

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fail {
    Not,
    /// With this status and error code; nothing is done.
    With(u16, &'static str),
    /// The same with this message, in which `{token}` is the token that came.
    Says(u16, &'static str, &'static str),
    /// The connection breaks before anything is done.
    Before,
    /// The connection breaks when everything is done.
    After,
}

#[derive(Debug)]
pub struct Org {
    pub id: String,
    pub client_id: String,
    pub client_secret: String,
    /// Who may come with an assertion.
    pub signed: Option<Signed>,
    /// The only version it knows.
    pub version: String,
    /// Requests that a day allows.
    pub most_requests: u64,
    pub used_requests: u64,
    /// Requests that others use between two of ours.
    pub others_use: u64,
    /// The next requests about records and jobs fail so.
    pub fails: VecDeque<Fail>,
    /// Every nth of them fails so, where none is queued.
    pub fails_every: Option<(u64, Fail)>,
    /// Every nth row that is saved finds its parent locked, once.
    pub locks_every: Option<u64>,
    /// There is no room for new records.
    pub storage_full: bool,
    /// An automation of the org puts deleted records back at once.
    pub puts_back_deleted: bool,
    /// An unknown field refuses the whole request and not the record.
    pub unknown_field_refuses_all: bool,
    /// A job is done at this poll after it was started.
    pub polls_of_a_job: u32,
    /// So many rows of every job are left unprocessed.
    pub leaves_unprocessed: usize,
    /// So many rows of a job that is aborted were worked through by then.
    pub rows_before_abort: usize,
    /// Rows on a page of a job's results.
    pub rows_of_a_page: usize,
    /// Records on a page of a query.
    pub records_of_a_page: usize,
    /// Data requests so far, by what they were.
    pub calls: BTreeMap<&'static str, u64>,
    /// Requests refused because the day's are used up.
    pub refused_requests: u64,
    /// Rows that came, valid or not.
    pub rows: u64,
    pub minted: u64,
    /// Sorted rows of jobs: for each job the parents of its rows, in the order of the upload.
    pub uploads: Vec<Vec<String>>,
    /// Requests that could have failed so.
    fallible: u64,
    pub(super) tokens: HashSet<String>,
    pub(super) objects: BTreeMap<String, SObject>,
    pub(super) jobs: BTreeMap<String, BulkJob>,
    pub(super) locked: BTreeSet<String>,
    pub(super) pages: BTreeMap<String, Vec<Value>>,
    pub(super) next: u64,
}

impl Org {
    /// An org with these objects, where `client` / `planted-secret` may come in.
    pub fn new(objects: Vec<SObject>) -> Self {
        Self {
            client_id: "client".into(),
            client_secret: "planted-secret".into(),
            signed: None,
            version: "v67.0".into(),
            most_requests: 100_000,
            used_requests: 0,
            others_use: 0,
            fails: VecDeque::new(),
            fails_every: None,
            locks_every: None,
            id: "00D000000000001EAA".into(),
            storage_full: false,
            puts_back_deleted: false,
            unknown_field_refuses_all: false,
            polls_of_a_job: 2,
            leaves_unprocessed: 0,
            rows_before_abort: 0,
            rows_of_a_page: 100_000,
            records_of_a_page: 2_000,
            calls: BTreeMap::new(),
            refused_requests: 0,
            rows: 0,
            minted: 0,
            uploads: Vec::new(),
            fallible: 0,
            tokens: HashSet::new(),
            objects: objects.into_iter().map(|o| (o.name.clone(), o)).collect(),
            jobs: BTreeMap::new(),
            locked: BTreeSet::new(),
            pages: BTreeMap::new(),
            next: 0,
        }
    }

    /// An object.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn object(&mut self, name: &str) -> &mut SObject {
        match self.objects.get_mut(name) {
            Some(object) => object,
            None => panic!("the org has no object {name}"),
        }
    }

    pub fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Data requests so far of this kind: `describe`, `limits`, `query`, `upsert`, `create`, `update`, `delete`, `job`.
    pub fn count(&self, kind: &str) -> u64 {
        self.calls.get(kind).copied().unwrap_or_default()
    }

    pub fn recover(&mut self) {
        (self.fails_every, self.locks_every, self.leaves_unprocessed, self.storage_full) = (None, None, 0, false);
        self.fails.clear();
    }

    pub(super) fn answer(&mut self, request: &DoubleRequest) -> DoubleReply {
        if request.path == "/services/oauth2/token" {
            return self.token(request);
        }
        let token = request.header("authorization").and_then(|h| h.strip_prefix("Bearer ")).unwrap_or_default();
        if !self.tokens.contains(token) {
            return error(401, "INVALID_SESSION_ID", "Session expired or invalid");
        }
        if self.used_requests >= self.most_requests {
            self.refused_requests += 1;
            return self.with_usage(error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."));
        }
        self.used_requests += 1 + self.others_use;
        let fail = if request.path.ends_with("/describe") || request.path.ends_with("/limits") {
            None
        } else {
            self.next_fail()
        };
        let reply = match &fail {
            Some(Fail::Before) => DoubleReply::cut(),
            Some(Fail::With(status, code)) => error(*status, code, "told to fail"),
            Some(Fail::Says(status, code, message)) => error(*status, code, &message.replace("{token}", token)),
            Some(Fail::After) => {
                self.route(request);
                DoubleReply::cut()
            }
            None | Some(Fail::Not) => self.route(request),
        };
        self.with_usage(reply)
    }

    fn next_fail(&mut self) -> Option<Fail> {
        self.fallible += 1;
        let every = self.fails_every.filter(|(nth, _)| self.fallible.is_multiple_of(*nth));
        self.fails.pop_front().or(every.map(|(_, fail)| fail))
    }

    fn with_usage(&self, reply: DoubleReply) -> DoubleReply {
        reply.with("sforce-limit-info", format!("api-usage={}/{}", self.used_requests, self.most_requests))
    }

    fn route(&mut self, request: &DoubleRequest) -> DoubleReply {
        let segments = request.segments();
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let Some(["services", "data", version]) = parts.get(..3).and_then(|p| <[&str; 3]>::try_from(p).ok()) else {
            return not_found();
        };
        if version != self.version {
            return not_found();
        }
        let (kind, reply) = match (request.method.as_str(), &parts[3..]) {
            ("GET", ["limits"]) => ("limits", self.limits()),
            ("GET", ["sobjects"]) => {
                let names: Vec<Value> = self.objects.keys().map(|name| json!({ "name": name })).collect();
                ("describe", DoubleReply::json(200, &json!({ "sobjects": names })))
            }
            ("GET", ["sobjects", name, "describe"]) => {
                ("describe", self.objects.get(*name).map_or_else(not_found, |o| DoubleReply::json(200, &o.describe())))
            }
            ("GET", ["query"]) => ("query", self.query(request)),
            ("GET", ["query", page]) => ("query", self.query_page(page)),
            ("PATCH", ["composite", "sobjects", object, field]) => ("upsert", self.upsert(request, object, field)),
            ("POST", ["composite", "sobjects"]) => ("create", self.save_all(request, false)),
            ("PATCH", ["composite", "sobjects"]) => ("update", self.save_all(request, true)),
            ("DELETE", ["composite", "sobjects"]) => ("delete", self.delete_all(request)),
            (_, ["jobs", "ingest", rest @ ..]) => ("job", self.job(request, rest)),
            _ => ("unknown", not_found()),
        };
        *self.calls.entry(kind).or_default() += 1;
        reply
    }

    fn limits(&self) -> DoubleReply {
        let left = self.most_requests - self.used_requests.min(self.most_requests);
        DoubleReply::json(
            200,
            &json!({ "DailyApiRequests": { "Max": self.most_requests, "Remaining": left }, "DailyBulkApiBatches": { "Max": 15000, "Remaining": 15000 } }),
        )
    }

    /// A new id with this prefix.
    pub(super) fn new_id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{:012}AAA", self.next)
    }
}

/// An error of a whole request.
pub(super) fn error(status: u16, code: &str, message: &str) -> DoubleReply {
    DoubleReply::json(status, &json!([{ "errorCode": code, "message": message }]))
}

pub(super) fn not_found() -> DoubleReply {
    error(404, "NOT_FOUND", "The requested resource does not exist")
}
