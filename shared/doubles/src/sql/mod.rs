//! What every double of a warehouse has: real tables, and SQL that is run on them. SQLite computes; a vendor's spelling of
//! literals, names and casts is rewritten into SQLite's first, and values of types that SQLite has not are kept as
//! texts that begin with a mark.
//!
//! It is no copy of a vendor's SQL: it runs what models of tests and of `sluice demo` are written in.

mod arrow;
mod rewrite;
mod value;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error};

pub use self::arrow::array;
pub use self::rewrite::SqlDialect;
pub use self::value::{SqlKind, SqlType, SqlValue};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    pub name: String,
    pub kind: SqlType,
}

/// What a statement gives.
#[derive(Debug, Clone, Default)]
pub struct SqlResult {
    pub columns: Vec<ResultColumn>,
    pub rows: Vec<Vec<SqlValue>>,
}

/// Why a statement fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlError {
    /// A table that is not there.
    NoTable(String),
    /// A column that is not there: its name, and where it stands in the statement (line and column from 0).
    NoColumn(String, (usize, usize)),
    /// The text is no SQL: what is unexpected, and where.
    Syntax(String, (usize, usize)),
    /// It asks for parameters, and there are none.
    Parameter,
    /// It would write.
    Writes,
    /// It failed while it ran.
    Runtime(String),
}

/// Tables and what runs on them.
pub struct Database {
    connection: RefCell<Connection>,
    dialect: SqlDialect,
    /// By table: a digest of its rows when it was looked at last, and how often that had changed.
    versions: RefCell<BTreeMap<String, (u64, u64)>>,
}

/// What a catalogue says of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationInfo {
    /// Its name, as it was made.
    pub name: String,
    /// It is a view.
    pub is_view: bool,
    /// Greater after every change of its rows.
    pub version: u64,
}

/// Rows that are looked at for the types of a result's columns.
const TYPE_ROWS: usize = 64;

impl Database {
    /// Without a table.
    pub fn new(dialect: SqlDialect) -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        connection.create_scalar_function("typed_value", 2, flags, |context| {
            let kind: String = context.get(1)?;
            let kind = SqlType::parse(&kind)
                .ok_or_else(|| Error::UserFunctionError(format!("Unsupported data type '{kind}'.").into()))?;
            Ok(held(context, 0)?.cast(&kind).map_err(|why| Error::UserFunctionError(why.into()))?.to_sqlite())
        })?;
        connection.create_scalar_function("to_varchar", 1, flags, |context| {
            Ok(held(context, 0)?.cast(&SqlType::of(SqlKind::Text)).unwrap_or(SqlValue::Null).to_sqlite())
        })?;
        connection.create_scalar_function("to_binary", 2, flags, |context| {
            let text: String = context.get(0)?;
            Ok(value::from_hex(&text))
        })?;
        connection.create_scalar_function("divided", 2, flags, |context| {
            let (a, b): (i64, i64) = (context.get(0)?, context.get(1)?);
            a.checked_div(b).ok_or_else(|| Error::UserFunctionError("Division by zero".into()))
        })?;
        connection.create_scalar_function("to_iso8601", 1, flags, |context| {
            Ok(held(context, 0)?.iso8601().map_err(|why| Error::UserFunctionError(why.into()))?.to_sqlite())
        })?;
        connection.create_scalar_function("json_format", 1, flags, |context| {
            Ok(held(context, 0)?.cast(&SqlType::of(SqlKind::Text)).unwrap_or(SqlValue::Null).to_sqlite())
        })?;
        Ok(Self { connection: RefCell::new(connection), dialect, versions: RefCell::default() })
    }

    /// Makes a table of columns with their types in the vendor's words, and fills it.
    pub fn table(&self, name: &str, columns: &[(&str, &str)], rows: Vec<Vec<SqlValue>>) -> rusqlite::Result<()> {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let listed: Vec<_> = columns.iter().map(|(name, kind)| format!("{} \"{kind}\"", quoted(name))).collect();
        let mut connection = self.connection.borrow_mut();
        connection.execute_batch(&format!(
            "drop table if exists {0}; create table {0} ({1})",
            quoted(name),
            listed.join(", ")
        ))?;
        let places: Vec<_> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
        let transaction = connection.transaction()?;
        {
            let mut insert =
                transaction.prepare(&format!("insert into {} values ({})", quoted(name), places.join(", ")))?;
            for row in rows {
                insert.execute(rusqlite::params_from_iter(row.iter().map(SqlValue::to_sqlite)))?;
            }
        }
        transaction.commit()
    }

    /// Changes tables, in SQLite's own SQL.
    pub fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.borrow().execute_batch(sql)
    }

    /// What is known of a relation by its path, `catalog.schema.table` or the end of it; `None` where there is none. Quotes do
    /// not count.
    pub fn relation(&self, path: &str) -> Option<RelationInfo> {
        let path = path.replace(['"', '`'], "");
        let parts: Vec<&str> = path.split('.').collect();
        (0..parts.len()).find_map(|from| self.relation_named(&parts[from..].join(".")))
    }

    fn relation_named(&self, name: &str) -> Option<RelationInfo> {
        let connection = self.connection.borrow();
        let found = "select name, type = 'view' from sqlite_master where lower(name) = lower(?1)";
        let (name, is_view): (String, bool) =
            connection.query_row(found, [name], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
        let mut digest = DefaultHasher::new();
        let mut rows = connection.prepare(&format!("select * from \"{}\"", name.replace('"', "\"\""))).ok()?;
        let columns = rows.column_count();
        let mut rows = rows.query([]).ok()?;
        while let Some(row) = rows.next().ok()? {
            for at in 0..columns {
                format!("{:?}", row.get_ref(at).ok()?).hash(&mut digest);
            }
        }
        let digest = digest.finish();
        let mut versions = self.versions.borrow_mut();
        let known = versions.entry(name.clone()).or_insert((digest, 1));
        if known.0 != digest {
            *known = (digest, known.1 + 1);
        }
        Some(RelationInfo { name, is_view, version: known.1 })
    }

    /// Runs one reading statement.
    pub fn query(&self, sql: &str) -> Result<SqlResult, SqlError> {
        let rewritten = rewrite::rewrite(sql, self.dialect).map_err(SqlError::Runtime)?;
        let connection = self.connection.borrow();
        let known = |name: &str| {
            let tables = "select 1 from sqlite_master as t left join pragma_table_info(t.name) as c where t.name = ?1 or c.name = ?1";
            connection.prepare(tables).and_then(|mut s| s.exists([name])).unwrap_or(false)
        };
        let told_apart = self.dialect == SqlDialect::Snowflake;
        if let Some(name) = rewrite::unknown_name(sql, self.dialect, known).filter(|_| told_apart) {
            let place = place_of(sql, &name);
            return Err(SqlError::NoColumn(name, place));
        }
        // Without a row the types of expressions are not known: the same statement without its limit tells them.
        let whole = rewritten.trim_end();
        let unlimited =
            whole.to_uppercase().ends_with("LIMIT 0").then(|| whole[..whole.len() - "LIMIT 0".len()].to_owned());
        let mut prepared =
            connection.prepare(unlimited.as_deref().unwrap_or(&rewritten)).map_err(|error| told(&error, sql))?;
        if prepared.parameter_count() > 0 {
            return Err(SqlError::Parameter);
        }
        if !prepared.readonly() {
            return Err(SqlError::Writes);
        }
        let declared: Vec<(String, Option<SqlType>)> = prepared
            .columns()
            .map(|column| (without_number(column.name()), column.decl_type().and_then(SqlType::parse)))
            .collect();
        let mut stepped = prepared.query([]).map_err(|error| told(&error, sql))?;
        let mut rows = Vec::new();
        while let Some(row) = stepped.next().map_err(|error| told(&error, sql))? {
            let mut out = Vec::with_capacity(declared.len());
            for at in 0..declared.len() {
                out.push(SqlValue::of_sqlite(row.get_ref(at).unwrap_or(ValueRef::Null)));
            }
            rows.push(out);
            if unlimited.is_some() && rows.len() >= TYPE_ROWS {
                break;
            }
        }
        let columns = declared
            .into_iter()
            .enumerate()
            .map(|(at, (name, kind))| {
                let seen = || rows.iter().take(TYPE_ROWS).find_map(|row| row[at].kind());
                ResultColumn { name, kind: kind.or_else(seen).unwrap_or(SqlType::of(SqlKind::Text)) }
            })
            .collect();
        if unlimited.is_some() {
            rows.clear();
        }
        Ok(SqlResult { columns, rows })
    }
}

/// The name that SQLite gave a second column of one name (`A:1`), as it was.
fn without_number(name: &str) -> String {
    match name.rsplit_once(':') {
        Some((name, number)) if !name.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        _ => name.to_owned(),
    }
}

fn held(context: &Context<'_>, at: usize) -> rusqlite::Result<SqlValue> {
    Ok(SqlValue::of_sqlite(context.get_raw(at)))
}

/// SQLite's error as a vendor would tell it of the text that was sent.
fn told(error: &Error, sql: &str) -> SqlError {
    let message = match error {
        Error::SqlInputError { msg, .. } => msg.clone(),
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    };
    let message = message.split(" in \"").next().unwrap_or_default().to_owned();
    if let Some(name) = message.strip_prefix("no such table: ") {
        return SqlError::NoTable(name.to_owned());
    }
    if let Some(name) = message.strip_prefix("no such column: ") {
        return SqlError::NoColumn(name.to_owned(), place_of(sql, name));
    }
    if let Some(rest) = message.strip_prefix("near \"") {
        let near = rest.split('"').next().unwrap_or_default();
        return SqlError::Syntax(near.to_owned(), place_of(sql, near));
    }
    if message.contains("incomplete input") {
        return SqlError::Syntax("<EOF>".into(), place_at(sql, sql.len()));
    }
    SqlError::Runtime(message)
}

/// Where a word stands for the last time: line and column, from 0.
fn place_of(sql: &str, word: &str) -> (usize, usize) {
    let at = sql.to_lowercase().rfind(&word.to_lowercase()).unwrap_or(0);
    place_at(sql, at)
}

fn place_at(sql: &str, at: usize) -> (usize, usize) {
    let before = sql.get(..at).unwrap_or(sql);
    let line = before.matches('\n').count();
    (line, before.rsplit('\n').next().unwrap_or_default().chars().count())
}
