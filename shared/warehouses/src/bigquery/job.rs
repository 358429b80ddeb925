//! A query: begun, waited for, cancelled when its read is given up, and its pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use clients::http::{Method, percent_encode};
use domain::fault::Fault;
use domain::ports::QueryLabel;
use domain::row::RowBatch;
use domain::value::{Value, render};
use serde_json::{Value as Json, json};

use super::api::BigQueryApi;
use super::cells::{self, PageScratch};
use super::schema::{ResultField, ResultSchema};
use crate::parts::{PartReader, PartSender};
use crate::sql::Statement;

/// How long an answer may wait for the query, in milliseconds.
const WAIT_MILLIS: u64 = 10_000;

/// What every query of a connection has.
pub(super) struct QuerySettings {
    pub(super) location: Option<String>,
    /// Project and dataset.
    pub(super) dataset: Option<(String, String)>,
    pub(super) maximum_bytes_billed: Option<u64>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) page_rows: u64,
}

/// A job by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct JobReference {
    pub(super) id: String,
    pub(super) location: Option<String>,
}

impl JobReference {
    fn of(json: &Json) -> Option<Self> {
        let reference = json.get("jobReference")?;
        let text = |name: &str| reference.get(name).and_then(Json::as_str).map(str::to_owned);
        Some(Self { id: text("jobId").filter(|id| !id.is_empty())?, location: text("location") })
    }

    fn location(&self) -> String {
        self.location.as_ref().map(|l| format!("&location={}", percent_encode(l))).unwrap_or_default()
    }
}

/// A result whose rows are there.
pub(super) struct QueryResult {
    pub(super) job: JobReference,
    pub(super) fields: Vec<ResultField>,
    /// How many rows it has.
    pub(super) rows: u64,
    /// Bytes that the query scanned; 0 where its result was cached.
    pub(super) scanned: Option<u64>,
    /// The first page, as it came with the answer.
    first: Vec<Json>,
}

/// A query that runs. Dropped before it is done, it is cancelled.
struct RunningJob {
    api: Arc<BigQueryApi>,
    job: Option<JobReference>,
}

impl Drop for RunningJob {
    fn drop(&mut self) {
        let Some(job) = self.job.take() else { return };
        let api = Arc::clone(&self.api);
        // Without a runtime there is nothing left to ask with; the query ends at its timeout.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let path = format!("jobs/{}/cancel?alt=json{}", percent_encode(&job.id), job.location());
            if let Err(fault) = api.call(Method::POST, &path, None, None).await {
                tracing::debug!(%fault, "a query could not be cancelled");
            }
        });
    }
}

/// The schema of a statement and the bytes that it would read, without running it.
pub(super) async fn dry_run(
    api: &BigQueryApi,
    settings: &QuerySettings,
    statement: &Statement,
    label: &QueryLabel,
) -> Result<(Vec<ResultField>, Option<u64>), Fault> {
    let mut query = json!({ "query": statement.text, "useLegacySql": false });
    if let Some((project, dataset)) = &settings.dataset {
        query["defaultDataset"] = json!({ "projectId": project, "datasetId": dataset });
    }
    let mut body = json!({ "configuration": { "dryRun": true, "query": query, "labels": labels(settings, label) } });
    if let Some(location) = &settings.location {
        body["jobReference"] = json!({ "projectId": api.project, "location": location });
    }
    let answer = api.call(Method::POST, "jobs", Some(&body), Some(statement)).await?;
    let schema: ResultSchema = answer
        .pointer("/statistics/query/schema")
        .cloned()
        .and_then(|s| serde_json::from_value(s).ok())
        .unwrap_or_default();
    let bytes =
        answer.pointer("/statistics/query/totalBytesProcessed").or(answer.pointer("/statistics/totalBytesProcessed"));
    Ok((schema.fields, bytes.and_then(number)))
}

/// Runs a statement and waits for its result.
pub(super) async fn run(
    api: &Arc<BigQueryApi>,
    settings: &QuerySettings,
    statement: &Statement,
    label: &QueryLabel,
) -> Result<QueryResult, Fault> {
    let mut body = json!({
        "query": statement.text, "useLegacySql": false, "timeoutMs": WAIT_MILLIS.to_string().parse::<u64>().unwrap_or(WAIT_MILLIS),
        "requestId": render::uuid(fastrand::u128(..).to_be_bytes()),
        "maxResults": settings.page_rows,
        "jobTimeoutMs": api.statement_timeout.0.as_millis().to_string(),
        "formatOptions": { "useInt64Timestamp": true },
        "labels": labels(settings, label),
    });
    if let Some((project, dataset)) = &settings.dataset {
        body["defaultDataset"] = json!({ "projectId": project, "datasetId": dataset });
    }
    if let Some(location) = &settings.location {
        body["location"] = location.clone().into();
    }
    if let Some(most) = settings.maximum_bytes_billed {
        body["maximumBytesBilled"] = most.to_string().into();
    }
    let mut answer = api.call(Method::POST, "queries", Some(&body), Some(statement)).await?;
    let job = JobReference::of(&answer).unwrap_or_default();
    let mut running = RunningJob { api: Arc::clone(api), job: Some(job.clone()).filter(|job| !job.id.is_empty()) };
    while answer.get("jobComplete").and_then(Json::as_bool) != Some(true) {
        if job.id.is_empty() {
            return Err(api.place.unreachable("BigQuery takes a query and names no job of it."));
        }
        let path = page_path(&job, 0, settings.page_rows, WAIT_MILLIS);
        answer = api.call(Method::GET, &path, None, Some(statement)).await?;
        // An answer that came at once although the query is not done would be asked for in a tight loop.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.job = None;
    let schema: ResultSchema =
        answer.get("schema").cloned().and_then(|s| serde_json::from_value(s).ok()).unwrap_or_default();
    let first = answer.get_mut("rows").and_then(Json::as_array_mut).map(std::mem::take).unwrap_or_default();
    let rows = answer.get("totalRows").and_then(number).unwrap_or(first.len() as u64);
    let scanned = answer.get("totalBytesProcessed").and_then(number);
    Ok(QueryResult { job, fields: schema.fields, rows, scanned, first })
}

/// The table that a job's result lies in, as the Storage Read API names it; BigQuery keeps it for a day.
/// <https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/get>
pub(super) async fn destination_table(api: &BigQueryApi, job: &JobReference) -> Result<String, Fault> {
    let path = format!("jobs/{}?alt=json{}", percent_encode(&job.id), job.location());
    let answer = api.call(Method::GET, &path, None, None).await?;
    let table = answer.pointer("/configuration/query/destinationTable").unwrap_or(&Json::Null);
    let part = |name: &str| table.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
    match (part("projectId"), part("datasetId"), part("tableId")) {
        (Some(project), Some(dataset), Some(table)) => {
            Ok(format!("projects/{project}/datasets/{dataset}/tables/{table}"))
        }
        _ => Err(api.place.unreachable("BigQuery does not say which table the query's result lies in.")),
    }
}

fn page_path(job: &JobReference, from: u64, rows: u64, wait: u64) -> String {
    format!(
        "queries/{}?startIndex={from}&maxResults={rows}&timeoutMs={wait}&formatOptions.useInt64Timestamp=true{}",
        percent_encode(&job.id),
        job.location()
    )
}

/// A number that may be written as text.
fn number(json: &Json) -> Option<u64> {
    json.as_u64().or_else(|| json.as_str()?.parse().ok())
}

/// Labels as BigQuery takes them: at most 63 lower case letters, digits, `_` and `-`.
/// <https://cloud.google.com/bigquery/docs/labels-intro#requirements>
fn labels(settings: &QuerySettings, label: &QueryLabel) -> BTreeMap<String, String> {
    let fit = |text: &str| -> String {
        let fitting = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
        text.chars().map(fitting).take(63).collect()
    };
    let mut out: BTreeMap<String, String> =
        settings.labels.iter().map(|(name, value)| (fit(name), fit(value))).collect();
    out.insert("app".into(), "sluicegate".into());
    for (name, value) in [("sync", &label.sync), ("run", &label.run)] {
        if !value.is_empty() {
            out.insert(name.into(), fit(value));
        }
    }
    out
}

/// Reads the pages of a result.
pub(super) struct PageReader {
    api: Arc<BigQueryApi>,
    statement: Statement,
    job: JobReference,
    fields: Vec<ResultField>,
    rows: u64,
    page_rows: u64,
    first: Vec<Json>,
}

impl PageReader {
    pub(super) fn new(
        api: &Arc<BigQueryApi>,
        settings: &QuerySettings,
        result: QueryResult,
        statement: Statement,
    ) -> Self {
        let QueryResult { job, fields, rows, first, .. } = result;
        Self { api: Arc::clone(api), statement, job, fields, rows, page_rows: settings.page_rows.max(1), first }
    }

    async fn push(&self, rows: &[Json], sender: &PartSender) -> bool {
        let mut scratch = PageScratch::default();
        let mut batch = RowBatch::new(self.fields.len());
        for row in rows {
            for (at, field) in self.fields.iter().enumerate() {
                let v = row.pointer("/f").and_then(|f| f.get(at)).and_then(|cell| cell.get("v"));
                batch.push(v.map_or(Value::Null, |v| cells::value(field, v, &mut scratch)));
            }
            if batch.is_full()
                && sender.send(std::mem::replace(&mut batch, RowBatch::new(self.fields.len()))).await.is_err()
            {
                return false;
            }
        }
        sender.send(batch).await.is_ok()
    }
}

#[async_trait::async_trait]
impl PartReader for PageReader {
    fn place(&self) -> &DatabasePlace {
        &self.api.place
    }

    fn count(&self) -> usize {
        let rest = self.rows.saturating_sub(self.first.len() as u64);
        usize::try_from(rest.div_ceil(self.page_rows)).unwrap_or(usize::MAX).saturating_add(1)
    }

    async fn read(&self, number: usize, sender: &PartSender) -> Result<(), Fault> {
        if number == 0 {
            self.push(&self.first, sender).await;
            return Ok(());
        }
        let mut from = self.first.len() as u64 + (number as u64 - 1) * self.page_rows;
        let to = (from + self.page_rows).min(self.rows);
        // A page may have less rows than were asked for: an answer has at most 10 MB.
        while from < to {
            let path = page_path(&self.job, from, to - from, WAIT_MILLIS);
            let page = self.api.call(Method::GET, &path, None, Some(&self.statement)).await?;
            let rows = page.get("rows").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
            if rows.is_empty() {
                let what = format!("the result has {} rows, and those from {from} on do not come.", self.rows);
                return Err(self.api.place.unreachable(what));
            }
            if rows.len() as u64 > to - from {
                return Err(self.api.place.unreachable(format!(
                    "a page has {} rows more than were asked for.",
                    rows.len() as u64 - (to - from)
                )));
            }
            from += rows.len() as u64;
            if !self.push(rows, sender).await {
                return Ok(());
            }
        }
        Ok(())
    }
}
