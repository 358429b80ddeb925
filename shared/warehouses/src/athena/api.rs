//! Talking to Athena: a query started, waited for, its columns, stopped.

use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use domain::clock::Span;
use domain::fault::Fault;
use domain::usage::WarehouseUsage;
use domain::value::render;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::fault::{QueryFailure, fault};
use super::types::AthenaColumn;
use crate::aws_json::AwsJsonApi;
use crate::lake::{ResultFolder, S3Location};
use crate::sql::Statement;

/// A query is asked about after this much time, then ever later …
const POLL_FIRST: Duration = Duration::from_millis(200);
/// … up to this.
const POLL_LAST: Duration = Duration::from_secs(5);
/// The longest SQL that Athena takes. <https://docs.aws.amazon.com/athena/latest/ug/service-limits.html>
pub(super) const MAX_SQL_BYTES: usize = 262_144;
/// Times that a query which was stopped is asked about, until its files can be deleted.
const MAX_POLLS_OF_STOPPED: u32 = 10;

/// One workgroup, asked as one identity.
pub(super) struct AthenaApi {
    pub(super) json: AwsJsonApi,
    pub(super) place: DatabasePlace,
    pub(super) workgroup: String,
    pub(super) catalog: String,
    pub(super) database: Option<String>,
    pub(super) statement_timeout: Span,
}

/// A query that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FinishedQuery {
    pub(super) id: String,
    /// Where the list of its files lies.
    pub(super) manifest: Option<S3Location>,
    /// Bytes that it read, which is what Athena charges for, and how long it ran.
    pub(super) used: WarehouseUsage,
}

/// A query that runs. Dropped before it is done, it is stopped, and then its folder is deleted.
struct RunningQuery {
    api: Arc<AthenaApi>,
    id: String,
    /// None once it is done.
    folder: Option<ResultFolder>,
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        // Without a runtime there is nothing left to ask with; the query ends by itself.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (api, id) = (Arc::clone(&self.api), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            api.stop(&id).await;
            folder.remove().await;
        });
    }
}

/// A query, as Athena tells of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct QueryExecution {
    status: QueryStatus,
    statistics: QueryStatistics,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct QueryStatus {
    /// `QUEUED`, `RUNNING`, `SUCCEEDED`, `FAILED`, `CANCELLED`.
    state: String,
    state_change_reason: String,
    athena_error: AthenaError,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AthenaError {
    /// 1: of the system, 2: of the person, 3: of something else.
    error_category: u8,
    retryable: bool,
    error_message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct QueryStatistics {
    data_scanned_in_bytes: u64,
    engine_execution_time_in_millis: u64,
    data_manifest_location: Option<String>,
}

impl AthenaApi {
    /// Runs a query and waits for its end; what it leaves beside its files goes into `folder`.
    pub(super) async fn run(
        self: &Arc<Self>,
        statement: &Statement,
        folder: ResultFolder,
    ) -> Result<(FinishedQuery, ResultFolder), Fault> {
        if statement.text.len() > MAX_SQL_BYTES {
            let length = statement.text.len();
            let what = format!("the SQL has {length} bytes, and Athena takes {MAX_SQL_BYTES}.");
            return Err(self.place.failed(what).with_next("keep the query as a view in the database, and read that"));
        }
        let mut context = json!({ "Catalog": self.catalog });
        if let Some(database) = &self.database {
            context["Database"] = database.as_str().into();
        }
        let body = json!({
            "QueryString": statement.text,
            "ClientRequestToken": render::uuid(fastrand::u128(..).to_be_bytes()),
            "QueryExecutionContext": context,
            "ResultConfiguration": { "OutputLocation": folder.location().join("query/").to_string() },
            "WorkGroup": self.workgroup,
            // A result of the past is no snapshot.
            "ResultReuseConfiguration": { "ResultReuseByAgeConfiguration": { "Enabled": false } },
        });
        let explain = |refusal: &_| fault(refusal, &self.place, self.json.host(), &self.workgroup, statement);
        let begun = self.json.call("StartQueryExecution", &body, explain).await?;
        let Some(id) = begun.get("QueryExecutionId").and_then(Json::as_str).map(str::to_owned) else {
            return Err(self.place.unreachable("Athena takes a query and names no id of it."));
        };
        let mut running = RunningQuery { api: Arc::clone(self), id: id.clone(), folder: Some(folder) };
        let waiting = async {
            let mut pause = POLL_FIRST;
            loop {
                let told = self.execution(&id).await?;
                if matches!(told.status.state.as_str(), "SUCCEEDED" | "FAILED" | "CANCELLED") {
                    return Ok::<_, Fault>(told);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(POLL_LAST);
            }
        };
        let told = tokio::time::timeout(self.statement_timeout.0, waiting).await.map_err(|_| {
            let limit = self.statement_timeout;
            self.place.timeout(format!("a query took longer than {limit} (statement_timeout)."))
        })??;
        let Some(folder) = running.folder.take() else {
            return Err(self.place.unreachable("the folder of a query is gone before the query was done."));
        };
        let QueryExecution { status, statistics } = told;
        let scanned_bytes = statistics.data_scanned_in_bytes;
        tracing::info!(query = id, state = status.state, scanned_bytes, "a query of Athena is done");
        let failure = QueryFailure {
            reason: if status.state_change_reason.is_empty() {
                &status.athena_error.error_message
            } else {
                &status.state_change_reason
            },
            category: status.athena_error.error_category,
            retryable: status.athena_error.retryable,
        };
        match status.state.as_str() {
            "SUCCEEDED" => {
                let manifest = statistics.data_manifest_location.as_deref().and_then(S3Location::parse);
                let used = WarehouseUsage {
                    scanned_bytes: Some(scanned_bytes),
                    statement_millis: Some(statistics.engine_execution_time_in_millis),
                };
                Ok((FinishedQuery { id, manifest, used }, folder))
            }
            "CANCELLED" => Err(failure.cancelled(&self.place, &self.workgroup)),
            _ => Err(failure.failed(&self.place, statement, folder.location())),
        }
    }

    /// The columns of a query's result.
    pub(super) async fn columns(&self, id: &str, statement: &Statement) -> Result<Vec<AthenaColumn>, Fault> {
        let explain = |refusal: &_| fault(refusal, &self.place, self.json.host(), &self.workgroup, statement);
        let body = json!({ "QueryExecutionId": id, "MaxResults": 1 });
        let answer = self.json.call("GetQueryResults", &body, explain).await?;
        let columns = answer.pointer("/ResultSet/ResultSetMetadata/ColumnInfo").cloned().unwrap_or_default();
        serde_json::from_value(columns).map_err(|e| {
            self.place.unreachable(format!("the columns of a query are in another form than is documented: {e}."))
        })
    }

    async fn execution(&self, id: &str) -> Result<QueryExecution, Fault> {
        let sent = Statement::default();
        let explain = |refusal: &_| fault(refusal, &self.place, self.json.host(), &self.workgroup, &sent);
        let answer = self.json.call("GetQueryExecution", &json!({ "QueryExecutionId": id }), explain).await?;
        let told = answer.get("QueryExecution").cloned().unwrap_or_default();
        serde_json::from_value(told).map_err(|e| {
            self.place.unreachable(format!("Athena tells of a query in another form than is documented: {e}."))
        })
    }

    /// Stops a query, and waits a little for it to be stopped: until then it writes files.
    async fn stop(&self, id: &str) {
        let sent = Statement::default();
        let explain = |refusal: &_| fault(refusal, &self.place, self.json.host(), &self.workgroup, &sent);
        if let Err(fault) = self.json.call("StopQueryExecution", &json!({ "QueryExecutionId": id }), explain).await {
            tracing::debug!(%fault, "a query could not be stopped");
        }
        for _ in 0..MAX_POLLS_OF_STOPPED {
            match self.execution(id).await {
                Ok(told) if matches!(told.status.state.as_str(), "QUEUED" | "RUNNING") => {
                    tokio::time::sleep(POLL_FIRST).await;
                }
                _ => return,
            }
        }
    }
}
