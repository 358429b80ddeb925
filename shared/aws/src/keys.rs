//! Every key of the one table: `pk` and `sk`, both text.
//!
//! Names of syncs and connections hold no `#`, so no key of one thing begins like that of another. Attributes have
//! short names, because DynamoDB charges for their bytes; this is what they mean to one who looks at the table in the
//! console:
//!
//! | `pk` | `sk` | what | attributes | written by | goes |
//! |---|---|---|---|---|---|
//! | `h#SYNC` | `h` | head | `d` JSON, `v` version, `g` generation, `lb` `le` bits and epoch of the buckets, `m` epoch that is being laid out, `n` token of the last writer | run (acquire, close), `state` | with the sync's state |
//! | `h#SYNC` | `l` | epochs to remove | `x` set of names | rebucket | when they are removed |
//! | `b#SYNC#BITS.EPOCH#BUCKET` | `b` | bucket | key hash: what was accepted; `!` and key hash: the last failure | commit | with the sync's state |
//! | `m#SYNC#BITS.EPOCH` | `PAGE` | manifest page | `b` digests of 8 bytes, `v` version, `n` token | digests | with the sync's state |
//! | `s#SYNC` | `RUN` | run | `d` JSON, `e` it is closed | run, close, notify | after 90 days |
//! | `r#RUN` | `p` | how far a run is | `t` batches in all, `f` full pages, `k` those with records in doubt | settle | after 90 days |
//! | `r#RUN` | `c#PAGE` | 64 batches | one packed cell each, `sync`, `at` last progress | claim, settle | after 90 days |
//! | `r#RUN` | `t#BATCH#STAMP` | why records were not accepted | `d` JSON | settle | after 90 days |
//! | `r#RUN` | `n#BATCH#STAMP#PART` | a large note of a claim | `b` bytes | claim | after 90 days |
//! | `d#SYNC` | `RUN` | a run that may have left records in doubt | – | claim | when none is left, or after 90 days |
//! | `x#SYNC` | `HASH` | dead letter | `d` JSON | record | after 180 days |
//! | `y#SYNC` | `TIME#HASH` | its place in the order | – | record | after 180 days |
//! | `l#CONNECTION` | `l` | limiter | `n` when the next slot is free, in microseconds | every request | – |
//! | `definitions` | `SYNC` | the current definition of a sync | `version`, `applied`, `schedule`, `paused`, `resumed` | `apply`, `pause` | `delete` |
//! | `definition#SYNC` | `VERSION` | a definition | JSON | `apply` | some time after it was replaced |

/// The attribute of the partition key.
pub const PK: &str = "pk";
/// The attribute of the sort key.
pub const SK: &str = "sk";
/// The attribute by which DynamoDB removes an item: seconds since 1970.
pub const TTL: &str = "ttl";

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub pk: String,
    pub sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }
}

// ---------------------------------------------------------------------------------------------------
// State

/// The head of a sync.
pub fn head(sync: &str) -> Key {
    Key::new(format!("h#{sync}"), "h")
}

/// Layouts of a sync's buckets that may still have to be removed.
pub fn leftovers(sync: &str) -> Key {
    Key::new(format!("h#{sync}"), "l")
}

/// A bucket. Each has a partition of its own, so that a sync's writers do not meet in one. `layout` is `BITS.EPOCH`.
pub fn bucket(sync: &str, layout: &str, number: u32) -> Key {
    Key::new(format!("b#{sync}#{layout}#{number:x}"), "b")
}

/// The partition of a manifest: its pages.
pub fn manifest(sync: &str, layout: &str) -> String {
    format!("m#{sync}#{layout}")
}

/// A page of a manifest.
pub fn page(sync: &str, layout: &str, number: u32) -> Key {
    Key::new(manifest(sync, layout), format!("{number:04x}"))
}

/// The partition of a sync's runs, in the order of their ids.
pub fn runs(sync: &str) -> String {
    format!("s#{sync}")
}

pub fn run(sync: &str, id: &str) -> Key {
    Key::new(runs(sync), id)
}

/// The partition of a run's batches.
pub fn batches(run: &str) -> String {
    format!("r#{run}")
}

/// How far a run is.
pub fn progress(run: &str) -> Key {
    Key::new(batches(run), "p")
}

/// A page of batches (see `state/pages.rs`).
pub fn batch_page(run: &str, page: u32) -> Key {
    Key::new(batches(run), format!("c#{page:06x}"))
}

/// First and last sort key that pages of batches can have.
pub const BATCH_PAGES: (&str, &str) = ("c#", "c~");

/// Why records of a batch were not accepted, under the stamp of what it says.
pub fn reasons(run: &str, batch: u32, stamp: u64) -> Key {
    Key::new(batches(run), format!("t#{batch:08x}#{stamp:016x}"))
}

/// A part of a claim's note that is too large for its page, under the stamp of the note.
pub fn note(run: &str, batch: u32, stamp: u64, part: u8) -> Key {
    Key::new(batches(run), format!("n#{batch:08x}#{stamp:016x}#{part:02x}"))
}

/// The partition of those runs of a sync that may have left records in doubt.
pub fn doubtful_runs(sync: &str) -> String {
    format!("d#{sync}")
}

pub fn doubtful_run(sync: &str, run: &str) -> Key {
    Key::new(doubtful_runs(sync), run)
}

/// A dead letter, by the hash of its record.
pub fn dead_letter(sync: &str, hash: &str) -> Key {
    Key::new(format!("x#{sync}"), hash)
}

/// The partition of the order of a sync's dead letters.
pub fn letter_order(sync: &str) -> String {
    format!("y#{sync}")
}

/// A dead letter's place in the order: the newest first, those of one moment by their hashes.
pub fn dead_letter_order_key(sync: &str, at_millis: i64, hash: &str) -> Key {
    let from_newest = u64::MAX - (at_millis.cast_unsigned() ^ (1 << 63));
    Key::new(letter_order(sync), format!("{from_newest:016x}#{hash}"))
}

/// The limiter of a connection.
pub fn limiter(connection: &str) -> Key {
    Key::new(format!("l#{connection}"), "l")
}

// ---------------------------------------------------------------------------------------------------
// Definitions

/// Partition of the current item of every sync, so that one Query lists them all. Sort key: the sync's name.
pub fn current_definitions() -> String {
    "definitions".into()
}

/// Partition of a sync's definitions. Sort key: the version.
pub fn definition_versions(sync: &str) -> String {
    format!("definition#{sync}")
}

/// What the partitions of a sync's records begin with (where it ends with `#`) or are: digests first, then buckets,
/// records in doubt, dead letters and their order. For forgetting a sync.
pub fn state_partitions(sync: &str) -> [String; 5] {
    [format!("m#{sync}#"), format!("b#{sync}#"), format!("d#{sync}"), format!("x#{sync}"), format!("y#{sync}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_letter_comes_first() {
        let places = [30, 20, 0, -5].map(|at| dead_letter_order_key("s", at, "h").sk);
        assert!(places.is_sorted() && places[0] < places[1], "{places:?}");
        assert!(dead_letter_order_key("s", 1, "a").sk < dead_letter_order_key("s", 1, "b").sk);
    }

    #[test]
    fn pages_of_batches_lie_within_their_range() {
        let (first, last) = BATCH_PAGES;
        for key in [batch_page("r", 0), batch_page("r", 0xff_ffff)] {
            assert!(first < key.sk.as_str() && key.sk.as_str() < last);
        }
        for key in [progress("r"), reasons("r", 1, 2), note("r", 1, 2, 3)] {
            assert!(key.sk.as_str() > last);
        }
    }
}
