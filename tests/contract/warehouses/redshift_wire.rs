//! Redshift by the protocol of PostgreSQL, on PostgreSQL behind a door that knows only what Redshift knows.

use std::path::Path;

use domain::config::SecretSource;
use domain::fault::Code;
use domain::ports::{OpenArgs, Query, QueryLabel, RowFilter, SystemClock};
use domain::value::Value;
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};
use support::postgres::TestDatabase;

use super::redshift_door::RedshiftDoor;
use super::{Fixture, Keep, NoSecrets, collect, eventually, fixtures, numbers, open, query, read, redshift};

/// A database and the door before it.
pub struct WireRig {
    pub database: TestDatabase,
    pub door: RedshiftDoor,
}

impl WireRig {
    async fn start() -> Self {
        let database = support::postgres::database().await;
        // As in Redshift, a backslash in a text escapes.
        let setup = format!(
            "create table kept (a int); insert into kept values (1);
             alter database {0} set standard_conforming_strings = off; alter database {0} set escape_string_warning = off;
             alter database {0} set timezone = 'Asia/Tokyo'; alter database {0} set datestyle = 'German'",
            database.name
        );
        database.client.batch_execute(&setup).await.unwrap();
        let door = RedshiftDoor::before(&database.host, database.port).await;
        Self { database, door }
    }

    fn config(&self) -> Json {
        json!({ "via": "wire", "host": "127.0.0.1", "port": self.door.port, "user": self.database.user,
            "database": self.database.name, "tls": "disable" })
    }

    /// All that was sent is known to Redshift.
    pub fn knew_everything(&self) {
        let log = self.door.log();
        assert!(!log.statements.is_empty() && log.refused.is_empty(), "{:?}", log.refused);
    }

    /// Nobody else is connected to the database any more.
    pub async fn is_idle(&self) {
        let others =
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        eventually(async || self.database.client.query_one(others, &[]).await.unwrap().get::<_, i64>(0) == 0).await;
    }
}

/// What [`redshift::fixture`] has as literals, in the same order.
const LITERALS: [&str; 15] = [
    "null::int",
    "true",
    "9223372036854775807",
    "'-12345678901234567890123456789012345.678'::numeric(38,3)",
    "100000000::numeric(20,4)",
    "0.1::float8",
    "'NaN'::float8",
    "''",
    "'Zoë 🌊 '' \\\\'",
    "'\\\\x00ff'::bytea",
    "'2024-02-29'::date",
    "'12:34:56.000007'::time",
    "'2024-02-29 12:34:56.000007'::timestamp",
    "'1969-12-31 23:59:59.999999Z'::timestamptz",
    "'{\"a\":[1]}'::json",
];

pub async fn fixture() -> Fixture {
    let rig = WireRig::start().await;
    let postgres = fixtures::postgres().await;
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nowhere = rig.config();
    nowhere["port"] = json!(port);
    let by_api = redshift::fixture();
    assert_eq!(by_api.literals.len(), LITERALS.len());
    Fixture {
        config: rig.config(),
        nowhere: (nowhere, format!("127.0.0.1:{port}")),
        literals: LITERALS.into_iter().zip(by_api.literals).map(|(sql, (_, value))| (sql, value)).collect(),
        numbers: postgres.numbers,
        fails_halfway: postgres.fails_halfway,
        rows_before_failure: postgres.rows_before_failure,
        endless: postgres.endless,
        writes: &[
            "delete from kept",
            "with x as (delete from kept returning a) select a from x",
            "select a into other from kept",
            // One text to PostgreSQL, and three statements where a backslash escapes.
            "select '\\''; commit; delete from kept; --'",
        ],
        keep: Keep::RedshiftWire(Box::new(rig)),
        ..redshift::fixture()
    }
}

/// The cells of both ways, byte by byte: a change of the way is no change of the rows.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn the_wire_and_the_data_api_give_the_same_cells() {
    let (by_wire, by_api) = (fixture().await, redshift::fixture());
    let mut rows = Vec::new();
    for fixture in [&by_wire, &by_api] {
        let columns: Vec<_> =
            fixture.literals.iter().enumerate().map(|(i, (sql, _))| format!("{sql} as c{i}")).collect();
        let batches = read(&*fixture.open().await, &format!("select {}", columns.join(", "))).await.unwrap();
        let row = batches[0].rows().next().unwrap();
        rows.push((0..columns.len()).map(|i| row.cell(i).to_vec()).collect::<Vec<_>>());
    }
    assert_eq!(rows[0], rows[1]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_read_by_wire_is_labelled_and_sends_what_redshift_knows() {
    let rig = WireRig::start().await;
    let warehouse = open("redshift", &rig.config(), Path::new("/")).await;
    let label = QueryLabel { sync: "contact's".into(), run: "01J".into() };
    let keys = ["x", "y"].map(|key| vec!["1".to_owned(), key.to_owned()]).to_vec();
    let only = RowFilter::Keys { columns: vec!["n".into(), "t".into()], keys };
    let asked = Query { sql: "select 1 as n, 'y' as t".into(), label, only: Some(only), ..Query::default() };
    assert_eq!(numbers(&collect(&*warehouse, &asked).await.unwrap()), [1]);
    rig.knew_everything();
    let sent = rig.door.log().statements.clone();
    let expected = [
        "BEGIN READ ONLY",
        "SET statement_timeout TO 600000",
        "SET query_group TO 'sluicegate contact''s 01J'",
        "SET timezone TO 'UTC'",
        "SET datestyle TO 'ISO, MDY'",
        "SET extra_float_digits TO 2",
        "select * from (\nselect 1 as n, 'y' as t\n) as model where (cast(\"n\" as varchar) = '1' and cast(\"t\" as varchar) = 'x' or cast(\"n\" as varchar) = '1' and cast(\"t\" as varchar) = 'y')",
    ];
    assert_eq!(sent, expected);
    // What is sent to PostgreSQL itself is not: the door tells them apart.
    let mut settings = rig.config();
    settings.as_object_mut().unwrap().remove("via");
    assert!(open("postgres", &settings, Path::new("/")).await.describe(&query("select 1")).await.is_err());
    assert!(rig.door.log().refused.iter().any(|why| why.contains("isolation level")), "{:?}", rig.door.log().refused);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_wire_read_is_stopped_when_it_is_dropped_or_too_slow() {
    let rig = WireRig::start().await;
    let warehouse = open("redshift", &rig.config(), Path::new("/")).await;
    let mut rows = warehouse.rows(&query("select generate_series(1, 1000000000000) as n")).await.unwrap();
    assert!(!rows.next().await.unwrap().unwrap().is_empty());
    drop(rows);
    rig.is_idle().await;
    assert_eq!(rig.door.log().cancelled, 1);
    // Also before its first row came.
    let asked = query("select pg_sleep(600)::text as a");
    let mut rows = warehouse.rows(&asked).await.unwrap();
    assert!(tokio::time::timeout(std::time::Duration::from_millis(100), rows.next()).await.is_err());
    drop(rows);
    rig.is_idle().await;
    assert_eq!(rig.door.log().cancelled, 2);
    let mut settings = rig.config();
    settings["statement_timeout"] = json!("50ms");
    let fault = read(&*open("redshift", &settings, Path::new("/")).await, &asked.sql).await.unwrap_err().1;
    assert!(fault.code == Code::ModelTimeout && fault.to_string().contains("workload management"), "{fault}");
    // A statement that has ended is not cancelled.
    assert_eq!(numbers(&read(&*warehouse, "select 1 as n").await.unwrap()), [1]);
    rig.is_idle().await;
    assert_eq!(rig.door.log().cancelled, 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_redshift_that_goes_away_or_refuses_is_a_fault() {
    let rig = WireRig::start().await;
    let warehouse = open("redshift", &rig.config(), Path::new("/")).await;
    let mut rows = warehouse.rows(&query("select generate_series(1, 1000000000000) as n")).await.unwrap();
    assert!(!rows.next().await.unwrap().unwrap().is_empty());
    let others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    rig.database.client.batch_execute(others).await.unwrap();
    let fault = loop {
        match rows.next().await {
            Some(Ok(_)) => {}
            Some(Err(fault)) => break fault,
            None => panic!("a stream that broke off looks like one that came to its end"),
        }
    };
    assert_eq!(fault.code, Code::WarehouseUnreachable, "{fault}");
    assert!(rows.next().await.is_none());
    let reader = format!("{}_reader", rig.database.name);
    rig.database.client.batch_execute(&format!("create role {reader} login")).await.unwrap();
    let mut settings = rig.config();
    settings["user"] = json!(reader);
    let fault = read(&*open("redshift", &settings, Path::new("/")).await, "select a from kept").await.unwrap_err().1;
    rig.database.client.batch_execute(&format!("drop role {reader}")).await.unwrap();
    assert!(fault.code == Code::WarehouseDenied && fault.to_string().contains("GRANT SELECT"), "{fault}");
}

/// PostgreSQL itself does not know `query_group`: a fault about that is one of a server that was reached.
#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn redshift_is_reached_over_a_verified_connection() {
    let authority = std::env::var("SLUICEGATE_TEST_POSTGRES_CA")
        .expect("tests/run starts a server with TLS and names the authority's certificate");
    let rig = WireRig::start().await;
    let mut settings = rig.config();
    settings["port"] = json!(rig.database.port);
    settings["tls"] = json!("verify-full");
    settings["ca_file"] = json!(authority);
    let fault = open("redshift", &settings, Path::new("/")).await.describe(&query("select 1")).await.unwrap_err();
    assert!(fault.what.contains("query_group"), "{fault}");
    settings.as_object_mut().unwrap().remove("ca_file");
    let fault = open("redshift", &settings, Path::new("/")).await.describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseUnreachable, "{fault}");
    assert!(fault.what.to_lowercase().contains("certificate"), "{fault}");
    // Behind the door there is no TLS.
    settings["port"] = json!(rig.door.port);
    let fault = open("redshift", &settings, Path::new("/")).await.describe(&query("select 1")).await.unwrap_err();
    assert!(fault.what.contains("does not support TLS"), "{fault}");
}

#[tokio::test]
async fn settings_of_the_other_way_are_refused() {
    let secrets: &dyn SecretSource = &NoSecrets;
    for (config, part) in [
        (
            json!({ "via": "wire", "database": "d", "host": "h", "user": "u", "workgroup": "w" }),
            "`workgroup` is for the Data API",
        ),
        (
            json!({ "via": "wire", "database": "d", "host": "h", "user": "u", "unload": { "to": "s3://b/", "role": "default" } }),
            "`unload` is for the Data API",
        ),
        (json!({ "via": "wire", "database": "d", "host": "h", "user": "u", "allow_private": true }), "`allow_private`"),
        (
            json!({ "database": "d", "workgroup": "w", "host": "h" }),
            "`host` is for the protocol of PostgreSQL; set `via: wire`",
        ),
        (json!({ "via": "data-api", "database": "d", "workgroup": "w", "port": 5439 }), "`port`"),
        (json!({ "via": "wire", "database": "d", "user": "u" }), "give `host`"),
        (json!({ "via": "wire", "database": "d", "host": "h", "user": "u", "statement_timeout": "0s" }), "more than 0"),
    ] {
        let entry = warehouses::find("redshift").unwrap();
        let clock = SystemClock::shared();
        let opened =
            (entry.open)(OpenArgs { name: "red", config: &config, folder: Path::new("/"), secrets, clock: &clock });
        let fault = opened.await.err().unwrap_or_else(|| panic!("{config} is taken"));
        assert!(fault.code == Code::ConnectionInvalid && fault.what.contains(part), "{fault}");
    }
}

/// The nulls, too: nothing of a row is lost on the way.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn wide_rows_of_nulls_and_long_texts_come_whole() {
    let rig = WireRig::start().await;
    let warehouse = open("redshift", &rig.config(), Path::new("/")).await;
    let sql =
        "select repeat('é', 1000000) as a, null::text as b, n, '\\\\x'::bytea as d from generate_series(1, 3) as n";
    let batches = read(&*warehouse, sql).await.unwrap();
    let rows: Vec<_> = batches.iter().flat_map(|b| b.rows().collect::<Vec<_>>()).collect();
    assert_eq!(rows.len(), 3);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.value(0).to_text().chars().count(), 1_000_000);
        assert_eq!(
            (row.value(1), row.value(2), row.value(3)),
            (Value::Null, Value::Int(at as i64 + 1), Value::Bytes(&[]))
        );
    }
}
