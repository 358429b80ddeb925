//! The manifest: per bucket, the digest of the model's entries at the last run that found nothing left
//! to do there. A bucket whose digest still matches is not read.

use xxhash_rust::xxh3::Xxh3;

use crate::key::KeyHash;

/// Digests to a page.
pub const PAGE: usize = 4096;

/// The digest of a bucket nobody vouches for: it matches nothing.
pub const CLEARED: u64 = 0;

/// Some digests of the manifest, with the version every write is conditional on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestPage {
    /// Number of the page: it holds the buckets from `number * PAGE`.
    pub number: u32,
    /// Raised by every write; 0 when the page was never written.
    pub version: u64,
    /// The digests; [`CLEARED`] where there is none.
    pub digests: Vec<u64>,
}

impl ManifestPage {
    /// A page that was never written, for a manifest of `2^bits` buckets.
    pub fn empty(number: u32, bits: u8) -> Self {
        Self { number, version: 0, digests: vec![CLEARED; Self::len(number, bits)] }
    }

    /// Pages of a manifest of `2^bits` buckets.
    pub fn count(bits: u8) -> u32 {
        (1u64 << bits).div_ceil(PAGE as u64) as u32
    }

    fn len(number: u32, bits: u8) -> usize {
        ((1u64 << bits) - u64::from(number) * PAGE as u64).min(PAGE as u64) as usize
    }

    /// Page and position of a bucket.
    pub fn place(bucket: u32) -> (u32, usize) {
        (bucket / PAGE as u32, bucket as usize % PAGE)
    }
}

/// Digests one bucket of the model: its entries in the order of their hashes.
#[derive(Default)]
pub struct BucketDigest(Xxh3);

impl BucketDigest {
    /// A digest of entries that mean what `seed` stands for ([`crate::meaning::Meaning::seed`]).
    pub fn under(seed: u64) -> Self {
        Self(Xxh3::with_seed(seed))
    }

    /// Adds an entry. `kind` tells a valid entry from an invalid one or one outside the rollout.
    pub fn add(&mut self, hash: &KeyHash, checksum: u64, kind: u8) {
        let mut bytes = [0; 21];
        bytes[..12].copy_from_slice(&hash.0);
        bytes[12..20].copy_from_slice(&checksum.to_le_bytes());
        bytes[20] = kind;
        self.0.update(&bytes);
    }

    /// The digest; never [`CLEARED`].
    pub fn finish(&self) -> u64 {
        self.0.digest().max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_all_buckets() {
        assert_eq!(ManifestPage::count(0), 1);
        assert_eq!(ManifestPage::empty(0, 3).digests.len(), 8);
        assert_eq!(ManifestPage::count(13), 2);
        assert_eq!(ManifestPage::empty(1, 13).digests.len(), PAGE);
        assert_eq!(ManifestPage::place(PAGE as u32 + 5), (1, 5));
    }

    #[test]
    fn a_digest_sees_every_part() {
        let digest = |hash: u8, checksum, kind| {
            let mut d = BucketDigest::default();
            d.add(&KeyHash([hash; 12]), checksum, kind);
            d.finish()
        };
        let base = digest(1, 1, 0);
        assert!(
            [digest(2, 1, 0), digest(1, 2, 0), digest(1, 1, 1), BucketDigest::default().finish()]
                .iter()
                .all(|d| *d != base)
        );
    }
}
