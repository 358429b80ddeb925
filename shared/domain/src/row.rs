//! Rows as they come from a warehouse: many at a time, in one piece of memory.
//!
//! A warehouse pushes values into a [`RowBatch`]; the mapping reads cells out of it. No row is ever an
//! object of its own, which is what makes a million rows a second possible.

use crate::cells;
use crate::value::{Type, Value};

/// A column of a model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Column {
    /// The column's name as the model gives it.
    pub name: String,
    /// Its type; [`Type::Any`] where types are per value (SQLite).
    #[serde(rename = "type")]
    pub kind: Type,
}

/// Some rows of a model, all of the same columns, each cell canonically encoded.
#[derive(Debug, Default, Clone)]
pub struct RowBatch {
    columns: usize,
    /// End of every cell in `bytes`, row after row.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

/// A batch is handed on when it has this many rows …
const FULL_ROWS: usize = 1024;
/// … or this many bytes.
const FULL_BYTES: usize = 256 * 1024;

impl RowBatch {
    /// An empty batch for rows of `columns` cells.
    pub fn new(columns: usize) -> Self {
        Self {
            columns,
            ends: Vec::with_capacity(columns * FULL_ROWS),
            bytes: Vec::with_capacity(FULL_BYTES + FULL_BYTES / 8),
        }
    }

    /// Appends the next cell of the current row. A row is whole after as many pushes as there are columns.
    pub fn push(&mut self, value: Value<'_>) {
        cells::push(&mut self.bytes, value);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    /// Keeps the first `rows` rows, and no cell of a row that was begun.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows * self.columns);
        self.bytes.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// Whole rows in the batch.
    pub fn len(&self) -> usize {
        self.ends.len().checked_div(self.columns).unwrap_or(0)
    }

    /// True when there is no whole row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True when the batch should be handed on and a new one begun.
    pub fn is_full(&self) -> bool {
        self.ends.len() >= self.columns * FULL_ROWS || self.bytes.len() >= FULL_BYTES
    }

    /// The whole rows in order.
    pub fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        let width = self.columns.max(1);
        (0..self.len()).map(move |row| {
            let first = row * width;
            RowRef {
                start: if first == 0 { 0 } else { self.ends[first - 1] },
                ends: &self.ends[first..first + width],
                bytes: &self.bytes,
            }
        })
    }
}

/// One row of a [`RowBatch`].
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    start: u32,
    ends: &'a [u32],
    bytes: &'a [u8],
}

impl<'a> RowRef<'a> {
    /// The encoded cell of column `index`. Panics when the column does not exist: columns are checked
    /// once, when the mapping is compiled.
    pub fn cell(&self, index: usize) -> &'a [u8] {
        let start = if index == 0 { self.start } else { self.ends[index - 1] };
        &self.bytes[start as usize..self.ends[index] as usize]
    }

    /// The value of column `index`.
    pub fn value(&self, index: usize) -> Value<'a> {
        cells::value(self.cell(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_by_row_and_column() {
        let mut batch = RowBatch::new(2);
        for i in 0..3 {
            batch.push(Value::Int(i));
            batch.push(Value::Text("x"));
        }
        let rows: Vec<_> = batch.rows().map(|r| (r.value(0), r.value(1))).collect();
        assert_eq!(rows, (0..3).map(|i| (Value::Int(i), Value::Text("x"))).collect::<Vec<_>>());
    }
}
