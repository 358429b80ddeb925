//! Why a request has no answer, and what that means for its batch.

use domain::fault::{Code, Fault};
use domain::outcome::WriteError;

use crate::DatabasePlace;

/// Why there is no answer. Details name the host at most, never a path, a body or a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The address is refused. Nothing was sent.
    #[error("{detail}")]
    Address {
        /// Which, and how to allow it.
        detail: String,
    },
    /// The name does not resolve. Nothing was sent.
    #[error("{detail}")]
    Dns {
        /// What the resolver said.
        detail: String,
    },
    /// No connection. Nothing was sent.
    #[error("{detail}")]
    Connect { detail: String },
    /// The certificate is not trusted. Nothing was sent.
    #[error("{detail}")]
    Certificate {
        /// What is wrong with it.
        detail: String,
    },
    /// No answer in time: what was sent may have been taken.
    #[error("{detail}")]
    Timeout { detail: String },
    /// The answer is there and cannot be read: what was sent may have been taken.
    #[error("{detail}")]
    Encoding {
        /// Which encoding it has.
        detail: String,
    },
    /// The connection broke before the whole answer was there: what was sent may have been taken.
    #[error("{detail}")]
    Broken { detail: String },
}

impl From<SendError> for WriteError {
    fn from(error: SendError) -> Self {
        let detail = error.to_string();
        match error {
            SendError::Address { .. } | SendError::Certificate { .. } => WriteError::Misconfigured { detail },
            SendError::Timeout { .. } | SendError::Broken { .. } => {
                WriteError::Unavailable { after: None, detail: format!("{detail}; it may have taken the records") }
            }
            _ => WriteError::Unavailable { after: None, detail },
        }
    }
}

impl SendError {
    /// The fault of a database that is asked over HTTP.
    pub fn at(&self, place: &DatabasePlace) -> Fault {
        match self {
            SendError::Address { .. } | SendError::Certificate { .. } => place.invalid(format!("{self}.")),
            _ => place.unreachable(format!("{self}.")),
        }
    }
}

impl From<SendError> for Fault {
    fn from(error: SendError) -> Self {
        let code = match error {
            SendError::Address { .. } | SendError::Certificate { .. } => Code::DestinationMisconfigured,
            _ => Code::DestinationUnreachable,
        };
        Fault::new(code, format!("The destination cannot be reached: {error}."))
    }
}
