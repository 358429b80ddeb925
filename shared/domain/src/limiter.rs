//! The shared limiter: how many requests a connection may start, and when. Decisions only; where the
//! state lies is the store's business.
//!
//! Slots are spaced evenly and leased in blocks, so ten writers together keep one rate and a lease costs
//! one write for many requests. A pause (the destination said "slow down") moves the next slot.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::config::RateLimit;
use crate::retry::MAX_RETRY_AFTER;

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
    let spacing = spacing(limit);
    let first = believed(state, limit, now_micros).max(now_micros);
    let slots = want.max(1);
    let lease = Lease { slots, first_micros: first, spacing_micros: spacing };
    (LimiterState { next_slot_micros: first + spacing * i64::from(slots) }, lease)
}

/// When the next slot begins, in microseconds since 1970, if that can be so: neither a pause nor the turns of many
/// writers are longer than this. What lies beyond was written by a clock that was ahead.
pub fn believed(state: LimiterState, limit: RateLimit, now_micros: i64) -> i64 {
    let most = MAX_RETRY_AFTER + turns(limit);
    let most = now_micros.saturating_add(i64::try_from(most.as_micros()).unwrap_or(i64::MAX));
    if state.next_slot_micros > most { 0 } else { state.next_slot_micros }
}

/// How far ahead the writers of a slow rate may have leased.
pub fn turns(limit: RateLimit) -> Duration {
    limit.per.0.saturating_mul(16)
}

/// Time from one start to the next, in microseconds.
fn spacing(limit: RateLimit) -> i64 {
    (limit.per.0.as_micros() as u64).div_ceil(u64::from(limit.requests.max(1))).max(1) as i64
}

/// Most slots worth leasing at once: about half a second of the rate, at least one, at most a hundred.
pub fn block(limit: RateLimit) -> u32 {
    let per_second = f64::from(limit.requests) / limit.per.0.as_secs_f64().max(0.001);
    ((per_second / 2.0) as u32).clamp(1, 100)
}

/// Leases wholly used, one after the other, before a larger one is tried again.
const PATIENT: u32 = 64;
/// Slots that were left for so long say nothing of how many are used: nobody had anything to send. In microseconds.
const IDLE: i64 = 10_000_000;
/// All processes together need lease no further ahead than this, in microseconds.
const LEASE_AHEAD_MICROS: i64 = 1_000_000;

/// The slots that a process has leased, and how many it leases at once: as many as it uses. It begins with one, because
/// the destination may tell another rate with its first answer, and doubles while all are used. Slots whose time passes
/// before somebody here is free to use them are lost to everyone: it then leases that many fewer, and seldom tries for
/// one more.
#[derive(Debug, Default)]
pub struct LeasedSlots {
    /// Starts not yet handed out, in microseconds since 1970.
    starts: VecDeque<i64>,
    /// How many were leased last.
    size: u32,
    /// Slots lost since then.
    lost: u32,
    /// Leases wholly used since the last change.
    whole: u32,
    /// Slots were lost before.
    learned: bool,
}

impl LeasedSlots {
    /// Drops the slots that cannot be used any more, and those before the end of a pause. How many are to be leased
    /// before `count` can be taken; `None`: they are there.
    pub fn wants(&mut self, limit: RateLimit, now_micros: i64, paused_until_micros: i64, count: u32) -> Option<u32> {
        // A slot whose time is past is still a slot, but slots saved up would be a burst: those are lost.
        let earliest = now_micros - spacing(limit);
        while let Some(start) = self.starts.front().copied().filter(|start| *start < earliest.max(paused_until_micros))
        {
            self.starts.pop_front();
            self.lost += u32::from(start < earliest);
            if start < now_micros - IDLE {
                *self = Self { starts: std::mem::take(&mut self.starts), ..Self::default() };
            }
        }
        let missing =
            count.checked_sub(u32::try_from(self.starts.len()).unwrap_or(u32::MAX)).filter(|missing| *missing > 0)?;
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            (self.size, self.whole, self.learned) = (self.size.saturating_sub(lost), 0, true);
        } else if !self.learned {
            self.size = self.size.saturating_mul(2);
        } else {
            self.whole += 1;
            if self.whole == PATIENT {
                (self.size, self.whole) = (self.size + 1, 0);
            }
        }
        self.size = self.size.clamp(1, block(limit));
        Some(self.size.max(missing))
    }

    /// Keeps a lease. One that begins far ahead says that others have leased what lies before: half as much is enough
    /// then, and whoever stops sending leaves less behind.
    pub fn add(&mut self, lease: Lease, now_micros: i64) {
        if self.size > 1 && lease.first_micros > now_micros + LEASE_AHEAD_MICROS {
            (self.size, self.learned) = (self.size / 2, true);
        }
        self.starts.extend((0..lease.slots).map(|i| lease.start(i)));
    }

    /// The next `count` starts, or as many as there are.
    pub fn take(&mut self, count: u32) -> Vec<i64> {
        let count = self.starts.len().min(count as usize);
        self.starts.drain(..count).collect()
    }

    /// Leaves starts to whoever asks next.
    pub fn put_back(&mut self, taken: Vec<i64>) {
        taken.into_iter().rev().for_each(|start| self.starts.push_front(start));
    }
}

/// Nobody starts a request before `until`, which is at most [`MAX_RETRY_AFTER`] ahead.
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

    /// Processes on one limiter, by the clock of a simulation, each with so many requests at once that take so long:
    /// how many started in a minute, the most within any ten seconds, how many leases it took, and how many slots were
    /// left.
    fn minute(processes: usize, at_once: usize, latency: i64) -> (usize, usize, usize, usize) {
        let limit = RateLimit { requests: 186, per: Span::seconds(10) };
        let (mut state, mut leases) = (LimiterState::default(), 0);
        let mut held: Vec<LeasedSlots> = (0..processes).map(|_| LeasedSlots::default()).collect();
        // Who is free next, and when.
        let mut free: Vec<(i64, usize)> = (0..processes * at_once).map(|n| (0, n % processes)).collect();
        let mut starts = Vec::new();
        loop {
            free.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
            let Some((now, process)) = free.pop().filter(|(now, _)| *now < 60_000_000) else { break };
            if let Some(want) = held[process].wants(limit, now, 0, 1) {
                let (next, leased) = lease(state, limit, now, want);
                state = next;
                leases += 1;
                held[process].add(leased, now);
            }
            let start = held[process].take(1)[0].max(now);
            starts.push(start);
            free.push((start + latency, process));
        }
        starts.sort_unstable();
        let most = starts
            .iter()
            .enumerate()
            .map(|(i, start)| starts[i..].iter().take_while(|s| **s < start + 10_000_000).count())
            .max();
        (
            starts.iter().filter(|s| **s < 60_000_000).count(),
            most.unwrap_or_default(),
            leases,
            held.iter().map(|held| held.starts.len()).sum(),
        )
    }

    #[test]
    fn many_processes_use_the_rate_and_no_slot_is_leased_for_nothing() {
        // 1,116 requests are allowed in a minute.
        for (processes, at_once, latency) in [
            (1, 1, 10_000),
            (1, 10, 300_000),
            (4, 1, 10_000),
            (8, 1, 10_000),
            (8, 1, 300_000),
            (10, 10, 300_000),
            (40, 1, 1_500_000),
        ] {
            let (started, most, leases, left) = minute(processes, at_once, latency);
            assert!(started * 100 >= 1_116 * 95, "{processes} processes, {at_once} at once: {started} requests");
            // A slot may be used as late as the next begins, so one that was held back may share a window with them.
            assert!(most <= 187, "{processes} processes, {at_once} at once: {most} in ten seconds");
            assert!(
                latency > 10_000 || processes > 4 || leases * 3 <= started,
                "who uses all slots leases many at once: {leases} leases for {started} requests"
            );
            assert!(left <= 28, "whoever ends leaves little behind: {left} slots of {processes} processes");
        }
        // One request at a time that takes longer than a slot: what it cannot use is left to others.
        let (started, _, leases, _) = minute(1, 1, 300_000);
        assert!(started >= 60_000 / 355 && leases <= started, "{started} requests, {leases} leases");
    }

    #[test]
    fn a_process_that_was_idle_begins_anew() {
        let limit = RateLimit { requests: 100, per: Span::seconds(1) };
        let mut held = LeasedSlots::default();
        let mut state = LimiterState::default();
        let mut want = |now: i64, held: &mut LeasedSlots| {
            let want = held.wants(limit, now, 0, 1);
            if let Some(want) = want {
                let (next, leased) = lease(state, limit, now, want);
                state = next;
                held.add(leased, now);
            }
            held.take(1);
            want
        };
        let sizes: Vec<u32> = (0..20).filter_map(|n| want(n * 10_000, &mut held)).collect();
        assert_eq!(sizes, [1, 2, 4, 8, 16], "all are used, so more are leased");
        assert_eq!(want(60_000_000, &mut held), Some(1), "what was left over is long past");
        assert_eq!(want(60_010_000, &mut held), Some(2));
    }

    #[test]
    fn a_slot_too_far_ahead_is_not_believed() {
        let limit = RateLimit { requests: 5, per: Span::seconds(1) };
        let (now, minute) = (1_700_000_000_000_000, 60_000_000);
        for (ahead, first) in [
            (10 * minute, now + 10 * minute),
            (120 * minute, now),
            (365 * 24 * 60 * minute, now),
            (i64::MAX - now, now),
            (-minute, now),
        ] {
            let (_, lease) = lease(LimiterState { next_slot_micros: now + ahead }, limit, now, 1);
            assert_eq!(lease.first_micros, first, "{ahead}");
        }
    }

    #[test]
    fn a_pause_moves_the_next_slot_and_never_back() {
        let paused = pause(LimiterState { next_slot_micros: 0 }, Millis(5_000));
        assert_eq!(paused.next_slot_micros, 5_000_000);
        assert_eq!(pause(paused, Millis(1)), paused);
    }
}
