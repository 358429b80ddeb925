//! Request slots of a connection, for the writers of one process: leased from the store in blocks, handed
//! out one by one. Also where a writer tells the others of a pause.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use domain::clock::Millis;
use domain::config::RateLimit;
use domain::fault::{Code, Fault};
use domain::limiter::{self, LeasedSlots};
use domain::ports::{Clock, StateStore};
use domain::retry::{MAX_RETRY_AFTER, backoff};
use tokio::sync::Mutex;

use crate::cancel::CancelToken;
use crate::deliver::refusals::Refusals;

/// One per connection and process; [`RateLimiter::share`] for work that is halted apart.
pub struct RateLimiter {
    connection: String,
    store: Arc<dyn StateStore>,
    clock: Arc<dyn Clock>,
    shared: Arc<RateLimiterState>,
    halted: CancelToken,
}

/// What everyone in this process knows of the connection's slots.
#[derive(Default)]
struct RateLimiterState {
    limit: RwLock<Option<RateLimit>>,
    held: Mutex<LeasedSlots>,
    /// Nobody starts before this, in milliseconds since 1970.
    paused_until: AtomicI64,
    /// Pauses in a row that were asked for, without an answer in between.
    pauses: AtomicU32,
    refusals: Refusals,
}

impl RateLimiter {
    /// Slots of `connection` under `limit`.
    pub fn new(connection: &str, limit: Option<RateLimit>, store: Arc<dyn StateStore>, clock: Arc<dyn Clock>) -> Self {
        let shared = RateLimiterState { limit: RwLock::new(limit), ..RateLimiterState::default() };
        Self {
            connection: connection.to_owned(),
            store,
            clock,
            shared: Arc::new(shared),
            halted: CancelToken::default(),
        }
    }

    /// A handle on the same limiter with a cancellation of its own: [`RateLimiter::halt`] of another does not end it.
    pub fn share(&self) -> Self {
        Self {
            connection: self.connection.clone(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            shared: Arc::clone(&self.shared),
            halted: CancelToken::default(),
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
    pub async fn take(&self, count: u32, stop: &CancelToken, patience: Duration) -> Result<Option<Duration>, Fault> {
        let limit = self.limit();
        let taken = match limit {
            None => vec![self.shared.paused_until.load(Ordering::Acquire).saturating_mul(1000)],
            Some(limit) => self.next(limit, count.max(1)).await?,
        };
        let start_micros = taken.last().copied().unwrap_or_default();
        let wait = limiter::wait(start_micros, self.clock.now().0.saturating_mul(1000));
        // A slow rate makes its writers wait for each other; only what is far beyond that is a pause.
        if wait > MAX_RETRY_AFTER + limit.map_or(Duration::ZERO, limiter::turns) {
            return Err(paused(&self.connection, Millis(start_micros / 1000)));
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
                () = stop.cancelled() => {}
                () = self.halted.cancelled() => {}
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

    /// The destination asked to slow down, `times` times for this work, and to wait for `after` where it said so:
    /// nobody starts a request for as long, at least for a time that grows from `first` as long as nothing else is
    /// answered, and at most for [`MAX_RETRY_AFTER`]. Returns how long that is.
    pub async fn pause_connection(
        &self,
        times: u32,
        first: Duration,
        after: Option<Duration>,
    ) -> Result<Duration, Fault> {
        let now = self.clock.now();
        // Requests that were under way together are told so together: that is one pause.
        let again = u32::from(self.shared.paused_until.load(Ordering::Acquire) <= now.0);
        let pauses = self.shared.pauses.fetch_add(again, Ordering::AcqRel) + again;
        // A destination that names no time, or one that is over before it began, is asked less and less often.
        let grown = backoff(times.max(pauses), first, fastrand::f64());
        let pause = after.map_or(grown, |after| after.max(grown)).min(MAX_RETRY_AFTER);
        let until = now.plus(pause);
        self.shared.paused_until.fetch_max(until.0, Ordering::AcqRel);
        // Without a rate there is nobody who asks the store before each request.
        if self.limit().is_some() {
            self.store.pause(&self.connection, until).await?;
        }
        Ok(pause)
    }

    /// The destination has answered a request: a row of pauses ends.
    pub fn answered(&self) {
        self.shared.pauses.store(0, Ordering::Release);
    }

    /// What is known of refused requests.
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Nothing more is to be sent in this process: the run was closed under the writers.
    pub fn halt(&self) {
        self.halted.cancel();
    }

    /// Waits for [`RateLimiter::halt`].
    pub async fn wait_halted(&self) {
        self.halted.cancelled().await;
    }

    /// True after [`RateLimiter::halt`].
    pub fn halted(&self) -> bool {
        self.halted.is_cancelled()
    }
}

/// A pause that is too long to be waited for.
pub(crate) fn paused(connection: &str, until: Millis) -> Fault {
    let what = format!("Connection `{connection}` is paused until {until}: its destination asked for that.");
    let next = format!("Run again after that: nothing is lost. `sluice limits lift {connection}` ends the pause now.");
    Fault::new(Code::DestinationLimit, what).with_next(next)
}
