//! Reading files of YAML, and what is said of one that is not valid.

use std::path::Path;

use domain::fault::{Code, Fault};
use domain::finding::nearest;
use serde::de::DeserializeOwned;

/// The fault of a file or folder that cannot be read.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(Code::ProjectUnreadable, format!("{} cannot be read: {error}.", path.display()))
}

/// Reads YAML; the fault names file, line and column, and the nearest word that is allowed.
pub(crate) fn parse<T: DeserializeOwned>(code: Code, path: &Path, text: &str) -> Result<T, Fault> {
    serde_saphyr::from_str(text).map_err(|e| yaml_fault(code, path, &e))
}

pub(crate) fn yaml_fault(code: Code, path: &Path, error: &serde_saphyr::Error) -> Fault {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).replace("<input>", &path.display().to_string());
    let fault = Fault::new(code, format!("{} is not valid: {text}", path.display()));
    match did_you_mean(&text) {
        Some(near) => fault.with_next(format!("did you mean `{near}`? `sluice schema` prints what is allowed")),
        None => fault,
    }
}

/// From "unknown field `x`, expected one of a, b": the one of a, b that is nearest to x.
pub(crate) fn did_you_mean(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("unknown ")?;
    let wrong = rest.split('`').nth(1)?;
    let expected = rest.split_once("expected ")?.1.lines().next()?;
    let words =
        expected.trim_start_matches("one of ").split([',', ' ']).map(|w| w.trim_matches('`')).filter(|w| !w.is_empty());
    nearest(wrong, words)
}
