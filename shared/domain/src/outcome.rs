//! What became of a record that was sent, and of a request as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What the destination did with an accepted record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// A new record there.
    Created,
    /// An existing record changed (or found to be as wanted).
    Updated,
    /// A record gone there.
    Deleted,
    /// Accepted; the destination does not say which of these.
    Unknown,
}

/// Exactly one for every record of a batch, in the batch's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has it. Only this moves a checksum.
    Accepted {
        /// What it did.
        effect: Effect,
        /// Its id for the record, where it gave one.
        record_id: Option<String>,
    },
    /// Deliberately not written, and not an error (update mode: no such record there).
    Skipped {
        /// A short stable code, such as `not_found`.
        reason: String,
    },
    /// The destination refused this record, and will refuse it again unchanged.
    Rejected {
        /// A short stable code: the destination's own where it has one.
        code: String,
        /// What it said, for people; no record values beyond what the destination repeats.
        detail: String,
    },
    /// Neither accepted nor refused: to be sent again. A record the response does not mention is this.
    Retry {
        /// Not before this much time, where the destination said so.
        after: Option<Duration>,
        /// A short stable code, kept for the dead letter should the attempts run out.
        code: String,
        /// What the destination said, for people, kept like the code; empty when it said nothing.
        detail: String,
    },
}

impl Outcome {
    /// Accepted with this effect and no record id.
    pub fn accepted(effect: Effect) -> Self {
        Outcome::Accepted { effect, record_id: None }
    }

    /// Rejected with code and detail.
    pub fn rejected(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Outcome::Rejected { code: code.into(), detail: detail.into() }
    }

    /// To be sent again.
    pub fn retry(code: impl Into<String>) -> Self {
        Outcome::retry_because(code, "")
    }

    /// To be sent again, with what the destination said.
    pub fn retry_because(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Outcome::Retry { after: None, code: code.into(), detail: detail.into() }
    }

    /// The outcome of a record that the response does not mention: unknown, so to be sent again.
    pub fn unmentioned() -> Self {
        Outcome::retry_because(crate::bucket::UNKNOWN_OUTCOME, "the answer does not mention this record")
    }
}

/// The request as a whole came to nothing: one for a batch, never for a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// Too fast. Costs no attempt; every writer of the connection pauses.
    #[error("the destination asks to slow down")]
    Throttled {
        /// For how long, where it said so.
        after: Option<Duration>,
    },
    /// Not reachable, or an error that passes.
    #[error("the destination is unavailable: {detail}")]
    Unavailable {
        /// For how long, where it said so (`Retry-After` of a 503).
        after: Option<Duration>,
        /// What happened.
        detail: String,
    },
    /// The credentials are refused, also after renewing them. Stops the run.
    #[error("the destination refuses the credentials: {detail}")]
    Unauthorized {
        /// What it said.
        detail: String,
    },
    /// The address or the settings are wrong for every record. Stops the run.
    #[error("the destination is misconfigured: {detail}")]
    Misconfigured {
        /// What it said.
        detail: String,
    },
    /// The batch is refused for good, without saying which record is to blame: it is halved until it does.
    #[error("the destination refuses the batch ({code}): {detail}")]
    Refused {
        /// A short stable code.
        code: String,
        /// What it said.
        detail: String,
    },
}
