//! Talking to the Statement Execution API: submitting a statement, waiting for it, the links of its chunks, cancelling it.

use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, HttpRequest, Method, Url, detail};
use domain::clock::Span;
use domain::fault::{Code, Fault};
use domain::ports::QueryLabel;
use domain::retry::backoff;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::fault::{DatabricksFaultContext, fault, too_long};
use super::wire::{ChunkAnswer, DatabricksError, ExternalLink, Manifest, StatementAnswer};
use crate::sql::Statement;
use crate::token::{TokenCache, TokenRequest};

/// A request is sent so often.
const ATTEMPTS: u32 = 6;
/// A pause that an answer names is kept up to this.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// The first answer waits so long for the statement, so that a short one needs no second.
const WAIT: &str = "10s";
/// A statement is asked about after this much time, then ever later …
const POLL_FIRST: Duration = Duration::from_millis(100);
/// … up to this.
const POLL_LAST: Duration = Duration::from_secs(5);

/// Where tokens come from. Prints no secret.
pub(super) enum DatabricksLogin {
    Given(String),
    Principal(TokenRequest),
}

/// One workspace, asked by one identity.
pub(super) struct DatabricksApi {
    pub(super) http: Http,
    pub(super) base: Url,
    pub(super) login: DatabricksLogin,
    pub(super) tokens: TokenCache,
    pub(super) place: DatabasePlace,
    pub(super) warehouse: String,
    pub(super) catalog: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) statement_timeout: Span,
    pub(super) retry_pause: Duration,
}

/// A statement that runs. Dropped before it is done, it is cancelled.
struct RunningStatement {
    api: Arc<DatabricksApi>,
    id: Option<String>,
}

impl Drop for RunningStatement {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let api = Arc::clone(&self.api);
        // Without a runtime there is nothing left to ask with; Databricks closes what nobody asks about.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let path = format!("/api/2.0/sql/statements/{id}/cancel");
            if let Err(fault) = api.call::<Json>(Method::POST, &path, None, None).await {
                tracing::debug!(%fault, "a statement could not be cancelled");
            }
        });
    }
}

impl DatabricksApi {
    /// Runs a statement and waits for its result.
    pub(super) async fn run(
        self: &Arc<Self>,
        statement: &Statement,
        label: &QueryLabel,
    ) -> Result<(String, Manifest), Fault> {
        let mut body = json!({
            "statement": statement.text, "warehouse_id": self.warehouse, "disposition": "EXTERNAL_LINKS",
            "format": "ARROW_STREAM", "wait_timeout": WAIT, "on_wait_timeout": "CONTINUE",
        });
        let mut tags = vec![json!({ "key": "app", "value": "sluicegate" })];
        for (name, value) in [("sync", &label.sync), ("run", &label.run)] {
            if !value.is_empty() {
                tags.push(json!({ "key": name, "value": value }));
            }
        }
        body["query_tags"] = tags.into();
        for (name, value) in [("catalog", &self.catalog), ("schema", &self.schema)] {
            if let Some(value) = value {
                body[name] = value.clone().into();
            }
        }
        let mut answer: StatementAnswer =
            self.call(Method::POST, "/api/2.0/sql/statements", Some(&body), Some(statement)).await?;
        let id = answer.statement_id.clone();
        let mut running = RunningStatement { api: Arc::clone(self), id: Some(id.clone()).filter(|id| !id.is_empty()) };
        let path = format!("/api/2.0/sql/statements/{id}");
        let waiting = async {
            let mut pause = POLL_FIRST;
            while matches!(answer.status.state.as_str(), "PENDING" | "RUNNING") {
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(POLL_LAST);
                answer = self.call(Method::GET, &path, None, Some(statement)).await?;
            }
            Ok::<_, Fault>(answer)
        };
        let answer: StatementAnswer = tokio::time::timeout(self.statement_timeout.0, waiting)
            .await
            .map_err(|_| too_long(&self.place, self.statement_timeout))??;
        running.id = None;
        match (answer.status.state.as_str(), answer.manifest) {
            ("SUCCEEDED", Some(manifest)) if manifest.truncated => {
                let what = format!(
                    "the result is larger than Databricks gives out (100 GiB): only {} rows of it are there.",
                    manifest.total_row_count
                );
                Err(self
                    .place
                    .failed(what)
                    .with_next("select less columns or rows in the model, or give the sync a `cursor`"))
            }
            ("SUCCEEDED", Some(manifest)) => Ok((id, manifest)),
            ("FAILED", _) => Err(self.fault(answer.status.error.unwrap_or_default(), Some(statement))),
            ("CANCELED", _) => Err(self.place.timeout("the statement was cancelled at Databricks.")),
            (state, _) => {
                Err(self.place.unreachable(format!("the statement ended as {state}, and its result is not there.")))
            }
        }
    }

    /// Where a chunk lies now: a link is good for some minutes.
    pub(super) async fn link(&self, id: &str, chunk: usize, statement: &Statement) -> Result<ExternalLink, Fault> {
        let path = format!("/api/2.0/sql/statements/{id}/result/chunks/{chunk}");
        let answer: ChunkAnswer = self.call(Method::GET, &path, None, Some(statement)).await?;
        answer
            .external_links
            .into_iter()
            .next()
            .filter(|link| !link.external_link.is_empty())
            .ok_or_else(|| self.place.unreachable(format!("Databricks names no link of chunk {chunk} of the result.")))
    }

    /// The pause before attempt `tries + 1`.
    pub(super) async fn pause(&self, tries: u32) {
        tokio::time::sleep(backoff(tries, self.retry_pause, fastrand::f64()).min(MAX_PAUSE)).await;
    }

    /// Asks, and again while what fails passes.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        sent: Option<&Statement>,
    ) -> Result<T, Fault> {
        let (mut tries, mut renewed) = (1, false);
        loop {
            let (fault, after) = match self.send(method.clone(), path, body).await {
                Ok((Ok(json), _)) => {
                    return serde_json::from_value(json).map_err(|e| {
                        self.place.unreachable(format!("Databricks answers in another form than it documents: {e}."))
                    });
                }
                Ok((Err(error), after)) => {
                    let minted = matches!(self.login, DatabricksLogin::Principal(_));
                    if error.status == 401 && minted && !std::mem::replace(&mut renewed, true) {
                        self.tokens.forget().await;
                        continue;
                    }
                    let passes = error.passes();
                    let fault = self.fault(error, sent);
                    if !passes {
                        return Err(fault);
                    }
                    (fault, after)
                }
                // A statement that may have begun is begun again at most: it only reads.
                Err(fault) if fault.code == Code::WarehouseUnreachable => (fault, None),
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

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
    ) -> Result<(Result<Json, DatabricksError>, Option<Duration>), Fault> {
        let url = self.base.join(path).map_err(|e| self.place.invalid(format!("`host`: {e}.")))?;
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if body.is_some() {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        let mint = async {
            match &self.login {
                DatabricksLogin::Given(token) => Ok((token.clone(), None)),
                DatabricksLogin::Principal(request) => request.mint(&self.http, &self.place).await,
            }
        };
        headers.insert("authorization", self.tokens.bearer(&self.http, &self.place, mint).await?);
        let body = body.map(|json| json.to_string().into_bytes()).unwrap_or_default();
        let reply = self.http.send(HttpRequest { method, url, headers, body }).await.map_err(|e| e.at(&self.place))?;
        let after = reply.header("retry-after").and_then(|v| domain::retry_after::retry_after(v, reply.clock()));
        let json = serde_json::from_slice::<Json>(&reply.body).ok();
        Ok(match json {
            Some(json) if (200..300).contains(&reply.status) => (Ok(json), after),
            json => {
                let mut error: DatabricksError =
                    json.and_then(|json| serde_json::from_value(json).ok()).unwrap_or_default();
                // A page of some gateway, whatever its status.
                error.status = if (200..300).contains(&reply.status) { 502 } else { reply.status };
                if error.message.is_empty() {
                    error.message = detail::detail(&reply.body, self.http.redactor());
                }
                (Err(error), after)
            }
        })
    }

    fn fault(&self, mut error: DatabricksError, sent: Option<&Statement>) -> Fault {
        error.message = self.http.redactor().hide(&error.message);
        let context = DatabricksFaultContext {
            place: &self.place,
            host: self.base.host_str().unwrap_or_default(),
            warehouse: &self.warehouse,
            sent,
        };
        fault(&context, &error)
    }
}
