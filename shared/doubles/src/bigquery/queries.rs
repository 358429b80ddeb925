//! Queries: begun, asked about, read page by page, cancelled.

use serde_json::{Value, json};

use super::project::{BigQueryFailure, BigQueryProject, BigQueryStep, JobRecord};
use super::wire::{field, refused, row};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::sql::{SqlError, SqlResult};

/// When tables were modified first, in milliseconds: 2026-01-01.
const FIRST_CHANGE: u64 = 1_767_225_600_000;

/// The dataset that results lie in; the name of one that nobody named begins with `_`.
pub(super) const RESULTS: &str = "_planted_results";

impl BigQueryProject {
    pub(super) fn answer(&mut self, request: &DoubleRequest) -> DoubleReply {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), &path[..]) {
            ("POST", ["token"]) => self.token(request),
            ("POST", ["sts"]) => self.exchange(request),
            ("POST", ["v1", "projects", "-", "serviceAccounts", account]) => {
                self.act_as(account.trim_end_matches(":generateAccessToken"))
            }
            ("POST", ["google.cloud.bigquery.storage.v1.BigQueryRead", method]) => self.storage_call(request, method),
            (_, ["bigquery", "v2", "projects", project, ..]) => {
                if !self.lets_in(request) {
                    return refused(
                        401,
                        "authError",
                        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
                    );
                }
                if *project != self.id {
                    return refused(404, "notFound", &format!("Not found: Project {project}"));
                }
                self.project_call(request, &path[4..])
            }
            _ => refused(404, "notFound", "Not found"),
        }
    }

    /// True when the request carries a token that is good, or none is asked for.
    pub(super) fn lets_in(&self, request: &DoubleRequest) -> bool {
        let token = request.header("authorization").and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
        let asks = !self.tokens.is_empty() || !self.accounts.is_empty() || self.federation.is_some();
        !asks || self.tokens.contains(token)
    }

    fn project_call(&mut self, request: &DoubleRequest, path: &[&str]) -> DoubleReply {
        match (request.method.as_str(), path) {
            ("POST", ["queries"]) => self.failing(BigQueryStep::Query, |project| project.begin(request)),
            ("GET", ["queries", id]) => {
                let id = (*id).to_owned();
                self.failing(BigQueryStep::Page, |project| project.page(request, &id))
            }
            ("POST", ["jobs"]) => self.dry_run(request),
            ("GET", ["datasets", dataset, "tables", table]) => self.table(dataset, table),
            ("GET", ["jobs", id]) => self.job(id),
            ("POST", ["jobs", id, "cancel"]) => {
                self.cancelled.push((*id).to_owned());
                let job =
                    json!({ "jobReference": { "projectId": self.id, "jobId": id }, "status": { "state": "DONE" } });
                DoubleReply::json(200, &json!({ "kind": "bigquery#jobCancelResponse", "job": job }))
            }
            _ => refused(404, "notFound", "Not found"),
        }
    }

    fn table(&self, dataset: &str, table: &str) -> DoubleReply {
        let Some(found) = self.database.relation(&format!("{}.{dataset}.{table}", self.id)) else {
            return refused(404, "notFound", &format!("Not found: Table {}:{dataset}.{table}", self.id));
        };
        let mut told = json!({
            "kind": "bigquery#table", "id": format!("{}:{dataset}.{table}", self.id), "numRows": "1",
            "tableReference": { "projectId": self.id, "datasetId": dataset, "tableId": table },
            "type": if found.is_view { "VIEW" } else { "TABLE" },
            "lastModifiedTime": (FIRST_CHANGE + found.version).to_string(),
        });
        if self.streaming {
            told["streamingBuffer"] =
                json!({ "estimatedRows": "3", "estimatedBytes": "300", "oldestEntryTime": "1767225600000" });
        }
        DoubleReply::json(200, &told)
    }

    fn failing(&mut self, step: BigQueryStep, work: impl FnOnce(&mut Self) -> DoubleReply) -> DoubleReply {
        match self.failure(step) {
            None => work(self),
            Some(BigQueryFailure::Status(status, reason, message)) => refused(status, reason, message),
            Some(BigQueryFailure::Html(status)) => {
                DoubleReply::text(status, "text/html", "<html><body>Service Unavailable</body></html>")
            }
            Some(BigQueryFailure::Cut) => DoubleReply::cut(),
            Some(BigQueryFailure::CutAfter(bytes)) => DoubleReply { cut_after: Some(bytes), ..work(self) },
            // Of gRPC, which this is not.
            Some(BigQueryFailure::Grpc(..) | BigQueryFailure::RowsMissing) => work(self),
            Some(BigQueryFailure::Empty) => {
                let reply = work(self);
                let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                body["rows"] = json!([]);
                DoubleReply::json(200, &body)
            }
        }
    }

    fn dry_run(&mut self, request: &DoubleRequest) -> DoubleReply {
        let Some(body) = request.json() else { return refused(400, "parseError", "Parse Error") };
        let sql = body.pointer("/configuration/query/query").and_then(Value::as_str).unwrap_or_default();
        match self.run(sql) {
            Ok(result) => {
                let fields: Vec<Value> = result.columns.iter().map(field).collect();
                let query = json!({ "totalBytesProcessed": self.bytes.to_string(), "statementType": "SELECT", "schema": { "fields": fields } });
                DoubleReply::json(
                    200,
                    &json!({
                        "kind": "bigquery#job", "jobReference": { "projectId": self.id, "location": "US" },
                        "configuration": body["configuration"], "status": { "state": "DONE" },
                        "statistics": { "totalBytesProcessed": self.bytes.to_string(), "query": query },
                    }),
                )
            }
            Err((status, reason, message)) => refused(status, reason, &message),
        }
    }

    fn begin(&mut self, request: &DoubleRequest) -> DoubleReply {
        let Some(body) = request.json() else { return refused(400, "parseError", "Parse Error") };
        let Some(sql) = body["query"].as_str() else {
            return refused(400, "required", "Required parameter is missing: query");
        };
        if body["maximumBytesBilled"].as_str().and_then(|n| n.parse::<u64>().ok()).is_some_and(|most| most < self.bytes)
        {
            let message = format!(
                "Query exceeded limit for bytes billed: {}. {} or higher required.",
                body["maximumBytesBilled"].as_str().unwrap_or_default(),
                self.bytes
            );
            return refused(400, "bytesBilledLimitExceeded", &message);
        }
        let request_id = body["requestId"].as_str().unwrap_or_default().to_owned();
        let known = self.jobs.iter().find(|(_, job)| !request_id.is_empty() && job.request == request_id);
        let id = match known {
            // The same request again is the same query.
            Some((id, _)) => id.clone(),
            None => {
                let id = format!("job_{}", self.jobs.len() + 1);
                let outcome = self.run(sql);
                self.jobs.insert(id.clone(), JobRecord { waits: self.polls, outcome, request: request_id });
                self.begun.push(body.clone());
                id
            }
        };
        let most = body["maxResults"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        self.tell(&id, 0, most, "bigquery#queryResponse")
    }

    /// `GET jobs/ID`: above all, which table its result lies in.
    fn job(&self, id: &str) -> DoubleReply {
        let Some(job) = self.jobs.get(id) else {
            return refused(404, "notFound", &format!("Not found: Job {}:{id}", self.id));
        };
        let state = if job.waits > 0 { "RUNNING" } else { "DONE" };
        let table = json!({ "projectId": self.id, "datasetId": RESULTS, "tableId": format!("anon{id}") });
        DoubleReply::json(
            200,
            &json!({
                "kind": "bigquery#job", "id": format!("{}:US.{id}", self.id), "status": { "state": state },
                "jobReference": { "projectId": self.id, "jobId": id, "location": "US" },
                "configuration": { "jobType": "QUERY", "query": { "destinationTable": table, "useLegacySql": false } },
            }),
        )
    }

    fn page(&mut self, request: &DoubleRequest, id: &str) -> DoubleReply {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
        let number = |name: &str| form.iter().find(|(n, _)| n == name).and_then(|(_, v)| v.parse::<usize>().ok());
        let (from, most) = (number("startIndex").unwrap_or(0), number("maxResults").unwrap_or(usize::MAX));
        if let Some(job) = self.jobs.get_mut(id) {
            job.waits = job.waits.saturating_sub(1);
        }
        self.tell(id, from, most, "bigquery#getQueryResultsResponse")
    }

    fn tell(&mut self, id: &str, from: usize, most: usize, kind: &str) -> DoubleReply {
        let reference = json!({ "projectId": self.id, "jobId": id, "location": "US" });
        if self.cancelled.iter().any(|known| known == id) {
            return refused(400, "stopped", "Job execution was cancelled: User requested cancellation");
        }
        let Some(job) = self.jobs.get(id) else {
            return refused(404, "notFound", &format!("Not found: Job {}:{id}", self.id));
        };
        match &job.outcome {
            Err((status, reason, message)) => refused(*status, reason, message),
            Ok(_) if job.waits > 0 => {
                DoubleReply::json(200, &json!({ "kind": kind, "jobReference": reference, "jobComplete": false }))
            }
            Ok(result) => {
                let to = from.saturating_add(most.min(self.page_rows)).min(result.rows.len());
                let rows: Vec<Value> = result.rows.get(from..to).unwrap_or_default().iter().map(|r| row(r)).collect();
                let mut body = json!({
                    "kind": kind, "jobReference": reference, "jobComplete": true, "cacheHit": false,
                    "schema": { "fields": result.columns.iter().map(field).collect::<Vec<_>>() },
                    "totalRows": result.rows.len().to_string(), "totalBytesProcessed": self.bytes.to_string(), "rows": rows,
                });
                if to < result.rows.len() {
                    body["pageToken"] = to.to_string().into();
                }
                DoubleReply::json(200, &body)
            }
        }
    }

    fn run(&self, sql: &str) -> Result<SqlResult, (u16, &'static str, String)> {
        let at = |(line, column): (usize, usize)| format!("at [{}:{}]", line + 1, column + 1);
        self.database.query(sql).map_err(|error| match error {
            SqlError::NoTable(name) => {
                (404, "notFound", format!("Not found: Table {}:{name} was not found in location US", self.id))
            }
            SqlError::NoColumn(name, place) => {
                (400, "invalidQuery", format!("Unrecognized name: {name} {}", at(place)))
            }
            SqlError::Syntax(near, place) => {
                (400, "invalidQuery", format!("Syntax error: Unexpected \"{near}\" {}", at(place)))
            }
            SqlError::Parameter => (400, "invalidQuery", "Query parameter number 1 is not defined".into()),
            SqlError::Writes => {
                (403, "accessDenied", "Access Denied: User does not have permission to update the table".into())
            }
            SqlError::Runtime(message) => (400, "invalidQuery", message),
        })
    }
}
