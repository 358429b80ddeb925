//! One file of Parquet: its footer, then its row groups, one after the other.
//! <https://parquet.apache.org/docs/file-format/>

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use domain::fault::Fault;
use domain::row::RowBatch;
use domain::value::Type;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataPushDecoder};

use super::ResultFile;
use super::s3::S3Client;
use crate::arrow::{ArrowScratch, push_rows};
use crate::parts::PartSender;

/// The end of a file that is read first: most footers fit into it.
const TAIL_BYTES: u64 = 64 * 1024;
/// Rows that are decoded at once …
const MAX_DECODED_ROWS: u64 = 1024;
/// … or fewer, so that they take about this many bytes.
const MAX_DECODED_BYTES: u64 = 8 * 1024 * 1024;

/// Reads a file and hands on its rows.
pub(super) async fn read(s3: &S3Client, file: &ResultFile, kinds: &[Type], rows: &PartSender) -> Result<(), Fault> {
    let broken = |why: &dyn std::fmt::Display| {
        s3.place().unreachable(format!("{} of the result cannot be read: {why}.", file.location))
    };
    let (metadata, size) = footer(s3, file, &broken).await?;
    let promised = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    if let Some(told) = file.rows.filter(|told| *told != promised) {
        return Err(broken(&format!("it has {promised} rows, and {told} were promised")));
    }
    if let Some(end) = metadata.row_groups().iter().map(end_of).max().filter(|end| *end > size) {
        return Err(broken(&format!("it has {size} bytes, and its footer speaks of {end}")));
    }
    let mut decoder = decoder(metadata).map_err(|e| broken(&e))?;
    let mut scratch = ArrowScratch::default();
    let mut read = 0;
    loop {
        let batch = match decoder.try_decode().map_err(|e| broken(&e))? {
            DecodeResult::Finished => break,
            DecodeResult::Data(batch) => batch,
            DecodeResult::NeedsData(ranges) => {
                let data = fetch(s3, file, &ranges).await?;
                decoder.push_ranges(ranges, data).map_err(|e| broken(&e))?;
                continue;
            }
        };
        if batch.num_columns() != kinds.len() {
            return Err(broken(&"it has another number of columns than the model"));
        }
        let mut from = 0;
        while from < batch.num_rows() {
            let mut out = RowBatch::new(kinds.len());
            from = push_rows(&batch, kinds, from, &mut out, &mut scratch);
            if rows.send(out).await.is_err() {
                return Ok(());
            }
        }
        read += batch.num_rows() as u64;
    }
    if read == promised { Ok(()) } else { Err(broken(&format!("it has {read} rows, and {promised} were promised"))) }
}

/// Where the bytes of a row group end.
fn end_of(group: &parquet::file::metadata::RowGroupMetaData) -> u64 {
    let ends = group.columns().iter().map(|column| {
        let (start, length) = column.byte_range();
        start.saturating_add(length)
    });
    ends.max().unwrap_or(0)
}

/// What a file says of itself, and how long it is.
async fn footer(
    s3: &S3Client,
    file: &ResultFile,
    broken: &(impl Fn(&dyn std::fmt::Display) -> Fault + Sync),
) -> Result<(Arc<ParquetMetaData>, u64), Fault> {
    let (tail, size) = s3.tail(&file.location, TAIL_BYTES).await?;
    let mut decoder = ParquetMetaDataPushDecoder::try_new(size).map_err(|e| broken(&e))?;
    decoder.push_range(size.saturating_sub(tail.len() as u64)..size, tail).map_err(|e| broken(&e))?;
    loop {
        match decoder.try_decode().map_err(|e| broken(&e))? {
            DecodeResult::Data(metadata) => return Ok((Arc::new(metadata), size)),
            DecodeResult::NeedsData(ranges) => {
                let data = fetch(s3, file, &ranges).await?;
                decoder.push_ranges(ranges, data).map_err(|e| broken(&e))?;
            }
            DecodeResult::Finished => return Err(broken(&"it has no footer")),
        }
    }
}

fn decoder(metadata: Arc<ParquetMetaData>) -> Result<ParquetPushDecoder, ParquetError> {
    // Of the row group whose rows are the widest.
    let groups = metadata.row_groups().iter().filter(|group| group.num_rows() > 0);
    let widest = groups.map(|group| (group.total_byte_size().max(0) / group.num_rows()) as u64).max().unwrap_or(1);
    let rows = (MAX_DECODED_BYTES / widest.max(1)).clamp(1, MAX_DECODED_ROWS);
    // What a writer of Arrow adds is not needed: the types of Parquet say it.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetPushDecoderBuilder::try_new_decoder_with_options(metadata, options)?;
    builder.with_batch_size(usize::try_from(rows).unwrap_or(1)).build()
}

/// The bytes of these ranges; those that lie side by side, as the columns of a row group do, come in one answer.
async fn fetch(s3: &S3Client, file: &ResultFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Fault> {
    let mut spans: Vec<(Range<u64>, Bytes)> = Vec::new();
    for span in joined(ranges) {
        let bytes = s3.range(&file.location, span.clone()).await?;
        spans.push((span, bytes));
    }
    let slice = |range: &Range<u64>| {
        let holding = spans.iter().find(|(span, _)| span.start <= range.start && range.end <= span.end);
        holding.map_or_else(Bytes::new, |(span, bytes)| {
            let from = usize::try_from(range.start - span.start).unwrap_or(usize::MAX);
            let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            bytes.slice(from..from + length)
        })
    };
    Ok(ranges.iter().map(slice).collect())
}

fn joined(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match spans.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => spans.push(range),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_side_by_side_become_one() {
        assert_eq!(joined(&[10..20, 0..10, 30..40, 35..50]), [0..20, 30..50]);
        assert!(joined(&[]).is_empty());
    }
}
