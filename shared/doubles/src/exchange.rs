//! A request as a double gets it, and a reply as it gives it.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde_json::Value;

/// A request, read whole.
#[derive(Debug, Clone)]
pub struct DoubleRequest {
    /// When it was whole.
    pub at: Instant,
    pub method: String,
    /// Its path as sent, without the query.
    pub path: String,
    /// Its query as sent, without `?`; empty when there is none.
    pub query: String,
    /// Its headers in order; names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl DoubleRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, if it is that.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as `application/x-www-form-urlencoded`, or the query where there is no body.
    pub fn form(&self) -> Vec<(String, String)> {
        let bytes = if self.body.is_empty() { self.query.as_bytes() } else { &self.body };
        url::form_urlencoded::parse(bytes).into_owned().collect()
    }

    /// The segments of the path, percent-decoded, empty ones left out.
    pub fn segments(&self) -> Vec<String> {
        let decoded = |text: &str| {
            url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
                .next()
                .map(|(_, value)| value.into_owned())
        };
        self.path.split('/').filter(|part| !part.is_empty()).filter_map(decoded).collect()
    }
}

#[derive(Debug, Clone, Default)]
pub struct DoubleReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// What follows the body, over HTTP/2: gRPC's status.
    pub trailers: Vec<(String, String)>,
    /// Wait this long before it is sent.
    pub delay: Duration,
    /// Close the connection instead of sending it.
    pub cut: bool,
    /// Close the connection after so many bytes of the body.
    pub cut_after: Option<usize>,
}

impl DoubleReply {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, body: Bytes::from(body.to_string()), ..Self::default() }
            .with("content-type", "application/json;charset=utf-8")
    }

    /// Text of this media type.
    pub fn text(status: u16, media_type: &str, body: impl Into<String>) -> Self {
        Self { status, body: Bytes::from(body.into()), ..Self::default() }.with("content-type", media_type)
    }

    /// The connection is closed without an answer.
    pub fn cut() -> Self {
        Self { cut: true, ..Self::default() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}
