//! The mapping: from a row of the model to the record that a destination gets.
//!
//! It is compiled once for a run, against the model's columns and the destination's schema, and then
//! applied to every row. Compiling finds what cannot work; applying refuses single records.
//! The parts: [`transform`] (steps on a value), [`coerce`] (to the destination's type), [`validate`] (rules).

pub mod coerce;
pub mod transform;
pub mod validate;

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::layout::Layout;
use crate::ports::DestinationSchema;
use crate::row::{Column, RowRef};
use crate::sync::Sync;

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

/// A compiled mapping.
#[derive(Debug)]
pub struct Mapper {
    layout: Layout,
}

impl Mapper {
    /// Compiles the mapping. Errors among the findings mean that there is no mapper; warnings come with it.
    pub fn compile(sync: &Sync, columns: &[Column], schema: &DestinationSchema) -> (Option<Mapper>, Vec<Finding>) {
        let _ = (sync, columns, schema);
        todo!()
    }

    /// The layout of the records it makes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Maps one row and appends the record's cells to `out`, in the layout's order. When the record is
    /// invalid, `out` is left as it was.
    pub fn map(&mut self, row: &RowRef<'_>, out: &mut Vec<u8>) -> Result<(), Invalid> {
        let _ = (row, out);
        todo!()
    }
}
