//! Talking to the SQL API: submitting a statement, waiting for it, its partitions, cancelling it. What passes is tried
//! again; what a failure means is in [`super::fault`].

use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, HttpReply, HttpRequest, HttpStream, Method, SendError, Url};
use domain::clock::Span;
use domain::fault::Fault;
use domain::ports::QueryLabel;
use domain::retry::backoff;
use domain::value::render;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::auth::BearerTokens;
use super::fault::{SnowflakeError, SnowflakeFaultContext, fault};
use super::types::RowType;
use crate::sql::Statement;

/// A request is sent so often.
const ATTEMPTS: u32 = 6;
/// A statement is asked about after this much time, then ever later …
const POLL_FIRST: Duration = Duration::from_millis(100);
/// … up to this.
const POLL_LAST: Duration = Duration::from_secs(5);
/// The first partition comes with the metadata, in one piece of at most this size.
const MAX_FIRST_BYTES: usize = 256 * 1024 * 1024;
/// A pause that an answer names is kept up to this.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The code of a statement that went well.
const DONE: &str = "090001";

/// Who a statement runs as, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct SessionSettings {
    pub(super) role: Option<String>,
    pub(super) warehouse: Option<String>,
    pub(super) database: Option<String>,
    pub(super) schema: Option<String>,
}

/// One account, asked by one user.
pub(super) struct SnowflakeApi {
    pub(super) http: Http,
    pub(super) base: Url,
    pub(super) tokens: BearerTokens,
    pub(super) place: DatabasePlace,
    pub(super) session: SessionSettings,
    pub(super) statement_timeout: Span,
    pub(super) retry_pause: Duration,
}

/// A statement's result: what it is made of, and its first partition as it came.
pub(super) struct ResultSet {
    pub(super) handle: String,
    pub(super) columns: Vec<RowType>,
    /// The rows of every partition.
    pub(super) partitions: Vec<u64>,
    pub(super) first: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    statement_handle: String,
    result_set_meta_data: Option<Metadata>,
    data: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    row_type: Vec<RowType>,
    #[serde(default)]
    partition_info: Vec<PartitionInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartitionInfo {
    row_count: u64,
}

/// A statement that runs. Dropped before it is done, it is cancelled.
struct Running {
    api: Arc<SnowflakeApi>,
    handle: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        let api = Arc::clone(&self.api);
        // Without a runtime there is nothing left to ask with; the statement ends at its timeout.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let path = format!("/api/v2/statements/{handle}/cancel");
            match api.send(Method::POST, &path, None).await {
                Ok(answer) if (200..300).contains(&answer.status) => {}
                Ok(answer) => tracing::debug!(status = answer.status, "a statement could not be cancelled"),
                Err(fault) => tracing::debug!(%fault, "a statement could not be cancelled"),
            }
        });
    }
}

impl SnowflakeApi {
    /// Runs a statement and waits for its result.
    pub(super) async fn run(self: &Arc<Self>, statement: &Statement, label: &QueryLabel) -> Result<ResultSet, Fault> {
        let request = render::uuid(fastrand::u128(..).to_be_bytes());
        let body = self.body(statement, label);
        let mut first = true;
        let submitted = self
            .patiently(statement, || {
                let retry = if std::mem::take(&mut first) { "" } else { "&retry=true" };
                let path = format!("/api/v2/statements?requestId={request}&async=true{retry}");
                let body = body.clone();
                async move { self.send(Method::POST, &path, Some(body)).await }
            })
            .await?;
        if submitted.status == 200 {
            return self.result(submitted, statement).await;
        }
        let reply = self.whole(submitted).await?;
        let told: SnowflakeError = serde_json::from_slice(&reply.body).unwrap_or_default();
        if told.handle.is_empty() {
            return Err(self.place.unreachable("Snowflake takes a statement and names no handle of it."));
        }
        let mut running = Running { api: Arc::clone(self), handle: Some(told.handle.clone()) };
        let path = format!("/api/v2/statements/{}", told.handle);
        let mut pause = POLL_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(POLL_LAST);
            let answer = self.patiently(statement, || self.send(Method::GET, &path, None)).await?;
            if answer.status == 200 {
                running.handle = None;
                return self.result(answer, statement).await;
            }
        }
    }

    /// Begins to read a partition.
    pub(super) async fn partition(
        &self,
        handle: &str,
        number: usize,
        statement: &Statement,
    ) -> Result<HttpStream, Fault> {
        let path = format!("/api/v2/statements/{handle}?partition={number}");
        self.patiently(statement, || self.send(Method::GET, &path, None)).await
    }

    /// The pause before attempt `tries + 1`.
    pub(super) async fn pause(&self, tries: u32) {
        tokio::time::sleep(backoff(tries, self.retry_pause, fastrand::f64()).min(MAX_PAUSE)).await;
    }

    fn body(&self, statement: &Statement, label: &QueryLabel) -> Vec<u8> {
        let SessionSettings { role, warehouse, database, schema } = &self.session;
        let mut tag = json!({ "app": "sluicegate", "sync": label.sync });
        if !label.run.is_empty() {
            tag["run"] = label.run.clone().into();
        }
        let mut body = json!({
            "statement": statement.text,
            "timeout": self.statement_timeout.0.as_secs().max(1),
            // Texts of times without a zone are then what a literal with `Z` is compared with.
            "parameters": { "timezone": "UTC", "binary_output_format": "HEX", "query_tag": tag.to_string() },
        });
        for (name, value) in [("role", role), ("warehouse", warehouse), ("database", database), ("schema", schema)] {
            if let Some(value) = value {
                body[name] = value.clone().into();
            }
        }
        body.to_string().into_bytes()
    }

    /// Sends until an answer says something: 200 or 202, or a fault.
    async fn patiently<F>(&self, statement: &Statement, mut attempt: impl FnMut() -> F) -> Result<HttpStream, Fault>
    where
        F: Future<Output = Result<HttpStream, Fault>>,
    {
        let mut tries = 1;
        let mut renewed = false;
        loop {
            let (fault, after) = match attempt().await {
                Ok(answer) if matches!(answer.status, 200 | 202) => return Ok(answer),
                Ok(answer) => {
                    let after = answer
                        .headers
                        .get("retry-after")
                        .and_then(|v| domain::retry_after::retry_after(v.to_str().ok()?, self.http.now()));
                    let status = answer.status;
                    let reply = self.whole(answer).await?;
                    let fault = self.fault(&reply, Some(statement));
                    if status == 401 && !std::mem::replace(&mut renewed, true) && self.tokens.forget().await {
                        continue;
                    }
                    if !matches!(status, 429 | 500..=599) {
                        return Err(fault);
                    }
                    (fault, after)
                }
                Err(fault) if fault.code == domain::fault::Code::WarehouseUnreachable => (fault, None),
                Err(fault) => return Err(fault),
            };
            if tries >= ATTEMPTS {
                return Err(fault);
            }
            match after {
                Some(after) => tokio::time::sleep(after.min(MAX_PAUSE)).await,
                None => self.pause(tries).await,
            }
            tries += 1;
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<HttpStream, Fault> {
        let url = self.base.join(path).map_err(|e| self.place.invalid(format!("`url`: {e}.")))?;
        let mut headers = HeaderMap::new();
        self.tokens.sign(&self.http, &mut headers).await?;
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if body.is_some() {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        let request = HttpRequest { method, url, headers, body: body.unwrap_or_default() };
        self.http.open(request).await.map_err(|error| self.lost(&error))
    }

    /// The fault of a request or a body that broke off.
    pub(super) fn lost(&self, error: &SendError) -> Fault {
        error.at(&self.place)
    }

    async fn whole(&self, answer: HttpStream) -> Result<HttpReply, Fault> {
        answer.whole(MAX_FIRST_BYTES).await.map_err(|error| self.lost(&error))
    }

    /// Reads a 200: only its code says whether the rows are there.
    async fn result(&self, answer: HttpStream, statement: &Statement) -> Result<ResultSet, Fault> {
        let reply = self.whole(answer).await?;
        let answer: Answer = match serde_json::from_slice(&reply.body) {
            Ok(answer) => answer,
            Err(_) => return Err(self.fault(&reply, Some(statement))),
        };
        let Answer { code, statement_handle, result_set_meta_data: Some(metadata), data: Some(_), .. } = answer else {
            return Err(self.fault(&reply, Some(statement)));
        };
        if !code.is_empty() && code != DONE {
            tracing::debug!(code, message = answer.message, "a statement ended with another code than usual");
            return Err(self.fault(&reply, Some(statement)));
        }
        let partitions: Vec<u64> = metadata.partition_info.iter().map(|info| info.row_count).collect();
        Ok(ResultSet { handle: statement_handle, columns: metadata.row_type, partitions, first: reply.body })
    }

    fn fault(&self, reply: &HttpReply, sent: Option<&Statement>) -> Fault {
        let mut error: SnowflakeError = serde_json::from_slice(&reply.body).unwrap_or_default();
        error.status = reply.status;
        error.clock = reply.header("date").and_then(domain::retry_after::http_date);
        if error.message.is_empty() {
            error.message = clients::http::detail::detail(&reply.body, self.http.redactor());
        }
        error.message = self.http.redactor().hide(&error.message);
        let context = SnowflakeFaultContext {
            place: &self.place,
            host: self.base.host_str().unwrap_or_default(),
            role: self.session.role.as_deref(),
            warehouse: self.session.warehouse.as_deref(),
            statement_timeout: self.statement_timeout,
            now: reply.at,
            sent,
        };
        fault(&context, &error)
    }
}
