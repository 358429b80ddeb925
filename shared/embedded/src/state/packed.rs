//! A bucket as bytes: its entries in the order of their hashes. Pure: bytes in, bytes out.
//!
//! The first byte is the version of the form. An entry is `hash 12 · flags 1`, then
//! if accepted `checksum 8 · revision 2 [· length 4 · identifier] [· length 4 · record id]`, then
//! if failing `kind 1 · checksum 8 · first 8 · failures 4 · next retry 8 · length 4 · code`,
//! numbers little-endian. Writes are merged in: the bytes of an entry nobody writes to are copied as they are.

use domain::bucket::{Accepted, Bucket, DeliveryFailure, EntryWrite, FailureKind, StoredEntry};
use domain::clock::Millis;
use domain::key::KeyHash;

/// The version of the form.
pub(super) const VERSION: u8 = 1;

const ACCEPTED: u8 = 1;
const IDENTIFIER: u8 = 2;
const RECORD_ID: u8 = 4;
const TROUBLE: u8 = 8;
const OF_ACCEPTED: u8 = ACCEPTED | IDENTIFIER | RECORD_ID;

/// The bytes are not a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// An entry that was found but not read.
#[derive(Clone, Copy)]
pub(super) struct RawEntry<'a> {
    pub(super) hash: KeyHash,
    /// All of its bytes.
    pub(super) whole: &'a [u8],
    flags: u8,
    accepted: &'a [u8],
    failure: &'a [u8],
}

/// Walks through the entries of a bucket.
pub(super) struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    /// No bytes at all are an empty bucket.
    pub(super) fn new(data: &'a [u8]) -> Result<Self, Damaged> {
        match data {
            [] => Ok(Self(data)),
            [VERSION, rest @ ..] => Ok(Self(rest)),
            _ => Err(Damaged),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<RawEntry<'a>>, Damaged> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let mut rest = PackedReader(self.0);
        let raw = rest.raw().ok_or(Damaged)?;
        self.0 = rest.0;
        Ok(Some(raw))
    }
}

/// Merges writes, sorted by hash, into a bucket and leaves the result in `out`: no bytes if nothing is left.
/// Several writes to one record take effect in their order.
pub(super) fn merge(old: &[u8], mut writes: &[(KeyHash, EntryWrite)], out: &mut Vec<u8>) -> Result<(), Damaged> {
    out.clear();
    out.push(VERSION);
    let mut walk = Walk::new(old)?;
    let mut stored = walk.next()?;
    while let Some((hash, _)) = writes.first() {
        while let Some(raw) = stored.filter(|raw| raw.hash < *hash) {
            out.extend_from_slice(raw.whole);
            stored = walk.next()?;
        }
        let (mine, others) = writes.split_at(writes.iter().take_while(|(other, _)| other == hash).count());
        match stored.filter(|raw| raw.hash == *hash) {
            Some(raw) => {
                apply(*hash, Some(raw), mine, out);
                stored = walk.next()?;
            }
            None => apply(*hash, None, mine, out),
        }
        writes = others;
    }
    if let Some(raw) = stored {
        out.extend_from_slice(raw.whole);
        out.extend_from_slice(walk.0);
    }
    if out.len() == 1 {
        out.clear();
    }
    Ok(())
}

/// Half of an entry: as stored, or about to be.
enum Half<'a, T> {
    Stored(&'a [u8]),
    New(&'a T),
}

fn apply(hash: KeyHash, stored: Option<RawEntry<'_>>, writes: &[(KeyHash, EntryWrite)], out: &mut Vec<u8>) {
    let mut accepted = stored.filter(|raw| raw.flags & ACCEPTED != 0).map(|raw| Half::Stored(raw.accepted));
    let mut failure = stored.filter(|raw| raw.flags & TROUBLE != 0).map(|raw| Half::Stored(raw.failure));
    for (_, write) in writes {
        match write {
            EntryWrite::Accepted { accepted: new, clear_failure } => {
                accepted = Some(Half::New(new));
                if *clear_failure {
                    failure = None;
                }
            }
            EntryWrite::Removed => (accepted, failure) = (None, None),
            EntryWrite::Failure(new) => failure = Some(Half::New(new)),
            EntryWrite::ClearFailure => failure = None,
        }
    }
    if accepted.is_none() && failure.is_none() {
        return;
    }
    out.extend_from_slice(&hash.0);
    let place = out.len();
    out.push(0);
    let mut flags = match accepted {
        None => 0,
        Some(Half::Stored(bytes)) => {
            out.extend_from_slice(bytes);
            stored.map_or(0, |raw| raw.flags & OF_ACCEPTED)
        }
        Some(Half::New(accepted)) => push_accepted(accepted, out),
    };
    if let Some(failure) = failure {
        flags |= TROUBLE;
        match failure {
            Half::Stored(bytes) => out.extend_from_slice(bytes),
            Half::New(failure) => push_failure(failure, out),
        }
    }
    out[place] = flags;
}

fn push_accepted(accepted: &Accepted, out: &mut Vec<u8>) -> u8 {
    let mut flags = ACCEPTED;
    out.extend_from_slice(&accepted.checksum.to_le_bytes());
    out.extend_from_slice(&accepted.revision.to_le_bytes());
    if let Some(identifier) = &accepted.identifier {
        flags |= IDENTIFIER;
        push_sized(identifier, out);
    }
    if let Some(record_id) = &accepted.record_id {
        flags |= RECORD_ID;
        push_sized(record_id.as_bytes(), out);
    }
    flags
}

fn push_failure(failure: &DeliveryFailure, out: &mut Vec<u8>) {
    out.push(match failure.kind {
        FailureKind::Rejected => 0,
        FailureKind::Skipped => 1,
        FailureKind::Exhausted => 2,
    });
    out.extend_from_slice(&failure.checksum.to_le_bytes());
    out.extend_from_slice(&failure.first.0.to_le_bytes());
    out.extend_from_slice(&failure.failures.to_le_bytes());
    out.extend_from_slice(&failure.next_retry.0.to_le_bytes());
    push_sized(failure.code.as_bytes(), out);
}

fn push_sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn read(number: u32, data: &[u8]) -> Result<Bucket, Damaged> {
    let mut walk = Walk::new(data)?;
    let mut entries: Vec<(KeyHash, StoredEntry)> = Vec::with_capacity(data.len() / 23);
    while let Some(raw) = walk.next()? {
        if entries.last().is_some_and(|(last, _)| *last >= raw.hash) {
            return Err(Damaged);
        }
        entries.push((raw.hash, raw.entry().ok_or(Damaged)?));
    }
    Ok(Bucket { number, entries })
}

impl RawEntry<'_> {
    fn entry(&self) -> Option<StoredEntry> {
        let mut entry = StoredEntry::default();
        if self.flags & ACCEPTED != 0 {
            let mut bytes = PackedReader(self.accepted);
            let mut accepted = Accepted { checksum: bytes.u64()?, revision: bytes.u16()?, ..Accepted::default() };
            if self.flags & IDENTIFIER != 0 {
                accepted.identifier = Some(bytes.sized()?.into());
            }
            if self.flags & RECORD_ID != 0 {
                accepted.record_id = Some(std::str::from_utf8(bytes.sized()?).ok()?.into());
            }
            entry.accepted = Some(accepted);
        }
        if self.flags & TROUBLE != 0 {
            let mut bytes = PackedReader(self.failure);
            let kind = match bytes.array::<1>()? {
                [0] => FailureKind::Rejected,
                [1] => FailureKind::Skipped,
                [2] => FailureKind::Exhausted,
                _ => return None,
            };
            entry.failure = Some(DeliveryFailure {
                kind,
                checksum: bytes.u64()?,
                first: bytes.millis()?,
                failures: bytes.u32()?,
                next_retry: bytes.millis()?,
                code: std::str::from_utf8(bytes.sized()?).ok()?.to_owned(),
            });
        }
        Some(entry)
    }
}

/// Bytes still to be read.
struct PackedReader<'a>(&'a [u8]);

impl<'a> PackedReader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn millis(&mut self) -> Option<Millis> {
        self.array().map(|bytes| Millis(i64::from_le_bytes(bytes)))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    fn raw(&mut self) -> Option<RawEntry<'a>> {
        let all = self.0;
        let hash = KeyHash(self.array()?);
        let [flags] = self.array()?;
        if flags & !(OF_ACCEPTED | TROUBLE) != 0 || flags & (ACCEPTED | TROUBLE) == 0 {
            return None;
        }
        let from = self.0;
        if flags & ACCEPTED != 0 {
            self.take(10)?;
            for flag in [IDENTIFIER, RECORD_ID] {
                if flags & flag != 0 {
                    self.sized()?;
                }
            }
        }
        let accepted = &from[..from.len() - self.0.len()];
        let from = self.0;
        if flags & TROUBLE != 0 {
            self.take(1 + 8 + 8 + 4 + 8)?;
            self.sized()?;
        }
        let failure = &from[..from.len() - self.0.len()];
        Some(RawEntry { hash, whole: &all[..all.len() - self.0.len()], flags, accepted, failure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> KeyHash {
        KeyHash([n; 12])
    }

    fn accept(checksum: u64, clear_failure: bool) -> EntryWrite {
        EntryWrite::Accepted {
            accepted: Accepted {
                checksum,
                revision: 7,
                identifier: Some([1, 2].into()),
                record_id: Some("é-1".into()),
            },
            clear_failure,
        }
    }

    fn failure(code: &str) -> DeliveryFailure {
        DeliveryFailure {
            kind: FailureKind::Skipped,
            checksum: 9,
            code: code.into(),
            first: Millis(-1),
            failures: 3,
            next_retry: Millis(i64::MAX),
        }
    }

    fn merged(old: &[u8], writes: &[(KeyHash, EntryWrite)]) -> Vec<u8> {
        let mut out = vec![99];
        merge(old, writes, &mut out).unwrap();
        out
    }

    #[test]
    fn every_part_reads_back_and_untouched_bytes_stay() {
        let plain =
            EntryWrite::Accepted { accepted: Accepted { checksum: 5, ..Accepted::default() }, clear_failure: false };
        let data = merged(
            &[],
            &[(hash(1), plain), (hash(3), EntryWrite::Failure(failure("no_such"))), (hash(5), accept(6, false))],
        );
        let data = merged(&data, &[(hash(2), accept(1, false)), (hash(5), EntryWrite::Failure(failure("")))]);
        let bucket = read(4, &data).unwrap();
        assert_eq!(bucket.number, 4);
        assert_eq!(bucket.entries.iter().map(|(h, _)| *h).collect::<Vec<_>>(), [hash(1), hash(2), hash(3), hash(5)]);
        assert_eq!(
            bucket.entries[0].1,
            StoredEntry { accepted: Some(Accepted { checksum: 5, ..Accepted::default() }), failure: None }
        );
        assert_eq!(bucket.entries[2].1, StoredEntry { accepted: None, failure: Some(failure("no_such")) });
        let both = &bucket.entries[3].1;
        assert_eq!(both.accepted.as_ref().unwrap().record_id.as_deref(), Some("é-1"));
        assert_eq!(both.accepted.as_ref().unwrap().identifier.as_deref(), Some(&[1, 2][..]));
        assert_eq!(both.failure, Some(failure("")));
    }

    #[test]
    fn writes_to_one_record_take_effect_in_order_and_leave_nothing_empty() {
        let data = merged(
            &[],
            &[
                (hash(1), EntryWrite::Failure(failure("a"))),
                (hash(1), accept(1, true)),
                (hash(1), EntryWrite::Failure(failure("b"))),
            ],
        );
        let entry = read(0, &data).unwrap().entries.remove(0).1;
        assert_eq!((entry.accepted.unwrap().checksum, entry.failure.unwrap().code), (1, "b".to_owned()));
        let only_failure = merged(&[], &[(hash(1), EntryWrite::Failure(failure("a")))]);
        assert_eq!(merged(&only_failure, &[(hash(1), EntryWrite::ClearFailure)]), Vec::<u8>::new());
        assert_eq!(merged(&data, &[(hash(1), EntryWrite::Removed)]), Vec::<u8>::new());
        assert_eq!(
            merged(&[], &[(hash(1), EntryWrite::Removed), (hash(2), EntryWrite::ClearFailure)]),
            Vec::<u8>::new()
        );
    }

    #[test]
    fn damage_is_noticed() {
        let data = merged(&[], &[(hash(1), accept(1, false)), (hash(2), EntryWrite::Failure(failure("a")))]);
        for len in 2..data.len() {
            let cut = read(0, &data[..len]);
            assert!(cut.is_err() || cut.is_ok_and(|bucket| bucket.entries.len() == 1), "cut at {len}");
        }
        assert_eq!(read(0, &[VERSION + 1]), Err(Damaged));
        let mut twice = data.clone();
        twice.extend_from_slice(&data[1..]);
        assert_eq!(read(0, &twice), Err(Damaged), "out of order");
        let mut flags = data;
        flags[13] = 0x80;
        assert_eq!(merge(&flags, &[(hash(1), accept(1, false))], &mut Vec::new()), Err(Damaged));
    }
}
