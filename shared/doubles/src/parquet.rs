//! Results as files of Parquet, as the services write them: several files, each of several row groups, compressed by Snappy.

use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::columns;
use crate::sql::{SqlResult, SqlValue};

/// Rows of a file of Parquet, and of a row group in it.
#[derive(Debug, Clone, Copy)]
pub struct ParquetShape {
    pub file_rows: usize,
    pub group_rows: usize,
}

impl Default for ParquetShape {
    fn default() -> Self {
        Self { file_rows: 1000, group_rows: 300 }
    }
}

/// The rows of a result as files; none where there are no rows. Each with the number of its rows.
pub(crate) fn files(result: &SqlResult, shape: ParquetShape) -> Result<Vec<(Vec<u8>, usize)>, ParquetError> {
    result.rows.chunks(shape.file_rows.max(1)).map(|rows| Ok((file(result, rows, shape)?, rows.len()))).collect()
}

fn file(result: &SqlResult, rows: &[Vec<SqlValue>], shape: ParquetShape) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(shape.group_rows.max(1)))
        .build();
    let schema = columns::schema(result);
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, Arc::clone(&schema), Some(properties))?;
    writer.write(&columns::batch(result, &schema, rows)?)?;
    writer.close()?;
    Ok(out)
}
