//! Talking to the API: one request, tried again while what fails passes.

use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, HttpRequest, Method, Url, detail};
use domain::clock::Span;
use domain::fault::{Code, Fault};
use domain::retry::backoff;
use serde_json::Value as Json;

use super::fault::{BigQueryError, BigQueryFaultContext, fault};
use super::login::GoogleTokens;
use crate::sql::Statement;

/// A request is sent so often.
const ATTEMPTS: u32 = 6;
/// A pause that an answer names is kept up to this.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// An answer has at most 10 MB of rows, as the service counts them; as JSON that may be several times as much.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;

/// One project, asked by one identity.
pub(super) struct BigQueryApi {
    pub(super) http: Http,
    /// Where the API is, without a path.
    pub(super) base: Url,
    pub(super) tokens: Arc<GoogleTokens>,
    pub(super) place: DatabasePlace,
    pub(super) project: String,
    pub(super) statement_timeout: Span,
    pub(super) retry_pause: Duration,
}

impl BigQueryApi {
    /// Asks; `path` is below `/bigquery/v2/projects/PROJECT/`, with its query. `sent` is the statement that the request is
    /// about.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        sent: Option<&Statement>,
    ) -> Result<Json, Fault> {
        self.call_in(&self.project, method, path, body, sent).await
    }

    /// [`Self::call`] in another project.
    pub(super) async fn call_in(
        &self,
        project: &str,
        method: Method,
        path: &str,
        body: Option<&Json>,
        sent: Option<&Statement>,
    ) -> Result<Json, Fault> {
        let (mut tries, mut renewed) = (1, false);
        loop {
            let (fault, after) = match self.send(project, method.clone(), path, body).await {
                Ok((_, Ok(json), _)) => return Ok(json),
                Ok((status, Err(error), after)) => {
                    if status == 401 && !std::mem::replace(&mut renewed, true) && self.tokens.forget().await {
                        continue;
                    }
                    let fault = self.fault(&error, sent);
                    if !error.passes() {
                        return Err(fault);
                    }
                    (fault, after)
                }
                Err(fault) if fault.code == Code::WarehouseUnreachable => (fault, None),
                Err(fault) => return Err(fault),
            };
            if tries >= ATTEMPTS {
                return Err(fault);
            }
            let pause = after.unwrap_or_else(|| backoff(tries, self.retry_pause, fastrand::f64()));
            tokio::time::sleep(pause.min(MAX_PAUSE)).await;
            tries += 1;
        }
    }

    async fn send(
        &self,
        project: &str,
        method: Method,
        path: &str,
        body: Option<&Json>,
    ) -> Result<(u16, Result<Json, BigQueryError>, Option<Duration>), Fault> {
        let path = format!("/bigquery/v2/projects/{project}/{path}");
        let url = self.base.join(&path).map_err(|e| self.place.invalid(format!("`url`: {e}.")))?;
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if body.is_some() {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        self.tokens.sign(&self.http, &mut headers).await?;
        let body = body.map(|json| json.to_string().into_bytes()).unwrap_or_default();
        let request = HttpRequest { method, url, headers, body };
        let answer = self.http.open(request).await.map_err(|e| e.at(&self.place))?;
        let reply = answer.whole(MAX_ANSWER_BYTES).await.map_err(|e| e.at(&self.place))?;
        let after = reply.header("retry-after").and_then(|v| domain::retry_after::retry_after(v, reply.clock()));
        let said = || detail::detail(&reply.body, self.http.redactor());
        let status = reply.status;
        Ok(match serde_json::from_slice::<Json>(&reply.body) {
            Ok(json) if (200..300).contains(&status) => match BigQueryError::within(&json) {
                Some(error) => (status, Err(BigQueryError { status, ..error }), after),
                None => (status, Ok(json), after),
            },
            Ok(json) => (status, Err(BigQueryError::of(status, &json, &said())), after),
            Err(_) => {
                // A page of some gateway, whatever its status.
                let status = if (200..300).contains(&status) { 502 } else { status };
                (status, Err(BigQueryError::of(status, &Json::Null, &said())), after)
            }
        })
    }

    fn fault(&self, error: &BigQueryError, sent: Option<&Statement>) -> Fault {
        let mut error = error.clone();
        error.message = self.http.redactor().hide(&error.message);
        let context = BigQueryFaultContext {
            place: &self.place,
            project: &self.project,
            statement_timeout: self.statement_timeout,
            sent,
        };
        fault(&context, &error)
    }
}
