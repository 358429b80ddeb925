//! Requests for objects and lists of them.

use std::ops::Range;

use hyper::body::Bytes;

use super::buckets::{S3Buckets, S3Failure, S3Step};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::signature::is_signed;

/// An error, as S3 tells it.
fn error(status: u16, code: &str, message: &str) -> DoubleReply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>",
        escaped(message)
    );
    DoubleReply::text(status, "application/xml", body)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A key as a list has it with `encoding-type=url`: slashes stay.
fn encoded(key: &str) -> String {
    url::form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace("%2F", "/")
}

impl S3Buckets {
    pub(super) fn answer(&mut self, request: &DoubleRequest) -> DoubleReply {
        if request.header("authorization").is_none() {
            return error(403, "AccessDenied", "Access Denied");
        }
        if !is_signed(request, "s3", &self.access_key, &self.secret_key) {
            let message = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
            return error(403, "SignatureDoesNotMatch", message);
        }
        let region = request.header("authorization").and_then(|text| text.split('/').nth(2)).unwrap_or_default();
        if region != self.region {
            let message = format!(
                "The authorization header is malformed; the region '{region}' is wrong; expecting '{}'",
                self.region
            );
            return error(400, "AuthorizationHeaderMalformed", &message).with("x-amz-bucket-region", &self.region);
        }
        let mut segments = request.segments();
        let bucket = if segments.is_empty() { String::new() } else { segments.remove(0) };
        if !self.buckets.contains(&bucket) {
            return error(404, "NoSuchBucket", "The specified bucket does not exist");
        }
        let mut key = segments.join("/");
        if !key.is_empty() && request.path.ends_with('/') {
            key.push('/');
        }
        match (request.method.as_str(), key.is_empty()) {
            ("GET", true) => self.failing(S3Step::List, |buckets| buckets.list(&bucket, request)),
            ("GET", false) if request.header("range").is_some_and(|range| !range.starts_with("bytes=-")) => {
                self.failing(S3Step::Range, |buckets| buckets.get(&bucket, &key, request))
            }
            ("GET", false) => self.failing(S3Step::Get, |buckets| buckets.get(&bucket, &key, request)),
            ("DELETE", false) => self.failing(S3Step::Delete, |buckets| {
                // One that is not there is deleted, too.
                buckets.objects.remove(&(bucket.clone(), key.clone()));
                buckets.deleted.push(key.clone());
                DoubleReply::status(204)
            }),
            _ => error(405, "MethodNotAllowed", "The specified method is not allowed against this resource."),
        }
        .with("x-amz-request-id", "4442587FB7D0A2F9")
    }

    fn failing(&mut self, step: S3Step, work: impl FnOnce(&mut Self) -> DoubleReply) -> DoubleReply {
        match self.failure(step) {
            None => work(self),
            Some(S3Failure::Error(status, code, message)) => error(status, code, message),
            Some(S3Failure::Cut) => DoubleReply::cut(),
            Some(S3Failure::CutAfter(bytes)) => DoubleReply { cut_after: Some(bytes), ..work(self) },
            Some(S3Failure::Shorter(bytes)) => {
                let reply = work(self);
                let body = reply.body.slice(..reply.body.len().saturating_sub(bytes));
                DoubleReply { body, ..reply }
            }
        }
    }

    fn get(&mut self, bucket: &str, key: &str, request: &DoubleRequest) -> DoubleReply {
        let Some(body) = self.objects.get(&(bucket.to_owned(), key.to_owned())).cloned() else {
            return error(404, "NoSuchKey", "The specified key does not exist.");
        };
        let whole = |body: Bytes| DoubleReply {
            status: 200,
            headers: vec![
                ("content-type".into(), "binary/octet-stream".into()),
                ("accept-ranges".into(), "bytes".into()),
            ],
            body,
            ..DoubleReply::default()
        };
        let reply = match request.header("range").and_then(|range| range.strip_prefix("bytes=")) {
            None => whole(body),
            Some(range) => match slice(range, body.len()) {
                Some(Range { start, end }) => {
                    let told = format!("bytes {start}-{}/{}", end - 1, body.len());
                    DoubleReply { status: 206, ..whole(body.slice(start..end)) }.with("content-range", told)
                }
                None => return error(416, "InvalidRange", "The requested range is not satisfiable"),
            },
        };
        self.served.push((key.to_owned(), reply.body.len()));
        reply
    }

    fn list(&mut self, bucket: &str, request: &DoubleRequest) -> DoubleReply {
        let form = request.form();
        let value = |name: &str| form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        if value("list-type") != "2" {
            return error(400, "InvalidArgument", "This double lists by version 2 only.");
        }
        let (prefix, after) = (value("prefix"), value("continuation-token"));
        let found: Vec<(&String, usize)> = self
            .objects
            .iter()
            .filter(|((b, key), _)| b == bucket && key.starts_with(prefix) && key.as_str() > after)
            .map(|((_, key), body)| (key, body.len()))
            .collect();
        let page = &found[..found.len().min(self.page_keys)];
        let truncated = page.len() < found.len();
        let write = |key: &str| if value("encoding-type") == "url" { encoded(key) } else { escaped(key) };
        let mut body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{bucket}</Name><Prefix>{}</Prefix><KeyCount>{}</KeyCount><IsTruncated>{truncated}</IsTruncated>",
            write(prefix),
            page.len()
        );
        for (key, size) in page {
            body.push_str(&format!(
                "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>",
                write(key)
            ));
        }
        if let Some((last, _)) = page.last().filter(|_| truncated) {
            body.push_str(&format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(last)));
        }
        body.push_str("</ListBucketResult>");
        DoubleReply::text(200, "application/xml", body)
    }
}

/// The bytes of `FROM-TO` or `-LAST`.
fn slice(range: &str, length: usize) -> Option<Range<usize>> {
    let (from, to) = range.split_once('-')?;
    let (from, end) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Err(_), Ok(last)) if from.is_empty() => (length.saturating_sub(last), length),
        (Ok(from), Ok(to)) => (from, to.saturating_add(1).min(length)),
        (Ok(from), Err(_)) if to.is_empty() => (from, length),
        _ => return None,
    };
    (from < end).then_some(from..end)
}
