//! What preflight found: about a field, a column, a setting; before anything is sent.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run does not start.
    Error,
    /// The run starts; someone should know.
    Warning,
}

/// How a finding begins to say which field it is about.
const FIELD: &str = "field ";

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What it is about: `mapping: lifetime_value → ltv`, `model`, `connection hubspot`.
    pub about: String,
    /// What was found.
    pub what: String,
    /// How to mend it.
    pub fix: String,
}

impl Finding {
    /// A finding that stops the run.
    pub fn error(about: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, about: about.into(), what: what.into(), fix: fix.into() }
    }

    /// A finding that does not stop the run.
    pub fn warning(about: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, about: about.into(), what: what.into(), fix: fix.into() }
    }

    /// The same, about the mapped field of this name at the destination: for those who do not know which column it is
    /// mapped from. [`Finding::on_line`] puts the mapping's line in its place.
    pub fn on_field(mut self, field: &str) -> Self {
        self.about = format!("{FIELD}{field}");
        self
    }

    /// The same, with the line of the mapping that `line` gives for its field, if it is about one.
    pub fn on_line(mut self, line: impl FnOnce(&str) -> Option<String>) -> Self {
        if let Some(line) = self.about.strip_prefix(FIELD).and_then(line) {
            self.about = line;
        }
        self
    }

    /// True when the run must not start.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.about, self.what, self.fix)
    }
}

/// The name in `known` that is nearest to `name` (ignoring case, at most two fifths of it different), for
/// "did you mean".
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|k| (distance(&name, &k.to_lowercase()), k))
        .filter(|(d, k)| *d * 5 <= 2 * name.chars().count().max(k.chars().count()))
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Edits (insert, delete, replace, swap of two neighbours) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_of_two_letters_is_one_edit() {
        assert_eq!(
            (distance("cmr", "crm"), distance("eamil", "email"), distance("abc", "cab"), distance("", "ab")),
            (1, 1, 2, 2)
        );
        assert_eq!(nearest("cmr", ["other", "crm"]), Some("crm"));
    }

    #[test]
    fn a_finding_on_a_field_gets_its_line() {
        let line = |field: &str| (field == "ltv").then(|| "mapping: lifetime_value → ltv".to_owned());
        let on = |field: &str| Finding::error("", "what", "fix").on_field(field).on_line(line).about;
        assert_eq!((on("ltv").as_str(), on("other").as_str()), ("mapping: lifetime_value → ltv", "field other"));
        assert_eq!(Finding::error("model", "what", "fix").on_line(line).about, "model");
    }

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("fristname", ["firstname", "lastname"]), Some("firstname"));
        assert_eq!(nearest("EMAIL", ["email"]), Some("email"));
        assert_eq!(nearest("zzz", ["email"]), None);
    }
}
