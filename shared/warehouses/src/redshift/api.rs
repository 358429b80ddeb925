//! Talking to the Data API: a statement executed, waited for, its pages, cancelled.

use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, HttpRequest, Method, Url, detail};
use domain::clock::Span;
use domain::fault::{Code, Fault};
use domain::ports::QueryLabel;
use domain::retry::backoff;
use domain::value::render;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::cells::ColumnMetadata;
use super::fault::{DataApiError, failed};
use crate::aws_sign::{SignedParts, amz_date, authorization};
use crate::settings::{self, AwsCredentials};
use crate::sql::Statement;

/// A request is sent so often.
const ATTEMPTS: u32 = 6;
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// A statement is asked about after this much time, then ever later …
const POLL_FIRST: Duration = Duration::from_millis(100);
/// … up to this.
const POLL_LAST: Duration = Duration::from_secs(5);

/// One workgroup or cluster, asked as one identity.
pub(super) struct DataApi {
    pub(super) http: Http,
    pub(super) base: Url,
    pub(super) place: DatabasePlace,
    pub(super) region: Option<String>,
    /// Those of the settings, where they have any.
    pub(super) credentials: Option<AwsKeyPair>,
    /// The members of `ExecuteStatement` that say where and as whom.
    pub(super) target: Json,
    /// The workgroup or cluster, for messages.
    pub(super) named: String,
    pub(super) statement_timeout: Span,
    pub(super) retry_pause: Duration,
}

/// An access key, its secret, and the token of a session.
pub(super) type AwsKeyPair = (String, String, Option<String>);

/// A page of a result.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ResultPage {
    pub(super) records: Vec<Vec<Json>>,
    pub(super) column_metadata: Vec<ColumnMetadata>,
    pub(super) next_token: Option<String>,
}

/// A statement that is done.
pub(super) struct DoneStatement {
    pub(super) id: String,
    /// Rows of its result, as it says.
    pub(super) rows: i64,
    /// How long it ran, in milliseconds.
    pub(super) millis: u64,
}

/// A statement that runs. Dropped before it is done, it is cancelled.
struct ExecutingStatement {
    api: Arc<DataApi>,
    id: Option<String>,
}

impl Drop for ExecutingStatement {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let api = Arc::clone(&self.api);
        // Without a runtime there is nothing left to ask with; the statement ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(fault) = api.call("CancelStatement", &json!({ "Id": id })).await {
                tracing::debug!(%fault, "a statement could not be cancelled");
            }
        });
    }
}

impl DataApi {
    /// Runs a statement and waits for its end.
    pub(super) async fn run(
        self: &Arc<Self>,
        statement: &Statement,
        label: &QueryLabel,
    ) -> Result<DoneStatement, Fault> {
        let mut body = self.target.clone();
        body["Sql"] = statement.text.clone().into();
        body["ClientToken"] = render::uuid(fastrand::u128(..).to_be_bytes()).into();
        body["StatementName"] = format!("sluicegate {} {}", label.sync, label.run).trim_end().into();
        let begun = self.call("ExecuteStatement", &body).await?;
        let Some(id) = begun.get("Id").and_then(Json::as_str).map(str::to_owned) else {
            return Err(self.place.unreachable("the Data API takes a statement and names no id of it."));
        };
        let mut executing = ExecutingStatement { api: Arc::clone(self), id: Some(id.clone()) };
        let waiting = async {
            let mut pause = POLL_FIRST;
            loop {
                let told = self.call("DescribeStatement", &json!({ "Id": id })).await?;
                match told.get("Status").and_then(Json::as_str).unwrap_or_default() {
                    "FINISHED" | "FAILED" | "ABORTED" => return Ok::<_, Fault>(told),
                    _ => tokio::time::sleep(pause).await,
                }
                pause = (pause * 3 / 2).min(POLL_LAST);
            }
        };
        let told = tokio::time::timeout(self.statement_timeout.0, waiting).await.map_err(|_| {
            let limit = self.statement_timeout;
            self.place.timeout(format!("a statement took longer than {limit} (statement_timeout)."))
        })??;
        executing.id = None;
        let said = told.get("Error").and_then(Json::as_str).unwrap_or_default();
        match told.get("Status").and_then(Json::as_str) {
            Some("FINISHED") => {
                let rows = told.get("ResultRows").and_then(Json::as_i64).unwrap_or(-1);
                // In nanoseconds.
                let millis = told.get("Duration").and_then(Json::as_u64).unwrap_or_default() / 1_000_000;
                Ok(DoneStatement { id, rows, millis })
            }
            Some("ABORTED") => Err(self.place.timeout("the statement was cancelled at Redshift.")),
            _ => Err(failed(&self.place, said, statement)),
        }
    }

    /// A page of a result; `next` is the token of the page before.
    pub(super) async fn page(&self, id: &str, next: Option<&str>) -> Result<ResultPage, Fault> {
        let mut body = json!({ "Id": id });
        if let Some(next) = next {
            body["NextToken"] = next.into();
        }
        let answer = self.call("GetStatementResult", &body).await?;
        serde_json::from_value(answer).map_err(|e| {
            self.place.unreachable(format!("a page of the result is in another form than is documented: {e}."))
        })
    }

    /// Calls an operation, and again while what fails passes.
    async fn call(&self, operation: &str, body: &Json) -> Result<Json, Fault> {
        let mut tries = 1;
        loop {
            let fault = match self.send(operation, body).await {
                Ok(Ok(json)) => return Ok(json),
                Ok(Err(error)) => {
                    let host = self.base.host_str().unwrap_or_default();
                    let fault = error.fault(&self.place, host, &self.named);
                    if !error.passes() {
                        return Err(fault);
                    }
                    fault
                }
                Err(fault) if fault.code == Code::WarehouseUnreachable => fault,
                Err(fault) => return Err(fault),
            };
            if tries >= ATTEMPTS {
                return Err(fault);
            }
            tokio::time::sleep(backoff(tries, self.retry_pause, fastrand::f64()).min(MAX_PAUSE)).await;
            tries += 1;
        }
    }

    async fn send(&self, operation: &str, body: &Json) -> Result<Result<Json, DataApiError>, Fault> {
        let credentials = self.credentials()?;
        let (body, date) = (body.to_string().into_bytes(), amz_date(self.http.now()));
        let host = match self.base.port() {
            Some(port) => format!("{}:{port}", self.base.host_str().unwrap_or_default()),
            None => self.base.host_str().unwrap_or_default().to_owned(),
        };
        let target = format!("RedshiftData.{operation}");
        let mut signed = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", host.as_str()),
            ("x-amz-date", date.as_str()),
        ];
        if let Some(session) = &credentials.session {
            signed.push(("x-amz-security-token", session));
        }
        signed.push(("x-amz-target", &target));
        let parts =
            SignedParts { service: "redshift-data", path: "/", query: "", headers: &signed, body: &body, date: &date };
        let authorization = authorization(&credentials, &parts);
        let mut headers = HeaderMap::new();
        for (name, value) in signed.iter().chain([&("authorization", authorization.as_str())]) {
            let (Ok(name), Ok(mut value)) = (name.parse::<clients::http::HeaderName>(), HeaderValue::from_str(value))
            else {
                return Err(self.place.invalid("the AWS credentials hold a character that cannot be sent."));
            };
            value.set_sensitive(name == "authorization" || name == "x-amz-security-token");
            headers.insert(name, value);
        }
        self.http.redactor().add([credentials.secret_key.as_str()].into_iter().chain(credentials.session.as_deref()));
        let request = HttpRequest { method: Method::POST, url: self.base.clone(), headers, body };
        let reply = self.http.open(request).await.map_err(|e| e.at(&self.place))?;
        let reply = reply.whole(64 * 1024 * 1024).await.map_err(|e| e.at(&self.place))?;
        let json = serde_json::from_slice::<Json>(&reply.body).ok();
        Ok(match json {
            Some(json) if (200..300).contains(&reply.status) => Ok(json),
            json => {
                let text = |name: &str| {
                    json.as_ref().and_then(|json| json.get(name)).and_then(Json::as_str).map(str::to_owned)
                };
                let kind =
                    text("__type").or_else(|| reply.header("x-amzn-errortype").map(str::to_owned)).unwrap_or_default();
                let name =
                    kind.split(':').next().unwrap_or_default().rsplit(['#', '.']).next().unwrap_or_default().to_owned();
                let said = || detail::detail(&reply.body, self.http.redactor());
                let message = text("message").or_else(|| text("Message")).unwrap_or_else(said);
                let status = if (200..300).contains(&reply.status) { 502 } else { reply.status };
                Err(DataApiError { status, name, message: self.http.redactor().hide(&message) })
            }
        })
    }

    fn credentials(&self) -> Result<AwsCredentials, Fault> {
        if let (Some((access_key, secret_key, session)), Some(region)) = (&self.credentials, &self.region) {
            let (access_key, secret_key) = (access_key.clone(), secret_key.clone());
            return Ok(AwsCredentials { access_key, secret_key, session: session.clone(), region: region.clone() });
        }
        let read = settings::aws_credentials().map_err(|missing| {
            self.place
                .invalid(format!("the Data API is asked as an AWS identity, and {missing} is not set."))
                .with_next("on this machine: eval \"$(aws configure export-credentials --format env)\"; the functions on AWS have a role")
        })?;
        Ok(AwsCredentials { region: self.region.clone().unwrap_or(read.region), ..read })
    }
}
