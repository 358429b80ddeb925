//! Bulk API 2.0 ingest jobs: opened, filled, started, worked through in their own time, with results in any order.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::object::{ObjectField, SObject};
use super::org::{Org, error, not_found};
use super::save::{How, SaveRefusal, Wrong};
use crate::server::{DoubleReply, DoubleRequest};

/// Most bytes of an upload, before base64.
const MAX_BYTES: usize = 100 * 1024 * 1024;

#[derive(Debug, Clone)]
pub(super) struct BulkJob {
    id: String,
    object: String,
    operation: String,
    external: Option<String>,
    state: &'static str,
    message: String,
    csv: Vec<u8>,
    polls: u32,
    good: Vec<Vec<String>>,
    bad: Vec<Vec<String>>,
    unprocessed: Vec<Vec<String>>,
    header: Vec<String>,
}

impl Org {
    /// Everything below `/jobs/ingest`.
    pub(super) fn job(&mut self, request: &DoubleRequest, path: &[&str]) -> DoubleReply {
        match (request.method.as_str(), path) {
            ("POST", []) => self.open_job(request),
            ("PUT", [id, "batches"]) => self.upload(request, id),
            ("PATCH", [id]) => self.set_state(request, id),
            ("GET", [id]) => self.look(id),
            ("GET", [id, what]) => self.results(request, id, what),
            _ => not_found(),
        }
    }

    fn open_job(&mut self, request: &DoubleRequest) -> DoubleReply {
        let Some(body) = request.json() else { return error(400, "JSON_PARSER_ERROR", "the body cannot be read") };
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let Some(object) = self.objects.get(&text("object")) else {
            return error(400, "INVALIDENTITY", "no such object");
        };
        let external = body["externalIdFieldName"].as_str().map(str::to_owned);
        let operation = text("operation");
        match operation.as_str() {
            "upsert" if external.as_deref().and_then(|f| object.field(f)).is_none_or(|f| !f.external) => {
                return error(400, "INVALIDJOB", "InvalidJob : externalIdFieldName is not an external id");
            }
            "insert" | "update" | "upsert" | "delete" => {}
            _ => return error(400, "INVALIDJOB", "InvalidJob : the operation is not known"),
        }
        if text("contentType") != "CSV" || text("lineEnding") != "LF" {
            return error(400, "INVALIDJOB", "InvalidJob : the double reads CSV with LF");
        }
        let id = self.new_id("750");
        let (good, bad, unprocessed, header) = Default::default();
        let job = BulkJob {
            id: id.clone(),
            object: text("object"),
            operation,
            external,
            state: "Open",
            message: String::new(),
            csv: Vec::new(),
            polls: 0,
            good,
            bad,
            unprocessed,
            header,
        };
        let reply = DoubleReply::json(200, &job.told());
        self.jobs.insert(id, job);
        reply
    }

    fn upload(&mut self, request: &DoubleRequest, id: &str) -> DoubleReply {
        let Some(job) = self.jobs.get_mut(id) else { return not_found() };
        if job.state != "Open" || !job.csv.is_empty() {
            return error(400, "INVALIDJOBSTATE", "the job takes no more data");
        }
        if request.body.len() > MAX_BYTES || !request.header("content-type").is_some_and(|t| t.starts_with("text/csv"))
        {
            return error(400, "INVALIDBATCH", "not CSV, or too large");
        }
        job.csv = request.body.to_vec();
        DoubleReply::status(201)
    }

    fn set_state(&mut self, request: &DoubleRequest, id: &str) -> DoubleReply {
        let Some(mut job) = self.jobs.get(id).cloned() else { return not_found() };
        match (job.state, request.json().unwrap_or_default()["state"].as_str()) {
            ("Open", Some("UploadComplete")) => job.state = "UploadComplete",
            ("Open", Some("Aborted")) => job.state = "Aborted",
            ("UploadComplete" | "InProgress", Some("Aborted")) => {
                // What was worked through by then stays.
                self.work(&mut job, self.rows_before_abort);
                job.state = "Aborted";
            }
            _ => return error(400, "INVALIDJOBSTATE", "the job cannot go to that state"),
        }
        let reply = DoubleReply::json(200, &job.told());
        self.jobs.insert(id.to_owned(), job);
        reply
    }

    /// Time passes: every job that was started and not stopped is worked through.
    pub fn finish_jobs(&mut self) {
        let started: Vec<BulkJob> =
            self.jobs.values().filter(|job| matches!(job.state, "UploadComplete" | "InProgress")).cloned().collect();
        for mut job in started {
            self.work(&mut job, usize::MAX);
            self.jobs.insert(job.id.clone(), job);
        }
    }

    /// The states of all jobs, in the order in which they were opened.
    pub fn jobs(&self) -> Vec<&'static str> {
        self.jobs.values().map(|job| job.state).collect()
    }

    /// Tells of a job; time passes with every look.
    fn look(&mut self, id: &str) -> DoubleReply {
        let Some(job) = self.jobs.get_mut(id) else { return not_found() };
        if matches!(job.state, "UploadComplete" | "InProgress") {
            job.state = "InProgress";
            job.polls += 1;
            if job.polls >= self.polls_of_a_job {
                let mut job = job.clone();
                self.work(&mut job, usize::MAX);
                self.jobs.insert(id.to_owned(), job);
            }
        }
        self.jobs.get(id).map_or_else(not_found, |job| DoubleReply::json(200, &job.told()))
    }

    /// Works through a job, or its first `most` rows.
    fn work(&mut self, job: &mut BulkJob, most: usize) {
        let mut reader = csv::ReaderBuilder::new().from_reader(job.csv.as_slice());
        let failed =
            |job: &mut BulkJob, what: String| (job.state, job.message) = ("Failed", format!("InvalidBatch : {what}"));
        let Ok(header) = reader.headers().cloned() else { return failed(job, "the header cannot be read".into()) };
        job.header = header.iter().map(str::to_owned).collect();
        let Some(object) = self.objects.get(&job.object).cloned() else { return failed(job, "no such object".into()) };
        if let Some(unknown) = job.header.iter().find(|name| name.as_str() != "Id" && column(&object, name).is_none()) {
            return failed(job, format!("Field name not found : {unknown}"));
        }
        if job.operation == "delete" && job.header != ["Id"] {
            return failed(job, "a delete has the column Id only".into());
        }
        let rows: Vec<Vec<String>> =
            reader.records().filter_map(Result::ok).map(|r| r.iter().map(str::to_owned).collect()).collect();
        if let Some(by) = job.header.iter().position(|name| name.contains('.')) {
            self.uploads.push(rows.iter().map(|r| r[by].clone()).collect());
        }
        let key = job.external.as_deref().and_then(|f| object.field(f)).cloned();
        let key_column =
            key.as_ref().and_then(|k| job.header.iter().position(|name| name.eq_ignore_ascii_case(&k.name)));
        let mut times: HashMap<String, usize> = HashMap::new();
        let folded =
            |row: &[String]| key.as_ref().zip(key_column).map(|(k, at)| SObject::folded(k, &key_value(k, &row[at])));
        rows.iter().filter_map(|r| folded(r)).for_each(|k| *times.entry(k).or_default() += 1);
        let done = rows.len().saturating_sub(self.leaves_unprocessed).min(most);
        for (at, row) in rows.iter().enumerate() {
            if at >= done {
                job.unprocessed.push(row.clone());
                continue;
            }
            let twice = folded(row).is_some_and(|k| times[&k] > 1);
            match self.row(job, &object, row, key.as_ref().zip(key_column), twice) {
                Ok((id, created)) => job.good.push([vec![id, created.to_string()], row.clone()].concat()),
                Err(SaveRefusal::Record(Wrong(code, what, fields))) => {
                    job.bad.push(
                        [vec![String::new(), format!("{code}:{what}:{} --", fields.join(","))], row.clone()].concat(),
                    );
                }
                Err(SaveRefusal::Request(code, what)) => {
                    job.bad.push([vec![String::new(), format!("{code}:{what}: --")], row.clone()].concat())
                }
            }
        }
        // The results are in the order in which the internal batches happened to end.
        let mut rng = fastrand::Rng::with_seed(self.next);
        [&mut job.good, &mut job.bad, &mut job.unprocessed].into_iter().for_each(|rows| rng.shuffle(rows));
        job.state = "JobComplete";
    }

    fn row(
        &mut self,
        job: &BulkJob,
        object: &SObject,
        row: &[String],
        key: Option<(&ObjectField, usize)>,
        twice: bool,
    ) -> Result<(String, bool), SaveRefusal> {
        let cell = |name: &str| job.header.iter().position(|h| h == name).map(|at| row[at].as_str());
        if job.operation == "delete" {
            let id = cell("Id").unwrap_or_default();
            return self.delete(id).map(|()| (id.to_owned(), false)).map_err(SaveRefusal::Record);
        }
        let mut values = Map::new();
        for (name, text) in job.header.iter().zip(row).filter(|(name, text)| *name != "Id" && !text.is_empty()) {
            let value = if text == "#N/A" { Value::Null } else { json!(text) };
            match column(object, name) {
                Some(CsvColumn::Parent { relationship, of, field }) if !value.is_null() => {
                    let mut named = json!({ field: value });
                    if let Some(of) = of {
                        named["attributes"] = json!({ "type": of });
                    }
                    values.insert(relationship.to_owned(), named);
                }
                Some(CsvColumn::Parent { .. }) => {
                    return Err(Wrong::new(
                        "INVALID_FIELD",
                        "a relationship cannot be cleared by its external id",
                        &[name],
                    )
                    .into());
                }
                _ => drop(values.insert(name.clone(), value)),
            }
        }
        let how = |id| How { id, text: true, allow_duplicates: false };
        match (job.operation.as_str(), key) {
            ("upsert", Some((field, at))) => {
                if twice {
                    return Err(Wrong::new(
                        "DUPLICATE_VALUE",
                        format!("Duplicate external id specified: {}", row[at]),
                        &[&field.name],
                    )
                    .into());
                }
                match self.objects[&job.object].having(field, &key_value(field, &row[at])).as_slice() {
                    [] => self.save(&job.object, &values, how(None)),
                    [id] => self.save(&job.object, &values, how(Some(id))),
                    _ => Err(Wrong::new("DUPLICATE_EXTERNAL_ID", "more than one record found", &[&field.name]).into()),
                }
            }
            ("update", _) => {
                let id = self.whole_id(&job.object, cell("Id").unwrap_or_default());
                self.save(&job.object, &values, how(Some(&id)))
            }
            _ => self.save(&job.object, &values, how(None)),
        }
    }

    fn results(&self, request: &DoubleRequest, id: &str, what: &str) -> DoubleReply {
        let Some(job) = self.jobs.get(id) else { return not_found() };
        let (rows, own): (&[Vec<String>], &[&str]) = match what {
            "successfulResults" => (&job.good, &["sf__Id", "sf__Created"]),
            "failedResults" => (&job.bad, &["sf__Id", "sf__Error"]),
            "unprocessedrecords" => (&job.unprocessed, &[]),
            _ => return not_found(),
        };
        let from: usize =
            request.form().iter().find(|(n, _)| n == "locator").and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
        let to = (from + self.rows_of_a_page).min(rows.len());
        let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
        // Writing to memory cannot fail.
        let _ = writer.write_record(own.iter().copied().chain(job.header.iter().map(String::as_str)));
        rows.get(from..to).unwrap_or_default().iter().for_each(|row| drop(writer.write_record(row)));
        let text = writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let locator = if to < rows.len() { to.to_string() } else { "null".to_owned() };
        DoubleReply::text(200, "text/csv", text)
            .with("sforce-locator", locator)
            .with("sforce-numberofrecords", to.saturating_sub(from))
    }
}

impl BulkJob {
    fn told(&self) -> Value {
        let mut out = json!({
            "id": self.id, "object": self.object, "operation": self.operation, "state": self.state, "contentType": "CSV", "jobType": "V2Ingest",
            "numberRecordsProcessed": self.good.len() + self.bad.len(), "numberRecordsFailed": self.bad.len(),
        });
        if !self.message.is_empty() {
            out["errorMessage"] = json!(self.message);
        }
        out
    }
}

/// A column of a job's CSV.
enum CsvColumn<'a> {
    Own,
    Parent { relationship: &'a str, of: Option<&'a str>, field: &'a str },
}

fn column<'a>(object: &SObject, name: &'a str) -> Option<CsvColumn<'a>> {
    let Some((path, field)) = name.split_once('.') else { return object.field(name).map(|_| CsvColumn::Own) };
    let (of, relationship) = path.split_once(':').map_or((None, path), |(of, relationship)| (Some(of), relationship));
    object.fields.iter().any(|f| f.relationship.as_deref() == Some(relationship)).then_some(CsvColumn::Parent {
        relationship,
        of,
        field,
    })
}

fn key_value(field: &ObjectField, text: &str) -> Value {
    match field.kind {
        "double" => text.parse::<f64>().map_or_else(|_| json!(text), |n| json!(n)),
        _ => json!(text),
    }
}
