//! What the state of a sync says, and of what: at which place, in which mode, under which key and identifier. What was
//! learnt under one meaning is not taken for knowledge under another.
//!
//! Kept in the head, mixed into the digest of every bucket and into the plan's hash. A change of it blocks a run once,
//! in words, and is taken over by the plan that a person approves.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::guard::Tripped;
use crate::mode::Mode;
use crate::row::Column;
use crate::value::Type;

/// What the entries of a sync's state mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meaning {
    /// The place they were accepted at ([`crate::ports::Destination::place`]); empty: not known.
    pub place: String,
    /// The mode they were sent in.
    pub mode: Mode,
    /// The key columns in order, with their types.
    pub key: Vec<Column>,
    /// The identifier fields, in the layout's order.
    pub identifiers: Vec<String>,
}

/// What differs between the meaning of the state and that of the sync as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shift {
    /// Another place: nothing of the state holds there.
    pub place: bool,
    /// Another mode.
    pub mode: bool,
    /// Other key columns, or other types of them: every key is new.
    pub key: bool,
    /// Other identifier fields: the identifiers that the state knows say nothing now.
    pub identifiers: bool,
}

impl Shift {
    /// True when anything differs.
    pub fn any(self) -> bool {
        self.place || self.mode || self.key || self.identifiers
    }
}

impl Meaning {
    /// A number for it that digests and plan hashes begin from.
    pub fn seed(&self) -> u64 {
        // Plain data with text keys: it always serialises.
        xxh3_64(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// What differs from `before`. A place that is not known, and a column that takes any type, differ from none.
    pub fn shift(&self, before: &Meaning) -> Shift {
        let same_type = |a: Type, b: Type| a == b || a == Type::Any || b == Type::Any;
        let same_key = self.key.len() == before.key.len()
            && self
                .key
                .iter()
                .zip(&before.key)
                .all(|(now, before)| now.name == before.name && same_type(now.kind, before.kind));
        Shift {
            place: self.place != before.place && !self.place.is_empty() && !before.place.is_empty(),
            mode: self.mode != before.mode,
            key: !same_key,
            identifiers: self.identifiers != before.identifiers,
        }
    }

    /// What a person is told of a change, one sentence each with the ways on. `undeletable` records were sent before
    /// and can no longer be deleted by a mirror.
    pub fn tell(&self, before: &Meaning, sync: &str, undeletable: u64) -> Vec<Tripped> {
        let shift = self.shift(before);
        let mut told = Vec::new();
        let mut tell = |guard: &str, why: String| told.push(Tripped { guard: guard.into(), why });
        if shift.place {
            tell(
                "another_place",
                format!(
                    "the state tells of {} and the sync now writes to {}: approve the plan to begin anew there (every record is sent, and nothing that \
                     was learnt at the old place is used); if it is the same place under another name: `sluice state same-place {sync}`",
                    before.place, self.place
                ),
            );
        }
        if shift.mode {
            let left = match (self.mode, undeletable) {
                (Mode::Mirror, 1..) => format!(
                    "; {undeletable} records that were sent before are gone from the model and can no longer be deleted there"
                ),
                _ => String::new(),
            };
            tell(
                "another_mode",
                format!(
                    "the mode was {} and is now {}: what was accepted stays known, and only what differs is sent{left}",
                    before.mode, self.mode
                ),
            );
        }
        if shift.key {
            let names =
                |key: &[Column]| key.iter().map(|c| format!("{} {}", c.name, c.kind)).collect::<Vec<_>>().join(", ");
            let again =
                if self.mode == Mode::Append { ", and in mode append every record is sent once more" } else { "" };
            tell(
                "another_key",
                format!("the key was {} and is now {}: every key is new{again}", names(&before.key), names(&self.key)),
            );
        }
        if shift.identifiers {
            tell(
                "another_identifier",
                format!(
                    "records were found by {} and are now found by {}: what the model no longer has cannot be deleted by the new one",
                    before.identifiers.join(", "),
                    self.identifiers.join(", ")
                ),
            );
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning() -> Meaning {
        let key = vec![Column { name: "id".into(), kind: Type::Int }];
        Meaning { place: "a".into(), mode: Mode::Upsert, key, identifiers: vec!["id".into()] }
    }

    #[test]
    fn every_part_shifts_alone_and_is_told() {
        let key = |name: &str, kind| Meaning { key: vec![Column { name: name.into(), kind }], ..meaning() };
        let cases = [
            (Meaning { place: "b".into(), ..meaning() }, "another_place"),
            (Meaning { mode: Mode::Mirror, ..meaning() }, "another_mode"),
            (key("id", Type::Decimal), "another_key"),
            (key("number", Type::Int), "another_key"),
            (Meaning { identifiers: vec!["email".into()], ..meaning() }, "another_identifier"),
        ];
        for (now, guard) in cases {
            assert_ne!(now.seed(), meaning().seed());
            let told = now.tell(&meaning(), "s", 3);
            assert_eq!(told.iter().map(|t| t.guard.as_str()).collect::<Vec<_>>(), [guard]);
        }
        assert!(!key("id", Type::Any).shift(&meaning()).any(), "a column without a type may hold the same keys");
        assert!(
            !Meaning { place: String::new(), ..meaning() }.shift(&meaning()).any()
                && !meaning().shift(&meaning()).any()
        );
    }
}
