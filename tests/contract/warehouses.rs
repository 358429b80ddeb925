//! What every warehouse must do. The suite walks the registry: a warehouse without a fixture fails it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up fails")]

mod postgres;

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
use futures_util::StreamExt as _;
use serde_json::json;
use support::postgres::TestDatabase;

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
    /// Fails at `n` = 3000.
    fails_halfway: &'static str,
    /// Runs for as long as it is let.
    endless: &'static str,
    /// Writes, in the shape of a query; each must be refused.
    writes: &'static [&'static str],
    /// Four values `c` in rising order, and the third of them.
    cursors: Vec<(&'static str, Value<'static>)>,
    /// Keeps what the settings point at.
    keep: Keep,
}

enum Keep {
    Sqlite(tempfile::TempDir),
    Postgres(Box<TestDatabase>),
}

struct NoSecrets;

#[async_trait::async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        Err(Fault::new(Code::SecretMissing, reference.to_string()))
    }
}

/// The fixtures that there are; `warehouse` makes the one of this name.
const FIXTURES: &[&str] = &["postgres", "sqlite"];

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
    every_case(&sqlite_fixture()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn postgres() {
    every_case(&postgres_fixture().await).await;
}

async fn every_case(fixture: &Fixture) {
    values_come_back(fixture).await;
    columns_are_described(fixture).await;
    rows_come_in_order_over_several_batches(fixture).await;
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
    let columns: Vec<_> =
        f.literals.iter().enumerate().map(|(i, (sql, _))| format!("{sql} as \"Column {i}\"")).collect();
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
    let twice = warehouse.describe(&query("select 1 as a, 2 as b, 3 as a")).await.unwrap();
    assert_eq!(
        twice.findings.iter().filter(|x| x.is_error() && x.what.contains("`a`")).count(),
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

async fn wrong_models_are_told_apart(f: &Fixture) {
    let warehouse = f.open().await;
    for (sql, part) in [
        ("select 1 as a,\n  from nowhere where", "at line 2"),
        ("select a from no_such_table", "no_such_table"),
        ("select 1; select 2", "one statement"),
        ("select ?1 as a union all select $1", ""),
        ("", "empty"),
    ] {
        let fault = warehouse.describe(&query(sql)).await.unwrap_err();
        assert_eq!(fault.code, Code::ModelFailed, "{}: {sql}: {fault}", f.name);
        assert!(fault.what.contains(part) && fault.what.contains("warehouse test"), "{}: {sql}: {fault}", f.name);
        assert_eq!(read(&*warehouse, sql).await.unwrap_err().1, fault, "{}: rows say the same as describe", f.name);
    }
    // The position stays that of the person's own text when a condition is around it.
    let only = RowFilter::Keys { columns: vec!["a".into()], keys: vec![vec!["1".into()]] };
    let asked = Query { sql: "select 1 as a,\n  nope".into(), only: Some(only), ..Query::default() };
    let fault = collect(&*warehouse, &asked).await.unwrap_err().1;
    assert!(fault.what.contains("at line 2, column 3"), "{}: {fault}", f.name);
}

async fn a_failure_halfway_is_the_last_item(f: &Fixture) {
    let warehouse = f.open().await;
    let (batches, fault) = read(&*warehouse, f.fails_halfway).await.unwrap_err();
    assert_eq!(numbers(&batches), (1..3000).collect::<Vec<_>>(), "{}: the rows before", f.name);
    assert_eq!(fault.code, Code::ModelFailed, "{}: {fault}", f.name);
}

async fn conditions_choose_rows(f: &Fixture) {
    let warehouse = f.open().await;
    for (values, third) in &f.cursors {
        let mut cell = Vec::new();
        cells::push(&mut cell, *third);
        let only = Some(RowFilter::From { column: "c".into(), cell });
        // The comment at the end must not swallow what is put after it.
        let sql = format!("{values} -- the newest;");
        let batches = collect(&*warehouse, &Query { sql, only, ..Query::default() }).await.unwrap();
        let mut found: Vec<_> = batches.iter().flat_map(|b| b.rows().map(|r| r.value(0)).collect::<Vec<_>>()).collect();
        found.sort_by_key(|v| v.to_text().into_owned());
        assert_eq!(found, [Value::Int(3), Value::Int(4)], "{}: {values}", f.name);
    }
    let sql = "select 7 as \"a b\", 'it''s' as t union all select 8, 'x' union all select 7, 'y';".to_owned();
    let keys = |columns: &[&str], keys: &[&[&str]]| {
        let owned = |list: &[&str]| list.iter().map(|x| (*x).to_owned()).collect::<Vec<_>>();
        Some(RowFilter::Keys { columns: owned(columns), keys: keys.iter().map(|key| owned(key)).collect() })
    };
    for (only, expected) in [
        (keys(&["a b", "t"], &[&["7", "it's"]]), &[7][..]),
        (keys(&["a b", "t"], &[&["7", "it's"], &["8", "x"], &["7", "x"]]), &[7, 8]),
        (keys(&["t"], &[&["y"], &["it's"], &["gone"]]), &[7, 7]),
        (keys(&["t"], &[]), &[]),
    ] {
        let batches = collect(&*warehouse, &Query { sql: sql.clone(), only, ..Query::default() }).await.unwrap();
        assert_eq!(numbers(&batches), expected, "{}", f.name);
    }
    // Some thousand at once.
    let many: Vec<Vec<String>> = (0..MAX_KEYS).map(|n| vec![n.to_string()]).collect();
    let only = Some(RowFilter::Keys { columns: vec!["n".into()], keys: many });
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
    }
}

async fn a_model_only_reads(f: &Fixture) {
    let warehouse = f.open().await;
    for sql in f.writes {
        let fault = read(&*warehouse, sql).await.unwrap_err().1;
        assert_eq!(fault.code, Code::ModelFailed, "{}: {sql}: {fault}", f.name);
    }
    assert_eq!(
        numbers(&read(&*warehouse, "select count(*) as n from kept").await.unwrap()),
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

// ---------------------------------------------------------------------------------------------------
// Reading

fn query(sql: &str) -> Query {
    Query { sql: sql.into(), ..Query::default() }
}

/// All batches, or the batches before the fault and the fault. Nothing may come after a fault.
async fn collect(warehouse: &dyn Warehouse, query: &Query) -> Result<Vec<RowBatch>, (Vec<RowBatch>, Fault)> {
    let mut batches = Vec::new();
    let mut rows = warehouse.rows(query).await.map_err(|fault| (Vec::new(), fault))?;
    while let Some(item) = rows.next().await {
        match item {
            Ok(batch) => batches.push(batch),
            Err(fault) => {
                assert!(rows.next().await.is_none(), "a fault is the last item");
                return Err((batches, fault));
            }
        }
    }
    Ok(batches)
}

async fn read(warehouse: &dyn Warehouse, sql: &str) -> Result<Vec<RowBatch>, (Vec<RowBatch>, Fault)> {
    collect(warehouse, &query(sql)).await
}

fn numbers(batches: &[RowBatch]) -> Vec<i64> {
    let int = |value| if let Value::Int(v) = value { v } else { panic!("{value:?} is no integer") };
    batches.iter().flat_map(|b| b.rows().map(|r| int(r.value(0))).collect::<Vec<_>>()).collect()
}

/// Waits until it holds. The limit is far beyond anything a working machine needs.
async fn eventually(holds: impl AsyncFn() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to hold");
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
            Keep::Postgres(_) => Path::new("/nowhere"),
        };
        open(self.name, &self.config, folder).await
    }

    fn numbers(&self, count: u32) -> String {
        self.numbers.replace("{}", &count.to_string())
    }
}

// ---------------------------------------------------------------------------------------------------
// The fixtures

const DECIMAL_38: &str = "-12345678901234567890123456789012345.678";

fn sqlite_fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("test.db"))
        .unwrap()
        .execute_batch("create table kept (a); insert into kept values (1)")
        .unwrap();
    Fixture {
        name: "sqlite",
        config: json!({ "path": "test.db" }),
        nowhere: (json!({ "path": "none.db" }), "/nowhere/none.db".into()),
        literals: vec![
            ("null", Value::Null),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("-9223372036854775807 - 1", Value::Int(i64::MIN)),
            ("true", Value::Int(1)),
            ("-0.1", Value::Float(-0.1)),
            ("9e999", Value::Unreadable("an infinite number")),
            ("''", Value::Text("")),
            ("'Zoë 🌊'", Value::Text("Zoë 🌊")),
            ("cast(x'ff41' as text)", Value::Unreadable("text that is not UTF-8")),
            ("x'00ff'", Value::Bytes(&[0, 255])),
            ("date(0, 'unixepoch')", Value::Text("1970-01-01")),
            ("json_array(1, null)", Value::Text("[1,null]")),
        ],
        numbers: "with recursive s(n) as (select 1 where {} > 0 union all select n + 1 from s where n < {}) select n, 'row ' || n as t from s",
        fails_halfway: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 5000) \
                        select n, abs(case when n = 3000 then -9223372036854775807 - 1 else n end) as f from s",
        endless: "with recursive s(n) as (select 1 union all select n + 1 from s) select n from s, kept",
        writes: &[
            "delete from kept returning a",
            "insert into kept values (2) returning a",
            "with x as (select 1) insert into kept select 2 from x",
        ],
        cursors: vec![
            (
                "select 1 as n, 10 as c union all select 2, 20 union all select 3, 30 union all select 4, 40",
                Value::Int(30),
            ),
            (
                "select 1 as n, 'a' as c union all select 2, 'b' union all select 3, 'c''d' union all select 4, 'é'",
                Value::Text("c'd"),
            ),
            (
                "select 1 as n, '1969-12-31' as c union all select 2, '1970-01-01' union all select 3, '1970-01-02' union all select 4, '2026-01-01'",
                Value::Date(1),
            ),
        ],
        keep: Keep::Sqlite(folder),
    }
}

async fn postgres_fixture() -> Fixture {
    let database = support::postgres::database().await;
    let setup = "create table kept (a int); insert into kept values (1); create type tier as enum ('low', 'high'); create domain email as text";
    database.client.batch_execute(setup).await.unwrap();
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Fixture {
        name: "postgres",
        config: database.connection_config(),
        nowhere: (json!({ "port": port, "user": "u", "database": "d", "tls": "disable" }), format!("127.0.0.1:{port}")),
        literals: vec![
            ("null::int", Value::Null),
            ("true", Value::Bool(true)),
            ("'32767'::int2", Value::Int(32_767)),
            ("'-2147483648'::int4", Value::Int(-2_147_483_648)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("'-9223372036854775808'::int8", Value::Int(i64::MIN)),
            ("'-12345678901234567890123456789012345.67800'::numeric", Value::Decimal(DECIMAL_38)),
            ("0.00000000000000000000000000000000000001", Value::Decimal("0.00000000000000000000000000000000000001")),
            ("100000000::numeric(20, 4)", Value::Decimal("100000000")),
            ("0.0::numeric", Value::Decimal("0")),
            ("'NaN'::numeric", Value::Unreadable("not a number (NaN)")),
            ("0.1::float8", Value::Float(0.1)),
            ("'-0.5'::float4", Value::Float(-0.5)),
            ("'infinity'::float8", Value::Unreadable(INFINITY)),
            ("''", Value::Text("")),
            ("'Zoë 🌊'::varchar(20)", Value::Text("Zoë 🌊")),
            ("'ab'::char(3)", Value::Text("ab ")),
            ("'high'::tier", Value::Text("high")),
            ("'a@b.example'::email", Value::Text("a@b.example")),
            ("'\\x00ff'::bytea", Value::Bytes(&[0, 255])),
            ("'2024-02-29'::date", Value::Date(19_782)),
            ("'0044-03-15 BC'::date", Value::Date(-735_160)),
            ("'12:34:56.000007'::time", Value::Time(45_296_000_007)),
            ("'12:34:56+02'::timetz", Value::Text("12:34:56+02:00")),
            ("'2024-02-29 12:34:56.000007'::timestamp", Value::DateTime(1_709_210_096_000_007)),
            ("'1969-12-31 23:59:59.999999+00'::timestamptz", Value::Timestamp(-1)),
            ("'infinity'::timestamptz", Value::Unreadable(INFINITY)),
            ("'1 year 2 mons 3 days 04:05:06.5'::interval", Value::Text("P1Y2M3DT4H5M6.5S")),
            ("'{\"a\": 1.0}'::json", Value::Json("{\"a\": 1.0}")),
            ("'{\"a\":[1]}'::jsonb", Value::Json("{\"a\": [1]}")),
            ("'{{1,null},{3,4}}'::int[]", Value::Json("[[1,null],[3,4]]")),
            ("array['é\"', '']", Value::Json("[\"é\\\"\",\"\"]")),
            ("array[1.50, 2]::numeric[]", Value::Json("[1.5,2]")),
            ("array['low']::tier[]", Value::Json("[\"low\"]")),
            (
                "'00000000-0000-0000-0000-0000000000ff'::uuid",
                Value::Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]),
            ),
            ("'2001:db8::1'::inet", Value::Text("2001:db8::1")),
            ("'192.0.2.0/24'::cidr", Value::Text("192.0.2.0/24")),
            ("'08:00:2b:01:02:03'::macaddr", Value::Text("08:00:2b:01:02:03")),
        ],
        numbers: "select n, 'row ' || n as t from generate_series(1, {}) as n",
        fails_halfway: "select n, 1 / (n - 3000) as f from generate_series(1, 5000) as n",
        endless: "select generate_series(1, 1000000000000) as n",
        writes: &[
            "delete from kept returning a",
            "insert into kept values (2) returning a",
            "with x as (delete from kept returning a) select a from x",
            "select a into other from kept",
        ],
        cursors: vec![
            ("select * from (values (1, 10), (2, 20), (3, 30), (4, 40)) as v(n, c)", Value::Int(30)),
            ("select * from (values (1, 'a'), (2, 'b'), (3, 'c''d'), (4, 'd')) as v(n, c)", Value::Text("c'd")),
            (
                "select * from (values (1, date '1969-12-31'), (2, '1970-01-01'), (3, '1970-01-02'), (4, '2026-01-01')) as v(n, c)",
                Value::Date(1),
            ),
            (
                "select * from (values (1, timestamp '1969-12-31'), (2, '1970-01-01'), (3, '1970-01-01 00:00:00.000001'), (4, '2026-01-01')) as v(n, c)",
                Value::DateTime(1),
            ),
            (
                "select * from (values (1, timestamptz '1969-12-31'), (2, '1970-01-01 00:00Z'), (3, '1970-01-01 00:00:00.000001Z'), (4, '2026-01-01')) as v(n, c)",
                Value::Timestamp(1),
            ),
        ],
        keep: Keep::Postgres(Box::new(database)),
    }
}
