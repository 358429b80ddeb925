//! Queries: started, told of, their results, stopped.

use serde_json::{Value, json};

use super::unload;
use super::workgroup::{AthenaFailure, AthenaStep, AthenaWorkgroup, QueryOutcome, StartedQuery};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::signature::is_signed;
use crate::sql::{ResultColumn, SqlError, SqlKind, SqlValue};

/// The longest query that is taken.
const MAX_QUERY_BYTES: usize = 262_144;

/// An exception, as the service tells it.
fn exception(status: u16, name: &str, message: &str) -> DoubleReply {
    DoubleReply::text(status, "application/x-amz-json-1.1", json!({ "__type": name, "Message": message }).to_string())
}

fn reply(body: &Value) -> DoubleReply {
    DoubleReply::text(200, "application/x-amz-json-1.1", body.to_string())
}

impl AthenaWorkgroup {
    pub(super) fn answer(&mut self, request: &DoubleRequest) -> DoubleReply {
        if request.header("authorization").is_none() {
            return exception(400, "MissingAuthenticationTokenException", "Missing Authentication Token");
        }
        if !is_signed(request, "athena", &self.access_key, &self.secret_key) {
            return exception(
                400,
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            );
        }
        let target = request.header("x-amz-target").unwrap_or_default().trim_start_matches("AmazonAthena.").to_owned();
        let Some(body) = request.json() else { return exception(400, "SerializationException", "No JSON.") };
        match target.as_str() {
            "StartQueryExecution" => self.failing(AthenaStep::Start, |workgroup| workgroup.start(&body)),
            "GetQueryExecution" => self.failing(AthenaStep::Poll, |workgroup| workgroup.execution(&body)),
            "GetQueryResults" => self.failing(AthenaStep::Results, |workgroup| workgroup.results(&body)),
            "GetTableMetadata" => self.table(&body),
            "StopQueryExecution" => {
                let id = body["QueryExecutionId"].as_str().unwrap_or_default().to_owned();
                if let Some(query) = self.queries.get_mut(&id).filter(|query| query.ended.is_none()) {
                    query.ended = Some(("CANCELLED", "Query cancelled by user".into(), 0, false));
                }
                self.stopped.push(id);
                reply(&json!({}))
            }
            _ => exception(400, "UnknownOperationException", ""),
        }
    }

    fn table(&self, body: &Value) -> DoubleReply {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let path = format!("{}.{}", text("DatabaseName"), text("TableName"));
        let Some(found) = self.database.relation(&path) else {
            let message = format!("EntityNotFoundException: Entity Not Found: {}", text("TableName"));
            return exception(400, "MetadataException", &message);
        };
        let mut told = json!({ "Name": text("TableName"), "TableType": if found.is_view { "VIRTUAL_VIEW" } else { "EXTERNAL_TABLE" } });
        if self.iceberg.contains(&found.name) {
            let location = format!("s3://lake/{}/metadata/{:05}.metadata.json", found.name, found.version);
            told["Parameters"] = json!({ "table_type": "ICEBERG", "metadata_location": location });
        }
        reply(&json!({ "TableMetadata": told }))
    }

    fn failing(&mut self, step: AthenaStep, work: impl FnOnce(&mut Self) -> DoubleReply) -> DoubleReply {
        match self.failure(step) {
            None | Some(AthenaFailure::Ends(..)) => work(self),
            Some(AthenaFailure::Exception(status, name, message)) => exception(status, name, message),
            Some(AthenaFailure::Cut) => DoubleReply::cut(),
            Some(AthenaFailure::CutAfter(bytes)) => DoubleReply { cut_after: Some(bytes), ..work(self) },
        }
    }

    fn start(&mut self, body: &Value) -> DoubleReply {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let invalid = |message: &str| exception(400, "InvalidRequestException", message);
        if text("WorkGroup") != self.name {
            return invalid(&format!("WorkGroup {} is not found.", text("WorkGroup")));
        }
        let (token, sql) = (text("ClientRequestToken").to_owned(), text("QueryString"));
        if !(32..=128).contains(&token.len()) {
            return invalid(
                "clientRequestToken failed to satisfy constraint: Member must have length between 32 and 128",
            );
        }
        if sql.len() > MAX_QUERY_BYTES {
            return invalid(
                "queryString failed to satisfy constraint: Member must have length less than or equal to 262144",
            );
        }
        // The same token again is the same query.
        let known = self.queries.iter().find(|(_, query)| query.token == token);
        if let Some((id, query)) = known {
            if query.body != *body {
                return invalid("Idempotent parameters do not match");
            }
            return reply(&json!({ "QueryExecutionId": id }));
        }
        let outcome = match self.run(sql) {
            // What is no SQL is refused at once.
            Err(message) if message.contains("mismatched input") => return invalid(&message),
            outcome => outcome,
        };
        let id = format!("a1b2c3d4-0747-4bf4-b142-{:012}", self.queries.len() + 1);
        let query = StartedQuery { waits: self.polls, token, body: body.clone(), outcome, ended: None };
        self.queries.insert(id.clone(), query);
        self.started.push(body.clone());
        reply(&json!({ "QueryExecutionId": id }))
    }

    fn run(&self, sql: &str) -> Result<QueryOutcome, String> {
        let (query, before, target) = match unload::parse(sql) {
            None => (sql, 0, None),
            Some(unload) => {
                let unload = unload?;
                (unload.query, unload.before, Some(unload.target))
            }
        };
        let at = |(line, column): (usize, usize)| {
            let head = &sql[..before];
            let indent = if line == 0 { head.rsplit('\n').next().unwrap_or_default().chars().count() } else { 0 };
            format!("line {}:{}", head.matches('\n').count() + line + 1, indent + column + 1)
        };
        let place = |name: &str| {
            let head = query.find(name).map_or("", |at| &query[..at]);
            at((head.matches('\n').count(), head.rsplit('\n').next().unwrap_or_default().chars().count()))
        };
        let result = self.database.query(query).map_err(|error| match error {
            SqlError::NoTable(name) => {
                format!("TABLE_NOT_FOUND: {}: Table 'awsdatacatalog.default.{name}' does not exist", place(&name))
            }
            SqlError::NoColumn(name, place) => format!(
                "COLUMN_NOT_FOUND: {}: Column '{name}' cannot be resolved or requester is not authorized to access requested resources",
                at(place)
            ),
            SqlError::Syntax(near, place) => format!("{}: mismatched input '{near}'", at(place)),
            SqlError::Parameter => "INVALID_PARAMETER_USAGE: Incorrect number of parameters: expected 1 but found 0".into(),
            SqlError::Writes => "line 1:1: mismatched input 'insert'".into(),
            SqlError::Runtime(message) if message.contains("zero") => format!("DIVISION_BY_ZERO: {message}"),
            SqlError::Runtime(message) => format!("GENERIC_USER_ERROR: {message}"),
        })?;
        match target.is_some().then(|| unload::refused(&result)).flatten() {
            Some(why) => Err(why),
            None => Ok(QueryOutcome { result, target }),
        }
    }

    /// Where what a query leaves beside its files is written.
    fn output(&self, body: &Value) -> String {
        let asked = body["ResultConfiguration"]["OutputLocation"].as_str().unwrap_or_default();
        let output = self.enforced_output.as_deref().unwrap_or(asked);
        if output.ends_with('/') { output.to_owned() } else { format!("{output}/") }
    }

    fn execution(&mut self, body: &Value) -> DoubleReply {
        let id = body["QueryExecutionId"].as_str().unwrap_or_default().to_owned();
        let Some(query) = self.queries.get_mut(&id) else {
            return exception(400, "InvalidRequestException", &format!("QueryExecution {id} was not found"));
        };
        if query.ended.is_none() && query.waits > 0 {
            query.waits -= 1;
            let state = if query.waits + 1 >= self.polls { "QUEUED" } else { "RUNNING" };
            return reply(&json!({ "QueryExecution": { "QueryExecutionId": id, "Status": { "State": state } } }));
        }
        let (scanned, manifest) = match self.end(&id) {
            Ok(ended) => ended,
            Err(message) => {
                if let Some(query) = self.queries.get_mut(&id) {
                    query.ended.get_or_insert(("FAILED", message, 2, false));
                }
                (0, None)
            }
        };
        let Some(query) = self.queries.get(&id) else { return exception(500, "InternalServerException", "") };
        let (state, reason, category, passes) = query.ended.clone().unwrap_or(("SUCCEEDED", String::new(), 0, false));
        let mut status = json!({ "State": state });
        if !reason.is_empty() {
            status["StateChangeReason"] = reason.clone().into();
        }
        if state == "FAILED" {
            status["AthenaError"] =
                json!({ "ErrorCategory": category, "ErrorType": 1006, "Retryable": passes, "ErrorMessage": reason });
        }
        let mut statistics = json!({ "DataScannedInBytes": scanned, "EngineExecutionTimeInMillis": 10 });
        if let Some(manifest) = manifest {
            statistics["DataManifestLocation"] = manifest.into();
        }
        let output = self.output(&query.body);
        reply(&json!({ "QueryExecution": {
            "QueryExecutionId": id,
            "Query": query.body["QueryString"],
            "StatementType": "DML",
            "WorkGroup": self.name,
            "ResultConfiguration": { "OutputLocation": format!("{output}{id}.csv") },
            "Status": status,
            "Statistics": statistics,
        } }))
    }

    /// Ends a query that has not ended: its files are there from now on. What it read, and where its manifest lies.
    fn end(&mut self, id: &str) -> Result<(u64, Option<String>), String> {
        let planned = match self.queries.get(id) {
            Some(query) if query.ended.is_none() => self.failure(AthenaStep::End),
            _ => return Ok((0, None)),
        };
        let Some(query) = self.queries.get(id) else { return Ok((0, None)) };
        let output = self.output(&query.body);
        let scanned = |rows: usize| 100 * rows as u64;
        let told = match &query.outcome {
            Err(message) => return Err(message.clone()),
            Ok(QueryOutcome { result, target: Some(target) }) => {
                (scanned(result.rows.len()), self.write(result, target, &output, id)?)
            }
            Ok(QueryOutcome { result, target: None }) => {
                let mut buckets = self.s3.lock();
                buckets.put(&format!("{output}{id}.csv.metadata"), "binary");
                if !buckets.put(&format!("{output}{id}.csv"), "") {
                    return Err(format!("Access denied when writing output to url: {output}{id}.csv."));
                }
                (scanned(result.rows.len()), None)
            }
        };
        let ended = match planned {
            Some(AthenaFailure::Ends(state, reason, category, passes)) => (state, reason.to_owned(), category, passes),
            _ => ("SUCCEEDED", String::new(), 0, false),
        };
        if let Some(query) = self.queries.get_mut(id) {
            query.ended = Some(ended);
        }
        Ok(told)
    }

    fn results(&mut self, body: &Value) -> DoubleReply {
        let id = body["QueryExecutionId"].as_str().unwrap_or_default();
        let invalid = |message: &str| exception(400, "InvalidRequestException", message);
        let Some(query) = self.queries.get(id) else { return invalid("QueryExecution was not found") };
        if !matches!(query.ended, Some(("SUCCEEDED", ..))) {
            return invalid("Query has not yet finished. Current state: RUNNING");
        }
        let Ok(QueryOutcome { result, target: None }) = &query.outcome else {
            return invalid("This double gives rows of SELECT only.");
        };
        let most = body["MaxResults"].as_u64().unwrap_or(1000).min(1000) as usize;
        let cell = |value: &SqlValue| match value {
            SqlValue::Null => json!({}),
            value => json!({ "VarCharValue": value.show() }),
        };
        let header: Vec<Value> = result.columns.iter().map(|c| json!({ "VarCharValue": c.name })).collect();
        let mut rows = vec![json!({ "Data": header })];
        rows.extend(result.rows.iter().map(|row| json!({ "Data": row.iter().map(cell).collect::<Vec<_>>() })));
        rows.truncate(most);
        let columns: Vec<Value> = result.columns.iter().map(column).collect();
        reply(
            &json!({ "UpdateCount": 0, "ResultSet": { "Rows": rows, "ResultSetMetadata": { "ColumnInfo": columns } } }),
        )
    }
}

fn column(column: &ResultColumn) -> Value {
    let kind = &column.kind;
    let name = match kind.kind {
        SqlKind::Bool => "boolean",
        SqlKind::Number if kind.scale == 0 && kind.precision <= 18 => "bigint",
        SqlKind::Number => "decimal",
        SqlKind::Float => "double",
        SqlKind::Text => "varchar",
        SqlKind::Bytes => "varbinary",
        SqlKind::Date => "date",
        SqlKind::Time => "time",
        SqlKind::DateTime => "timestamp",
        SqlKind::Timestamp | SqlKind::TimestampTz => "timestamp with time zone",
        SqlKind::Json => "json",
        SqlKind::Uuid => "uuid",
    };
    json!({
        "CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": column.name, "Label": column.name, "Type": name,
        "Precision": kind.precision, "Scale": kind.scale, "Nullable": "UNKNOWN", "CaseSensitive": kind.kind == SqlKind::Text,
    })
}
