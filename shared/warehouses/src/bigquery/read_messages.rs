//! The messages of the Storage Read API, as far as they are sent or read; the numbers are those of the service's own
//! definition. <https://cloud.google.com/bigquery/docs/reference/storage/rpc/google.cloud.bigquery.storage.v1>

use bytes::Bytes;

/// `DataFormat.ARROW`
pub(super) const ARROW: i32 = 2;
/// `ArrowSerializationOptions.CompressionCodec.LZ4_FRAME`
pub(super) const LZ4_FRAME: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CreateReadSessionRequest {
    /// `projects/PROJECT`: the one that owns the session.
    #[prost(string, tag = "1")]
    pub(super) parent: String,
    #[prost(message, optional, tag = "2")]
    pub(super) read_session: Option<ReadSession>,
    #[prost(int32, tag = "3")]
    pub(super) max_stream_count: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadSession {
    #[prost(int32, tag = "3")]
    pub(super) data_format: i32,
    #[prost(message, optional, tag = "5")]
    pub(super) arrow_schema: Option<ArrowSchema>,
    /// `projects/PROJECT/datasets/DATASET/tables/TABLE`
    #[prost(string, tag = "6")]
    pub(super) table: String,
    #[prost(message, optional, tag = "8")]
    pub(super) read_options: Option<TableReadOptions>,
    #[prost(message, repeated, tag = "10")]
    pub(super) streams: Vec<ReadStream>,
    /// What groups the sessions of one client: at most 256 bytes.
    #[prost(string, tag = "13")]
    pub(super) trace_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TableReadOptions {
    #[prost(message, optional, tag = "3")]
    pub(super) arrow_serialization_options: Option<ArrowSerializationOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ArrowSerializationOptions {
    #[prost(int32, tag = "2")]
    pub(super) buffer_compression: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ArrowSchema {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) serialized_schema: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadStream {
    /// `projects/PROJECT/locations/LOCATION/sessions/SESSION/streams/STREAM`
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadRowsRequest {
    #[prost(string, tag = "1")]
    pub(super) read_stream: String,
    /// Rows of the stream that are left out.
    #[prost(int64, tag = "2")]
    pub(super) offset: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadRowsResponse {
    #[prost(message, optional, tag = "4")]
    pub(super) arrow_record_batch: Option<ArrowRecordBatch>,
    #[prost(int64, tag = "6")]
    pub(super) row_count: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ArrowRecordBatch {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) serialized_record_batch: Bytes,
}
