//! HubSpot's CRM API as its documentation and the reports of its users describe it: an account in memory, with
//! properties that check what is written, unique values, batches with and without partial results, a quota with its
//! headers, tokens that end, and faults on demand.
//!
//! It answers `v3` and the dated versions `2026-03` and `2026-09`; the last has no 207 and says the same with 200.

mod batch;
pub mod gate;
pub mod portal;
pub mod property;
mod routes;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::portal::Portal;
use crate::server::{DoubleReply, DoubleRequest, DoubleService, Server};

/// A running double of one account.
pub struct HubSpotDouble {
    server: Server,
    account: Arc<Account>,
}

/// What the server and its owner share.
#[derive(Default)]
struct Account(Mutex<Portal>);

impl Account {
    fn portal(&self) -> MutexGuard<'_, Portal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DoubleService for Account {
    fn name(&self) -> &'static str {
        "hubspot"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        self.portal().route(request)
    }
}

impl HubSpotDouble {
    /// Starts on a free port, with the usual properties and no record.
    pub fn start() -> io::Result<Self> {
        let account = Arc::new(Account::default());
        Ok(Self { server: Server::start(Arc::clone(&account) as Arc<dyn DoubleService>)?, account })
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The account, to look at and to change. Requests wait while it is held.
    pub fn portal(&self) -> MutexGuard<'_, Portal> {
        self.account.portal()
    }
}
