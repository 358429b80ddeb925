//! A property and what HubSpot makes of a value for it: everything arrives as text, is checked by type, and is kept in
//! one spelling.

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

/// Most characters of a text.
const MAX_CHARACTERS: usize = 65_536;
const DAY_MS: i64 = 86_400_000;

/// What kind of values a property has: HubSpot's `type`, with the `fieldType` that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyType {
    /// `string`
    Text,
    /// `string` that must be an address; kept in lower case.
    Email,
    /// `number`
    Number,
    /// `bool`
    Bool,
    /// `date`
    Date,
    /// `datetime`
    DateTime,
    /// `enumeration`, one of the options.
    Select,
    /// `enumeration`, any number of the options.
    Checkboxes,
}

/// A property of an object.
#[derive(Debug, Clone)]
pub struct PropertyDefinition {
    pub name: String,
    pub kind: PropertyType,
    /// Its options: value and label.
    pub options: Vec<(String, String)>,
    /// No two records have the same value.
    pub unique: bool,
    /// Only HubSpot sets it.
    pub read_only: bool,
    /// A rule of the account's administrator: a number of at most this.
    pub most: Option<f64>,
}

impl PropertyDefinition {
    /// A property that anybody may write.
    pub fn new(name: &str, kind: PropertyType) -> Self {
        Self { name: name.into(), kind, options: Vec::new(), unique: false, read_only: false, most: None }
    }

    /// The same, with unique values.
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// The same, set by HubSpot only.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// The same with these options: value and label.
    pub fn options(mut self, options: &[(&str, &str)]) -> Self {
        self.options = options.iter().map(|(value, label)| ((*value).to_owned(), (*label).to_owned())).collect();
        self
    }

    /// The same with a validation rule: a number of at most this.
    pub fn at_most(mut self, most: f64) -> Self {
        self.most = Some(most);
        self
    }

    /// No two records have the same value, whether or not its definition says so.
    pub fn is_unique(&self) -> bool {
        self.unique || self.kind == PropertyType::Email
    }

    /// Its definition as the properties API gives it.
    pub fn definition(&self) -> Value {
        let (kind, field) = match self.kind {
            PropertyType::Text | PropertyType::Email => ("string", "text"),
            PropertyType::Number => ("number", "number"),
            PropertyType::Bool => ("bool", "booleancheckbox"),
            PropertyType::Date => ("date", "date"),
            PropertyType::DateTime => ("datetime", "date"),
            PropertyType::Select => ("enumeration", "select"),
            PropertyType::Checkboxes => ("enumeration", "checkbox"),
        };
        let options: Vec<Value> = self
            .options
            .iter()
            .map(|(value, label)| json!({ "value": value, "label": label, "hidden": false }))
            .collect();
        json!({
            "name": self.name, "label": self.name, "type": kind, "fieldType": field, "options": options, "hasUniqueValue": self.unique,
            "description": "", "groupName": "contactinformation", "calculated": false, "hidden": false, "archived": false, "externalOptions": false,
            "modificationMetadata": { "readOnlyValue": self.read_only, "readOnlyDefinition": self.read_only, "archivable": true },
        })
    }

    /// The text that is kept for a text that is written, `before` being kept now; or the code and message of a refusal.
    pub fn keep(&self, text: &str, before: &str) -> Result<String, (&'static str, String)> {
        if self.read_only {
            return Err((
                "READ_ONLY_VALUE",
                format!("\"{}\" is a read only property; its value cannot be set.", self.name),
            ));
        }
        if text.is_empty() {
            return Ok(String::new());
        }
        let kept = match self.kind {
            PropertyType::Text if text.chars().count() > MAX_CHARACTERS => {
                Err(("VALUE_TOO_LONG", format!("the value is longer than the maximum of {MAX_CHARACTERS} characters")))
            }
            PropertyType::Text => Ok(text.to_owned()),
            PropertyType::Email => {
                email(text).ok_or_else(|| ("INVALID_EMAIL", format!("Email address {text} is invalid")))
            }
            PropertyType::Number if number(text) => Ok(text.to_owned()),
            PropertyType::Number => Err(("INVALID_FLOAT", format!("{text} was not a valid number."))),
            PropertyType::Bool if text == "true" || text == "false" => Ok(text.to_owned()),
            PropertyType::Bool => {
                Err(("INVALID_OPTION", format!("{text} was not one of the allowed options: [true, false]")))
            }
            PropertyType::Date => date(text)
                .ok_or_else(|| ("INVALID_DATE", format!("{text} is at a time of day, and a date is at midnight UTC"))),
            PropertyType::DateTime => {
                datetime(text).ok_or_else(|| ("INVALID_DATE", format!("{text} was not a valid time")))
            }
            PropertyType::Select => self.option(text).map(str::to_owned),
            PropertyType::Checkboxes => self.checked(text, before),
        }?;
        match self.most {
            Some(most) if kept.parse::<f64>().is_ok_and(|n| n > most) => Err((
                "PROPERTY_VALIDATION_RULE",
                format!("{kept} is greater than {most}, which a validation rule allows at most"),
            )),
            _ => Ok(kept),
        }
    }

    fn option<'a>(&self, text: &'a str) -> Result<&'a str, (&'static str, String)> {
        let allowed = || {
            self.options
                .iter()
                .map(|(value, label)| format!("label: {label}, value: {value}"))
                .collect::<Vec<_>>()
                .join("; ")
        };
        if self.options.iter().any(|(value, _)| value == text) {
            Ok(text)
        } else {
            Err(("INVALID_OPTION", format!("{text} was not one of the allowed options: [{}]", allowed())))
        }
    }

    /// A set of options, in the order of the definition; one that begins with `;` is added to those there are.
    fn checked(&self, text: &str, before: &str) -> Result<String, (&'static str, String)> {
        let kept = if text.starts_with(';') { before } else { "" };
        let mut set: Vec<&str> = kept.split(';').filter(|one| !one.is_empty()).collect();
        for one in text.split(';').filter(|one| !one.is_empty()) {
            set.push(self.option(one)?);
        }
        Ok(self
            .options
            .iter()
            .map(|(value, _)| value.as_str())
            .filter(|value| set.contains(value))
            .collect::<Vec<_>>()
            .join(";"))
    }
}

/// `local@domain.tld`, in lower case.
fn email(text: &str) -> Option<String> {
    let (local, domain) = text.trim().split_once('@')?;
    let good = !local.is_empty()
        && !domain.contains('@')
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.');
    (good && !text.trim().contains(char::is_whitespace)).then(|| text.trim().to_lowercase())
}

/// Plain digits with at most one point, and a sign: no separators, no units.
fn number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.matches('.').count() <= 1
}

/// A day, or midnight UTC in milliseconds, as `YYYY-MM-DD`.
fn date(text: &str) -> Option<String> {
    if let Ok(ms) = text.parse::<i64>() {
        let at = Timestamp::from_millisecond(ms).ok()?;
        return (ms.rem_euclid(DAY_MS) == 0).then(|| at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string());
    }
    text.parse::<Date>().ok().filter(|_| text.len() == 10).map(|day| day.to_string())
}

/// A point in time, or milliseconds, as ISO 8601 with milliseconds.
fn datetime(text: &str) -> Option<String> {
    let at = match text.parse::<i64>() {
        Ok(ms) => Timestamp::from_millisecond(ms).ok()?,
        Err(_) => text.parse::<Timestamp>().ok()?,
    };
    Timestamp::from_millisecond(at.as_millisecond()).ok().map(|at| at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_in_one_spelling_or_refused() {
        let long = "x".repeat(MAX_CHARACTERS + 1);
        let options = [("a", "First"), ("b", "Second")];
        for (kind, text, expected) in [
            (PropertyType::Text, " as it is ", Ok(" as it is ")),
            (PropertyType::Text, "", Ok("")),
            (PropertyType::Text, long.as_str(), Err("VALUE_TOO_LONG")),
            (PropertyType::Email, " Ada@H.test", Ok("ada@h.test")),
            (PropertyType::Email, "ada@", Err("INVALID_EMAIL")),
            (PropertyType::Number, "-12.50", Ok("-12.50")),
            (PropertyType::Number, "1,000", Err("INVALID_FLOAT")),
            (PropertyType::Number, "many", Err("INVALID_FLOAT")),
            (PropertyType::Bool, "true", Ok("true")),
            (PropertyType::Bool, "yes", Err("INVALID_OPTION")),
            (PropertyType::Date, "2026-01-02", Ok("2026-01-02")),
            (PropertyType::Date, "1767312000000", Ok("2026-01-02")),
            (PropertyType::Date, "1767312000001", Err("INVALID_DATE")),
            (PropertyType::DateTime, "2026-01-02T03:04:05.6789Z", Ok("2026-01-02T03:04:05.678Z")),
            (PropertyType::DateTime, "1767312000001", Ok("2026-01-02T00:00:00.001Z")),
            (PropertyType::DateTime, "soon", Err("INVALID_DATE")),
            (PropertyType::Select, "a", Ok("a")),
            (PropertyType::Select, "First", Err("INVALID_OPTION")),
            (PropertyType::Checkboxes, "b;a", Ok("a;b")),
            (PropertyType::Checkboxes, ";a", Ok("a;b")),
            (PropertyType::Checkboxes, "a;c", Err("INVALID_OPTION")),
        ] {
            let kept = PropertyDefinition::new("p", kind).options(&options).keep(text, "b");
            assert_eq!(kept.as_deref().map_err(|(code, _)| *code), expected, "{kind:?} {text:.30}");
        }
        assert_eq!(
            PropertyDefinition::new("p", PropertyType::Number).read_only().keep("1", "").unwrap_err().0,
            "READ_ONLY_VALUE"
        );
        let ruled = PropertyDefinition::new("p", PropertyType::Number).at_most(10.0);
        assert_eq!(
            (ruled.keep("10", "").is_ok(), ruled.keep("10.5", "").unwrap_err().0),
            (true, "PROPERTY_VALIDATION_RULE")
        );
    }
}
