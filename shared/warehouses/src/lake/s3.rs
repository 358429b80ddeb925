//! Talking to S3: objects and parts of them, lists, deletes; signed, and again while what fails passes.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html>

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use clients::DatabasePlace;
use clients::http::{Http, HttpReply, HttpStream, Method, Url, percent_decode, percent_encode};
use domain::fault::{Code, Fault};
use domain::retry::backoff;

use super::fault::{GONE, S3Access, S3Refusal, fault};
use super::location::S3Location;
use super::xml;
use crate::aws_login::{AwsIdentity, UnsignedRequest};
use crate::aws_sign::body_hash;

/// A request is sent so often.
const ATTEMPTS: u32 = 6;
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A manifest, a list or an error is read to this many bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024 * 1024;

/// S3, asked as one identity.
pub(crate) struct S3Client {
    pub(crate) http: Http,
    pub(crate) place: DatabasePlace,
    pub(crate) identity: AwsIdentity,
    /// In place of AWS's own addresses; the bucket comes first in its paths.
    pub(crate) endpoint: Option<Url>,
    pub(crate) retry_pause: Duration,
}

/// What S3 is asked for.
struct S3Ask<'a> {
    at: &'a S3Location,
    access: S3Access,
    method: Method,
    query: &'a str,
    range: Option<&'a str>,
}

impl<'a> S3Ask<'a> {
    /// A whole object.
    fn get(at: &'a S3Location) -> Self {
        Self { at, access: S3Access::Get, method: Method::GET, query: "", range: None }
    }
}

/// True for what is worth asking again: an object that is gone stays gone.
fn passes(fault: &Fault) -> bool {
    fault.code == Code::WarehouseUnreachable && !fault.what.ends_with(GONE)
}

impl S3Client {
    /// The warehouse, for messages.
    pub(super) fn place(&self) -> &DatabasePlace {
        &self.place
    }

    /// The last `most` bytes of an object, or all of them, and how long it is.
    pub(super) async fn tail(&self, at: &S3Location, most: u64) -> Result<(Bytes, u64), Fault> {
        let range = format!("bytes=-{most}");
        let answer = self.whole(&S3Ask { range: Some(&range), ..S3Ask::get(at) }).await?;
        let size = answer.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse::<u64>().ok());
        let size = size.unwrap_or(answer.body.len() as u64);
        Ok((Bytes::from(answer.body), size))
    }

    /// These bytes of an object. Where the body breaks off, what is missing is asked for.
    pub(super) async fn range(&self, at: &S3Location, range: Range<u64>) -> Result<Bytes, Fault> {
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut read = Vec::with_capacity(length);
        let mut tries = 1;
        while read.len() < length {
            let before = read.len();
            match self.append(at, &range, length, &mut read).await {
                Ok(()) if read.len() > before => {}
                Ok(()) => {
                    let fault = self.place.unreachable(format!("the storage gives no byte {before} of {at}."));
                    self.pause(&mut tries, fault).await?;
                }
                Err(fault) if !passes(&fault) => return Err(fault),
                // What comes on is no failure of its own: only attempts that bring nothing count.
                Err(fault) if read.len() == before => self.pause(&mut tries, fault).await?,
                Err(fault) => tracing::warn!("a file broke off, and the rest is asked for: {}", fault.what),
            }
        }
        Ok(Bytes::from(read))
    }

    async fn append(
        &self,
        at: &S3Location,
        range: &Range<u64>,
        length: usize,
        read: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let from = range.start + read.len() as u64;
        let asked = format!("bytes={from}-{}", range.end - 1);
        let mut answer = self.open(&S3Ask { range: Some(&asked), ..S3Ask::get(at) }).await?;
        let starts = format!("bytes {from}-");
        let content_range = answer.headers.get("content-range").and_then(|range| range.to_str().ok());
        if answer.status != 206 || !content_range.is_some_and(|range| range.starts_with(&starts)) {
            return Err(self.place.invalid(format!("the storage gives another part of {at} than it was asked for.")));
        }
        while let Some(piece) = answer.next().await.map_err(|e| e.at(&self.place))? {
            let room = length - read.len();
            read.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Ok(())
    }

    /// A text; `None` where there is no such object.
    pub(crate) async fn text(&self, at: &S3Location) -> Result<Option<String>, Fault> {
        match self.whole(&S3Ask::get(at)).await {
            Ok(answer) => Ok(Some(String::from_utf8_lossy(&answer.body).into_owned())),
            // Another code would have said what is missing.
            Err(fault) if fault.what.ends_with(GONE) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Everything that lies below a folder, in order of the keys.
    pub(crate) async fn list(&self, folder: &S3Location) -> Result<Vec<S3Location>, Fault> {
        let bucket = S3Location { bucket: folder.bucket.clone(), key: String::new() };
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            // In order of their names, as the signature wants them.
            let mut query = String::new();
            if let Some(token) = &token {
                query.push_str(&format!("continuation-token={}&", percent_encode(token)));
            }
            query.push_str(&format!("encoding-type=url&list-type=2&prefix={}", percent_encode(&folder.key)));
            let ask = S3Ask { access: S3Access::List, query: &query, ..S3Ask::get(&bucket) };
            let answer = self.whole(&ask).await?;
            let body = String::from_utf8_lossy(&answer.body);
            // Keys are encoded as forms are: a blank is a plus.
            let key = |key: String| percent_decode(&key.replace('+', " "));
            found.extend(xml::texts(&body, "Key").map(|text| bucket.join(&key(text))));
            token = xml::text(&body, "NextContinuationToken");
            if token.is_none() || xml::text(&body, "IsTruncated").as_deref() != Some("true") {
                return Ok(found);
            }
        }
    }

    /// Deletes an object; one that is gone is deleted.
    pub(super) async fn delete(&self, at: &S3Location) -> Result<(), Fault> {
        self.whole(&S3Ask { access: S3Access::Delete, method: Method::DELETE, ..S3Ask::get(at) }).await.map(drop)
    }

    /// A whole answer, asked for again while what fails passes.
    async fn whole(&self, ask: &S3Ask<'_>) -> Result<HttpReply, Fault> {
        let mut tries = 1;
        loop {
            let answered = match self.open(ask).await {
                Ok(answer) => answer.whole(MAX_TEXT_BYTES).await.map_err(|e| e.at(&self.place)),
                Err(fault) => Err(fault),
            };
            match answered {
                Ok(answer) => return Ok(answer),
                Err(fault) if passes(&fault) => self.pause(&mut tries, fault).await?,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Waits before the next attempt; the fault where there is none.
    async fn pause(&self, tries: &mut u32, fault: Fault) -> Result<(), Fault> {
        if *tries >= ATTEMPTS {
            return Err(fault);
        }
        tokio::time::sleep(backoff(*tries, self.retry_pause, fastrand::f64()).min(MAX_PAUSE)).await;
        *tries += 1;
        Ok(())
    }

    /// Sends a request once; an answer with a status of success.
    async fn open(&self, ask: &S3Ask<'_>) -> Result<HttpStream, Fault> {
        let mut headers = vec![("x-amz-content-sha256", body_hash(b""))];
        headers.extend(ask.range.map(|range| ("range", range.to_owned())));
        let (method, url) = (ask.method.clone(), self.url(ask.at, ask.query)?);
        let request = UnsignedRequest { service: "s3", method, url, headers, body: Vec::new() };
        let request = self.identity.sign(&self.http, request)?;
        let answer = self.http.open(request).await.map_err(|e| e.at(&self.place))?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let whole = answer.whole(MAX_TEXT_BYTES).await.map_err(|e| e.at(&self.place))?;
        let region = whole.header("x-amz-bucket-region");
        let refusal = S3Refusal { status: whole.status, body: &whole.body, region };
        Err(fault(&self.place, self.http.redactor(), ask.at, ask.access, &refusal))
    }

    fn url(&self, at: &S3Location, query: &str) -> Result<Url, Fault> {
        let S3Location { bucket, key } = at;
        let key = key.split('/').map(percent_encode).collect::<Vec<_>>().join("/");
        let region = || self.identity.region();
        let address = match &self.endpoint {
            Some(endpoint) => format!("{}/{bucket}/{key}", endpoint.as_str().trim_end_matches('/')),
            // A dot in the bucket's name would be another host than the certificate has.
            None if bucket.contains(['.', '_']) => format!("https://s3.{}.amazonaws.com/{bucket}/{key}", region()?),
            None => format!("https://{bucket}.s3.{}.amazonaws.com/{key}", region()?),
        };
        let address = if query.is_empty() { address } else { format!("{address}?{query}") };
        Url::parse(&address).map_err(|e| self.place.invalid(format!("{at} has no address: {e}.")))
    }
}
