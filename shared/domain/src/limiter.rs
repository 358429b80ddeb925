//! The shared limiter: how many requests a connection may start, and when. Decisions only; where the
//! state lies is the store's business.
//!
//! Slots are spaced evenly and leased in blocks, so ten writers together keep one rate and a lease costs
//! one write for many requests. A pause (the destination said "slow down") moves the next slot.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::config::RateLimit;

/// What is remembered for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimiterState {
    /// When the next free slot begins, in microseconds since 1970: rates above 1,000 a second need them.
    pub next_slot_micros: i64,
}

/// A block of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// How many requests it allows.
    pub slots: u32,
    /// When the first may start, in microseconds since 1970.
    pub first_micros: i64,
    /// Time from one start to the next, in microseconds.
    pub spacing_micros: i64,
}

impl Lease {
    /// When the `index`th request of the block may start.
    pub fn start(&self, index: u32) -> i64 {
        self.first_micros + self.spacing_micros * i64::from(index)
    }
}

/// Leases `want` slots at `now_micros`. Slots not used in the past are gone: there is no burst to save up,
/// so the rate holds over every window and not only on average.
pub fn lease(state: LimiterState, limit: RateLimit, now_micros: i64, want: u32) -> (LimiterState, Lease) {
    let spacing = (limit.per.0.as_micros() as u64).div_ceil(u64::from(limit.requests.max(1))).max(1) as i64;
    let first = state.next_slot_micros.max(now_micros);
    let slots = want.max(1);
    let lease = Lease { slots, first_micros: first, spacing_micros: spacing };
    (LimiterState { next_slot_micros: first + spacing * i64::from(slots) }, lease)
}

/// Slots worth leasing at once: about half a second of the rate, at least one, at most a hundred.
pub fn block(limit: RateLimit) -> u32 {
    let per_second = f64::from(limit.requests) / limit.per.0.as_secs_f64().max(0.001);
    ((per_second / 2.0) as u32).clamp(1, 100)
}

/// Nobody starts a request before `until`.
pub fn pause(state: LimiterState, until: Millis) -> LimiterState {
    LimiterState { next_slot_micros: state.next_slot_micros.max(until.0.saturating_mul(1000)) }
}

/// How long to wait for a slot that begins at `start_micros`.
pub fn wait(start_micros: i64, now_micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(start_micros - now_micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;

    #[test]
    fn no_window_has_more_than_the_limit() {
        let limit = RateLimit { requests: 10, per: Span::seconds(1) };
        let mut state = LimiterState::default();
        let mut starts = Vec::new();
        let mut now = 5_000_000;
        for round in 0..40 {
            let (next, lease) = lease(state, limit, now, 1 + round % 4);
            state = next;
            starts.extend((0..lease.slots).map(|i| lease.start(i)));
            now += 130_000;
        }
        starts.sort_unstable();
        for (i, start) in starts.iter().enumerate() {
            let in_window = starts[i..].iter().take_while(|s| **s < start + 1_000_000).count();
            assert!(in_window <= 10, "{in_window} requests in the second from {start}");
        }
    }

    #[test]
    fn a_pause_moves_the_next_slot_and_never_back() {
        let paused = pause(LimiterState { next_slot_micros: 0 }, Millis(5_000));
        assert_eq!(paused.next_slot_micros, 5_000_000);
        assert_eq!(pause(paused, Millis(1)), paused);
    }
}
