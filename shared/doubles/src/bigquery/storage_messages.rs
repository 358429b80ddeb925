//! The messages of the Storage Read API, as far as the double reads or writes them, out of the service's own definition:
//! <https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1>

use hyper::body::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionRequest {
    #[prost(string, tag = "1")]
    pub(super) parent: String,
    #[prost(message, optional, tag = "2")]
    pub(super) read_session: Option<SessionMessage>,
    #[prost(int32, tag = "3")]
    pub(super) max_stream_count: i32,
    #[prost(int32, tag = "4")]
    pub(super) preferred_min_stream_count: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Avro is 1, Arrow 2.
    #[prost(int32, tag = "3")]
    pub(super) data_format: i32,
    #[prost(message, optional, tag = "5")]
    pub(super) arrow_schema: Option<SerializedSchema>,
    #[prost(string, tag = "6")]
    pub(super) table: String,
    #[prost(message, optional, tag = "8")]
    pub(super) read_options: Option<ReadOptions>,
    #[prost(message, repeated, tag = "10")]
    pub(super) streams: Vec<SessionStream>,
    #[prost(int64, tag = "12")]
    pub(super) estimated_total_bytes_scanned: i64,
    #[prost(string, tag = "13")]
    pub(super) trace_id: String,
    #[prost(int64, tag = "14")]
    pub(super) estimated_row_count: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadOptions {
    #[prost(string, repeated, tag = "1")]
    pub(super) selected_fields: Vec<String>,
    #[prost(string, tag = "2")]
    pub(super) row_restriction: String,
    #[prost(message, optional, tag = "3")]
    pub(super) arrow_serialization_options: Option<ArrowOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ArrowOptions {
    /// None is 0, LZ4 1, Zstandard 2.
    #[prost(int32, tag = "2")]
    pub(super) buffer_compression: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SerializedSchema {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) serialized_schema: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SessionStream {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RowsRequest {
    #[prost(string, tag = "1")]
    pub(super) read_stream: String,
    #[prost(int64, tag = "2")]
    pub(super) offset: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RowsResponse {
    #[prost(message, optional, tag = "2")]
    pub(super) stats: Option<StreamStats>,
    #[prost(message, optional, tag = "4")]
    pub(super) arrow_record_batch: Option<SerializedBatch>,
    #[prost(int64, tag = "6")]
    pub(super) row_count: i64,
    #[prost(message, optional, tag = "8")]
    pub(super) arrow_schema: Option<SerializedSchema>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StreamStats {
    #[prost(message, optional, tag = "2")]
    pub(super) progress: Option<StreamProgress>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StreamProgress {
    #[prost(double, tag = "1")]
    pub(super) at_response_start: f64,
    #[prost(double, tag = "2")]
    pub(super) at_response_end: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SerializedBatch {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) serialized_record_batch: Bytes,
}
