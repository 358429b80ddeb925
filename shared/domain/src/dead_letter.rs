//! A record that could not be delivered, kept with its reason until it is: at most one for each record.

use serde::{Deserialize, Serialize};

use crate::bucket::FailureKind;
use crate::clock::Millis;
use crate::key::KeyHash;
use crate::mode::Op;

/// A record set aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The sync.
    pub sync: String,
    /// Hash of the record's key.
    pub hash: KeyHash,
    /// The key for people.
    pub key: String,
    /// What was to be done with it.
    pub op: Op,
    /// Why it is here.
    pub kind: FailureKind,
    /// The destination's code.
    pub code: String,
    /// What the destination said.
    pub detail: String,
    /// When.
    pub at: Millis,
    /// The run that sent it.
    pub run: String,
    /// Real attempts of its batch.
    pub attempts: u32,
    /// The record as it was sent: its fields by name.
    pub record: serde_json::Value,
}
