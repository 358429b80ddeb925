//! The head of a sync: its generation, its active run, and what the last runs left for the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::meaning::Meaning;
use crate::row::Column;

/// One per sync; every write of it is conditional on `version`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Raised by every write; 0 before the first.
    pub version: u64,
    /// Raised by every acquire; a message of an older one is dropped.
    pub generation: u64,
    /// The run that holds the sync.
    pub active: Option<ActiveRun>,
    /// Buckets of the state, as a power of two.
    pub bucket_bits: u8,
    /// The model's columns at the last run that was delivered, for the drift guard.
    pub columns: Vec<Column>,
    /// Records of the model at the last full read.
    pub records: u64,
    /// Where an incremental read goes on: the cursor's value as canonical cell, in base64.
    pub cursor: Option<String>,
    /// When the model was last read in full and everything was accepted.
    pub last_full: Option<Millis>,
    /// When the last run that delivered began ([`crate::run::Run::has_delivered`]): how fresh the destination is.
    #[serde(default)]
    pub delivered: Option<Millis>,
    /// Records that the destination had accepted after the last run that was delivered, about: what percentages are of.
    #[serde(default)]
    pub known: u64,
    /// What the entries of the state mean; `None` before the first run, and in the state of an earlier build.
    #[serde(default)]
    pub meaning: Option<Meaning>,
    /// The next read must be a full one, cursor or not: something may differ in rows that an incremental read leaves
    /// out. The generation in which that was found out: a full run of a later one clears it.
    #[serde(default)]
    pub must_read_full: Option<u64>,
    /// When refused records are looked at again, which an incremental read does not see.
    #[serde(default)]
    pub look_again: Option<Millis>,
    /// The model's version at the last run, where that left nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<DeliveredModel>,
    /// The sync version that `cursor`, `model` and `last_full` belong to: another one begins with a full read.
    pub sync_version: String,
}

/// A model whose every record was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredModel {
    /// The version that the warehouse gave it, asked before it was read ([`crate::ports::Warehouse::version`]).
    pub version: String,
    /// The generation of the run: whatever touches the state afterwards raises it.
    pub generation: u64,
}

/// A run that holds the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveRun {
    /// Its id.
    pub run: String,
    /// When it acquired the head.
    pub since: Millis,
}

impl Head {
    /// True when a message of this run and generation may still be handled: a generation alone may come up again, where
    /// a state was restored.
    pub fn is_of(&self, run: &str, generation: u64) -> bool {
        self.generation == generation
            && (generation == 0 || self.active.as_ref().is_some_and(|active| active.run == run))
    }
}

/// What an acquire came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquire {
    /// Write this head, and the run holds it. `replaced` is the stalled run it takes over from.
    Take {
        /// The new head.
        head: Box<Head>,
        /// The run that made no progress.
        replaced: Option<String>,
    },
    /// Another run is active and alive.
    Busy(ActiveRun),
}

/// Decides an acquire. `progress` is when the active run last got anywhere; `stall` how long it may be silent.
pub fn acquire(head: &Head, run: &str, now: Millis, progress: Option<Millis>, stall: Duration) -> Acquire {
    let mut next = head.clone();
    next.generation += 1;
    next.active = Some(ActiveRun { run: run.to_owned(), since: now });
    match &head.active {
        None => Acquire::Take { head: Box::new(next), replaced: None },
        // A run that got somewhere in the future did so by a clock that was ahead: it is not waited for until then.
        Some(active) if now.since(last(active, progress)) >= stall || last(active, progress).since(now) >= stall => {
            Acquire::Take { head: Box::new(next), replaced: Some(active.run.clone()) }
        }
        Some(active) => Acquire::Busy(active.clone()),
    }
}

/// When the active run was last heard of.
fn last(active: &ActiveRun, progress: Option<Millis>) -> Millis {
    progress.unwrap_or(active.since).max(active.since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_ahead_does_not_block_for_as_long() {
        let stall = Duration::from_secs(60);
        let ahead =
            Head { active: Some(ActiveRun { run: "r1".into(), since: Millis(31_536_000_000) }), ..Head::default() };
        assert!(matches!(acquire(&ahead, "r2", Millis(5), None, stall), Acquire::Take { replaced: Some(_), .. }));
    }

    #[test]
    fn a_live_run_keeps_the_head_and_a_stalled_one_loses_it() {
        let stall = Duration::from_secs(60);
        let Acquire::Take { head, replaced: None } = acquire(&Head::default(), "r1", Millis(0), None, stall) else {
            panic!("a free head is taken")
        };
        assert_eq!(head.generation, 1);
        assert!(matches!(acquire(&head, "r2", Millis(59_999), None, stall), Acquire::Busy(a) if a.run == "r1"));
        assert!(matches!(acquire(&head, "r2", Millis(70_000), Some(Millis(20_000)), stall), Acquire::Busy(_)));
        let Acquire::Take { head, replaced } = acquire(&head, "r2", Millis(60_000), None, stall) else {
            panic!("a stalled run loses it")
        };
        assert_eq!((head.generation, replaced.as_deref()), (2, Some("r1")));
    }
}
