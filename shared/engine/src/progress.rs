//! Numbers of a run in progress, for progress bars. Nothing is decided by them.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a run is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Checking the sync and both connections.
    Preparing,
    /// Reading the model.
    Reading,
    /// Comparing with the state.
    Comparing,
    /// Sending.
    Sending,
}

/// Counters that anyone may read at any time.
#[derive(Debug, Default)]
pub struct RunProgress {
    phase: AtomicU8,
    rows: AtomicU64,
    planned: AtomicU64,
    settled: AtomicU64,
    requests: AtomicU64,
    throttles: AtomicU64,
}

impl RunProgress {
    /// What the run is busy with.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Preparing,
            1 => Phase::Reading,
            2 => Phase::Comparing,
            _ => Phase::Sending,
        }
    }

    /// Enters a phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Rows read so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Records to be sent.
    pub fn planned(&self) -> u64 {
        self.planned.load(Ordering::Relaxed)
    }

    /// Records that need no more sending.
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// Requests made.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Times the destination asked to slow down.
    pub fn throttles(&self) -> u64 {
        self.throttles.load(Ordering::Relaxed)
    }

    pub(crate) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn plan(&self, records: u64) {
        self.planned.store(records, Ordering::Relaxed);
    }

    pub(crate) fn settle(&self, records: u64) {
        self.settled.fetch_add(records, Ordering::Relaxed);
    }

    pub(crate) fn add_requests(&self, requests: u32) {
        self.requests.fetch_add(u64::from(requests), Ordering::Relaxed);
    }

    pub(crate) fn throttle(&self) {
        self.throttles.fetch_add(1, Ordering::Relaxed);
    }
}
