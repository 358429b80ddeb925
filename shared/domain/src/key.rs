//! What identifies a record in our own state: the hash of its key, and the bucket that hash falls into.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use crate::cells::{Cells, VERSION};
use crate::value::Value;

/// 96 bits of xxh3-128 over the canonical bytes of a record's key. Big-endian, so that sorting hashes
/// sorts buckets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 12]);

impl KeyHash {
    /// The hash of a key's cells.
    pub fn of(key: &[u8]) -> Self {
        let wide = xxh3_128_with_seed(key, u64::from(VERSION)).to_be_bytes();
        let mut hash = [0; 12];
        hash.copy_from_slice(&wide[..12]);
        Self(hash)
    }

    /// The bucket of this key when there are `2^bits` buckets (`bits` ≤ 32): the top bits of the hash.
    pub fn bucket(&self, bits: u8) -> u32 {
        if bits == 0 { 0 } else { self.prefix() >> (32 - u32::from(bits.min(32))) }
    }

    /// The first 32 bits, enough to recognise a record among few (see [`crate::in_doubt`]).
    pub fn prefix(&self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]])
    }

    /// A stable share of keys: 0 to 9,999, even over all keys and independent of the bucket.
    pub fn share(&self) -> u32 {
        u32::from_be_bytes([self.0[8], self.0[9], self.0[10], self.0[11]]) % 10_000
    }

    /// Where this key stands in the order by which records are chosen to be read back: even over all keys, and
    /// independent of the bucket and of [`KeyHash::share`].
    pub fn sample_rank(&self) -> u32 {
        u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])
    }

    /// Reads the 16 characters of [`fmt::Display`].
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl Serialize for KeyHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a key hash is 16 characters of base64url"))
    }
}

/// The checksum of a mapped record: 64 bits of xxh3 over its cells, seeded by its layout.
pub fn checksum(record: &[u8], layout_seed: u64) -> u64 {
    xxh3_64_with_seed(record, layout_seed)
}

/// A key for people: the values joined by `,`; text as it is.
pub fn display_key(key: Cells<'_>) -> String {
    let mut text = String::new();
    for (i, value) in key.values().enumerate() {
        if i > 0 {
            text.push(',');
        }
        match value {
            Value::Null | Value::Missing => text.push_str("null"),
            other => text.push_str(&other.to_text()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_its_text_and_sorts_by_bucket() {
        let mut hashes: Vec<_> = (0..1000u32).map(|i| KeyHash::of(&i.to_le_bytes())).collect();
        hashes.sort();
        assert!(hashes.iter().all(|h| KeyHash::parse(&h.to_string()) == Some(*h)));
        assert!(hashes.windows(2).all(|w| w[0].bucket(6) <= w[1].bucket(6)));
        assert_eq!(hashes[0].bucket(0), 0);
    }

    #[test]
    fn shares_are_even() {
        let below = (0..100_000u32).filter(|i| KeyHash::of(&i.to_le_bytes()).share() < 1_000).count();
        assert!((9_500..10_500).contains(&below), "{below} of 100,000 in a share of 10 percent");
    }
}
