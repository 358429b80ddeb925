//! The Storage Read API: a session on the table that a query's result lies in, and its streams of Arrow, each read again from
//! the row where it broke off. <https://cloud.google.com/bigquery/docs/reference/storage>

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use async_trait::async_trait;
use bytes::Bytes;
use clients::DatabasePlace;
use clients::http::{GrpcCall, GrpcCode, GrpcError, HeaderMap, HeaderValue, Http, MAX_STREAMS, Url, percent_encode};
use domain::fault::{Code, Fault};
use domain::retry::backoff;
use domain::row::RowBatch;
use prost::Message as _;

use super::api::BigQueryApi;
use super::arrow_cells::{StorageColumn, StorageScratch, push_rows};
use super::job::{self, JobReference};
use super::read_messages::{
    ARROW, ArrowSerializationOptions, CreateReadSessionRequest, LZ4_FRAME, ReadRowsRequest, ReadRowsResponse,
    ReadSession, TableReadOptions,
};
use super::schema::ResultField;
use super::storage_fault::{passes, storage_fault};
use crate::parts::{PartReader, PartSender};

const SERVICE: &str = "/google.cloud.bigquery.storage.v1.BigQueryRead/";
/// A call is begun so often without a row between.
const ATTEMPTS: u32 = 6;
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Where sessions are made, and as how many streams they are asked for.
pub(super) struct StorageApi {
    pub(super) http: Http,
    /// Where the API is, without a path.
    pub(super) base: Url,
    pub(super) api: Arc<BigQueryApi>,
    /// Streams that are read at once.
    pub(super) streams: usize,
}

/// A call that has no (further) message.
struct FailedCall {
    /// What the API said; none where no token was to be had.
    error: Option<GrpcError>,
    fault: Fault,
}

impl FailedCall {
    fn passes(&self) -> bool {
        self.error.as_ref().map_or(self.fault.code == Code::WarehouseUnreachable, passes)
    }

    fn is(&self, code: GrpcCode) -> bool {
        matches!(&self.error, Some(GrpcError::Status(status)) if status.code == code)
    }
}

impl StorageApi {
    /// A session on the table of a job's result; `rows` are how many there must be.
    pub(super) async fn open(
        self: &Arc<Self>,
        job: &JobReference,
        fields: Vec<ResultField>,
        rows: u64,
    ) -> Result<StorageReader, Fault> {
        let table = job::destination_table(&self.api, job).await?;
        let request = CreateReadSessionRequest {
            parent: format!("projects/{}", self.api.project),
            read_session: Some(ReadSession {
                data_format: ARROW,
                table: table.clone(),
                read_options: Some(TableReadOptions {
                    arrow_serialization_options: Some(ArrowSerializationOptions { buffer_compression: LZ4_FRAME }),
                }),
                trace_id: "sluicegate".into(),
                ..ReadSession::default()
            }),
            max_stream_count: i32::try_from(self.ahead()).unwrap_or(1),
        };
        let parameters = format!("read_session.table={}", percent_encode(&table));
        let session = self.create(&parameters, &request.encode_to_vec()).await?;
        let schema = session.arrow_schema.map(|schema| schema.serialized_schema).unwrap_or_default();
        let schema =
            only_message(&schema).ok_or_else(|| self.api.place.unreachable("a read session has no schema."))?;
        let streams: Vec<String> = session.streams.into_iter().map(|stream| stream.name).collect();
        if streams.is_empty() && rows > 0 {
            let what = format!("the result has {rows} rows, and the read session on it no stream.");
            return Err(self.api.place.unreachable(what));
        }
        let (read, ended) = (AtomicU64::new(0), AtomicUsize::new(0));
        Ok(StorageReader { storage: Arc::clone(self), fields, rows, schema, streams, read, ended })
    }

    /// Streams that are read at once, at most.
    pub(super) fn ahead(&self) -> usize {
        self.streams.clamp(1, MAX_STREAMS)
    }

    async fn create(&self, parameters: &str, message: &[u8]) -> Result<ReadSession, Fault> {
        let mut retry = Retry::default();
        loop {
            let answer = match self.call("CreateReadSession", parameters, message).await {
                Ok(call) => call.only().await.map_err(|error| self.failed(error)),
                Err(failed) => Err(failed),
            };
            match answer {
                Ok(message) => {
                    return ReadSession::decode(message).map_err(|e| self.unreadable(&e.to_string()));
                }
                Err(failed) => retry.after(self, failed).await?,
            }
        }
    }

    async fn call(&self, method: &str, parameters: &str, message: &[u8]) -> Result<GrpcCall, FailedCall> {
        let asked = async {
            let url = self.base.join(&format!("{SERVICE}{method}"));
            let url = url.map_err(|e| self.api.place.invalid(format!("`storage_url`: {e}.")))?;
            let mut headers = HeaderMap::new();
            let routing = HeaderValue::from_str(parameters);
            headers.insert("x-goog-request-params", routing.unwrap_or(HeaderValue::from_static("")));
            self.api.tokens.sign(&self.api.http, &mut headers).await?;
            Ok::<_, Fault>((url, headers))
        };
        match asked.await {
            Ok((url, headers)) => self.http.call(url, headers, message).await.map_err(|error| self.failed(error)),
            Err(fault) => Err(FailedCall { error: None, fault }),
        }
    }

    fn failed(&self, error: GrpcError) -> FailedCall {
        let host = self.base.host_str().unwrap_or_default();
        let fault = storage_fault(&self.api.place, &self.api.project, host, &error);
        FailedCall { error: Some(error), fault }
    }

    fn unreadable(&self, why: &str) -> Fault {
        self.api.place.unreachable(format!("the Storage Read API sends what cannot be read: {why}."))
    }
}

/// Attempts of one call.
#[derive(Default)]
struct Retry {
    tries: u32,
    renewed: bool,
}

impl Retry {
    /// Waits before the next attempt; the fault when there is none.
    async fn after(&mut self, storage: &StorageApi, failed: FailedCall) -> Result<(), Fault> {
        let refused = failed.is(GrpcCode::Unauthenticated);
        if refused && !std::mem::replace(&mut self.renewed, true) && storage.api.tokens.forget().await {
            return Ok(());
        }
        self.tries += 1;
        if !failed.passes() || self.tries >= ATTEMPTS {
            return Err(failed.fault);
        }
        let pause = backoff(self.tries, storage.api.retry_pause, fastrand::f64());
        tokio::time::sleep(pause.min(MAX_PAUSE)).await;
        Ok(())
    }
}

/// Reads the streams of one session.
pub(super) struct StorageReader {
    storage: Arc<StorageApi>,
    fields: Vec<ResultField>,
    /// Rows of the result, as its job has told them.
    rows: u64,
    /// The message of Arrow that goes before the batches of a stream.
    schema: Bytes,
    streams: Vec<String>,
    /// Rows of all streams that were handed on.
    read: AtomicU64,
    /// Streams that came to their end.
    ended: AtomicUsize,
}

/// Why a reading of a stream stopped.
enum Stopped {
    /// All rows of it are handed on.
    End,
    /// Nobody takes them any more.
    Unheard,
    Failed(FailedCall),
}

impl StorageReader {
    /// Reads a stream from row `known` on, once.
    async fn attempt(&self, number: usize, known: &mut u64, rows: &PartSender) -> Result<Stopped, Fault> {
        let name = &self.streams[number];
        let request = ReadRowsRequest { read_stream: name.clone(), offset: i64::try_from(*known).unwrap_or(i64::MAX) };
        let parameters = format!("read_stream={}", percent_encode(name));
        let mut call = match self.storage.call("ReadRows", &parameters, &request.encode_to_vec()).await {
            Ok(call) => call,
            Err(failed) => return Ok(Stopped::Failed(failed)),
        };
        let mut decoder = StreamDecoder::new();
        let unreadable = |e: arrow_schema::ArrowError| self.storage.unreadable(&e.to_string());
        decoder.decode(&mut Buffer::from(self.schema.clone())).map_err(unreadable)?;
        let columns: Vec<StorageColumn<'_>> = self.fields.iter().map(StorageColumn::new).collect();
        let mut scratch = StorageScratch::default();
        loop {
            let message = match call.next().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(Stopped::End),
                Err(error) => return Ok(Stopped::Failed(self.storage.failed(error))),
            };
            let response = ReadRowsResponse::decode(message).map_err(|e| self.storage.unreadable(&e.to_string()))?;
            let Some(batch) = response.arrow_record_batch else { continue };
            let mut buffer = Buffer::from(batch.serialized_record_batch);
            let Some(batch) = decoder.decode(&mut buffer).map_err(unreadable)? else { continue };
            if batch.num_columns() != columns.len() {
                let (has, of) = (batch.num_columns(), columns.len());
                return Err(self.storage.unreadable(&format!("{has} columns where the result has {of}")));
            }
            if response.row_count != batch.num_rows() as i64 {
                let (has, of) = (batch.num_rows(), response.row_count);
                return Err(self.storage.unreadable(&format!("a batch of {has} rows that should be {of}")));
            }
            let mut from = 0;
            while from < batch.num_rows() {
                let mut out = RowBatch::new(columns.len());
                from = push_rows(&batch, &columns, from, &mut out, &mut scratch);
                if rows.send(out).await.is_err() {
                    return Ok(Stopped::Unheard);
                }
            }
            *known += batch.num_rows() as u64;
        }
    }

    /// Notes that a stream came to its end with so many rows. The last of them finds whether all rows of the result were there.
    fn end(&self, rows: u64) -> Result<(), Fault> {
        let read = self.read.fetch_add(rows, Ordering::SeqCst) + rows;
        let ended = self.ended.fetch_add(1, Ordering::SeqCst) + 1;
        // Whoever is the last sees what all have added.
        let read = if ended == self.streams.len() { self.read.load(Ordering::SeqCst) } else { read };
        if ended == self.streams.len() && read != self.rows || read > self.rows {
            let what = format!("the result has {} rows, and its streams gave {read}.", self.rows);
            return Err(self.storage.api.place.unreachable(what));
        }
        Ok(())
    }
}

#[async_trait]
impl PartReader for StorageReader {
    fn place(&self) -> &DatabasePlace {
        &self.storage.api.place
    }

    fn count(&self) -> usize {
        self.streams.len()
    }

    async fn read(&self, number: usize, rows: &PartSender) -> Result<(), Fault> {
        let (mut known, mut retry) = (0, Retry::default());
        loop {
            let before = known;
            let failed = match self.attempt(number, &mut known, rows).await? {
                Stopped::End => return self.end(known),
                Stopped::Unheard => return Ok(()),
                Stopped::Failed(failed) => failed,
            };
            // The row after the last is asked for when a stream breaks just before its end.
            if known > 0 && failed.is(GrpcCode::OutOfRange) {
                return self.end(known);
            }
            if known > before {
                retry = Retry::default();
            }
            tracing::warn!(stream = number, known, "a stream broke off and is read on: {}", failed.fault.what);
            retry.after(&self.storage, failed).await?;
        }
    }
}

/// The first message of a piece of Arrow: a mark, the length of its head, and the head. What may follow a schema (the end of a
/// stream) is left out.
fn only_message(bytes: &Bytes) -> Option<Bytes> {
    let rest = bytes.strip_prefix(&[0xff; 4][..]).unwrap_or(bytes);
    let length = u32::from_le_bytes(rest.first_chunk::<4>().copied()?) as usize;
    let end = bytes.len() - rest.len() + 4 + length;
    (end <= bytes.len()).then(|| bytes.slice(..end))
}
