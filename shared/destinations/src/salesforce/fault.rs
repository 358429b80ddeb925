//! What keeps a run from beginning, in words.

use domain::fault::{Code, Fault};
use domain::outcome::WriteError;

/// An error of a batch as a fault of preflight.
pub(super) fn fault(about: &str, error: &WriteError) -> Fault {
    let code = match error {
        WriteError::Throttled { .. } => Code::DestinationLimit,
        WriteError::Unavailable { .. } => Code::DestinationUnreachable,
        WriteError::Unauthorized { .. } => Code::DestinationUnauthorized,
        WriteError::Misconfigured { .. } | WriteError::Refused { .. } => Code::DestinationMisconfigured,
    };
    let what = match error {
        WriteError::Throttled { .. } => format!("{about}: the org's requests of the day are used up."),
        other => format!("{about}: {other}."),
    };
    Fault::new(code, what)
}
