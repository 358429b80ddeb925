//! What reads used at a warehouse, as far as it says: what people pay for.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What a read used. A warehouse that does not say a number leaves it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WarehouseUsage {
    /// Bytes of tables that were scanned, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scanned_bytes: Option<u64>,
    /// How long the statement ran, in milliseconds: as the warehouse says, or as it was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement_millis: Option<u64>,
}

impl WarehouseUsage {
    /// Bytes that were scanned.
    pub fn bytes(scanned: u64) -> Self {
        Self { scanned_bytes: Some(scanned), statement_millis: None }
    }

    /// A statement that ran so long.
    pub fn millis(ran: u64) -> Self {
        Self { scanned_bytes: None, statement_millis: Some(ran) }
    }

    /// True when nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another read used.
    pub fn add(&mut self, other: &Self) {
        let sum = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        self.scanned_bytes = sum(self.scanned_bytes, other.scanned_bytes);
        self.statement_millis = sum(self.statement_millis, other.statement_millis);
    }

    /// `1.2 GB scanned in 4.1 s`; empty where nothing is said.
    pub fn in_words(&self) -> String {
        let bytes = self.scanned_bytes.map(|bytes| format!("{} scanned", bytes_in_words(bytes)));
        let time = self.statement_millis.map(|millis| format!("{:.1} s", millis as f64 / 1000.0));
        match (bytes, time) {
            (Some(bytes), Some(time)) => format!("{bytes} in {time}"),
            (Some(bytes), None) => bytes,
            (None, Some(time)) => format!("a statement of {time}"),
            (None, None) => String::new(),
        }
    }
}

/// Bytes as a person reads them: `1.2 GB`, thousands of thousands.
pub fn bytes_in_words(bytes: u64) -> String {
    let units = ["bytes", "KB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut at = 0;
    while value >= 1000.0 && at + 1 < units.len() {
        value /= 1000.0;
        at += 1;
    }
    if at == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", units[at]) }
}

/// Where a warehouse notes what its reads use: known to the one who asks, even where the read fails. Clones note in one
/// place.
#[derive(Debug, Clone, Default)]
pub struct UsageMeter(Arc<Mutex<WarehouseUsage>>);

impl UsageMeter {
    /// Adds what a read used.
    pub fn note(&self, used: WarehouseUsage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(&used);
    }

    /// What was noted so far.
    pub fn total(&self) -> WarehouseUsage {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_adds_up_and_is_said_in_words() {
        let meter = UsageMeter::default();
        assert!(meter.total().is_empty() && meter.total().in_words().is_empty());
        let clone = meter.clone();
        clone.note(WarehouseUsage::bytes(1_200_000_000));
        assert_eq!(meter.total().in_words(), "1.2 GB scanned");
        clone.note(WarehouseUsage { scanned_bytes: Some(5), statement_millis: Some(4_100) });
        assert_eq!(meter.total().scanned_bytes, Some(1_200_000_005));
        assert_eq!(meter.total().in_words(), "1.2 GB scanned in 4.1 s");
        assert_eq!(WarehouseUsage::millis(250).in_words(), "a statement of 0.2 s");
        assert_eq!(bytes_in_words(999), "999 bytes");
    }
}
