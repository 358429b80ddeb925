//! Statements: submitted, asked about, cancelled; the links of their chunks, and the storage behind these.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::wire::{arrow, column, refused};
use super::workspace::{DatabricksFailure, DatabricksStep, DatabricksWorkspace, ExecutedStatement};
use crate::exchange::{DoubleReply, DoubleRequest};
use crate::sql::{Database, ResultColumn, SqlError, SqlKind, SqlResult, SqlType, SqlValue};

impl DatabricksWorkspace {
    pub(super) fn answer(&mut self, request: &DoubleRequest) -> DoubleReply {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), &path[..]) {
            ("POST", ["oidc", "v1", "token"]) => self.mint(request),
            ("GET", ["storage", link]) => {
                self.tokens_shown += u32::from(request.header("authorization").is_some());
                self.stored(link)
            }
            (_, ["api", ..]) => {
                let token = request.header("authorization").and_then(|v| v.strip_prefix("Bearer ")).unwrap_or_default();
                if !self.tokens.contains(token) {
                    return refused(
                        401,
                        "UNAUTHENTICATED",
                        "Credential was not sent or was of an unsupported type for this API.",
                    );
                }
                match (request.method.as_str(), &path[1..]) {
                    (_, ["2.0", "sql", "statements", ..]) => self.statement(request, &path[4..]),
                    ("GET", ["2.1", "unity-catalog", "tables", name]) => self.table(name),
                    _ => refused(404, "NOT_FOUND", "No API found."),
                }
            }
            _ => refused(404, "NOT_FOUND", "No API found."),
        }
    }

    fn table(&self, name: &str) -> DoubleReply {
        let Some(found) = self.database.relation(name) else {
            return refused(404, "TABLE_DOES_NOT_EXIST", &format!("Table '{name}' does not exist."));
        };
        let kind = if found.is_view { "VIEW" } else { "MANAGED" };
        DoubleReply::json(200, &json!({ "full_name": name, "table_type": kind, "data_source_format": "DELTA" }))
    }

    fn mint(&mut self, request: &DoubleRequest) -> DoubleReply {
        let form = request.form();
        let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
        let known =
            self.principal.as_ref().map(|(id, secret)| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))));
        if known.is_none()
            || request.header("authorization").map(str::to_owned) != known
            || value("grant_type") != "client_credentials"
            || value("scope") != "all-apis"
        {
            return DoubleReply::json(
                401,
                &json!({ "error": "invalid_client", "error_description": "Client authentication failed" }),
            );
        }
        self.minted += 1;
        let token = format!("minted-{}", self.minted);
        self.tokens.insert(token.clone());
        DoubleReply::json(
            200,
            &json!({ "access_token": token, "scope": "all-apis", "token_type": "Bearer", "expires_in": 3600 }),
        )
    }

    fn statement(&mut self, request: &DoubleRequest, path: &[&str]) -> DoubleReply {
        match (request.method.as_str(), path) {
            ("POST", []) => self.failing(DatabricksStep::Submit, |workspace| workspace.submit(request)),
            ("GET", [id]) => {
                let id = (*id).to_owned();
                self.failing(DatabricksStep::Poll, |workspace| workspace.tell(&id))
            }
            ("GET", [id, "result", "chunks", chunk]) => {
                let (id, chunk, host) = (
                    (*id).to_owned(),
                    chunk.parse().unwrap_or(usize::MAX),
                    request.header("host").unwrap_or_default().to_owned(),
                );
                self.failing(DatabricksStep::Link, |workspace| workspace.link(&id, chunk, &host))
            }
            ("POST", [id, "cancel"]) => {
                self.cancelled.push((*id).to_owned());
                DoubleReply::json(200, &json!({}))
            }
            _ => refused(404, "NOT_FOUND", "No API found."),
        }
    }

    fn failing(&mut self, step: DatabricksStep, work: impl FnOnce(&mut Self) -> DoubleReply) -> DoubleReply {
        match self.failure(step) {
            None => work(self),
            Some(DatabricksFailure::Status(status, code, message)) => refused(status, code, message),
            Some(DatabricksFailure::Html(status)) => {
                DoubleReply::text(status, "text/html", "<html><body>Service Unavailable</body></html>")
            }
            Some(DatabricksFailure::Cut) => DoubleReply::cut(),
            Some(DatabricksFailure::CutAfter(bytes)) => DoubleReply { cut_after: Some(bytes), ..work(self) },
            Some(DatabricksFailure::Expired | DatabricksFailure::RowsMissing) => DoubleReply::text(
                403,
                "application/xml",
                "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            ),
        }
    }

    fn submit(&mut self, request: &DoubleRequest) -> DoubleReply {
        let Some(body) = request.json() else { return refused(400, "BAD_REQUEST", "Could not parse request object.") };
        let Some(sql) = body["statement"].as_str() else { return refused(400, "BAD_REQUEST", "Missing statement.") };
        let warehouse = body["warehouse_id"].as_str().unwrap_or_default();
        if warehouse != self.warehouse {
            return refused(404, "NOT_FOUND", &format!("SQL warehouse {warehouse} does not exist"));
        }
        let id = format!("01ef-{:08}", self.statements.len() + 1);
        let outcome = self.run(sql);
        self.statements.insert(id.clone(), ExecutedStatement { waits: self.polls, outcome });
        self.submitted.push(body);
        self.tell(&id)
    }

    fn run(&self, sql: &str) -> Result<SqlResult, String> {
        if let Some(rest) = sql.strip_prefix("describe history ") {
            return history(&self.database, rest.split_whitespace().next().unwrap_or_default());
        }
        let at = |(line, column): (usize, usize)| format!("line {}, pos {column}", line + 1);
        self.database.query(sql).map_err(|error| match error {
            SqlError::NoTable(name) => format!("[TABLE_OR_VIEW_NOT_FOUND] The table or view `{name}` cannot be found. Verify the spelling and correctness of the schema and catalog. SQLSTATE: 42P01"),
            SqlError::NoColumn(name, place) => format!("[UNRESOLVED_COLUMN.WITHOUT_SUGGESTION] A column, variable, or function parameter with name `{name}` cannot be resolved. SQLSTATE: 42703; {}", at(place)),
            SqlError::Syntax(near, place) => format!("[PARSE_SYNTAX_ERROR] Syntax error at or near '{near}'. SQLSTATE: 42601 ({})", at(place)),
            SqlError::Parameter => "[UNBOUND_SQL_PARAMETER] Found the unbound parameter: _1.".into(),
            SqlError::Writes => "[INSUFFICIENT_PERMISSIONS] User does not have MODIFY on the table.".into(),
            SqlError::Runtime(message) => format!("[DIVIDE_BY_ZERO] {message}"),
        })
    }

    fn tell(&mut self, id: &str) -> DoubleReply {
        if self.cancelled.iter().any(|known| known == id) {
            return DoubleReply::json(200, &json!({ "statement_id": id, "status": { "state": "CANCELED" } }));
        }
        let (rows, truncates) = (self.chunk_rows.max(1), self.truncates);
        let Some(statement) = self.statements.get_mut(id) else {
            return refused(404, "NOT_FOUND", &format!("The statement {id} was not found."));
        };
        if statement.waits > 0 {
            statement.waits -= 1;
            return DoubleReply::json(200, &json!({ "statement_id": id, "status": { "state": "RUNNING" } }));
        }
        match &statement.outcome {
            Err(message) => {
                let error = json!({ "error_code": "BAD_REQUEST", "message": message });
                DoubleReply::json(200, &json!({ "statement_id": id, "status": { "state": "FAILED", "error": error } }))
            }
            Ok(result) => {
                let chunks: Vec<Value> = result
                    .rows
                    .chunks(rows)
                    .enumerate()
                    .map(|(at, part)| json!({ "chunk_index": at, "row_offset": at * rows, "row_count": part.len(), "byte_count": part.len() * 100 }))
                    .collect();
                let columns: Vec<Value> = result.columns.iter().enumerate().map(|(at, c)| column(at, c)).collect();
                let manifest = json!({
                    "format": "ARROW_STREAM", "schema": { "column_count": columns.len(), "columns": columns },
                    "total_chunk_count": chunks.len(), "chunks": chunks, "total_row_count": result.rows.len(), "truncated": truncates,
                });
                DoubleReply::json(
                    200,
                    &json!({ "statement_id": id, "status": { "state": "SUCCEEDED" }, "manifest": manifest }),
                )
            }
        }
    }

    fn link(&mut self, id: &str, chunk: usize, host: &str) -> DoubleReply {
        let Some(Ok(result)) = self.statements.get(id).map(|s| s.outcome.as_ref()) else {
            return refused(404, "NOT_FOUND", &format!("The statement {id} was not found."));
        };
        let count = result.rows.chunks(self.chunk_rows.max(1)).nth(chunk).map(<[Vec<SqlValue>]>::len);
        let Some(count) = count else { return refused(400, "BAD_REQUEST", "Invalid chunk index.") };
        self.linked += 1;
        let name = format!("{id}-{}", self.linked);
        self.links.insert(name.clone(), (id.to_owned(), chunk));
        let link = json!({
            "chunk_index": chunk, "row_offset": chunk * self.chunk_rows, "row_count": count, "byte_count": count * 100,
            "external_link": format!("http://{host}/storage/{name}?X-Amz-Signature=planted"), "expiration": "2099-01-01T00:00:00Z",
            "http_headers": { "x-planted": "for the storage" },
        });
        DoubleReply::json(200, &json!({ "external_links": [link] }))
    }

    fn stored(&mut self, link: &str) -> DoubleReply {
        let expired = || {
            DoubleReply::text(
                403,
                "application/xml",
                "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
            )
        };
        // A link is good once, so that one that is used again is noticed.
        let Some((id, chunk)) = self.links.remove(link) else { return expired() };
        let failure = self.failure(DatabricksStep::Chunk(chunk));
        let Some(Ok(result)) = self.statements.get(&id).map(|s| s.outcome.as_ref()) else { return expired() };
        let mut rows = result.rows.chunks(self.chunk_rows.max(1)).nth(chunk).unwrap_or_default();
        if matches!(failure, Some(DatabricksFailure::RowsMissing)) {
            rows = &rows[..rows.len() / 2];
        }
        let Ok(body) = arrow(result, rows) else { return DoubleReply::status(500) };
        let reply = DoubleReply { status: 200, body: Bytes::from(body), ..DoubleReply::default() }
            .with("content-type", "application/octet-stream");
        match failure {
            None | Some(DatabricksFailure::RowsMissing) => reply,
            Some(DatabricksFailure::Cut) => DoubleReply::cut(),
            Some(DatabricksFailure::CutAfter(bytes)) => DoubleReply { cut_after: Some(bytes), ..reply },
            Some(DatabricksFailure::Html(status)) => DoubleReply::text(status, "text/html", "<html></html>"),
            Some(DatabricksFailure::Status(status, ..)) => DoubleReply::status(status),
            Some(DatabricksFailure::Expired) => expired(),
        }
    }
}

/// The last entry of a table's history.
fn history(database: &Database, table: &str) -> Result<SqlResult, String> {
    let found = database
        .relation(table)
        .ok_or_else(|| format!("[DELTA_TABLE_NOT_FOUND] Delta table `{table}` doesn't exist."))?;
    let column = |name: &str, kind| ResultColumn {
        name: name.into(),
        kind: SqlType::parse(kind).unwrap_or(SqlType::of(SqlKind::Text)),
    };
    let version = SqlValue::Int(i64::try_from(found.version).unwrap_or(i64::MAX));
    let time = SqlValue::of("timestamp", "2026-01-01 00:00:00").unwrap_or(SqlValue::Null);
    Ok(SqlResult {
        columns: vec![column("version", "bigint"), column("timestamp", "timestamp"), column("operation", "string")],
        rows: vec![vec![version, time, SqlValue::text("WRITE")]],
    })
}
