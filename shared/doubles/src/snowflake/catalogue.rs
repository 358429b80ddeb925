//! Statements that Snowflake answers from its metadata: SHOW OBJECTS, and the time of a table's last commit.

use crate::sql::{Database, ResultColumn, SqlKind, SqlResult, SqlType, SqlValue};

/// The first commit of a table, in nanoseconds: 2026-01-01.
const FIRST_COMMIT: u64 = 1_767_225_600_000_000_000;

/// The answer of a statement of this kind, or why it fails; `None` for any other statement.
pub(super) fn answer(database: &Database, sql: &str) -> Option<Result<SqlResult, String>> {
    let lower = sql.trim().to_lowercase();
    if lower.starts_with("show objects like ") {
        let (pattern, schema) = (text(sql)?, lower.split_once(" in schema ").map_or("", |(_, schema)| schema));
        return Some(Ok(objects(database, &pattern, schema)));
    }
    if lower.starts_with("select system$last_change_commit_time(") {
        let name = text(sql)?;
        let missing = || format!("SQL compilation error:\nObject '{name}' does not exist or not authorized.");
        let column = ResultColumn { name: "VERSION".into(), kind: SqlType::of(SqlKind::Number) };
        return Some(database.relation(&name).ok_or_else(missing).map(|found| {
            let commit = FIRST_COMMIT + found.version * 1_000_000;
            SqlResult { columns: vec![column], rows: vec![vec![number(commit)]] }
        }));
    }
    None
}

fn objects(database: &Database, pattern: &str, schema: &str) -> SqlResult {
    let names = ["created_on", "name", "database_name", "schema_name", "kind", "comment"];
    let column = |name: &&str| ResultColumn { name: (*name).into(), kind: SqlType::of(SqlKind::Text) };
    let rows = database.relation(&format!("{schema}.{pattern}")).map(|found| {
        let kind = if found.is_view { "VIEW" } else { "TABLE" };
        let name = found.name.rsplit('.').next().unwrap_or_default().to_uppercase();
        ["1767225600.000000000", &name, "ANALYTICS", "CRM", kind, ""].map(SqlValue::text).to_vec()
    });
    SqlResult { columns: names.iter().map(column).collect(), rows: rows.into_iter().collect() }
}

/// The first quoted text of a statement.
fn text(sql: &str) -> Option<String> {
    let (_, rest) = sql.split_once('\'')?;
    Some(rest.split_once('\'')?.0.to_owned())
}

fn number(n: u64) -> SqlValue {
    SqlValue::of("number", &n.to_string()).unwrap_or(SqlValue::Null)
}
