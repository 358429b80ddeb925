//! A Snowflake account that serves the SQL API: tables, users with their keys and tokens, roles, virtual warehouses, and
//! statements whose results come in partitions.
//!
//! It answers as <https://docs.snowflake.com/en/developer-guide/sql-api/reference> has it. Left out: bindings, several
//! statements in one, everything that writes.

mod account;
mod catalogue;
mod login;
mod statements;
mod wire;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::account::{SnowflakeAccount, SnowflakeFailure, SnowflakeStep};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::server::{DoubleService, Server};

/// A running account. Everything stops when it is dropped.
pub struct SnowflakeDouble {
    server: Server,
    account: Arc<Mutex<SnowflakeAccount>>,
}

impl SnowflakeDouble {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(account: SnowflakeAccount) -> io::Result<Self> {
        let account = Arc::new(Mutex::new(account));
        let server = Server::start(Arc::new(ServingAccount(Arc::clone(&account))))?;
        Ok(Self { server, account })
    }

    /// Where the account is.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The account, to look at and to change. Nothing is answered meanwhile.
    pub fn account(&self) -> MutexGuard<'_, SnowflakeAccount> {
        lock(&self.account)
    }
}

struct ServingAccount(Arc<Mutex<SnowflakeAccount>>);

impl DoubleService for ServingAccount {
    fn name(&self) -> &'static str {
        "snowflake"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        lock(&self.0).answer(request)
    }
}

fn lock(account: &Mutex<SnowflakeAccount>) -> MutexGuard<'_, SnowflakeAccount> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}
