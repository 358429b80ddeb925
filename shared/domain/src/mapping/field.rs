//! What happens to one field of every row, compiled to as little as it needs.
//!
//! Most fields are a copy: a look at the cell's tag and a `memcpy`. Only where something is asked for is
//! the cell decoded, and only where something changed is it encoded again.

use super::value_map::look_up;
use std::collections::BTreeMap;

use super::coerce::coerce;
use super::transform::TransformStep;
use super::validate::Check;
use super::{Invalid, ValueRefusal};
use crate::cells;
use crate::row::RowRef;
use crate::value::{Type, Value};

/// The plan of one field.
#[derive(Debug)]
pub(super) struct FieldProgram {
    /// The field at the destination.
    pub(super) field: String,
    pub(super) source: Source,
    pub(super) refine: ValueSteps,
}

/// Where the value comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// A column of the row, and what to do where it is null.
    Column(usize, OnNull),
    /// This cell, for every record.
    Constant(Vec<u8>),
}

/// What becomes of a null.
#[derive(Debug)]
pub(super) enum OnNull {
    /// This cell: missing, null or the default.
    Cell(Vec<u8>),
    /// The record is invalid.
    Refuse(&'static str),
}

/// What happens to a value that is there.
#[derive(Debug, Default)]
pub(super) struct ValueSteps {
    pub(super) steps: Vec<TransformStep>,
    /// From the model's text to the destination's.
    pub(super) values: BTreeMap<String, String>,
    /// The type it must have in the end; `None` takes any.
    pub(super) kind: Option<Type>,
    pub(super) checks: Vec<Check>,
    /// Text written by the coercion.
    pub(super) buffer: String,
}

impl FieldProgram {
    /// Appends the field's cell.
    pub(super) fn append(&mut self, row: &RowRef<'_>, out: &mut Vec<u8>) -> Result<(), ValueRefusal> {
        let (column, empty) = match &self.source {
            Source::Constant(cell) => {
                out.extend_from_slice(cell);
                return Ok(());
            }
            Source::Column(column, empty) => (*column, empty),
        };
        let cell = row.cell(column);
        if cells::is_empty(cell) {
            return match empty {
                OnNull::Cell(cell) => {
                    out.extend_from_slice(cell);
                    Ok(())
                }
                OnNull::Refuse(rule) => Err(ValueRefusal::new(*rule, &Value::Null)),
            };
        }
        if self.refine.keeps(cell) {
            if !self.refine.checks.is_empty() {
                self.refine.check(&cells::value(cell))?;
            }
            out.extend_from_slice(cell);
            return Ok(());
        }
        let value = self.refine.apply(cells::value(cell))?;
        cells::push(out, value);
        Ok(())
    }

    /// Says who refused.
    #[cold]
    pub(super) fn invalid(&self, refusal: ValueRefusal) -> Invalid {
        Invalid { field: self.field.clone(), rule: refusal.rule.into_owned(), got: refusal.got }
    }
}

impl ValueSteps {
    /// True when the cell goes into the record as it is, if the checks pass.
    fn keeps(&self, cell: &[u8]) -> bool {
        self.steps.is_empty() && self.values.is_empty() && cells::is_of(cell, self.kind.unwrap_or(Type::Any))
    }

    fn check(&self, value: &Value<'_>) -> Result<(), ValueRefusal> {
        self.checks.iter().try_for_each(|check| check.test(value))
    }

    /// The value as it goes to the destination.
    pub(super) fn apply<'v>(&'v mut self, value: Value<'v>) -> Result<Value<'v>, ValueRefusal> {
        if let Value::Unreadable(why) = value {
            return Err(ValueRefusal::unreadable(why));
        }
        let ValueSteps { steps, values, kind, checks, buffer } = self;
        let mut value = value;
        for step in steps {
            value = step.apply(value)?;
        }
        if !values.is_empty() {
            value = match look_up(values, &value, buffer) {
                Some(mapped) => Value::Text(mapped),
                None => return Err(ValueRefusal::new("is not among the mapped values", &value)),
            };
        }
        settle(value, *kind, checks, buffer)
    }

    /// A value that `values` maps to, as it goes to the destination.
    pub(super) fn settle<'v>(&'v mut self, mapped: &'v str) -> Result<Value<'v>, ValueRefusal> {
        settle(Value::Text(mapped), self.kind, &self.checks, &mut self.buffer)
    }
}

/// The last steps: the destination's type, then every check.
fn settle<'v>(
    value: Value<'v>,
    kind: Option<Type>,
    checks: &[Check],
    buffer: &'v mut String,
) -> Result<Value<'v>, ValueRefusal> {
    let value = match kind {
        Some(kind) => coerce(value, kind, buffer)?,
        None => value,
    };
    checks.iter().try_for_each(|check| check.test(&value))?;
    Ok(value)
}
