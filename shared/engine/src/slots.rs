//! Request slots of a connection, for the writers of one process: leased from the store in blocks, handed
//! out one by one. Also where a writer tells the others of a pause.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::clock::Millis;
use domain::config::RateLimit;
use domain::fault::{Code, Fault};
use domain::limiter;
use domain::ports::{Clock, StateStore};
use domain::retry::MOST_OBEYED;
use tokio::sync::Mutex;

use crate::stop::Stop;

/// One per connection and process.
pub struct Slots {
    connection: String,
    limit: RwLock<Option<RateLimit>>,
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    /// Starts not yet handed out, in microseconds since 1970.
    leased: Mutex<VecDeque<i64>>,
    /// Nobody starts before this, in milliseconds since 1970.
    paused_until: AtomicI64,
    halted: Stop,
}

impl Slots {
    /// Slots of `connection` under `limit`.
    pub fn new(connection: &str, limit: Option<RateLimit>, store: Arc<dyn StateStore>, clock: Arc<dyn Clock>) -> Self {
        Self {
            connection: connection.to_owned(),
            limit: RwLock::new(limit),
            store,
            clock,
            leased: Mutex::default(),
            paused_until: AtomicI64::new(0),
            halted: Stop::default(),
        }
    }

    /// The limit from now on: destinations tell it with their answers. Slots that are leased already keep their times.
    pub fn adjust(&self, limit: Option<RateLimit>) {
        if self.limit() != limit {
            *self.limit.write().unwrap_or_else(PoisonError::into_inner) = limit;
        }
    }

    fn limit(&self) -> Option<RateLimit> {
        *self.limit.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next slot: [`Slots::take_many`] for one request.
    pub async fn take(&self, stop: &Stop) -> Result<(), Fault> {
        self.take_many(1, stop).await
    }

    /// Waits for the last of the next `count` slots, for as many requests one after the other. They are taken together:
    /// writers that took them in turns would all get their last ones at once, and send a burst. Slots leased before a pause are given back and leased anew. A fault when the run
    /// is stopped or halted meanwhile, and at once (`DestinationLimit`) when the slot is further away than a run waits.
    pub async fn take_many(&self, count: u32, stop: &Stop) -> Result<(), Fault> {
        let limit = self.limit();
        let start_micros = match limit {
            None => self.paused_until.load(Ordering::Acquire).saturating_mul(1000),
            Some(limit) => self.next(limit, count.max(1)).await?,
        };
        let wait = limiter::wait(start_micros, self.clock.now().0.saturating_mul(1000));
        // A slow rate makes its writers wait for each other; only what is far beyond that is a pause.
        let turns = limit.map_or(Duration::ZERO, |limit| limit.per.0.saturating_mul(16));
        if wait > MOST_OBEYED + turns {
            let what = format!("Connection `{}` is paused for {} more seconds: its destination asked for that.", self.connection, wait.as_secs());
            return Err(Fault::new(Code::DestinationLimit, what));
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
        stop.check()
    }

    async fn next(&self, limit: RateLimit, count: u32) -> Result<i64, Fault> {
        let mut leased = self.leased.lock().await;
        let now = self.clock.now().0.saturating_mul(1000);
        // A slot whose time is past is still a slot, but slots saved up would be a burst: those are lost.
        let spacing = limit.per.0.as_micros() as i64 / i64::from(limit.requests.max(1));
        let earliest = self.paused_until.load(Ordering::Acquire).saturating_mul(1000).max(now - spacing);
        while leased.front().is_some_and(|start| *start < earliest) {
            leased.pop_front();
        }
        let count = count as usize;
        if leased.len() < count {
            let missing = u32::try_from(count - leased.len()).unwrap_or(u32::MAX);
            let lease = self.store.lease(&self.connection, limit, now, limiter::block(limit).max(missing)).await?;
            leased.extend((0..lease.slots).map(|i| lease.start(i)));
        }
        let together = count.min(leased.len());
        Ok(leased.drain(..together).next_back().unwrap_or(now))
    }

    /// The destination asked to slow down: nobody starts a request before `until`.
    pub async fn pause(&self, until: Millis) -> Result<(), Fault> {
        self.paused_until.fetch_max(until.0, Ordering::AcqRel);
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
