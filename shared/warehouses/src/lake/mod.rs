//! Results that a warehouse leaves in S3 as files of Parquet: they are listed, read and deleted here.
//!
//! What is kept in memory does not grow with the result. Files are parts of it: [`FILES_AT_ONCE`] are read at once, each in
//! a task of its own that also decodes it, and of each one row group at a time is held as it lies in S3 (128 MB where Athena
//! writes it, 32 MB where Redshift does), with a few batches of decoded rows.
//!
//! Not here: the statements that write these files.

mod fault;
mod file;
mod folder;
mod location;
mod s3;
mod xml;

use std::sync::Arc;

use async_trait::async_trait;
use clients::DatabasePlace;
use domain::fault::Fault;
use domain::ports::RowStream;
use domain::value::Type;
use futures_util::stream::{self, StreamExt as _};

pub(crate) use self::folder::ResultFolder;
pub(crate) use self::location::S3Location;
pub(crate) use self::s3::S3Client;
use crate::parts::{self, PartReader, PartSender};

/// Files that are read at once.
const FILES_AT_ONCE: usize = 2;

/// A file of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResultFile {
    pub(crate) location: S3Location,
    /// The rows that it has, where the warehouse says so.
    pub(crate) rows: Option<u64>,
}

/// The files of a result, as parts.
struct ResultFiles {
    s3: Arc<S3Client>,
    files: Vec<ResultFile>,
    kinds: Vec<Type>,
}

#[async_trait]
impl PartReader for ResultFiles {
    fn place(&self) -> &DatabasePlace {
        self.s3.place()
    }

    fn count(&self) -> usize {
        self.files.len()
    }

    async fn read(&self, number: usize, rows: &PartSender) -> Result<(), Fault> {
        file::read(&self.s3, &self.files[number], &self.kinds, rows).await
    }
}

/// The rows of all files, in their order. `kinds` are the types of the columns. The folder is deleted after the last row,
/// and when the stream fails or is dropped.
pub(crate) fn rows(files: Vec<ResultFile>, kinds: Vec<Type>, folder: ResultFolder) -> RowStream {
    let s3 = Arc::clone(folder.s3());
    let rows = parts::rows(Arc::new(ResultFiles { s3, files, kinds }), FILES_AT_ONCE);
    // Deleted before the stream ends, so that a process that exits after it leaves nothing.
    let end = stream::once(folder.remove()).filter_map(|()| std::future::ready(None));
    rows.chain(end).boxed()
}
