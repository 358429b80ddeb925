//! The chunks of a result: each is a stream of Arrow behind a link of its own, which is asked for when it is fetched, and anew
//! when it ended or its body broke off. The rows of a chunk that were handed on are known.

use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use async_trait::async_trait;
use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderName, HeaderValue, HttpRequest, Method, Url};
use domain::fault::{Code, Fault};
use domain::row::RowBatch;
use domain::value::Type;

use super::api::DatabricksApi;
use super::wire::{ExternalLink, Manifest};
use crate::arrow::{ArrowScratch, push_rows};
use crate::parts::{PartReader, PartSender};
use crate::sql::Statement;

/// A chunk is fetched so often before the read fails.
const ATTEMPTS: u32 = 5;

/// Reads the chunks of one result.
pub(super) struct ChunkReader {
    api: Arc<DatabricksApi>,
    id: String,
    statement: Statement,
    kinds: Vec<Type>,
    manifest: Manifest,
}

/// What was read of one chunk.
struct ChunkProgress {
    /// Rows that were handed on, in this attempt or an earlier one.
    known: u64,
    /// Rows that this attempt has seen.
    seen: u64,
}

impl ChunkReader {
    pub(super) fn new(api: Arc<DatabricksApi>, id: String, manifest: Manifest, statement: Statement) -> Self {
        let kinds = manifest.schema.columns.iter().map(|column| column.column().kind).collect();
        Self { api, id, statement, kinds, manifest }
    }

    fn broken(&self, chunk: usize, why: &str) -> Fault {
        self.api.place.unreachable(format!("chunk {chunk} of the result cannot be read: {why}."))
    }

    /// Fetches a chunk once and hands on its rows.
    async fn fetch(&self, chunk: usize, progress: &mut ChunkProgress, rows: &PartSender) -> Result<(), Fault> {
        let link = self.api.link(&self.id, chunk, &self.statement).await?;
        let mut body = self
            .api
            .http
            .open(request(&link).map_err(|why| self.broken(chunk, why))?)
            .await
            .map_err(|e| e.at(&self.api.place))?;
        if body.status != 200 {
            // An expired link is refused by the storage, in its own words.
            return Err(self.broken(chunk, &format!("the storage answers {}", body.status)));
        }
        let mut decoder = StreamDecoder::new();
        let mut scratch = ArrowScratch::default();
        progress.seen = 0;
        while let Some(piece) = body.next().await.map_err(|e| e.at(&self.api.place))? {
            let mut buffer = Buffer::from(piece);
            while !buffer.is_empty() {
                let decoded = decoder.decode(&mut buffer).map_err(|e| self.broken(chunk, &e.to_string()))?;
                let Some(batch) = decoded else { continue };
                if batch.num_columns() != self.kinds.len() {
                    return Err(self.broken(chunk, "it has another number of columns than the result"));
                }
                let count = batch.num_rows() as u64;
                let skip = progress.known.saturating_sub(progress.seen).min(count);
                let mut from = usize::try_from(skip).unwrap_or(usize::MAX);
                while from < batch.num_rows() {
                    let mut out = RowBatch::new(self.kinds.len());
                    from = push_rows(&batch, &self.kinds, from, &mut out, &mut scratch);
                    let read = progress.seen + from as u64;
                    if rows.send(out).await.is_err() {
                        return Ok(());
                    }
                    progress.known = progress.known.max(read);
                }
                progress.seen += count;
            }
        }
        decoder.finish().map_err(|_| self.broken(chunk, "it broke off"))?;
        match self.manifest.chunks.iter().find(|info| info.chunk_index == chunk) {
            Some(info) if info.row_count != progress.seen => {
                let why = format!("it has {} rows, and {} were promised", progress.seen, info.row_count);
                Err(self.broken(chunk, &why))
            }
            _ => Ok(()),
        }
    }
}

fn request(link: &ExternalLink) -> Result<HttpRequest, &'static str> {
    let url = Url::parse(&link.external_link).map_err(|_| "its link is no address")?;
    // The token is for Databricks, and the link carries what the storage asks for.
    let mut headers = HeaderMap::new();
    for (name, value) in &link.http_headers {
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) else {
            return Err("its link has headers that cannot be sent");
        };
        headers.insert(name, value);
    }
    Ok(HttpRequest { method: Method::GET, url, headers, body: Vec::new() })
}

#[async_trait]
impl PartReader for ChunkReader {
    fn place(&self) -> &DatabasePlace {
        &self.api.place
    }

    fn count(&self) -> usize {
        self.manifest.total_chunk_count
    }

    async fn read(&self, chunk: usize, rows: &PartSender) -> Result<(), Fault> {
        let mut progress = ChunkProgress { known: 0, seen: 0 };
        let mut tries = 1;
        loop {
            let fault = match self.fetch(chunk, &mut progress, rows).await {
                Ok(()) => return Ok(()),
                Err(fault) if fault.code == Code::WarehouseUnreachable => fault,
                Err(fault) => return Err(fault),
            };
            if tries >= ATTEMPTS {
                return Err(fault);
            }
            tracing::warn!(chunk, known = progress.known, "a chunk broke off and is fetched again: {}", fault.what);
            self.api.pause(tries).await;
            tries += 1;
        }
    }
}
