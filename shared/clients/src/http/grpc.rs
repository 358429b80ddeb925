//! gRPC, as far as a client needs it that sends one message and reads one or many: frames of five bytes and a message, and
//! a status after the last of them. Messages themselves are the caller's.
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::fmt;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::{HeaderMap, HeaderName, HeaderValue, Http, HttpRequest, Method, SendError, Url, percent_decode};

/// No call takes longer than this as a whole; each piece of its answer has the connection's own timeout.
const WHOLE: Duration = Duration::from_secs(6 * 3600);
/// A larger message is refused: BigQuery's are of at most 128 MB.
const MAX_MESSAGE_BYTES: usize = 160 * 1024 * 1024;

/// What the other side said of a call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcStatus {
    pub code: GrpcCode,
    /// Its words, without secrets.
    pub message: String,
}

/// <https://grpc.io/docs/guides/status-codes/>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcCode {
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    Unauthenticated,
    /// One that no call of ours has a use for.
    Other(i32),
}

/// Why a call has no (further) message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcError {
    /// The other side said so.
    Status(GrpcStatus),
    /// There is no answer, or it broke off before its status.
    Send(SendError),
}

/// A call whose messages are still coming. Dropping it resets the stream.
pub struct GrpcCall {
    http: Http,
    url: Url,
    body: reqwest::Body,
    buffer: BytesMut,
    /// What was said before the first message: the whole answer then.
    early: Option<GrpcStatus>,
    ended: bool,
}

impl GrpcCode {
    fn of(number: i32) -> Self {
        match number {
            1 => Self::Cancelled,
            2 => Self::Unknown,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            16 => Self::Unauthenticated,
            other => Self::Other(other),
        }
    }

    /// What a status of HTTP means where gRPC's own is missing: a gateway answered.
    /// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
    fn of_http(status: u16) -> Self {
        match status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            429 | 502 | 503 | 504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for GrpcCode {
    /// `PERMISSION_DENIED`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Other(number) => return write!(f, "status {number}"),
        })
    }
}

impl Http {
    /// Begins a call: `url` ends with the service and the method, `message` is the encoded request. For a client of
    /// [`Http::http2`].
    pub async fn call(&self, url: Url, mut headers: HeaderMap, message: &[u8]) -> Result<GrpcCall, GrpcError> {
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers"), ("accept-encoding", "identity")]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let mut body = Vec::with_capacity(5 + message.len());
        body.push(0);
        body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(message);
        let request = HttpRequest { method: Method::POST, url: url.clone(), headers, body };
        let mut sent = self.prepare(request).map_err(GrpcError::Send)?;
        *sent.timeout_mut() = Some(WHOLE);
        let response = tokio::time::timeout(self.settings.timeout, self.client.execute(sent))
            .await
            .map_err(|_| GrpcError::Send(self.timed_out(&url)))?
            .map_err(|e| GrpcError::Send(self.tell(&e, &url)))?;
        let status = response.status().as_u16();
        let told = self.status(response.headers());
        let early = match &told {
            None if status != 200 => {
                Some(GrpcStatus { code: GrpcCode::of_http(status), message: format!("a gateway answers {status}") })
            }
            Some(Err(status)) => Some(status.clone()),
            _ => None,
        };
        let ended = matches!(told, Some(Ok(())));
        let body = reqwest::Body::from(response);
        Ok(GrpcCall { http: self.clone(), url, body, buffer: BytesMut::new(), early, ended })
    }

    /// The status in headers or trailers: none, a good one, or a bad one.
    fn status(&self, headers: &HeaderMap) -> Option<Result<(), GrpcStatus>> {
        let number: i32 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
        if number == 0 {
            return Some(Ok(()));
        }
        let words = headers.get("grpc-message").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let message = self.settings.redactor.shorten(&percent_decode(words));
        Some(Err(GrpcStatus { code: GrpcCode::of(number), message }))
    }
}

impl GrpcCall {
    /// The next message; `None` after the last one, when the other side said that all is well.
    pub async fn next(&mut self) -> Result<Option<Bytes>, GrpcError> {
        if let Some(status) = self.early.take() {
            self.ended = true;
            return Err(GrpcError::Status(status));
        }
        while !self.ended {
            if let Some(message) = self.whole_message()? {
                return Ok(Some(message));
            }
            let frame = tokio::time::timeout(self.http.settings.timeout, self.body.frame())
                .await
                .map_err(|_| GrpcError::Send(self.http.timed_out(&self.url)))?;
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => {
                        let Some(status) = frame.trailers_ref().and_then(|trailers| self.http.status(trailers)) else {
                            continue;
                        };
                        self.ended = true;
                        status.map_err(GrpcError::Status)?;
                        if !self.buffer.is_empty() {
                            return Err(self.broken("within a message"));
                        }
                    }
                },
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(GrpcError::Send(self.http.tell(&error, &self.url)));
                }
                None => {
                    self.ended = true;
                    return Err(self.broken("without a status"));
                }
            }
        }
        Ok(None)
    }

    /// The only message of an answer.
    pub async fn only(mut self) -> Result<Bytes, GrpcError> {
        let Some(message) = self.next().await? else { return Err(self.broken("without a message")) };
        match self.next().await? {
            None => Ok(message),
            Some(_) => Err(self.broken("with a second message")),
        }
    }

    /// A message that is whole, from the buffer.
    fn whole_message(&mut self) -> Result<Option<Bytes>, GrpcError> {
        let Some((&[compressed, a, b, c, d], rest)) = self.buffer.split_first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if compressed != 0 || length > MAX_MESSAGE_BYTES {
            self.ended = true;
            return Err(self.broken("with a message that is compressed or too large"));
        }
        if rest.len() < length {
            self.buffer.reserve(5 + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(5);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    fn broken(&self, how: &str) -> GrpcError {
        let host = self.http.settings.redactor.hide(self.url.host_str().unwrap_or_default());
        GrpcError::Send(SendError::Broken { detail: format!("the answer of {host} ended {how}") })
    }
}
