//! Statements: submitted, asked about, fetched in partitions, cancelled.

use serde_json::{Value, json};

use super::account::{SnowflakeAccount, SnowflakeFailure, SnowflakeStep, StatementRecord};
use super::catalogue;
use super::wire::{compressed, refused, row_type, rows};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::sql::{SqlError, SqlResult, SqlValue};

impl SnowflakeAccount {
    pub(super) fn answer(&mut self, request: &DoubleRequest) -> DoubleReply {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        let date = jiff::Timestamp::from_second(self.now())
            .map(|at| jiff::fmt::rfc2822::to_string(&at.to_zoned(jiff::tz::TimeZone::UTC)));
        let reply = match (request.method.as_str(), &path[..]) {
            ("POST", ["oauth", "token-request"]) => self.mint(request),
            (_, ["api", "v2", "statements", ..]) => match self.check_login(request) {
                Some(refusal) => refusal,
                None => self.statement(request, &path[3..]),
            },
            _ => refused(404, "391905", "Not found."),
        };
        match date {
            Ok(Ok(date)) if self.clock_ahead != 0 => reply.with("date", date.replace("+0000", "GMT")),
            _ => reply,
        }
    }

    fn statement(&mut self, request: &DoubleRequest, path: &[&str]) -> DoubleReply {
        let form = url::form_urlencoded::parse(request.query.as_bytes()).into_owned().collect::<Vec<_>>();
        let query = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        match (request.method.as_str(), path) {
            ("POST", []) => {
                self.failing(SnowflakeStep::Submit, request, |account| account.submit(request, query("requestId")))
            }
            ("GET", [handle]) => {
                let number = query("partition").and_then(|n| n.parse::<usize>().ok());
                let step = number.map_or(SnowflakeStep::Poll, SnowflakeStep::Partition);
                let handle = (*handle).to_owned();
                self.failing(step, request, |account| account.fetch(request, &handle, number))
            }
            ("POST", [handle, "cancel"]) => {
                self.cancelled.push((*handle).to_owned());
                DoubleReply::json(
                    200,
                    &json!({ "code": "000604", "message": "SQL execution canceled", "sqlState": "57014", "statementHandle": handle }),
                )
            }
            _ => refused(405, "391906", "Method not allowed."),
        }
    }

    fn failing(
        &mut self,
        step: SnowflakeStep,
        request: &DoubleRequest,
        work: impl FnOnce(&mut Self) -> DoubleReply,
    ) -> DoubleReply {
        match self.failure(step) {
            None => compressed(request, work(self)),
            Some(SnowflakeFailure::Status(status, code, message)) => refused(status, code, message),
            Some(SnowflakeFailure::TooMany(seconds)) => {
                refused(429, "390429", "Too many requests.").with("retry-after", seconds)
            }
            Some(SnowflakeFailure::Html(status)) => {
                DoubleReply::text(status, "text/html", "<html><body>Service Unavailable</body></html>")
            }
            Some(SnowflakeFailure::Cut) => DoubleReply::cut(),
            Some(SnowflakeFailure::CutAfter(bytes)) => {
                DoubleReply { cut_after: Some(bytes), ..compressed(request, work(self)) }
            }
            Some(SnowflakeFailure::RowMissing) => {
                let reply = work(self);
                let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                body["data"].as_array_mut().map(Vec::pop);
                compressed(request, DoubleReply::json(200, &body))
            }
            Some(SnowflakeFailure::Slow(time)) => DoubleReply { delay: time, ..compressed(request, work(self)) },
        }
    }

    fn submit(&mut self, request: &DoubleRequest, id: Option<String>) -> DoubleReply {
        let Some(body) = request.json() else { return refused(400, "391917", "The request body is invalid.") };
        let Some(sql) = body["statement"].as_str() else {
            return refused(400, "391917", "The request body is invalid.");
        };
        let handle = match id.as_ref().and_then(|id| self.requests.get(id)) {
            // The same request again is the same statement.
            Some(handle) => handle.clone(),
            None => {
                let handle = format!("01b2c3d4-0000-0000-0000-{:012x}", self.statements.len() + 1);
                let tag = body.pointer("/parameters/query_tag").and_then(Value::as_str).unwrap_or_default();
                self.submitted.push((sql.to_owned(), tag.to_owned()));
                let outcome = self.run(sql, &body);
                let count = outcome.as_ref().map_or(0, |result| result.rows.len());
                // The first partition is smaller than the others.
                let step = self.partition_rows.max(1);
                let mut starts = vec![0];
                let mut at = step.div_ceil(10);
                while at < count {
                    starts.push(at);
                    at += step;
                }
                self.statements.insert(handle.clone(), StatementRecord { waits: self.polls, outcome, starts });
                if let Some(id) = id {
                    self.requests.insert(id, handle.clone());
                }
                handle
            }
        };
        progress(&handle)
    }

    fn run(&mut self, sql: &str, body: &Value) -> Result<SqlResult, (u16, &'static str, String)> {
        let named = |name: &str| body[name].as_str();
        let failed = |code, message: String| Err((422, code, message));
        if let Some(role) = named("role").filter(|role| !self.roles.contains(*role)) {
            let message = format!(
                "Role '{role}' specified in the connect string does not exist or not authorized. Contact your local system administrator, or attempt to login with another role, e.g. PUBLIC."
            );
            return Err((403, "390189", message));
        }
        // Metadata is answered without a virtual warehouse.
        if let Some(answer) = catalogue::answer(&self.database, sql) {
            return answer.or_else(|message| failed("002003", message));
        }
        match named("warehouse") {
            None if self.warehouses.is_empty() => {
                return failed("000606", "No active warehouse selected in the current session.  Select an active warehouse with the 'use warehouse' command.".into());
            }
            Some(name) if !self.warehouses.contains(name) => {
                return failed("390201", "The requested warehouse does not exist or not authorized.".into());
            }
            _ => {}
        }
        if let Some(why) = &self.stopped {
            return failed("090073", why.clone());
        }
        self.computed += 1;
        let at = |(line, column): (usize, usize)| format!("line {} at position {column}", line + 1);
        self.database.query(sql).or_else(|error| match error {
            SqlError::NoTable(name) => {
                let name = name.to_uppercase();
                failed("002003", format!("SQL compilation error:\nObject '{name}' does not exist or not authorized."))
            }
            SqlError::NoColumn(name, place) => {
                let name = name.to_uppercase();
                failed("000904", format!("SQL compilation error: error {}\ninvalid identifier '{name}'", at(place)))
            }
            SqlError::Syntax(near, place) => {
                failed("001003", format!("SQL compilation error:\nsyntax error {} unexpected '{near}'.", at(place)))
            }
            SqlError::Parameter => failed("000904", "SQL compilation error:\nBind variable ? not set.".into()),
            SqlError::Writes => failed(
                "001003",
                "SQL compilation error:\nsyntax error line 1 at position 0 unexpected 'INSERT'.".into(),
            ),
            SqlError::Runtime(message) => failed("100051", message),
        })
    }

    fn fetch(&mut self, _request: &DoubleRequest, handle: &str, number: Option<usize>) -> DoubleReply {
        if self.cancelled.iter().any(|known| known == handle) {
            return refused(422, "000604", "SQL execution canceled");
        }
        let Some(statement) = self.statements.get_mut(handle) else {
            return refused(404, "000709", "Statement not found.");
        };
        if statement.waits > 0 {
            statement.waits -= 1;
            return progress(handle);
        }
        let result = match &statement.outcome {
            Ok(result) => result,
            Err((status, code, message)) => {
                return DoubleReply::json(
                    *status,
                    &json!({ "code": code, "message": message, "sqlState": "42000", "statementHandle": handle }),
                );
            }
        };
        let part = |number: usize| -> Option<&[Vec<SqlValue>]> {
            let from = *statement.starts.get(number)?;
            let to = statement.starts.get(number + 1).copied().unwrap_or(result.rows.len());
            result.rows.get(from..to)
        };
        if let Some(number) = number {
            self.fetched.push(number);
            return match part(number) {
                Some(part) => DoubleReply::json(200, &json!({ "data": rows(part) })),
                None => refused(400, "391910", "The partition does not exist."),
            };
        }
        let info: Vec<Value> = (0..statement.starts.len())
            .filter_map(|number| {
                Some(json!({ "rowCount": part(number)?.len(), "uncompressedSize": 1000, "compressedSize": 500 }))
            })
            .collect();
        DoubleReply::json(
            200,
            &json!({
                "resultSetMetaData": {
                    "numRows": result.rows.len(), "format": "jsonv2", "partitionInfo": info,
                    "rowType": result.columns.iter().map(row_type).collect::<Vec<_>>(),
                },
                "data": rows(part(0).unwrap_or_default()),
                "code": "090001", "statementStatusUrl": format!("/api/v2/statements/{handle}"), "sqlState": "00000",
                "statementHandle": handle, "message": "Statement executed successfully.", "createdOn": 1_767_225_600_000_i64,
            }),
        )
    }
}

fn progress(handle: &str) -> DoubleReply {
    DoubleReply::json(
        202,
        &json!({
            "code": "333334", "message": "Asynchronous execution in progress. Use provided query id to perform query monitoring and management.",
            "statementHandle": handle, "statementStatusUrl": format!("/api/v2/statements/{handle}"),
        }),
    )
}
