//! Connections to a database that several writes share: so many at once, and those nobody uses stay open.

use std::sync::{Mutex, PoisonError};

use domain::fault::{Code, Fault};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections of one destination.
pub struct ConnectionPool<C> {
    /// Permits to use a connection.
    free: Semaphore,
    /// Connections nobody uses, in no transaction.
    idle: Mutex<Vec<C>>,
}

/// A connection in use. It is given back when all went well, and closed otherwise, which ends its transaction.
pub struct PooledConnection<'a, C> {
    /// The connection.
    pub connection: C,
    /// It lay idle before, so it may have been closed since.
    pub reused: bool,
    _permit: SemaphorePermit<'a>,
}

impl<C> ConnectionPool<C> {
    /// No connection yet; at most `size` at once.
    pub fn new(size: usize) -> Self {
        Self { free: Semaphore::new(size), idle: Mutex::default() }
    }

    /// A connection that lay idle, or what `connect` gives; waits for one when all are in use.
    pub async fn lease(
        &self,
        is_closed: impl Fn(&C) -> bool,
        connect: impl AsyncFnOnce() -> Result<C, Fault>,
    ) -> Result<PooledConnection<'_, C>, Fault> {
        let permit = self
            .free
            .acquire()
            .await
            .map_err(|_| Fault::new(Code::Internal, "the connections of a destination are closed."))?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|connection| !is_closed(connection));
            idle.pop()
        };
        let reused = idle.is_some();
        let connection = match idle {
            Some(connection) => connection,
            None => connect().await?,
        };
        Ok(PooledConnection { connection, reused, _permit: permit })
    }

    /// A connection in no transaction is free again.
    pub fn give_back(&self, leased: PooledConnection<'_, C>) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(leased.connection);
    }
}
