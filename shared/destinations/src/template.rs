//! Texts with places for values: `{{field}}` of the record, `{{$sync}}`, `{{$operation}}` and `{{$id}}`.
//!
//! References to secrets are resolved before values are put in, and neither is looked at again, so nothing a
//! secret or a record holds can be taken for a template. How a value is written where it stands (percent-encoded in a
//! URL, escaped in a message) is for those who use this.

use std::borrow::Cow;

use domain::cells::Cells;
use domain::config::SecretSource;
use domain::config::Setting;
use domain::fault::{Code, Fault};
use domain::finding::{Finding, nearest};
use domain::layout::Layout;
use domain::mode::Op;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplatePart {
    /// Text as it is.
    Text(String),
    /// A field of the record.
    Field(String),
    Sync,
    /// `upsert`, `append` or `delete`.
    Operation,
    Id,
}

/// What templates are filled from.
#[derive(Clone, Copy)]
pub(crate) struct RecordFacts<'a> {
    pub(crate) sync: &'a str,
    pub(crate) operation: Op,
    pub(crate) id: &'a str,
    /// The record, where the request carries one.
    pub(crate) record: Option<(&'a Layout, Cells<'a>)>,
}

impl<'a> RecordFacts<'a> {
    /// The value of a part, as text; empty for a field that the record does not have.
    pub(crate) fn value(&self, part: &'a TemplatePart) -> Cow<'a, str> {
        match part {
            TemplatePart::Text(text) => Cow::Borrowed(text),
            TemplatePart::Sync => Cow::Borrowed(self.sync),
            TemplatePart::Operation => Cow::Owned(self.operation.to_string()),
            TemplatePart::Id => Cow::Borrowed(self.id),
            TemplatePart::Field(name) => {
                let value = self.record.and_then(|(layout, cells)| cells.get(layout.position(name)?));
                value.map_or(Cow::Borrowed(""), |v| v.to_text())
            }
        }
    }
}

/// A text with places for values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) parts: Vec<TemplatePart>,
}

impl Template {
    /// Reads a template whose texts may hold references, and resolves them.
    pub(crate) async fn read(written: &str, about: &str, secrets: &dyn SecretSource) -> Result<Self, Fault> {
        let invalid = |what: String| Fault::new(Code::ConnectionInvalid, format!("{about}: {what}."));
        let mut template = Self::parse(written).map_err(invalid)?;
        for part in &mut template.parts {
            if let TemplatePart::Text(text) = part {
                *text = Setting::new(text.as_str()).map_err(invalid)?.resolve(secrets).await?;
            }
        }
        Ok(template)
    }

    /// Reads a template without references; the error is a sentence.
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some(start) = rest.find("{{") {
            if start > 0 {
                parts.push(TemplatePart::Text(rest[..start].to_owned()));
            }
            let end = start + rest[start..].find("}}").ok_or("a template that begins with `{{` has no closing `}}`")?;
            parts.push(match rest[start + 2..end].trim() {
                "$sync" => TemplatePart::Sync,
                "$operation" => TemplatePart::Operation,
                "$id" => TemplatePart::Id,
                "" => return Err("`{{}}` names nothing; write `{{field}}`".into()),
                other if other.starts_with('$') => {
                    return Err(format!("`{{{{{other}}}}}` is not known; there are `$sync`, `$operation` and `$id`"));
                }
                field => TemplatePart::Field(field.to_owned()),
            });
            rest = &rest[end + 2..];
        }
        if !rest.is_empty() {
            parts.push(TemplatePart::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The fields it names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|p| if let TemplatePart::Field(name) = p { Some(name.as_str()) } else { None })
    }

    /// True when it holds text only.
    pub(crate) fn is_fixed(&self) -> bool {
        self.parts.iter().all(|p| matches!(p, TemplatePart::Text(_)))
    }

    /// True when it names the operation.
    pub(crate) fn tells_operation(&self) -> bool {
        self.parts.contains(&TemplatePart::Operation)
    }

    /// The text, values as they are.
    pub(crate) fn render(&self, facts: &RecordFacts<'_>) -> String {
        self.parts.iter().map(|p| facts.value(p)).collect()
    }
}

/// The finding that a template names a field which the mapping does not have; `place` says where, as `the URL`.
pub(crate) fn unknown_field(about: &str, place: &str, name: &str, fields: &[(String, bool)]) -> Finding {
    let builtin =
        ["sync", "operation", "id"].into_iter().find(|b| b == &name).map(|b| format!("did you mean `{{{{${b}}}}}`?"));
    let near = || nearest(name, fields.iter().map(|(f, _)| f.as_str())).map(|n| format!("did you mean `{n}`?"));
    let fix =
        builtin.or_else(near).unwrap_or_else(|| format!("map a column to `{name}`, or take it out of the template"));
    Finding::error(about, format!("{place} names `{{{{{name}}}}}` and no field of the mapping has that name"), fix)
}
