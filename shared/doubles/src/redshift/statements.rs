//! Statements: executed, described, their results page by page, cancelled.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::unload;
use super::workgroup::{DescribedStatement, RedshiftFailure, RedshiftStep, RedshiftWorkgroup};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::signature::is_signed;
use crate::sql::{ResultColumn, SqlError, SqlKind, SqlResult, SqlValue};

/// An exception, as the service tells it.
fn exception(status: u16, name: &str, message: &str) -> DoubleReply {
    DoubleReply::text(status, "application/x-amz-json-1.1", json!({ "__type": name, "Message": message }).to_string())
}

fn reply(body: &Value) -> DoubleReply {
    DoubleReply::text(200, "application/x-amz-json-1.1", body.to_string())
}

impl RedshiftWorkgroup {
    pub(super) fn answer(&mut self, request: &DoubleRequest) -> DoubleReply {
        if request.header("authorization").is_none() {
            return exception(400, "MissingAuthenticationTokenException", "Missing Authentication Token");
        }
        if !is_signed(request, "redshift-data", &self.access_key, &self.secret_key) {
            return exception(
                400,
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            );
        }
        let target = request.header("x-amz-target").unwrap_or_default().trim_start_matches("RedshiftData.").to_owned();
        let Some(body) = request.json() else { return exception(400, "SerializationException", "No JSON.") };
        match target.as_str() {
            "ExecuteStatement" => self.failing(RedshiftStep::Execute, |workgroup| workgroup.execute(&body)),
            "DescribeStatement" => self.failing(RedshiftStep::Describe, |workgroup| workgroup.describe(&body)),
            "GetStatementResult" => self.failing(RedshiftStep::Page, |workgroup| workgroup.page(&body)),
            "CancelStatement" => {
                self.cancelled.push(body["Id"].as_str().unwrap_or_default().to_owned());
                reply(&json!({ "Status": true }))
            }
            _ => exception(400, "UnknownOperationException", ""),
        }
    }

    fn failing(&mut self, step: RedshiftStep, work: impl FnOnce(&mut Self) -> DoubleReply) -> DoubleReply {
        match self.failure(step) {
            None => work(self),
            Some(RedshiftFailure::Exception(status, name, message)) => exception(status, name, message),
            Some(RedshiftFailure::Cut) => DoubleReply::cut(),
            Some(RedshiftFailure::CutAfter(bytes)) => DoubleReply { cut_after: Some(bytes), ..work(self) },
            Some(RedshiftFailure::LastPage) => {
                let page = work(self);
                let mut body: Value = serde_json::from_slice(&page.body).unwrap_or_default();
                body.as_object_mut().map(|body| body.remove("NextToken"));
                reply(&body)
            }
        }
    }

    fn execute(&mut self, body: &Value) -> DoubleReply {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        if text("WorkgroupName") != self.name {
            let message =
                format!("Redshift endpoint doesn't exist in this region: workgroup {}.", text("WorkgroupName"));
            return exception(400, "ResourceNotFoundException", &message);
        }
        let token = text("ClientToken").to_owned();
        // The same token again is the same statement.
        let known =
            self.statements.iter().find(|(_, s)| !token.is_empty() && s.token == token).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| {
            let id = format!("d9b6c0c9-0747-4bf4-b142-{:012}", self.statements.len() + 1);
            let outcome = self.run(text("Sql"));
            self.statements.insert(id.clone(), DescribedStatement { waits: self.polls, token, outcome });
            self.executed.push(body.clone());
            id
        });
        reply(
            &json!({ "Id": id, "CreatedAt": 1_767_225_600.0, "Database": text("Database"), "WorkgroupName": self.name }),
        )
    }

    fn run(&self, sql: &str) -> Result<SqlResult, String> {
        if let Some(unload) = unload::parse(sql) {
            return self.unload(&unload?);
        }
        let result = self.select(sql)?;
        if result.rows.len() > self.result_rows {
            return Err("ERROR: The query result exceeds the maximum size of 500 MB".into());
        }
        Ok(result)
    }

    pub(super) fn select(&self, sql: &str) -> Result<SqlResult, String> {
        let at = |(line, column): (usize, usize)| {
            let before: usize = sql.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
            format!(" Position: {};", before + column + 1)
        };
        self.database.query(sql).map_err(|error| match error {
            SqlError::NoTable(name) => format!("ERROR: relation \"{name}\" does not exist"),
            SqlError::NoColumn(name, place) => format!("ERROR: column \"{name}\" does not exist{}", at(place)),
            SqlError::Syntax(near, place) => format!("ERROR: syntax error at or near \"{near}\"{}", at(place)),
            SqlError::Parameter => "ERROR: there is no parameter $1".into(),
            SqlError::Writes => "ERROR: syntax error at or near \"insert\"".into(),
            SqlError::Runtime(message) => format!("ERROR: {message}"),
        })
    }

    fn describe(&mut self, body: &Value) -> DoubleReply {
        let id = body["Id"].as_str().unwrap_or_default().to_owned();
        let cancelled = self.cancelled.contains(&id);
        let Some(statement) = self.statements.get_mut(&id) else {
            return exception(400, "ResourceNotFoundException", "Query does not exist.");
        };
        if cancelled {
            return reply(&json!({ "Id": id, "Status": "ABORTED" }));
        }
        if statement.waits > 0 {
            statement.waits -= 1;
            return reply(&json!({ "Id": id, "Status": "STARTED" }));
        }
        match &statement.outcome {
            Ok(result) => reply(
                &json!({ "Id": id, "Status": "FINISHED", "HasResultSet": true, "ResultRows": result.rows.len(), "ResultSize": 100, "Duration": 1000 }),
            ),
            Err(message) => reply(&json!({ "Id": id, "Status": "FAILED", "Error": message })),
        }
    }

    fn page(&mut self, body: &Value) -> DoubleReply {
        self.pages += 1;
        let from: usize =
            body["NextToken"].as_str().and_then(|token| token.strip_prefix("page-")?.parse().ok()).unwrap_or(0);
        let Some(Ok(result)) = self.statements.get(body["Id"].as_str().unwrap_or_default()).map(|s| s.outcome.as_ref())
        else {
            return exception(400, "ResourceNotFoundException", "Query does not have result.");
        };
        let to = (from + self.page_rows.max(1)).min(result.rows.len());
        let records: Vec<Value> =
            result.rows.get(from..to).unwrap_or_default().iter().map(|row| row.iter().map(cell).collect()).collect();
        let columns: Vec<Value> = result.columns.iter().map(column).collect();
        let mut page = json!({ "Records": records, "ColumnMetadata": columns, "TotalNumRows": result.rows.len() });
        if to < result.rows.len() {
            page["NextToken"] = format!("page-{to}").into();
        }
        reply(&page)
    }
}

fn column(column: &ResultColumn) -> Value {
    let kind = &column.kind;
    let name = match kind.kind {
        SqlKind::Bool => "bool",
        SqlKind::Number if kind.scale == 0 && kind.precision <= 18 => "int8",
        SqlKind::Number => "numeric",
        SqlKind::Float => "float8",
        SqlKind::Text | SqlKind::Uuid => "varchar",
        SqlKind::Bytes => "varbyte",
        SqlKind::Date => "date",
        SqlKind::Time => "time",
        SqlKind::DateTime => "timestamp",
        SqlKind::Timestamp | SqlKind::TimestampTz => "timestamptz",
        SqlKind::Json => "super",
    };
    json!({ "name": column.name, "label": column.name, "typeName": name, "precision": kind.precision, "scale": kind.scale, "nullable": 1 })
}

fn cell(value: &SqlValue) -> Value {
    match value {
        SqlValue::Null => json!({ "isNull": true }),
        SqlValue::Bool(v) => json!({ "booleanValue": v }),
        SqlValue::Int(v) => json!({ "longValue": v }),
        SqlValue::Float(v) if v.is_finite() => json!({ "doubleValue": v }),
        SqlValue::Float(v) if v.is_nan() => json!({ "stringValue": "NaN" }),
        SqlValue::Float(v) => json!({ "stringValue": if *v > 0.0 { "Infinity" } else { "-Infinity" } }),
        SqlValue::Bytes(v) => json!({ "blobValue": STANDARD.encode(v) }),
        SqlValue::Time(v) => json!({ "stringValue": format!("{v:.6}") }),
        SqlValue::DateTime(v) => json!({ "stringValue": format!("{v:.6}").replace('T', " ") }),
        SqlValue::Timestamp(v) | SqlValue::TimestampTz(v, _) => {
            json!({ "stringValue": format!("{v:.6}").replace('T', " ").replace('Z', "+00") })
        }
        other => json!({ "stringValue": other.show() }),
    }
}
