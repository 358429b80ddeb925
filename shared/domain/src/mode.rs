//! The four modes of a sync, and the operations they turn into.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a sync does at its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Create records that are new and update those that exist. Never deletes.
    Upsert,
    /// Update records that exist; one that does not is skipped, never inserted. Never deletes.
    Update,
    /// Send each record once, when it first appears, and never touch it again.
    Append,
    /// As upsert, and delete the records that we sent before and that are gone from the model.
    Mirror,
}

/// What one batch asks a destination to do. A batch holds records of one operation only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Create or update, found by the identifier fields.
    Upsert,
    /// Update only; not found means skipped.
    Update,
    /// Insert.
    Append,
    /// Delete; already gone means done.
    Delete,
}

impl Mode {
    /// All modes, in the order the documentation lists them.
    pub const ALL: [Mode; 4] = [Mode::Upsert, Mode::Update, Mode::Append, Mode::Mirror];

    /// The operation that sends an added or changed record.
    pub fn write_op(self) -> Op {
        match self {
            Mode::Upsert | Mode::Mirror => Op::Upsert,
            Mode::Update => Op::Update,
            Mode::Append => Op::Append,
        }
    }

    /// The mode's name in the sync file.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Upsert => "upsert",
            Mode::Update => "update",
            Mode::Append => "append",
            Mode::Mirror => "mirror",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Upsert => "upsert",
            Op::Update => "update",
            Op::Append => "append",
            Op::Delete => "delete",
        })
    }
}
