//! Databricks, on its double: the fixture of the contract, logging in, chunks behind links that end, and the sentences for
//! what goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::config::{Reference, SecretSource};
use domain::fault::{Code, Fault};
use domain::ports::{OpenArgs, Query, QueryLabel, SystemClock, Warehouse};
use domain::value::Value;
use doubles::databricks::{
    DatabricksDouble, DatabricksFailure as Failure, DatabricksStep as Step, DatabricksWorkspace,
};
use doubles::sql::SqlValue;
use serde_json::{Value as Json, json};

use super::{Fixture, Keep, TOKEN, collect, eventually, numbers, query, read};

const NUMBERS: &str = "with recursive s(n) as (select 1 where {} > 0 union all select n + 1 from s where n < {}) select n, 'row ' || n as t from s";

fn double() -> DatabricksDouble {
    let mut workspace = DatabricksWorkspace::new("abc123").unwrap();
    workspace.tokens.insert(TOKEN.into());
    workspace.database.table("kept", &[("a", "bigint")], vec![vec![SqlValue::Int(1)]]).unwrap();
    DatabricksDouble::start(workspace).unwrap()
}

fn config(double: &DatabricksDouble) -> Json {
    json!({ "host": double.url(), "warehouse": "/sql/1.0/warehouses/abc123", "token": "${env:TOKEN}", "allow_private": true,
        "retry_pause": "1ms", "timeout": "20s" })
}

pub fn fixture() -> Fixture {
    let double = double();
    double.workspace().chunk_rows = 1500;
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nowhere = config(&double);
    nowhere["host"] = json!(format!("http://127.0.0.1:{port}"));
    Fixture {
        name: "databricks",
        config: config(&double),
        nowhere: (nowhere, "127.0.0.1".into()),
        literals: vec![
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            (
                "cast('-12345678901234567890123456789012345.678' as decimal(38,3))",
                Value::Decimal(super::fixtures::DECIMAL_38),
            ),
            ("cast('100000000' as decimal(20,4))", Value::Decimal("100000000")),
            ("0.1", Value::Float(0.1)),
            ("cast('nan' as double)", Value::Unreadable("not a number (NaN)")),
            ("cast('-inf' as double)", Value::Unreadable("an infinite number")),
            ("''", Value::Text("")),
            ("'Zoë 🌊 \\' \\\\'", Value::Text("Zoë 🌊 ' \\")),
            ("to_binary('00ff', 'HEX')", Value::Bytes(&[0, 255])),
            ("date '2024-02-29'", Value::Date(19_782)),
            ("date '1969-12-31'", Value::Date(-1)),
            ("timestamp_ntz '2024-02-29 12:34:56.000007'", Value::DateTime(1_709_210_096_000_007)),
            ("timestamp '1969-12-31 23:59:59.999999Z'", Value::Timestamp(-1)),
            ("timestamp '2024-02-29 12:34:56+02:00'", Value::Timestamp(1_709_202_896_000_000)),
            ("cast('[1, null]' as array)", Value::Json("[1, null]")),
        ],
        numbers: NUMBERS,
        fails_halfway: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 5000) select n, divided(1, n - 3000) as f from s",
        rows_before_failure: 0,
        capitals: false,
        tells_positions: true,
        endless: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 200000) select n from s",
        kept: "kept",
        writes: &[
            "delete from kept",
            "insert into kept values (2)",
            "with x as (select 1) insert into kept select 2 from x",
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
                "select 1 as n, timestamp_ntz '1969-12-31 00:00:00' as c union all select 2, timestamp_ntz '1970-01-01 00:00:00' union all select 3, timestamp_ntz '1970-01-01 00:00:00.000001' union all select 4, timestamp_ntz '2026-01-01 00:00:00'",
                Value::DateTime(1),
            ),
            (
                "select 1 as n, timestamp '1969-12-31 00:00:00Z' as c union all select 2, timestamp '1970-01-01 00:00:00Z' union all select 3, timestamp '1970-01-01 00:00:00.000001Z' union all select 4, timestamp '2026-01-01 00:00:00Z'",
                Value::Timestamp(1),
            ),
        ],
        keep: Keep::Databricks(Box::new(double)),
    }
}

struct Given;

#[async_trait]
impl SecretSource for Given {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        Ok(if reference.to_string().contains("TOKEN") { TOKEN } else { "planted-secret" }.to_owned())
    }
}

async fn open(config: &Json) -> Result<Arc<dyn Warehouse>, Fault> {
    let entry = warehouses::find("databricks").unwrap();
    let clock = SystemClock::shared();
    (entry.open)(OpenArgs { name: "lake", config, folder: Path::new("."), secrets: &Given, clock: &clock }).await
}

fn numbered(count: u32) -> String {
    NUMBERS.replace("{}", &count.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_principal_logs_in() {
    let double = double();
    double.workspace().tokens.clear();
    double.workspace().principal = Some(("client".into(), "planted-secret".into()));
    let mut settings = config(&double);
    settings.as_object_mut().unwrap().remove("token");
    settings["oauth"] = json!({ "client_id": "client", "client_secret": "${env:SECRET}" });
    let warehouse = open(&settings).await.unwrap();
    for _ in 0..2 {
        assert_eq!(numbers(&read(&*warehouse, &numbered(3)).await.unwrap()), [1, 2, 3]);
    }
    assert_eq!(double.workspace().minted, 1, "a token is kept while it is good");
    double.workspace().tokens.clear();
    assert!(read(&*warehouse, "select 1").await.is_ok());
    assert_eq!(double.workspace().minted, 2, "one that is refused is minted anew");
    assert_eq!(double.workspace().tokens_shown, 0, "the storage sees no token");
    double.workspace().principal = None;
    double.workspace().tokens.clear();
    let fault = read(&*warehouse, "select 1").await.unwrap_err().1;
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(fault.to_string().contains("client id and secret") && !fault.to_string().contains("planted"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_no_row_comes_twice() {
    let double = double();
    let warehouse = open(&config(&double)).await.unwrap();
    for (step, failure) in [
        (Step::Submit, Failure::Status(503, "TEMPORARILY_UNAVAILABLE", "try later")),
        (Step::Submit, Failure::Status(429, "REQUEST_LIMIT_EXCEEDED", "too many")),
        (Step::Submit, Failure::Cut),
        (Step::Poll, Failure::Cut),
        (Step::Poll, Failure::CutAfter(10)),
        (Step::Poll, Failure::Html(502)),
        (Step::Link, Failure::Status(500, "INTERNAL_ERROR", "")),
        (Step::Link, Failure::Html(200)),
        (Step::Chunk(3), Failure::Cut),
        (Step::Chunk(3), Failure::CutAfter(100)),
        (Step::Chunk(3), Failure::CutAfter(20_000)),
        (Step::Chunk(3), Failure::Status(503, "", "")),
        (Step::Chunk(3), Failure::Expired),
        (Step::Chunk(3), Failure::RowsMissing),
        (Step::Chunk(3), Failure::Html(200)),
    ] {
        double.workspace().fail(step, failure.clone(), 2);
        let batches =
            read(&*warehouse, &numbered(5000)).await.unwrap_or_else(|(_, f)| panic!("{step:?} {failure:?}: {f}"));
        assert_eq!(numbers(&batches), (1..=5000).collect::<Vec<_>>(), "{step:?} {failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_told_and_nothing_is_taken_for_the_end() {
    let double = double();
    double.workspace().polls = 0;
    let warehouse = open(&config(&double)).await.unwrap();
    for (step, failure, code, part) in [
        (Step::Chunk(3), Failure::CutAfter(20_000), Code::WarehouseUnreachable, "broke before the whole answer"),
        (Step::Chunk(3), Failure::RowsMissing, Code::WarehouseUnreachable, "rows, and 1000 were promised"),
        (Step::Chunk(3), Failure::Expired, Code::WarehouseUnreachable, "the storage answers 403"),
        (
            Step::Link,
            Failure::Status(404, "NOT_FOUND", "The statement 01 was not found."),
            Code::WarehouseUnreachable,
            "an hour",
        ),
        (
            Step::Submit,
            Failure::Status(403, "PERMISSION_DENIED", "You do not have permission to use the endpoint."),
            Code::WarehouseDenied,
            "CAN USE",
        ),
        (
            Step::Submit,
            Failure::Status(401, "UNAUTHENTICATED", "Token is expired"),
            Code::WarehouseDenied,
            "renew the token",
        ),
    ] {
        double.workspace().failures_end();
        double.workspace().fail(step, failure.clone(), 1000);
        let (batches, fault) = read(&*warehouse, &numbered(5000)).await.unwrap_err();
        assert_eq!(fault.code, code, "{failure:?}: {fault}");
        assert!(fault.to_string().contains(part), "{failure:?}: {fault}");
        let read = numbers(&batches);
        assert_eq!(read, (1..=read.len() as i64).collect::<Vec<_>>(), "{failure:?}");
    }
    double.workspace().failures_end();
    double.workspace().truncates = true;
    let fault = read(&*warehouse, &numbered(5)).await.unwrap_err().1;
    assert_eq!(fault.code, Code::ModelFailed);
    assert!(fault.what.contains("100 GiB"), "a result that was cut is none: {fault}");
    let mut elsewhere = config(&double);
    elsewhere["warehouse"] = json!("other");
    let fault = open(&elsewhere).await.unwrap().describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::ConnectionInvalid);
    assert!(fault.to_string().contains("HTTP path"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_or_is_given_up_is_cancelled() {
    let double = double();
    double.workspace().polls = 1_000_000;
    let mut settings = config(&double);
    settings["statement_timeout"] = json!("300ms");
    let fault = read(&*open(&settings).await.unwrap(), "select 1").await.unwrap_err().1;
    assert_eq!(fault.code, Code::ModelTimeout);
    assert!(fault.to_string().contains("300ms"), "{fault}");
    eventually(async || double.workspace().cancelled.len() == 1).await;
    let warehouse = open(&config(&double)).await.unwrap();
    let asked = query("select 1");
    let reading = tokio::time::timeout(Duration::from_millis(300), warehouse.rows(&asked));
    assert!(reading.await.is_err(), "it is still running");
    eventually(async || double.workspace().cancelled.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_say_who_asked() {
    let double = double();
    let mut settings = config(&double);
    settings["catalog"] = json!("main");
    settings["schema"] = json!("crm");
    let warehouse = open(&settings).await.unwrap();
    let label = QueryLabel { sync: "contacts".into(), run: "01J".into() };
    collect(&*warehouse, &Query { sql: "select 1".into(), label, ..Query::default() }).await.unwrap();
    let body = double.workspace().submitted[0].clone();
    let tag = |key: &str, value: &str| json!({ "key": key, "value": value });
    assert_eq!(body["query_tags"], json!([tag("app", "sluicegate"), tag("sync", "contacts"), tag("run", "01J")]));
    assert_eq!((&body["catalog"], &body["schema"]), (&json!("main"), &json!("crm")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tables_version_is_the_last_entry_of_its_history() {
    let double = double();
    double.workspace().database.table("contacts", &[("id", "bigint")], vec![vec![SqlValue::Int(1)]]).unwrap();
    double.workspace().database.execute("create view all_contacts as select 1 as id").unwrap();
    let mut settings = config(&double);
    settings["catalog"] = json!("main");
    let warehouse = open(&settings).await.unwrap();
    let version = async |sql: &str| warehouse.version(&query(sql)).await.unwrap();
    let before = version("select id from crm.contacts").await.unwrap();
    assert!(before.contains("main.crm.contacts@1/2026-01-01"), "{before}");
    for other in ["select id from crm.all_contacts", "select id from contacts", "select id + 1 from crm.contacts"] {
        assert_eq!(version(other).await, None, "{other}");
    }
    double.workspace().database.execute("update contacts set id = 7").unwrap();
    assert_ne!(version("select id from crm.contacts").await.unwrap(), before);
    assert!(warehouse.version(&query("select id from crm.nowhere")).await.is_err());
}
