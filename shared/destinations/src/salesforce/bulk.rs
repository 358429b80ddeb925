//! Writing by Bulk API 2.0 jobs: records go up as CSV, results come back in any order and are matched by what they
//! echo.
//!
//! A job is created and filled by `submit`, and started by the first poll: one whose ticket was lost stays open,
//! changes nothing, and is cleared away by Salesforce after some days. One that nobody waits for any more is aborted.
//! Source: "Bulk API 2.0 ingest" in the Bulk API guide.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::job::{AbortResult, Counted, Jobs, Poll, Ticket};
use domain::mode::Op;
use domain::outcome::{Outcome, WriteError};
use domain::value::Value as Cell;
use serde_json::{Value, json};

use super::SalesforceDestination;
use super::classify::{self, STORAGE};
use super::collections::{effect, identifier_name};
use super::encode::{self, CLEAR, ID, Lookup};
use clients::http::{HttpReply, Method, counted};

/// The column of a job's results with the record's id.
const SF_ID: &str = "sf__Id";
/// … whether it is new.
const SF_CREATED: &str = "sf__Created";
/// … what is wrong with it.
const SF_ERROR: &str = "sf__Error";

/// A result page is followed at most so often.
const MAX_PAGES: usize = 1_000;

/// Most requests of one call about a job, where its results are not longer than a page: a look and three results.
const MAX_REQUESTS: u32 = 4;

/// Which records of a batch go into a job, by what they are found by in the results.
struct CsvRows<'a> {
    /// Positions by the text that a result echoes.
    by_key: HashMap<String, Vec<usize>>,
    /// The column that holds that text; `None`: the whole row does.
    key: Option<&'static str>,
    field: Option<&'a str>,
    header: Vec<String>,
    csv: Vec<u8>,
    /// Rows of the CSV.
    count: u64,
    rejected: Vec<Option<Outcome>>,
}

impl SalesforceDestination {
    /// Record ids for a job that needs them: all are known, or it cannot be one.
    fn job_ids<'a>(&self, batch: &WriteBatch<'a>) -> Option<Option<Vec<&'a str>>> {
        match batch.op {
            Op::Upsert | Op::Append => Some(None),
            Op::Update | Op::Delete if identifier_name(batch) == Some(ID) => {
                let id = |r: &domain::batch::BatchRecord<'a>| match encode::identifier(batch.layout, r) {
                    Some(Cell::Text(id)) => Some(id),
                    _ => None,
                };
                batch.records.iter().map(id).collect::<Option<Vec<_>>>().map(Some)
            }
            Op::Update | Op::Delete => batch.records.iter().map(|r| r.record_id).collect::<Option<Vec<_>>>().map(Some),
        }
    }

    fn rows<'a>(&self, batch: &WriteBatch<'a>) -> Result<CsvRows<'a>, WriteError> {
        let unfit = || WriteError::Refused { code: "no_job".into(), detail: "not every record id is known".into() };
        let ids = self.job_ids(batch).ok_or_else(unfit)?;
        let mut rejected = encode::rejected(batch);
        if let (Op::Update, Some(ids)) = (batch.op, &ids) {
            let mut count = HashMap::new();
            ids.iter().for_each(|id| *count.entry(*id).or_insert(0) += 1);
            for at in (0..rejected.len()).filter(|at| count[ids[*at]] > 1) {
                rejected[at] = Some(Outcome::rejected(
                    "duplicate_identifier",
                    "another record of the model leads to the same record",
                ));
            }
        }
        let mut positions: Vec<usize> = (0..batch.records.len()).filter(|at| rejected[*at].is_none()).collect();
        self.sort(batch, &mut positions);
        let table = encode::table(batch, &positions, ids.as_deref());
        let (key, field) = match batch.op {
            Op::Update | Op::Delete => (Some(ID), None),
            Op::Upsert => (None, identifier_name(batch)),
            Op::Append => (None, identifier_name(batch).filter(|_| tells_apart(batch, &positions))),
        };
        let column = key.or(field).and_then(|name| table.header.iter().position(|h| h == name));
        let failed = |_| WriteError::Misconfigured { detail: "the records cannot be written as CSV".into() };
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::Any(b'\n')).from_writer(Vec::new());
        writer.write_record(&table.header).map_err(failed)?;
        let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
        let mut count = 0;
        for (at, row) in positions.iter().zip(&table.rows) {
            let known = by_key
                .entry(column.map_or_else(|| whole(row.iter().map(String::as_str)), |c| row[c].clone()))
                .or_default();
            // Two records of one id are deleted by one row.
            if batch.op != Op::Delete || known.is_empty() {
                writer.write_record(row).map_err(failed)?;
                count += 1;
            }
            known.push(*at);
        }
        let csv = writer
            .into_inner()
            .map_err(|_| WriteError::Misconfigured { detail: "the records cannot be written as CSV".into() })?;
        Ok(CsvRows { by_key, key, field, header: table.header, csv, count, rejected })
    }

    /// Records with one parent next to each other: rows that are worked on at the same time then have different ones.
    fn sort(&self, batch: &WriteBatch<'_>, positions: &mut [usize]) {
        let is_parent = |name: &str| Lookup::of(name).is_some() || (name.ends_with("Id") && name != ID);
        let by = match &self.options.sort_by {
            Some(field) => batch.layout.position(field),
            None => batch.layout.fields().iter().position(|f| is_parent(&f.name)),
        };
        if let Some(by) = by {
            positions.sort_by_cached_key(|at| batch.records[*at].fields.get(by).map(encode::text));
        }
    }

    /// Everything that a job's result says, page by page: header and rows.
    async fn result(&self, job: &str, what: &str) -> Result<Vec<HashMap<String, String>>, WriteError> {
        let mut out = Vec::new();
        let mut path = format!("/jobs/ingest/{job}/{what}/");
        for _ in 0..MAX_PAGES {
            let reply = self.session.call(Method::GET, &path, "text/csv", Vec::new()).await?;
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(reply.body.as_slice());
            // What cannot be read is a row without a result: its record is asked for again.
            out.extend(reader.deserialize::<HashMap<String, String>>().flatten());
            match reply.header("sforce-locator") {
                Some(locator) if !locator.is_empty() && locator != "null" => {
                    path = format!("/jobs/ingest/{job}/{what}/?locator={}", clients::http::percent_encode(locator));
                }
                _ => break,
            }
        }
        Ok(out)
    }

    /// What became of each record, from a job's results. Those that its own numbers say are empty are not asked for.
    async fn outcomes(
        &self,
        id: &str,
        job: &Value,
        batch: &WriteBatch<'_>,
        refused: Option<String>,
    ) -> Result<Vec<Outcome>, WriteError> {
        let mut rows = self.rows(batch)?;
        let mut outcomes = std::mem::take(&mut rows.rejected);
        let number = |name: &str| job.get(name).and_then(Value::as_u64).filter(|_| refused.is_none());
        let (none_bad, all_done) =
            (number("numberRecordsFailed") == Some(0), number("numberRecordsProcessed") == Some(rows.count));
        let good = self.result(id, "successfulResults").await?;
        let bad = if none_bad { Vec::new() } else { self.result(id, "failedResults").await? };
        if let Some(detail) = refused.filter(|_| good.is_empty() && bad.is_empty()) {
            return Err(WriteError::Refused { code: "job_failed".into(), detail });
        }
        for result in &good {
            let created = result.get(SF_CREATED).and_then(|c| c.parse().ok());
            let id = result.get(SF_ID).filter(|id| !id.is_empty() && batch.op != Op::Delete).cloned();
            rows.settle(
                batch.op,
                result,
                &mut outcomes,
                &Outcome::Accepted { effect: effect(batch.op, created), record_id: id },
            );
        }
        for result in &bad {
            let error = classify::error_of_row(result.get(SF_ERROR).map(String::as_str).unwrap_or_default());
            rows.settle(
                batch.op,
                result,
                &mut outcomes,
                &classify::record(batch.op, &[error], self.session.http().redactor()),
            );
        }
        let left = if all_done { Vec::new() } else { self.result(id, "unprocessedrecords").await? };
        for result in left {
            rows.settle(batch.op, &result, &mut outcomes, &Outcome::retry("unprocessed"));
        }
        let outcomes: Vec<Outcome> = outcomes.into_iter().map(|o| o.unwrap_or_else(Outcome::unmentioned)).collect();
        if outcomes.iter().all(|o| matches!(o, Outcome::Retry { code, .. } if code == STORAGE)) {
            return Err(WriteError::Misconfigured {
                detail: "the org's storage is full; make room, or give it more".into(),
            });
        }
        Ok(outcomes)
    }

    async fn open_job(&self, batch: &WriteBatch<'_>) -> Result<Ticket, WriteError> {
        let mut job = json!({ "object": self.object, "contentType": "CSV", "lineEnding": "LF" });
        job["operation"] = json!(match batch.op {
            Op::Upsert => "upsert",
            Op::Update => "update",
            Op::Append => "insert",
            Op::Delete => "delete",
        });
        if batch.op == Op::Upsert {
            job["externalIdFieldName"] = json!(identifier_name(batch));
        }
        let csv = self.rows(batch)?.csv;
        let made = parsed(&self.session.json(Method::POST, "/jobs/ingest", job.to_string().into_bytes()).await?)?;
        let id = made.get("id").and_then(Value::as_str).filter(|id| super::name::is_name(&format!("j{id}")));
        let id = id.ok_or_else(|| WriteError::Unavailable { after: None, detail: "the new job has no id".into() })?;
        self.session.call(Method::PUT, &format!("/jobs/ingest/{id}/batches"), "text/csv", csv).await?;
        Ok(Ticket(id.to_owned()))
    }

    /// The job as Salesforce tells of it; `None`: it knows of none. Jobs are cleared away after some days.
    async fn job(&self, id: &str) -> Result<Option<Value>, WriteError> {
        self.session.find(&format!("/jobs/ingest/{id}")).await?.as_ref().map(parsed).transpose()
    }

    async fn look(&self, id: &str, batch: &WriteBatch<'_>) -> Result<Poll, WriteError> {
        // What became of one that is gone is not known.
        let Some(job) = self.job(id).await? else {
            return Ok(Poll::Finished(vec![Outcome::unmentioned(); batch.records.len()]));
        };
        let after = self.config.job_poll.0;
        match state(&job) {
            "Open" => match self.set_state(id, "UploadComplete").await {
                // It has another state by now: a newer run has stopped it. The next look sees that.
                Ok(_) | Err(WriteError::Refused { .. }) => Ok(Poll::Running { after }),
                Err(error) => Err(error),
            },
            "UploadComplete" | "InProgress" => Ok(Poll::Running { after }),
            "JobComplete" => Ok(Poll::Finished(self.outcomes(id, &job, batch, None).await?)),
            state @ ("Failed" | "Aborted") => {
                let said = job.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
                let detail = self.session.http().redactor().shorten(&format!("job {id} is {state}: {said}"));
                Ok(Poll::Finished(self.outcomes(id, &job, batch, Some(detail)).await?))
            }
            _ => Err(unknown_state(id)),
        }
    }

    /// Aborts a job that has not ended. Source: "Abort a job" in the Bulk API guide; what was worked through stays.
    async fn abort(&self, id: &str) -> Result<AbortResult, WriteError> {
        let Some(job) = self.job(id).await? else { return Ok(AbortResult::Over) };
        match state(&job) {
            "JobComplete" | "Failed" | "Aborted" => Ok(AbortResult::Over),
            "Open" | "UploadComplete" | "InProgress" => match self.set_state(id, "Aborted").await {
                Ok(_) => Ok(AbortResult::Over),
                // It ended between the two requests, or cannot be stopped just now: the next look tells.
                Err(WriteError::Refused { .. }) => Ok(AbortResult::GoesOn { after: self.config.job_poll.0 }),
                Err(error) => Err(error),
            },
            _ => Err(unknown_state(id)),
        }
    }

    async fn set_state(&self, job: &str, state: &str) -> Result<HttpReply, WriteError> {
        self.session
            .json(Method::PATCH, &format!("/jobs/ingest/{job}"), json!({ "state": state }).to_string().into_bytes())
            .await
    }
}

impl CsvRows<'_> {
    /// Gives the records that a result is about their outcome. Of records that echo the same, each result has one;
    /// only a delete has done them all at once.
    fn settle(
        &mut self,
        op: Op,
        result: &HashMap<String, String>,
        outcomes: &mut [Option<Outcome>],
        outcome: &Outcome,
    ) {
        let text = |name: &str| result.get(name).map(String::as_str).unwrap_or_default();
        let key = match self.key.or(self.field) {
            Some(name) => text(name).to_owned(),
            None => whole(self.header.iter().map(|name| text(name))),
        };
        let Some(positions) = self.by_key.get_mut(&key) else { return };
        let count = if op == Op::Delete { positions.len() } else { 1 };
        for at in positions.drain(..count.min(positions.len())) {
            outcomes[at] = Some(outcome.clone());
        }
    }
}

/// True when each of these records has an identifier of its own.
fn tells_apart(batch: &WriteBatch<'_>, positions: &[usize]) -> bool {
    let mut seen = std::collections::HashSet::new();
    let own = |at: &usize| {
        encode::identifier(batch.layout, &batch.records[*at]).map(encode::text).filter(|text| !text.is_empty())
    };
    positions.iter().all(|at| own(at).is_some_and(|text| seen.insert(text)))
}

/// A row as one text; line ends may come back in another form.
fn whole<'a>(row: impl Iterator<Item = &'a str>) -> String {
    row.flat_map(|cell| [cell, "\u{1f}"]).collect::<String>().replace('\r', "")
}

fn state(job: &Value) -> &str {
    job.get("state").and_then(Value::as_str).unwrap_or_default()
}

fn unknown_state(id: &str) -> WriteError {
    WriteError::Unavailable { after: None, detail: format!("job {id} is in a state that is not known") }
}

fn parsed(reply: &HttpReply) -> Result<Value, WriteError> {
    serde_json::from_slice(&reply.body)
        .map_err(|_| WriteError::Unavailable { after: None, detail: "the answer about a job is not JSON".into() })
}

#[async_trait]
impl Jobs for SalesforceDestination {
    fn takes(&self, batch: &WriteBatch<'_>) -> bool {
        let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX) > self.config.jobs_above;
        // A text that means "clear" in a job can only be written by a collection.
        let odd = || batch.records.iter().any(|r| r.fields.values().any(|v| v == Cell::Text(CLEAR)));
        many(batch.records.len())
            && self.job_ids(batch).is_some()
            && many(encode::rejected(batch).iter().filter(|r| r.is_none()).count())
            && (batch.op == Op::Delete || !odd())
    }

    fn requests(&self) -> u32 {
        MAX_REQUESTS
    }

    async fn submit(&self, batch: &WriteBatch<'_>) -> Counted<Ticket> {
        told(self.open_job(batch)).await
    }

    async fn poll(&self, ticket: &Ticket, batch: &WriteBatch<'_>) -> Counted<Poll> {
        told(self.look(&ticket.0, batch)).await
    }

    async fn abort(&self, ticket: &Ticket) -> Counted<AbortResult> {
        told(self.abort(&ticket.0)).await
    }
}

async fn told<T>(call: impl Future<Output = Result<T, WriteError>>) -> Counted<T> {
    let (result, requests) = counted(call).await;
    Counted { requests, result }
}
