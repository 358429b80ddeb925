//! Talking to the Data API: a statement executed, waited for, its pages, cancelled.

use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use domain::clock::Span;
use domain::fault::Fault;
use domain::ports::QueryLabel;
use domain::value::render;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::cells::ColumnMetadata;
use super::fault::{failed, fault};
use crate::aws_json::AwsJsonApi;
use crate::lake::ResultFolder;
use crate::sql::Statement;

/// A statement is asked about after this much time, then ever later …
const POLL_FIRST: Duration = Duration::from_millis(100);
/// … up to this.
const POLL_LAST: Duration = Duration::from_secs(5);

/// One workgroup or cluster, asked as one identity.
pub(super) struct DataApi {
    pub(super) json: AwsJsonApi,
    pub(super) place: DatabasePlace,
    /// The members of `ExecuteStatement` that say where and as whom.
    pub(super) target: Json,
    /// The workgroup or cluster, for messages.
    pub(super) named: String,
    pub(super) statement_timeout: Span,
}

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

/// A statement that runs. Dropped before it is done, it is cancelled, and then its folder is deleted.
struct ExecutingStatement {
    api: Arc<DataApi>,
    id: Option<String>,
    /// Where it writes.
    folder: Option<ResultFolder>,
}

impl Drop for ExecutingStatement {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let (api, folder) = (Arc::clone(&self.api), self.folder.take());
        // Without a runtime there is nothing left to ask with; the statement ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(fault) = api.call("CancelStatement", &json!({ "Id": id })).await {
                tracing::debug!(%fault, "a statement could not be cancelled");
            }
            drop(folder);
        });
    }
}

impl DataApi {
    /// Runs a statement and waits for its end. What it writes goes into `folder`, which is deleted where it does not succeed.
    pub(super) async fn run(
        self: &Arc<Self>,
        statement: &Statement,
        label: &QueryLabel,
        folder: &mut Option<ResultFolder>,
    ) -> Result<DoneStatement, Fault> {
        let mut body = self.target.clone();
        body["Sql"] = statement.text.clone().into();
        body["ClientToken"] = render::uuid(fastrand::u128(..).to_be_bytes()).into();
        body["StatementName"] = format!("sluicegate {} {}", label.sync, label.run).trim_end().into();
        let begun = self.call("ExecuteStatement", &body).await?;
        let Some(id) = begun.get("Id").and_then(Json::as_str).map(str::to_owned) else {
            return Err(self.place.unreachable("the Data API takes a statement and names no id of it."));
        };
        let mut executing = ExecutingStatement { api: Arc::clone(self), id: Some(id.clone()), folder: folder.take() };
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
                *folder = executing.folder.take();
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

    async fn call(&self, operation: &str, body: &Json) -> Result<Json, Fault> {
        self.json.call(operation, body, |refusal| fault(refusal, &self.place, self.json.host(), &self.named)).await
    }
}
