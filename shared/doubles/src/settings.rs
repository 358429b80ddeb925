//! The environment, as far as doubles are told by it.

use std::path::PathBuf;

/// The folder that exchanges are recorded into; `None`: none are.
pub(crate) fn recordings() -> Option<PathBuf> {
    std::env::var_os("SLUICEGATE_RECORD").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}
