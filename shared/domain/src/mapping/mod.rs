//! The mapping: from a row of the model to the record that a destination gets.
//!
//! It is compiled once for a run, against the model's columns and the destination's schema, and then
//! applied to every row. Compiling finds what cannot work; applying refuses single records.
//! The parts: [`transform`] (steps on a value), [`coerce`] (to the destination's type), [`validate`] (rules).
//!
//! What a field goes through, in this order: the cell, the default where it is null, the transforms, the
//! value map, the destination's type, the destination's limits, the file's rules. A default stands for the
//! column's value and so goes through all of it too, once, when the mapping is compiled.

pub mod coerce;
mod compile;
mod field;
pub mod iso;
pub mod number;
pub mod transform;
pub mod validate;
mod value_map;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::destination_schema::DestinationSchema;
use crate::finding::Finding;
use crate::layout::Layout;
use crate::row::{Column, RowRef};
use crate::sync::{FieldMapping, Sync};
use crate::value::Value;
use field::FieldProgram;

/// Why we refuse a record. Never holds the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// The field at the destination, or the key column.
    pub field: String,
    /// The rule it breaks, as a sentence: `must be an email address`.
    pub rule: String,
    /// The type of the value that breaks it.
    pub got: String,
}

/// Why a value is refused, before it is known of which field.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ValueRefusal {
    rule: Cow<'static, str>,
    got: String,
}

impl ValueRefusal {
    #[cold]
    fn new(rule: impl Into<Cow<'static, str>>, value: &Value<'_>) -> Self {
        let got = match value {
            Value::Text(text) => match text.chars().count() {
                1 => "text of 1 character".to_owned(),
                count => format!("text of {count} characters"),
            },
            _ => value.type_name().to_owned(),
        };
        Self { rule: rule.into(), got }
    }

    #[cold]
    fn unreadable(why: &str) -> Self {
        Self { rule: format!("cannot be read: {why}").into(), got: "unreadable".to_owned() }
    }
}

/// What findings call a line of the mapping: `mapping: lifetime_value → ltv`.
pub fn line(mapping: &FieldMapping) -> String {
    format!("mapping: {} → {}", mapping.from.as_deref().unwrap_or("constant"), mapping.to)
}

/// A compiled mapping.
#[derive(Debug)]
pub struct Mapper {
    layout: Layout,
    /// One for every field, in the layout's order.
    plans: Vec<FieldProgram>,
}

impl Mapper {
    /// Compiles the mapping. Errors among the findings mean that there is no mapper; warnings come with it.
    pub fn compile(sync: &Sync, columns: &[Column], schema: &DestinationSchema) -> (Option<Mapper>, Vec<Finding>) {
        let (mut fields, findings) = compile::compile(sync, columns, schema);
        if findings.iter().any(Finding::is_error) {
            return (None, findings);
        }
        // The layout sorts the same way; both sorts keep the order of equal names.
        fields.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let (fields, plans) = fields.into_iter().unzip();
        (Some(Mapper { layout: Layout::new(fields), plans }), findings)
    }

    /// The layout of the records it makes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Maps one row and appends the record's cells to `out`, in the layout's order. When the record is
    /// invalid, `out` is left as it was. The row must be of the columns that the mapping was compiled for.
    pub fn map(&mut self, row: &RowRef<'_>, out: &mut Vec<u8>) -> Result<(), Invalid> {
        let start = out.len();
        for plan in &mut self.plans {
            if let Err(refusal) = plan.append(row, out) {
                out.truncate(start);
                return Err(plan.invalid(refusal));
            }
        }
        Ok(())
    }

    /// Maps only the identifier fields of a row, in the layout's order. `false` when one of them cannot be mapped;
    /// `out` then has what was.
    pub fn map_identifiers(&mut self, row: &RowRef<'_>, out: &mut Vec<u8>) -> bool {
        let identified = self.layout.fields().iter().zip(&mut self.plans).filter(|(field, _)| field.identifier);
        for (_, plan) in identified {
            if plan.append(row, out).is_err() {
                return false;
            }
        }
        true
    }
}
