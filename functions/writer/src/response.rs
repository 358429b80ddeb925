//! What the writer answers to SQS: which messages of the event failed and stay in the queue.

use serde::Serialize;

/// What the event source mapping is told: the messages that stay in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SqsBatchResponse {
    /// The messages that failed; all others are removed.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<BatchItemFailure>,
}

/// A message that stays in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchItemFailure {
    #[serde(rename = "itemIdentifier")]
    pub id: String,
}

impl SqsBatchResponse {
    /// The answer that keeps these messages.
    pub fn keep(ids: impl IntoIterator<Item = String>) -> Self {
        Self { failures: ids.into_iter().map(|id| BatchItemFailure { id }).collect() }
    }
}
