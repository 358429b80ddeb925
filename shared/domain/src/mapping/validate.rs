//! What a value must be: the rules of the sync file and the limits of the destination's fields.
//!
//! A check looks at the value in place and never changes it. Every check but those on emptiness is only
//! ever given a value that is neither null nor missing.

use super::{ValueRefusal, iso};
use crate::destination_schema::DestinationField;
use crate::sync::{Format, ValidationRule};
use crate::value::{Type, Value};

/// One check on a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Text that is not empty: of an identifier, or of a field that is required.
    NotEmpty(&'static str),
    /// It must look like this.
    Format(Format),
    /// A number of at least this.
    Min(f64),
    /// A number of at most this.
    Max(f64),
    /// One of these, compared as text.
    OneOf(Vec<String>),
    /// At most so many characters as text.
    MaxLength(usize),
    /// A whole number within the destination's bounds.
    Range(i64, i64),
    /// At most so many digits before and after the point.
    Digits {
        /// Before the point.
        whole: usize,
        /// After the point.
        fraction: usize,
    },
}

/// How many allowed values a message lists.
const LISTED: usize = 12;

impl Check {
    /// The checks of a rule of the sync file.
    pub fn of_rule(rule: &ValidationRule) -> Vec<Check> {
        let mut out = Vec::new();
        out.extend(rule.required.then_some(Check::NotEmpty("must not be null or empty")));
        out.extend(rule.format.map(Check::Format));
        out.extend(rule.min.map(Check::Min));
        out.extend(rule.max.map(Check::Max));
        out.extend((!rule.one_of.is_empty()).then(|| Check::OneOf(rule.one_of.clone())));
        out.extend(rule.max_length.map(Check::MaxLength));
        out
    }

    /// The checks that a destination's field asks for.
    pub fn of_field(field: &DestinationField) -> Vec<Check> {
        let mut out = Vec::new();
        let number = matches!(field.kind, None | Some(Type::Int | Type::Decimal | Type::Any));
        out.extend(field.one_of.clone().map(Check::OneOf));
        out.extend(field.max_length.map(Check::MaxLength));
        out.extend(field.range.filter(|_| number).map(|(min, max)| Check::Range(min, max)));
        out.extend(field.precision.filter(|_| number).map(|(precision, scale)| Check::Digits {
            whole: precision.saturating_sub(scale) as usize,
            fraction: scale as usize,
        }));
        out
    }

    /// Whether a value of `kind` could ever pass.
    pub fn suits(&self, kind: Type) -> bool {
        use Type::*;
        match self {
            _ if matches!(kind, Any | Text) => true,
            Check::Min(_) | Check::Max(_) => matches!(kind, Int | Float | Decimal),
            Check::Format(Format::Uuid) => kind == Uuid,
            Check::Format(Format::Date) => kind == Date,
            Check::Format(Format::Datetime) => matches!(kind, DateTime | Timestamp),
            Check::Format(Format::Email | Format::Url | Format::E164) => false,
            Check::OneOf(_) | Check::MaxLength(_) => kind != Bytes,
            Check::NotEmpty(_) | Check::Range(..) | Check::Digits { .. } => true,
        }
    }

    /// Refuses a value that does not pass.
    pub(super) fn test(&self, value: &Value<'_>) -> Result<(), ValueRefusal> {
        if self.holds(value) { Ok(()) } else { Err(ValueRefusal::new(self.sentence(), value)) }
    }

    fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            Check::NotEmpty(_) => !matches!(value, Value::Text("")),
            Check::Format(format) => has_format(*format, value),
            Check::Min(min) => number(value).is_some_and(|v| v >= *min),
            Check::Max(max) => number(value).is_some_and(|v| v <= *max),
            Check::OneOf(allowed) => {
                let text = value.to_text();
                allowed.iter().any(|a| *a == text)
            }
            Check::MaxLength(most) => {
                if let Value::Bytes(bytes) = value {
                    return bytes.len() <= *most;
                }
                let text = value.to_text();
                // A character has at least one byte, so short text need not be counted.
                text.len() <= *most || text.chars().count() <= *most
            }
            Check::Range(min, max) => match value {
                Value::Int(v) => (min..=max).contains(&v),
                _ => true,
            },
            Check::Digits { whole, fraction } => {
                let (before, after) = match value {
                    Value::Decimal(text) => super::number::digits(text),
                    Value::Int(v) => {
                        (v.checked_abs().map_or(19, |v| v.checked_ilog10().map_or(0, |d| d as usize + 1)), 0)
                    }
                    _ => (0, 0),
                };
                before <= *whole && after <= *fraction
            }
        }
    }

    /// What the check asks for, as the rest of a sentence: `must be an email address`.
    pub fn sentence(&self) -> String {
        match self {
            Check::NotEmpty(sentence) => (*sentence).to_owned(),
            Check::Format(Format::Email) => "must be an email address".into(),
            Check::Format(Format::Url) => "must be a URL that begins with https:// or http://".into(),
            Check::Format(Format::Uuid) => "must be a UUID".into(),
            Check::Format(Format::Date) => "must be a date such as 2026-01-02".into(),
            Check::Format(Format::Datetime) => "must be a date and time such as 2026-01-02T03:04:05Z".into(),
            Check::Format(Format::E164) => "must be a phone number such as +441632960961".into(),
            Check::Min(min) => format!("must be a number of at least {min}"),
            Check::Max(max) => format!("must be a number of at most {max}"),
            Check::OneOf(allowed) => {
                let more = allowed.len().saturating_sub(LISTED);
                let listed = allowed.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
                if more == 0 {
                    format!("must be one of {listed}")
                } else {
                    format!("must be one of {listed} and {more} more")
                }
            }
            Check::MaxLength(most) => format!("must be at most {most} character{}", if *most == 1 { "" } else { "s" }),
            Check::Range(min, max) => format!("does not fit the destination's integer range {min} to {max}"),
            Check::Digits { whole, fraction } => {
                format!(
                    "does not fit the destination's decimal of {whole} digits before and {fraction} after the point"
                )
            }
        }
    }
}

/// The value as a number; text only if it is one in full.
fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Int(v) => Some(*v as f64),
        Value::Float(v) => Some(*v),
        Value::Decimal(text) => text.parse().ok(),
        // `parse` would also take `inf` and `NaN`.
        Value::Text(text) if text.ends_with(|c: char| c.is_ascii_digit() || c == '.') => text.parse().ok(),
        _ => None,
    }
}

fn has_format(format: Format, value: &Value<'_>) -> bool {
    match (format, value) {
        (Format::Uuid, Value::Uuid(_))
        | (Format::Date, Value::Date(_))
        | (Format::Datetime, Value::DateTime(_) | Value::Timestamp(_)) => true,
        (Format::Email, Value::Text(text)) => is_email(text),
        (Format::Url, Value::Text(text)) => is_url(text),
        (Format::Uuid, Value::Text(text)) => iso::uuid(text).is_some(),
        (Format::Date, Value::Text(text)) => iso::date(text).is_some(),
        (Format::Datetime, Value::Text(text)) => {
            matches!(iso::moment(text), Some(iso::Moment::DateTime(_) | iso::Moment::Timestamp(_)))
        }
        (Format::E164, Value::Text(text)) => is_e164(text),
        _ => false,
    }
}

/// An address that mail systems take everywhere: `local@domain.tld` in ASCII, at most 254 characters. The
/// local part has 1 to 64 letters, digits and ``!#$%&'*+-/=?^_`{|}~``, with single points between them; the domain
/// has two or more labels of letters, digits and inner hyphens, the last of them not a number. No quoted
/// local parts, comments or address literals.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let atom = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    let label = |part: &str| {
        let hyphen_inside = !part.starts_with('-') && !part.ends_with('-');
        !part.is_empty()
            && part.len() <= 63
            && hyphen_inside
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let Some((_, last)) = domain.rsplit_once('.') else { return false };
    text.len() <= 254
        && local.len() <= 64
        && local.split('.').all(atom)
        && domain.split('.').all(label)
        && last.len() >= 2
        && last.bytes().any(|b| b.is_ascii_alphabetic())
}

/// `https://…` or `http://…` with a host, and no white space or control characters in it.
pub fn is_url(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
    (begins("https://") || begins("http://"))
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && url::Url::parse(text).is_ok_and(|url| url.has_host())
}

/// `+`, then 7 to 15 digits of which the first is not zero. Whether the number exists is not looked at.
pub fn is_e164(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|d| (7..=15).contains(&d.len()) && !d.starts_with('0') && d.bytes().all(|b| b.is_ascii_digit()))
}
