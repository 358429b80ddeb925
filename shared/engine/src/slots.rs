//! Request slots of a connection, for the writers of one process: leased from the store in blocks, handed
//! out one by one. Also where a writer tells the others of a pause.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::clock::Millis;
use domain::config::RateLimit;
use domain::fault::{Code, Fault};
use domain::limiter::{self, Held};
use domain::ports::{Clock, StateStore};
use domain::retry::MOST_OBEYED;
use tokio::sync::Mutex;

use crate::stop::Stop;

/// One per connection and process; [`Slots::again`] for work that is halted apart.
pub struct Slots {
    connection: String,
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    halted: Stop,
}

/// What everyone in this process knows of the connection's slots.
#[derive(Default)]
struct Shared {
    limit: RwLock<Option<RateLimit>>,
    held: Mutex<Held>,
    /// Nobody starts before this, in milliseconds since 1970.
    paused_until: AtomicI64,
}

impl Slots {
    /// Slots of `connection` under `limit`.
    pub fn new(connection: &str, limit: Option<RateLimit>, store: Arc<dyn StateStore>, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared { limit: RwLock::new(limit), ..Shared::default() };
        Self { connection: connection.to_owned(), store, clock, shared: Arc::new(shared), halted: Stop::default() }
    }

    /// The same slots, leased already or not, for work that [`Slots::halt`] of the others does not end.
    pub fn again(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            shared: Arc::clone(&self.shared),
            halted: Stop::default(),
        }
    }

    /// The limit from now on: destinations tell it with their answers. Slots that are leased already keep their times.
    pub fn adjust(&self, limit: Option<RateLimit>) {
        if self.limit() != limit {
            *self.shared.limit.write().unwrap_or_else(PoisonError::into_inner) = limit;
        }
    }

    fn limit(&self) -> Option<RateLimit> {
        *self.shared.limit.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the last of the next `count` slots, for as many requests one after the other. They are taken together:
    /// writers that took them in turns would all get their last ones at once, and send a burst. Slots leased before a
    /// pause are given back and leased anew. Returns the time to wait when that is longer than `patience`: the slot is
    /// then left for the next one who asks. A fault when the run is stopped or halted meanwhile, and at once
    /// (`DestinationLimit`) when the slot is further away than a run waits.
    pub async fn take(&self, count: u32, stop: &Stop, patience: Duration) -> Result<Option<Duration>, Fault> {
        let limit = self.limit();
        let taken = match limit {
            None => vec![self.shared.paused_until.load(Ordering::Acquire).saturating_mul(1000)],
            Some(limit) => self.next(limit, count.max(1)).await?,
        };
        let start_micros = taken.last().copied().unwrap_or_default();
        let wait = limiter::wait(start_micros, self.clock.now().0.saturating_mul(1000));
        // A slow rate makes its writers wait for each other; only what is far beyond that is a pause.
        let turns = limit.map_or(Duration::ZERO, |limit| limit.per.0.saturating_mul(16));
        if wait > MOST_OBEYED + turns {
            let what = format!("Connection `{}` is paused for {} more seconds: its destination asked for that.", self.connection, wait.as_secs());
            return Err(Fault::new(Code::DestinationLimit, what));
        }
        if wait > patience {
            if limit.is_some() {
                self.shared.held.lock().await.put_back(taken);
            }
            return Ok(Some(wait));
        }
        if wait > Duration::ZERO {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.stopped() => {}
                () = self.halted.stopped() => {}
            }
        }
        if self.halted() {
            return Err(Fault::new(Code::Interrupted, "The run was closed before this batch was sent."));
        }
        stop.check().map(|()| None)
    }

    async fn next(&self, limit: RateLimit, count: u32) -> Result<Vec<i64>, Fault> {
        let mut held = self.shared.held.lock().await;
        let now = self.clock.now().0.saturating_mul(1000);
        let paused_until = self.shared.paused_until.load(Ordering::Acquire).saturating_mul(1000);
        if let Some(want) = held.wants(limit, now, paused_until, count) {
            held.add(self.store.lease(&self.connection, limit, now, want).await?, now);
        }
        Ok(held.take(count))
    }

    /// The destination asked to slow down: nobody starts a request before `until`.
    pub async fn pause(&self, until: Millis) -> Result<(), Fault> {
        self.shared.paused_until.fetch_max(until.0, Ordering::AcqRel);
        match self.limit() {
            Some(_) => self.store.pause(&self.connection, until).await,
            None => Ok(()),
        }
    }

    /// Nothing more is to be sent in this process: the run was closed under the writers.
    pub fn halt(&self) {
        self.halted.stop();
    }

    /// Waits for [`Slots::halt`].
    pub async fn wait_halted(&self) {
        self.halted.stopped().await;
    }

    /// True after [`Slots::halt`].
    pub fn halted(&self) -> bool {
        self.halted.is_stopped()
    }
}
