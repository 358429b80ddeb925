//! What every warehouse must do. The suite walks the registry: a warehouse without a fixture fails it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod athena;
mod athena_answers;
mod bigquery;
mod bigquery_answers;
mod bigquery_storage;
mod databricks;
mod fixtures;
mod mysql;
mod postgres;
mod reading;
mod redshift;
mod redshift_door;
mod redshift_wire;
mod snowflake;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::cells;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::ports::{MAX_KEYS, OpenArgs, Query, RowFilter, SystemClock, Warehouse};
use domain::row::RowBatch;
use domain::value::{Type, Value};
use doubles::databricks::DatabricksDouble;
use doubles::redshift::RedshiftDouble;
use doubles::s3::S3Double;
use doubles::snowflake::SnowflakeDouble;
use futures_util::StreamExt as _;
use support::mysql::MysqlDatabase;
use support::postgres::TestDatabase;

use self::reading::{collect, eventually, numbers, query, read};

/// What is said of an infinite value.
const INFINITY: &str =
    "infinity, which few systems know: write nullif(COLUMN, 'infinity') in the model, or another value in its place";

/// A value and how the warehouse's SQL writes it.
type Literal = (&'static str, Value<'static>);

/// What the cases need of one kind of warehouse: the same facts in its own SQL.
struct Fixture {
    name: &'static str,
    config: serde_json::Value,
    /// Settings of a database that nobody serves, and the address its fault must name.
    nowhere: (serde_json::Value, String),
    /// Every type it has, at its edges.
    literals: Vec<Literal>,
    /// `n` from 1 to the number in place of `{}`.
    numbers: &'static str,
    /// Fails at `n` = 3000 …
    fails_halfway: &'static str,
    /// … after so many rows: none where a statement is done before its rows are read.
    rows_before_failure: i64,
    /// Names that are not quoted are in capitals.
    capitals: bool,
    /// Where in the SQL something is wrong is told, and columns that are named twice.
    tells_positions: bool,
    /// Runs for as long as it is let.
    endless: &'static str,
    /// A table of one row.
    kept: &'static str,
    /// Writes to it, in the shape of a query; each must be refused.
    writes: &'static [&'static str],
    /// Four values `c` in rising order, and the third of them.
    cursors: Vec<(&'static str, Value<'static>)>,
    /// Keeps what the settings point at.
    keep: Keep,
}

enum Keep {
    Sqlite(tempfile::TempDir),
    Postgres(Box<TestDatabase>),
    Snowflake(Box<SnowflakeDouble>),
    Databricks(Box<DatabricksDouble>),
    Mysql(Box<MysqlDatabase>),
    Redshift(Box<RedshiftDouble>),
    RedshiftUnload(Box<(RedshiftDouble, S3Double)>),
    RedshiftWire(Box<redshift_wire::WireRig>),
    Athena(Box<athena::AthenaRig>),
    /// Stands before what others have made.
    Server(#[expect(dead_code, reason = "it serves until it is dropped")] Box<doubles::server::Server>),
    /// It has been made by others, and goes with them.
    Nothing,
}

/// Knows the one token of the doubles.
pub(crate) struct NoSecrets;

#[async_trait::async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "TOKEN" => Ok(TOKEN.into()),
            other => Err(Fault::new(Code::SecretMissing, other.to_string())),
        }
    }
}

/// The fixtures that there are; `warehouse` makes the one of this name.
const FIXTURES: &[&str] = &["athena", "bigquery", "databricks", "mysql", "postgres", "redshift", "snowflake", "sqlite"];

const TOKEN: &str = "planted-token";

#[test]
fn every_warehouse_of_the_registry_has_a_fixture() {
    let registered: Vec<_> = warehouses::REGISTRY.iter().map(|e| e.name).collect();
    assert_eq!(registered, FIXTURES, "a warehouse and its fixture come together");
    assert!(registered.is_sorted());
    for entry in warehouses::REGISTRY {
        assert!(
            (entry.schema)().as_object().is_some_and(|s| s.contains_key("properties")),
            "{} describes its settings",
            entry.name
        );
        assert!(warehouses::find(entry.name).is_some() && !entry.about.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    every_case(&fixtures::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn athena() {
    every_case(&athena::fixture()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the BigQuery emulator: ./tests/run"]
async fn bigquery() {
    every_case(&bigquery::fixture().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the BigQuery emulator: ./tests/run"]
async fn bigquery_by_the_storage_read_api() {
    every_case(&bigquery::storage_fixture().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databricks() {
    every_case(&databricks::fixture()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MariaDB: ./tests/run"]
async fn mysql() {
    every_case(&mysql::fixture().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redshift() {
    every_case(&redshift::fixture()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redshift_by_unload() {
    every_case(&redshift::unload_fixture()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn redshift_by_wire() {
    let fixture = redshift_wire::fixture().await;
    every_case(&fixture).await;
    let Keep::RedshiftWire(rig) = &fixture.keep else { panic!("the rig is kept") };
    rig.knew_everything();
}

#[tokio::test(flavor = "multi_thread")]
async fn snowflake() {
    every_case(&snowflake::fixture()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn postgres() {
    every_case(&fixtures::postgres().await).await;
}

async fn every_case(fixture: &Fixture) {
    values_come_back(fixture).await;
    columns_are_described(fixture).await;
    rows_come_in_order_over_several_batches(fixture).await;
    what_reading_used_is_told(fixture).await;
    wrong_models_are_told_apart(fixture).await;
    a_failure_halfway_is_the_last_item(fixture).await;
    conditions_choose_rows(fixture).await;
    a_dropped_stream_stops(fixture).await;
    a_model_only_reads(fixture).await;
    nobody_there_is_named(fixture).await;
}

// ---------------------------------------------------------------------------------------------------
// The cases

async fn values_come_back(f: &Fixture) {
    let columns: Vec<_> = f.literals.iter().enumerate().map(|(i, (sql, _))| format!("{sql} as c{i}")).collect();
    let warehouse = f.open().await;
    let batches = read(&*warehouse, &format!("select {}", columns.join(", "))).await.unwrap();
    let row = batches[0].rows().next().unwrap();
    for (i, (sql, expected)) in f.literals.iter().enumerate() {
        assert_eq!(row.value(i), *expected, "{}: {sql}", f.name);
    }
}

async fn columns_are_described(f: &Fixture) {
    let warehouse = f.open().await;
    let columns: Vec<_> = f
        .literals
        .iter()
        .enumerate()
        .map(|(i, (sql, _))| format!("{sql} as {}", f.quoted(&format!("Column {i}"))))
        .collect();
    let sql = format!("-- a model\nselect {};", columns.join(", "));
    let described = warehouse.describe(&query(&sql)).await.unwrap();
    assert!(described.findings.is_empty(), "{}: {:?}", f.name, described.findings);
    let batches = read(&*warehouse, &sql).await.unwrap();
    let row = batches[0].rows().next().unwrap();
    assert_eq!(described.columns.len(), f.literals.len());
    for (i, column) in described.columns.iter().enumerate() {
        assert_eq!(column.name, format!("Column {i}"));
        let value = row.value(i);
        let fits = column.kind == Type::Any
            || value.is_empty()
            || matches!(value, Value::Unreadable(_))
            || value.type_name() == column.kind.to_string();
        assert!(fits, "{}: column {i} is described as {} and holds {value:?}", f.name, column.kind);
    }
    if !f.tells_positions {
        return;
    }
    let twice = warehouse.describe(&query("select 1 as a, 2 as b, 3 as a")).await.unwrap();
    assert_eq!(
        twice.findings.iter().filter(|x| x.is_error() && x.what.to_lowercase().contains("`a`")).count(),
        1,
        "{}: {:?}",
        f.name,
        twice.findings
    );
}

async fn rows_come_in_order_over_several_batches(f: &Fixture) {
    let warehouse = f.open().await;
    assert_eq!(numbers(&read(&*warehouse, &f.numbers(0)).await.unwrap()), [0i64; 0], "{}: no rows are no rows", f.name);
    let batches = read(&*warehouse, &f.numbers(5000)).await.unwrap();
    assert!(batches.len() > 1, "{}: more than one batch", f.name);
    assert!(batches.iter().all(|b| !b.is_empty()));
    assert_eq!(numbers(&batches), (1..=5000).collect::<Vec<_>>(), "{}", f.name);
}

async fn what_reading_used_is_told(f: &Fixture) {
    let asked = query(&f.numbers(100));
    collect(&*f.open().await, &asked).await.unwrap();
    let used = asked.usage.total();
    let says = (used.scanned_bytes.is_some(), used.statement_millis.is_some());
    let expected = match f.name {
        "athena" => (true, true),
        "bigquery" => (true, false),
        // The protocol of PostgreSQL does not say.
        "redshift" if matches!(f.keep, Keep::RedshiftWire(_)) => (false, false),
        "databricks" | "redshift" | "snowflake" => (false, true),
        _ => (false, false),
    };
    assert_eq!(says, expected, "{}: {used:?}", f.name);
}

async fn wrong_models_are_told_apart(f: &Fixture) {
    let warehouse = f.open().await;
    for (sql, part) in [
        ("select 1 as a,\n  from nowhere where", "at line 2"),
        ("select a from no_such_table", "no_such_table"),
        ("select 1; select 2", "one statement"),
        ("select ?1 as a union all select $1", ""),
        ("", "empty"),
    ] {
        let part = if part.starts_with("at line") && !f.tells_positions { "" } else { part };
        let fault = warehouse.describe(&query(sql)).await.unwrap_err();
        assert_eq!(fault.code, Code::ModelFailed, "{}: {sql}: {fault}", f.name);
        assert!(
            fault.what.to_lowercase().contains(part) && fault.what.contains("warehouse test"),
            "{}: {sql}: {fault}",
            f.name
        );
        let read = read(&*warehouse, sql).await.unwrap_err().1;
        assert!(
            read == fault || !f.tells_positions && read.code == fault.code,
            "{}: rows say the same as describe",
            f.name
        );
    }
    if !f.tells_positions {
        return;
    }
    // The position stays that of the person's own text when a condition is around it.
    let only = RowFilter::Keys { columns: vec!["a".into()], keys: vec![vec!["1".into()]] };
    let only = f.folded(only);
    let asked = Query { sql: "select 1 as a,\n  nope".into(), only: Some(only), ..Query::default() };
    let fault = collect(&*warehouse, &asked).await.unwrap_err().1;
    assert!(fault.what.contains("at line 2, column 3"), "{}: {fault}", f.name);
}

async fn a_failure_halfway_is_the_last_item(f: &Fixture) {
    let warehouse = f.open().await;
    let (batches, fault) = read(&*warehouse, f.fails_halfway).await.unwrap_err();
    assert_eq!(numbers(&batches), (1..=f.rows_before_failure).collect::<Vec<_>>(), "{}: the rows before", f.name);
    assert_eq!(fault.code, Code::ModelFailed, "{}: {fault}", f.name);
}

async fn conditions_choose_rows(f: &Fixture) {
    let warehouse = f.open().await;
    for (values, third) in &f.cursors {
        let mut cell = Vec::new();
        cells::push(&mut cell, *third);
        let only = Some(f.folded(RowFilter::From { column: "c".into(), cell }));
        // The comment at the end must not swallow what is put after it.
        let sql = format!("{values} -- the newest;");
        let batches = collect(&*warehouse, &Query { sql, only, ..Query::default() }).await.unwrap();
        let mut found: Vec<_> = batches.iter().flat_map(|b| b.rows().map(|r| r.value(0)).collect::<Vec<_>>()).collect();
        found.sort_by_key(|v| v.to_text().into_owned());
        assert_eq!(found, [Value::Int(3), Value::Int(4)], "{}: {values}", f.name);
    }
    let (key, its) = (f.quoted("a b"), if f.quotes_back() { "\"it's\"" } else { "'it''s'" });
    let sql = format!("select 7 as {key}, {its} as {} union all select 8, 'x' union all select 7, 'y';", f.quoted("T"));
    let keys = |columns: &[&str], keys: &[&[&str]]| {
        let owned = |list: &[&str]| list.iter().map(|x| (*x).to_owned()).collect::<Vec<_>>();
        Some(RowFilter::Keys { columns: owned(columns), keys: keys.iter().map(|key| owned(key)).collect() })
    };
    for (only, expected) in [
        (keys(&["a b", "T"], &[&["7", "it's"]]), &[7][..]),
        (keys(&["a b", "T"], &[&["7", "it's"], &["8", "x"], &["7", "x"]]), &[7, 8]),
        (keys(&["T"], &[&["y"], &["it's"], &["gone"]]), &[7, 7]),
        (keys(&["T"], &[]), &[]),
    ] {
        let batches = collect(&*warehouse, &Query { sql: sql.clone(), only, ..Query::default() }).await.unwrap();
        assert_eq!(numbers(&batches), expected, "{}", f.name);
    }
    // Some thousand at once.
    let many: Vec<Vec<String>> = (0..MAX_KEYS).map(|n| vec![n.to_string()]).collect();
    let only = Some(f.folded(RowFilter::Keys { columns: vec!["n".into()], keys: many }));
    let batches = collect(&*warehouse, &Query { sql: f.numbers(9000), only, ..Query::default() }).await.unwrap();
    assert_eq!(batches.iter().map(RowBatch::len).sum::<usize>(), MAX_KEYS - 1, "{}", f.name);
}

async fn a_dropped_stream_stops(f: &Fixture) {
    let warehouse = f.open().await;
    let mut rows = warehouse.rows(&query(f.endless)).await.unwrap();
    assert!(rows.next().await.unwrap().unwrap().len() > 100, "{}", f.name);
    drop(rows);
    match &f.keep {
        // The thread holds the read transaction until it stops; only then can another lock the file alone.
        Keep::Sqlite(folder) => {
            let writer = rusqlite::Connection::open(folder.path().join("test.db")).unwrap();
            eventually(async || writer.execute_batch("begin exclusive; commit").is_ok()).await;
        }
        Keep::Postgres(database) => {
            let others =
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
            eventually(async || database.client.query_one(others, &[]).await.unwrap().get::<_, i64>(0) == 0).await;
        }
        Keep::Snowflake(double) => settles(|| double.account().fetched.len()).await,
        Keep::Mysql(database) => mysql::is_idle(database).await,
        Keep::Redshift(double) => settles(|| double.workgroup().pages).await,
        Keep::Athena(rig) => is_deleted(&rig.s3).await,
        Keep::RedshiftWire(rig) => rig.is_idle().await,
        Keep::RedshiftUnload(doubles) => is_deleted(&doubles.1).await,
        Keep::Databricks(double) => settles(|| double.workspace().linked).await,
        // What happens at the other side is not seen.
        Keep::Server(_) | Keep::Nothing => {}
    }
}

/// Waits until no more of a result is fetched, and what was written is deleted, although it was not read.
async fn is_deleted(s3: &S3Double) {
    settles(|| s3.buckets().lock().served.len()).await;
    eventually(async || s3.buckets().lock().objects.is_empty()).await;
}

/// Waits until no more parts are fetched, long before all of them are.
async fn settles(fetched: impl Fn() -> usize) {
    eventually(async || {
        let before = fetched();
        tokio::time::sleep(Duration::from_millis(50)).await;
        before == fetched()
    })
    .await;
    assert!(fetched() < 100, "no more parts are fetched");
}

async fn a_model_only_reads(f: &Fixture) {
    let warehouse = f.open().await;
    for sql in f.writes {
        let fault = read(&*warehouse, sql).await.unwrap_err().1;
        assert_eq!(fault.code, Code::ModelFailed, "{}: {sql}: {fault}", f.name);
    }
    assert_eq!(
        numbers(&read(&*warehouse, &format!("select count(*) as n from {}", f.kept)).await.unwrap()),
        [1],
        "{}: nothing was written",
        f.name
    );
}

async fn nobody_there_is_named(f: &Fixture) {
    let (config, address) = &f.nowhere;
    let warehouse = open(f.name, config, Path::new("/nowhere")).await;
    for fault in
        [warehouse.describe(&query("select 1")).await.unwrap_err(), read(&*warehouse, "select 1").await.unwrap_err().1]
    {
        assert_eq!(fault.code, Code::WarehouseUnreachable, "{fault}");
        assert!(fault.what.contains(address.as_str()), "{fault}");
    }
}

async fn open(name: &str, config: &serde_json::Value, folder: &Path) -> Arc<dyn Warehouse> {
    let entry = warehouses::find(name).unwrap();
    (entry.open)(OpenArgs { name: "test", config, folder, secrets: &NoSecrets, clock: &SystemClock::shared() })
        .await
        .unwrap()
}

impl Fixture {
    async fn open(&self) -> Arc<dyn Warehouse> {
        let folder = match &self.keep {
            Keep::Sqlite(folder) => folder.path(),
            _ => Path::new("/nowhere"),
        };
        open(self.name, &self.config, folder).await
    }

    /// The filter with the names of its columns as the warehouse has them.
    fn folded(&self, mut only: RowFilter) -> RowFilter {
        if self.capitals {
            match &mut only {
                RowFilter::From { column, .. } => *column = column.to_uppercase(),
                RowFilter::Keys { columns, .. } => columns.iter_mut().for_each(|c| *c = c.to_uppercase()),
            }
        }
        only
    }

    /// Names are quoted by back quotes, and texts by double ones, too.
    fn quotes_back(&self) -> bool {
        matches!(self.name, "bigquery" | "databricks" | "mysql")
    }

    /// A name in the quotes of this warehouse.
    fn quoted(&self, name: &str) -> String {
        if self.quotes_back() { format!("`{name}`") } else { format!("\"{name}\"") }
    }

    fn numbers(&self, count: u32) -> String {
        self.numbers.replace("{}", &count.to_string())
    }
}
