//! The shape of a mapped record: which fields, in which order, and which of them identify it.
//!
//! Fields are kept in the order of their names, so that moving a line in the mapping changes nothing.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::cells::{self, Cells, VERSION};
use crate::value::{Type, Value};

/// One field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// The field's name at the destination.
    pub name: String,
    /// The type its values have after coercion; [`Type::Any`] where the destination takes anything.
    #[serde(rename = "type")]
    pub kind: Type,
    /// True when the destination finds the record by this field.
    pub identifier: bool,
}

/// The fields of a record in canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    fields: Vec<Field>,
}

impl Layout {
    /// A layout of these fields, put into canonical order.
    pub fn new(mut fields: Vec<Field>) -> Self {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Self { fields }
    }

    /// The fields in canonical order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Position of the field named `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.fields.binary_search_by(|f| f.name.as_str().cmp(name)).ok()
    }

    /// The identifier fields with their positions.
    pub fn identifiers(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.fields.iter().enumerate().filter(|(_, f)| f.identifier)
    }

    /// Only the identifier fields: the layout of what a delete carries.
    pub fn identifier_layout(&self) -> Layout {
        Layout { fields: self.fields.iter().filter(|f| f.identifier).cloned().collect() }
    }

    /// The cells of the identifier fields out of a record of this layout.
    pub fn identifier_cells(&self, record: Cells<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for (field, cell) in self.fields.iter().zip(record.cells()) {
            if field.identifier {
                out.extend_from_slice(cell);
            }
        }
        out
    }

    /// Seed of the checksums of this layout: the encoding's version and the field names. Types and null
    /// policies show in the cells themselves.
    pub fn seed(&self) -> u64 {
        let mut names = vec![VERSION];
        for field in &self.fields {
            names.extend_from_slice(field.name.as_bytes());
            names.push(0);
        }
        xxh3_64_with_seed(&names, u64::from(VERSION))
    }

    /// The fields of `record` that are to be sent, by name: missing ones are left out.
    pub fn pairs<'a>(&'a self, record: Cells<'a>) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.fields
            .iter()
            .zip(record.values())
            .filter(|(_, v)| !matches!(v, Value::Missing))
            .map(|(f, v)| (f.name.as_str(), v))
    }

    /// Appends `record` as a JSON object of the fields to be sent.
    pub fn write_json(&self, record: Cells<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut first = true;
        for (field, cell) in self.fields.iter().zip(record.cells()) {
            if cells::is_missing(cell) {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            crate::value::render::json_string(out, &field.name);
            out.push(b':');
            cells::write_json(cell, out);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let field = |name: &str, identifier| Field { name: name.into(), kind: Type::Any, identifier };
        Layout::new(vec![field("b", false), field("a", true), field("c", false)])
    }

    #[test]
    fn order_is_by_name_and_missing_fields_are_left_out() {
        let mut record = Vec::new();
        for v in [Value::Int(1), Value::Missing, Value::Null] {
            cells::push(&mut record, v);
        }
        let mut json = Vec::new();
        layout().write_json(Cells(&record), &mut json);
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"a":1,"c":null}"#);
        assert_eq!(cells::value(&layout().identifier_cells(Cells(&record))), Value::Int(1));
    }

    #[test]
    fn a_renamed_field_changes_the_seed() {
        let other = Layout::new(vec![Field { name: "a".into(), kind: Type::Any, identifier: true }]);
        assert_ne!(layout().seed(), other.seed());
    }
}
