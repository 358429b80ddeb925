//! Capacity units that a store has used, and how large DynamoDB takes an item to be.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::Item;

/// What a store has used of DynamoDB since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Consumed {
    /// Read units: 4 KB strongly consistent, 8 KB eventually.
    pub read_units: f64,
    /// Write units: 1 KB.
    pub write_units: f64,
    /// Requests, also those that failed.
    pub requests: u64,
}

impl std::ops::Sub for Consumed {
    type Output = Consumed;

    /// What was used from an earlier count to this.
    fn sub(self, earlier: Consumed) -> Consumed {
        Consumed {
            read_units: self.read_units - earlier.read_units,
            write_units: self.write_units - earlier.write_units,
            requests: self.requests - earlier.requests,
        }
    }
}

/// Counts, in halves of a unit.
#[derive(Default)]
pub(super) struct Counters {
    read_halves: AtomicU64,
    write_halves: AtomicU64,
    requests: AtomicU64,
}

impl Counters {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A read: what the service says, or what the items that came back cost by its rules, whichever is more. Emulators
    /// say too little.
    pub(super) fn read(&self, said: Option<f64>, by_size: f64) {
        add(&self.read_halves, said.unwrap_or_default().max(by_size));
    }

    pub(super) fn write(&self, units: f64) {
        add(&self.write_halves, units);
    }

    pub(super) fn now(&self) -> Consumed {
        let units = |halves: &AtomicU64| halves.load(Ordering::Relaxed) as f64 / 2.0;
        Consumed {
            read_units: units(&self.read_halves),
            write_units: units(&self.write_halves),
            requests: self.requests.load(Ordering::Relaxed),
        }
    }
}

fn add(halves: &AtomicU64, units: f64) {
    halves.fetch_add((units * 2.0).round() as u64, Ordering::Relaxed);
}

/// Strongly consistent read units of an item of this many bytes; an item that is not there costs one.
pub(super) fn read_units(bytes: usize) -> f64 {
    bytes.div_ceil(4096).max(1) as f64
}

/// Write units of an item of this many bytes.
pub(super) fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

/// The size of an item as DynamoDB counts it: names in UTF-8 and values.
pub(super) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_size(value)).sum()
}

fn value_size(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len() / 2 + 2,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(|n| n.len() / 2 + 2).sum(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_rounded_up() {
        assert_eq!((read_units(0), read_units(4096), read_units(4097)), (1.0, 1.0, 2.0));
        assert_eq!((write_units(1), write_units(1024), write_units(1025)), (1.0, 1.0, 2.0));
    }

    #[test]
    fn a_read_counts_what_is_more() {
        let counters = Counters::default();
        counters.read(Some(0.5), 3.0);
        counters.read(Some(9.0), 3.0);
        counters.write(2.0);
        counters.request();
        assert_eq!(counters.now(), Consumed { read_units: 12.0, write_units: 2.0, requests: 1 });
    }
}
