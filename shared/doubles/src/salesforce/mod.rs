//! A Salesforce org in memory: objects with their fields and rules, records, a day's requests, jobs.
//!
//! It answers as the REST API, the Bulk API 2.0 and the token endpoint are documented to. Left out: triggers, sharing,
//! record types, most of SOQL (one `SELECT … WHERE field IN (…)`).

mod auth;
mod bulk;
mod collections;
mod object;
mod org;
mod query;
mod save;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::auth::Signed;
pub use self::object::{ObjectField, SObject, SObjectRecord};
pub use self::org::{Fail, Org};
use crate::server::{DoubleReply, DoubleRequest, DoubleService, Server};

/// A running org. Everything stops when it is dropped.
pub struct SalesforceDouble {
    server: Server,
    org: Arc<Mutex<Org>>,
}

impl SalesforceDouble {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(org: Org) -> io::Result<Self> {
        let org = Arc::new(Mutex::new(org));
        let server = Server::start(Arc::new(Serving(Arc::clone(&org))))?;
        Ok(Self { server, org })
    }

    /// `http://127.0.0.1:PORT`, the org's domain and its instance.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The org, to look at and to change. Nothing is answered meanwhile.
    pub fn org(&self) -> MutexGuard<'_, Org> {
        lock(&self.org)
    }
}

struct Serving(Arc<Mutex<Org>>);

impl DoubleService for Serving {
    fn name(&self) -> &'static str {
        "salesforce"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        lock(&self.0).answer(request)
    }
}

fn lock(org: &Mutex<Org>) -> MutexGuard<'_, Org> {
    org.lock().unwrap_or_else(PoisonError::into_inner)
}
