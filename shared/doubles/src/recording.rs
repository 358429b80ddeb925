//! Exchanges with doubles as files: with `SLUICEGATE_RECORD=FOLDER` in the environment, every request and its answer is a
//! line of JSON in `FOLDER/NAME.jsonl`. A vendor's documentation or specification can be held beside them.
//!
//! What carries a credential is written as `***`.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::exchange::{DoubleReply, DoubleRequest};

/// Headers that carry credentials.
const SECRET: [&str; 6] = ["authorization", "cookie", "set-cookie", "x-api-key", "x-amz-security-token", "api-key"];

/// Where the exchanges of one double go.
#[derive(Debug, Clone)]
pub(crate) struct Recording(Option<PathBuf>);

impl Recording {
    /// As the environment has it, for the double of this name.
    pub(crate) fn of(name: &str) -> Self {
        Self(crate::settings::recordings().map(|folder| folder.join(format!("{name}.jsonl"))))
    }

    /// Appends an exchange. One that cannot be written is left out: a double serves all the same.
    pub(crate) fn note(&self, request: &DoubleRequest, reply: &DoubleReply) {
        let Some(file) = &self.0 else { return };
        if reply.cut {
            return;
        }
        let exchange = json!({
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "request_headers": headers(&request.headers),
            "request_body": readable(&request.headers, &request.body),
            "status": reply.status,
            "response_headers": headers(&reply.headers),
            "response_body": readable(&reply.headers, &reply.body),
            "response_trailers": headers(&reply.trailers),
        });
        // One write, so that the lines of several processes do not mix.
        let line = format!("{exchange}\n");
        let _ = OpenOptions::new().create(true).append(true).open(file).and_then(|mut f| f.write_all(line.as_bytes()));
    }
}

fn headers(list: &[(String, String)]) -> Value {
    let shown = |name: &str, value: &str| if SECRET.contains(&name) { "***".to_owned() } else { value.to_owned() };
    list.iter().map(|(name, value)| (name.to_lowercase(), Value::from(shown(&name.to_lowercase(), value)))).collect()
}

/// A body as JSON where it is that, as text where it is that, else `{"$base64": …}`.
fn readable(headers: &[(String, String)], body: &Bytes) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    let header = |wanted: &str| {
        headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    };
    let kind = header("content-type");
    let mut inflated = Vec::new();
    if header("content-encoding") == Some("gzip") {
        let _ = GzDecoder::new(body.as_ref()).read_to_end(&mut inflated);
    }
    let body = if inflated.is_empty() { body.as_ref() } else { &inflated };
    match std::str::from_utf8(body) {
        Err(_) => json!({ "$base64": STANDARD.encode(body) }),
        Ok(text) if kind.is_none_or(|kind| kind.contains("json")) => {
            serde_json::from_str(text).unwrap_or_else(|_| text.into())
        }
        Ok(text) => text.into(),
    }
}
