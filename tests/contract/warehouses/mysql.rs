//! MySQL, on a MariaDB: the fixture of the contract, and what only MySQL has.

use std::path::Path;

use domain::fault::Code;
use domain::value::Value;
use futures_util::StreamExt as _;
use mysql_async::prelude::Queryable as _;
use serde_json::json;

use super::{Fixture, Keep, eventually, open, query, read};

pub async fn fixture() -> Fixture {
    let database = support::mysql::database().await;
    let ready = ["create table kept (a int)", "insert into kept values (1)"];
    database.execute(&ready).await;
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Fixture {
        name: "mysql",
        config: database.connection_config(),
        nowhere: (json!({ "port": port, "user": "u", "database": "d", "tls": "disable" }), format!("127.0.0.1:{port}")),
        literals: vec![
            ("cast(null as signed)", Value::Null),
            ("true", Value::Int(1)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("-9223372036854775807 - 1", Value::Int(i64::MIN)),
            ("cast(18446744073709551615 as unsigned)", Value::Decimal("18446744073709551615")),
            (
                "cast('-12345678901234567890123456789012345.678' as decimal(38,3))",
                Value::Decimal(super::fixtures::DECIMAL_38),
            ),
            ("cast('100000000' as decimal(20,4))", Value::Decimal("100000000")),
            ("0.1e0", Value::Float(0.1)),
            ("cast(0.1 as float)", Value::Float(0.1)),
            ("''", Value::Text("")),
            ("'Zoë 🌊 \\' \\\\'", Value::Text("Zoë 🌊 ' \\")),
            ("x'00ff'", Value::Bytes(&[0, 255])),
            ("date '2024-02-29'", Value::Date(19_782)),
            ("date '1969-12-31'", Value::Date(-1)),
            ("cast('12:34:56.000007' as time(6))", Value::Time(45_296_000_007)),
            (
                "cast('100:00:00' as time)",
                Value::Unreadable("a time that is negative or beyond a day: write time_to_sec(COLUMN) in the model"),
            ),
            ("cast('2024-02-29 12:34:56.000007' as datetime(6))", Value::DateTime(1_709_210_096_000_007)),
        ],
        numbers: "select cast(seq as signed) as n, concat('row ', seq) as t from seq_1_to_10000 where seq <= {} order by seq",
        fails_halfway: "select cast(seq as signed) as n, if(seq = 3000, (select 1 union select 2), seq) as f from seq_1_to_5000",
        rows_before_failure: 2999,
        capitals: false,
        tells_positions: false,
        endless: "select cast(a.seq as signed) as n from seq_1_to_100000000 as a, seq_1_to_100000000 as b",
        kept: "kept",
        writes: &[
            "delete from kept",
            "insert into kept values (2) returning a",
            "with x as (select 1) insert into kept select 2 from x",
            "select a into outfile '/tmp/x' from kept",
            "select a into @x from kept",
        ],
        cursors: vec![
            (
                "select 1 as n, 10 as c union all select 2, 20 union all select 3, 30 union all select 4, 40",
                Value::Int(30),
            ),
            (
                "select 1 as n, 'a' as c union all select 2, 'b' union all select 3, 'c\\'d' union all select 4, 'é'",
                Value::Text("c'd"),
            ),
            (
                "select 1 as n, date '1969-12-31' as c union all select 2, date '1970-01-01' union all select 3, date '1970-01-02' union all select 4, date '2026-01-01'",
                Value::Date(1),
            ),
            (
                "select 1 as n, timestamp '1970-01-01 00:00:00.000000' as c union all select 2, timestamp '1970-01-01 00:00:00.000000' union all select 3, timestamp '1970-01-01 00:00:00.000001' union all select 4, timestamp '2026-01-01 00:00:00.000000'",
                Value::DateTime(1),
            ),
        ],
        keep: Keep::Mysql(Box::new(database)),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MariaDB: ./tests/run"]
async fn mysql_columns_keep_their_values() {
    let database = support::mysql::database().await;
    database
        .execute(&[
            "create table t (id int primary key, flag tinyint(1), bits bit(9), tier enum('low','high'), tags set('a','b'), doc json, at timestamp(6) null, \
             big bigint unsigned, y year, f float, blobbed blob, place point, zero datetime null, ch char(5), vb varbinary(4), tt tinytext collate utf8mb4_general_ci)",
            "set session time_zone = '+02:00'",
        ])
        .await;
    let mut conn = database.connect().await;
    conn.query_drop("set session sql_mode = '', time_zone = '+02:00'").await.unwrap();
    conn.query_drop(
        "insert into t values (1, 1, b'100000001', 'high', 'a,b', '{\"a\": 1}', '2024-02-29 14:34:56.000007', 18446744073709551615, 2026, 19.99, x'00ff', point(1,2), '0000-00-00 00:00:00', 'ab ', x'0001', 'Zoë')",
    )
    .await
    .unwrap();
    let warehouse = open("mysql", &database.connection_config(), Path::new(".")).await;
    let described = warehouse.describe(&query("select * from t")).await.unwrap();
    assert!(
        described
            .unreadable
            .iter()
            .any(|(column, finding)| column == "place" && finding.fix.contains("st_astext(place)"))
    );
    let batches =
        read(&*warehouse, "select id, flag, bits, tier, tags, doc, at, big, y, f, blobbed, zero, ch, vb, tt from t")
            .await
            .unwrap();
    let row = batches[0].rows().next().unwrap();
    for (at, expected) in [
        Value::Int(1),
        Value::Int(1),
        Value::Int(257),
        Value::Text("high"),
        Value::Text("a,b"),
        Value::Text("{\"a\": 1}"),
        Value::Timestamp(1_709_210_096_000_007),
        Value::Decimal("18446744073709551615"),
        Value::Int(2026),
        Value::Float(19.99),
        Value::Bytes(&[0, 255]),
        Value::Unreadable(
            "a date of zeros: write nullif(COLUMN, '0000-00-00') in the model, or another value in its place",
        ),
        Value::Text("ab"),
        Value::Bytes(&[0, 1]),
        Value::Text("Zoë"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(row.value(at), expected, "column {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MariaDB: ./tests/run"]
async fn mysql_says_what_is_wrong() {
    let database = support::mysql::database().await;
    database.execute(&["create table secret (a int)"]).await;
    let mut config = database.connection_config();
    config["statement_timeout"] = json!("100ms");
    let warehouse = open("mysql", &config, Path::new(".")).await;
    let (_, fault) = read(&*warehouse, "select sleep(600) as a").await.unwrap_err();
    assert_eq!(fault.code, Code::ModelTimeout, "{fault}");
    assert!(fault.what.contains("100ms"), "{fault}");
    config["database"] = json!("no_such_database");
    let fault = open("mysql", &config, Path::new(".")).await.describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseDenied, "{fault}");
    let mut config = database.connection_config();
    config["user"] = json!("nobody_here");
    let fault = open("mysql", &config, Path::new(".")).await.describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseDenied, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MariaDB: ./tests/run"]
async fn a_mysql_that_goes_away_while_rows_come_is_a_fault() {
    let database = support::mysql::database().await;
    let warehouse = open("mysql", &database.connection_config(), Path::new(".")).await;
    let mut rows = warehouse.rows(&query("select seq as n from seq_1_to_100000000")).await.unwrap();
    assert!(!rows.next().await.unwrap().unwrap().is_empty());
    let mut conn = database.connect().await;
    let others: Vec<u64> = conn
        .query(format!(
            "select id from information_schema.processlist where db = '{}' and id <> connection_id()",
            database.name
        ))
        .await
        .unwrap();
    for id in others {
        let _ = conn.query_drop(format!("kill {id}")).await;
    }
    let fault = loop {
        match rows.next().await {
            Some(Ok(_)) => {}
            Some(Err(fault)) => break fault,
            None => panic!("a stream that broke off looks like one that came to its end"),
        }
    };
    assert_eq!(fault.code, Code::WarehouseUnreachable, "{fault}");
}

/// Nothing runs any more in this database but what asks.
pub async fn is_idle(database: &support::mysql::MysqlDatabase) {
    eventually(async || {
        let mut conn = database.connect().await;
        let sql = format!("select count(*) from information_schema.processlist where db = '{}' and id <> connection_id() and command = 'Query'", database.name);
        let running: Option<u64> = conn.query_first(sql).await.unwrap();
        let _ = conn.disconnect().await;
        running == Some(0)
    })
    .await;
}

/// The server's certificate is checked against the authority that signed it, and not taken from anybody else.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MariaDB: ./tests/run"]
async fn mysql_is_read_over_a_verified_connection() {
    let authority =
        std::env::var("SLUICEGATE_TEST_POSTGRES_CA").expect("the certificate of the tests' authority: ./tests/run");
    let database = support::mysql::database().await;
    let mut config = database.connection_config();
    config["tls"] = json!("verify-full");
    config["ca_file"] = json!(authority);
    let warehouse = open("mysql", &config, Path::new(".")).await;
    let sql = "select variable_value as v from information_schema.session_status where variable_name = 'Ssl_cipher'";
    let batches = read(&*warehouse, sql).await.unwrap();
    let row = batches[0].rows().next().unwrap();
    assert!(matches!(row.value(0), Value::Text(cipher) if !cipher.is_empty()), "{:?}", row.value(0));
    config.as_object_mut().unwrap().remove("ca_file");
    let fault = open("mysql", &config, Path::new(".")).await.describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseUnreachable);
    assert!(fault.to_string().contains("`ca_file`"), "{fault}");
}
