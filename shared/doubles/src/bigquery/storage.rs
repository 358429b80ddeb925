//! `google.cloud.bigquery.storage.v1.BigQueryRead` over gRPC: read sessions on the tables of results, and their streams.

use hyper::body::Bytes;
use prost::Message;

use super::arrow;
use super::project::{BigQueryFailure, BigQueryProject, BigQueryStep, ReadSessionRecord};
use super::queries::RESULTS;
use super::storage_messages::{
    RowsRequest, RowsResponse, SerializedBatch, SerializedSchema, SessionMessage, SessionRequest, SessionStream,
    StreamProgress, StreamStats,
};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::sql::SqlValue;

/// Rows of one message.
const BATCH_ROWS: usize = 300;

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const OUT_OF_RANGE: i32 = 11;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;
const UNAUTHENTICATED: i32 = 16;

type Refusal = (i32, String);

impl BigQueryProject {
    /// A call of the service.
    pub(super) fn storage_call(&mut self, request: &DoubleRequest, method: &str) -> DoubleReply {
        if request.header("content-type") != Some("application/grpc") || request.header("te") != Some("trailers") {
            return DoubleReply::status(415);
        }
        if !self.lets_in(request) {
            return status(
                UNAUTHENTICATED,
                "Request had invalid authentication credentials. Expected OAuth 2 access token.",
            );
        }
        let Some(message) = unframed(&request.body) else { return status(INTERNAL, "Failed to parse the frame.") };
        let routing = request.header("x-goog-request-params").unwrap_or_default().to_owned();
        match method {
            "CreateReadSession" => {
                let failure = self.failure(BigQueryStep::Session);
                let done = self.create_session(message, &routing).map(|session| vec![session.encode_to_vec()]);
                answered(done, failure)
            }
            "ReadRows" => {
                let Ok(asked) = RowsRequest::decode(message) else {
                    return status(INVALID_ARGUMENT, "Malformed request.");
                };
                let stream = asked.read_stream.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
                let failure = self.failure(BigQueryStep::Rows(stream));
                let short = matches!(failure, Some(BigQueryFailure::RowsMissing));
                answered(self.rows(&asked, stream, &routing, short), failure)
            }
            _ => status(UNIMPLEMENTED, "Method not found."),
        }
    }

    fn create_session(&mut self, message: Bytes, routing: &str) -> Result<SessionMessage, Refusal> {
        let refused = |what: &str| (INVALID_ARGUMENT, format!("request failed: {what}"));
        let asked = SessionRequest::decode(message).map_err(|_| refused("malformed request"))?;
        let session = asked.read_session.unwrap_or_default();
        if routing != format!("read_session.table={}", escaped(&session.table)) {
            return Err(refused("the routing header does not name the table"));
        }
        if !self.reads_sessions {
            let message = format!(
                "request failed: the user does not have 'bigquery.readsessions.create' permission for 'projects/{}'",
                self.id
            );
            return Err((PERMISSION_DENIED, message));
        }
        let options = session.read_options.clone().unwrap_or_default();
        if asked.parent != format!("projects/{}", self.id) || session.data_format != 2 {
            return Err(refused("the parent is another project, or the data format is not Arrow"));
        }
        if !options.selected_fields.is_empty() || !options.row_restriction.is_empty() {
            return Err(refused("the double knows whole tables only"));
        }
        if asked.max_stream_count < 0 || asked.max_stream_count < asked.preferred_min_stream_count {
            return Err(refused("max_stream_count is out of range"));
        }
        let prefix = format!("projects/{}/datasets/{RESULTS}/tables/anon", self.id);
        let job = session.table.strip_prefix(&prefix).unwrap_or_default().to_owned();
        let not_found =
            || (NOT_FOUND, format!("request failed: Not found: Table {}", session.table.replace("projects/", "")));
        let Some(Ok(result)) = self.jobs.get(&job).filter(|job| job.waits == 0).map(|job| &job.outcome) else {
            return Err(not_found());
        };
        let most = usize::try_from(asked.max_stream_count).unwrap_or(0);
        let most = if most == 0 { 1 } else { most };
        let streams = most.min(self.streams).max(1);
        let name = format!("projects/{}/locations/us/sessions/session_{}", self.id, self.sessions.len() + 1);
        let schema = arrow::schema(result).map_err(|e| (INTERNAL, e.to_string()))?;
        let compressed = options.arrow_serialization_options.is_some_and(|options| options.buffer_compression == 1);
        let answer = SessionMessage {
            name: name.clone(),
            arrow_schema: Some(SerializedSchema { serialized_schema: schema }),
            streams: (0..streams).map(|n| SessionStream { name: format!("{name}/streams/{n}") }).collect(),
            estimated_total_bytes_scanned: i64::try_from(self.bytes).unwrap_or(i64::MAX),
            estimated_row_count: result.rows.len() as i64,
            ..session
        };
        self.sessions.insert(name, ReadSessionRecord { job, streams, compressed });
        Ok(answer)
    }

    /// The messages of a stream from a row on. Rows are dealt out in runs, so that streams are of unlike lengths.
    fn rows(
        &mut self,
        asked: &RowsRequest,
        stream: usize,
        routing: &str,
        short: bool,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let internal = |e: arrow_schema::ArrowError| (INTERNAL, e.to_string());
        if routing != format!("read_stream={}", escaped(&asked.read_stream)) {
            return Err((INVALID_ARGUMENT, "the routing header does not name the stream".into()));
        }
        let session = asked.read_stream.split("/streams/").next().unwrap_or_default();
        let session = self.sessions.get(session).filter(|session| stream < session.streams);
        let Some(session) = session else { return Err((NOT_FOUND, "Requested entity was not found.".into())) };
        let Some(Ok(result)) = self.jobs.get(&session.job).map(|job| &job.outcome) else {
            return Err((NOT_FOUND, "Requested entity was not found.".into()));
        };
        // As many more rows for each stream as it has streams before it.
        let shares = session.streams * (session.streams + 1) / 2;
        let to_share = |share: usize| result.rows.len() * share / shares;
        let (from, to) = (to_share(stream * (stream + 1) / 2), to_share((stream + 1) * (stream + 2) / 2));
        let offset = usize::try_from(asked.offset).unwrap_or(usize::MAX);
        self.begun_streams.push((stream, offset));
        if offset > 0 && offset >= to - from {
            return Err((OUT_OF_RANGE, format!("request failed: invalid offset {offset} for the stream")));
        }
        let rows: &[Vec<SqlValue>] = &result.rows[from + offset..to];
        let rows = if short { &rows[..rows.len() / 2] } else { rows };
        let mut messages = Vec::new();
        for (at, part) in rows.chunks(BATCH_ROWS).enumerate() {
            let batch = arrow::batch(result, part, session.compressed).map_err(internal)?;
            let schema = if at == 0 { Some(arrow::schema(result).map_err(internal)?) } else { None };
            let fraction = |rows: usize| (offset + rows) as f64 / (to - from).max(1) as f64;
            let progress = StreamProgress {
                at_response_start: fraction(at * BATCH_ROWS),
                at_response_end: fraction(at * BATCH_ROWS + part.len()),
            };
            let response = RowsResponse {
                stats: Some(StreamStats { progress: Some(progress) }),
                arrow_record_batch: Some(SerializedBatch { serialized_record_batch: batch }),
                row_count: part.len() as i64,
                arrow_schema: schema.map(|serialized_schema| SerializedSchema { serialized_schema }),
            };
            messages.push(response.encode_to_vec());
        }
        Ok(messages)
    }
}

/// Messages and their good end, or what goes wrong instead.
fn answered(done: Result<Vec<Vec<u8>>, Refusal>, failure: Option<BigQueryFailure>) -> DoubleReply {
    match failure {
        Some(BigQueryFailure::Cut) => return DoubleReply::cut(),
        Some(BigQueryFailure::Html(code)) => return DoubleReply::text(code, "text/html", "<html></html>"),
        Some(BigQueryFailure::Grpc(0, code, message)) => return status(code, message),
        _ => {}
    }
    let mut messages = match done {
        Ok(messages) => messages,
        Err((code, message)) => return status(code, &message),
    };
    let (mut code, mut words) = (0, "");
    if let Some(BigQueryFailure::Grpc(after, its, message)) = failure {
        messages.truncate(after);
        (code, words) = (its, message);
    }
    let mut body = Vec::new();
    for message in messages {
        body.push(0);
        body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(&message);
    }
    let mut trailers = vec![("grpc-status".to_owned(), code.to_string()), ("grpc-message".to_owned(), escaped(words))];
    if let Some(BigQueryFailure::CutAfter(bytes)) = failure {
        // A stream that is reset loses what was sent just before; this one ends where it should not, without a status.
        body.truncate(bytes);
        trailers.clear();
    }
    DoubleReply { status: 200, body: Bytes::from(body), trailers, ..DoubleReply::default() }
        .with("content-type", "application/grpc")
}

/// A status without a message before it: all of it is in the head.
fn status(code: i32, message: &str) -> DoubleReply {
    DoubleReply::status(200)
        .with("content-type", "application/grpc")
        .with("grpc-status", code)
        .with("grpc-message", escaped(message))
}

/// The one message of a request.
fn unframed(body: &Bytes) -> Option<Bytes> {
    let (&[compressed, a, b, c, d], message) = body.split_first_chunk::<5>()?;
    let whole = compressed == 0 && message.len() == u32::from_be_bytes([a, b, c, d]) as usize;
    whole.then(|| body.slice(5..))
}

/// Percent-encoded, as headers of gRPC and routing have it.
fn escaped(text: &str) -> String {
    let keeps = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if keeps(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
