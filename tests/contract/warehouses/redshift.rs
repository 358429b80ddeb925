//! Redshift, on a double of its Data API: the fixture of the contract, signatures, pages, and the sentences for what goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::config::{Reference, SecretSource};
use domain::fault::{Code, Fault};
use domain::ports::{OpenArgs, Query, QueryLabel, RowFilter, SystemClock, Warehouse};
use domain::value::Value;
use doubles::redshift::{RedshiftDouble, RedshiftFailure as Failure, RedshiftStep as Step, RedshiftWorkgroup};
use doubles::s3::{S3Buckets, S3Double, S3Failure, S3Step};
use doubles::sql::SqlValue;
use serde_json::{Value as Json, json};

use super::{Fixture, Keep, collect, eventually, numbers, read};

const NUMBERS: &str = "with recursive s(n) as (select 1 where {} > 0 union all select n + 1 from s where n < {}) select n, 'row ' || n as t from s";

fn double() -> RedshiftDouble {
    let mut workgroup = RedshiftWorkgroup::new("analytics").unwrap();
    workgroup.secret_key = super::TOKEN.into();
    workgroup.database.table("kept", &[("a", "int8(18)")], vec![vec![SqlValue::Int(1)]]).unwrap();
    RedshiftDouble::start(workgroup).unwrap()
}

fn config(double: &RedshiftDouble) -> Json {
    json!({ "workgroup": "analytics", "database": "dev", "region": "eu-west-1", "url": double.url(), "allow_private": true, "retry_pause": "1ms",
        "credentials": { "access_key_id": "AKIDEXAMPLE", "secret_access_key": "${env:TOKEN}" } })
}

pub fn fixture() -> Fixture {
    let double = double();
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nowhere = config(&double);
    nowhere["url"] = json!(format!("http://127.0.0.1:{port}"));
    Fixture {
        name: "redshift",
        config: config(&double),
        nowhere: (nowhere, "127.0.0.1".into()),
        literals: vec![
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("'-12345678901234567890123456789012345.678'::numeric(38,3)", Value::Decimal(super::fixtures::DECIMAL_38)),
            ("'100000000'::numeric(20,4)", Value::Decimal("100000000")),
            ("'0.1'::float8", Value::Float(0.1)),
            ("'NaN'::float8", Value::Unreadable("not a number (NaN)")),
            ("''", Value::Text("")),
            ("'Zoë 🌊 '' \\'", Value::Text("Zoë 🌊 ' \\")),
            ("to_binary('00ff', 'hex')", Value::Bytes(&[0, 255])),
            ("'2024-02-29'::date", Value::Date(19_782)),
            ("'12:34:56.000007'::time", Value::Time(45_296_000_007)),
            ("'2024-02-29 12:34:56.000007'::timestamp", Value::DateTime(1_709_210_096_000_007)),
            ("'1969-12-31 23:59:59.999999Z'::timestamptz", Value::Timestamp(-1)),
            ("'{\"a\":[1]}'::super", Value::Json("{\"a\":[1]}")),
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
                "select 1 as n, 'a' as c union all select 2, 'b' union all select 3, 'c''d' union all select 4, 'é'",
                Value::Text("c'd"),
            ),
            (
                "select 1 as n, '1969-12-31'::date as c union all select 2, '1970-01-01'::date union all select 3, '1970-01-02'::date union all select 4, '2026-01-01'::date",
                Value::Date(1),
            ),
            (
                "select 1 as n, '1969-12-31 00:00:00'::timestamp as c union all select 2, '1970-01-01 00:00:00'::timestamp union all select 3, '1970-01-01 00:00:00.000001'::timestamp union all select 4, '2026-01-01 00:00:00'::timestamp",
                Value::DateTime(1),
            ),
            (
                "select 1 as n, '1969-12-31 00:00:00Z'::timestamptz as c union all select 2, '1970-01-01 00:00:00Z'::timestamptz union all select 3, '1970-01-01 00:00:00.000001Z'::timestamptz union all select 4, '2026-01-01 00:00:00Z'::timestamptz",
                Value::Timestamp(1),
            ),
        ],
        keep: Keep::Redshift(Box::new(double)),
    }
}

/// The same, read by UNLOAD.
pub fn unload_fixture() -> Fixture {
    let (double, s3) = unloading();
    let mut nowhere = unload_config(&double, &s3);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    nowhere["url"] = json!(format!("http://127.0.0.1:{port}"));
    let config = unload_config(&double, &s3);
    Fixture {
        config,
        nowhere: (nowhere, "127.0.0.1".into()),
        keep: Keep::RedshiftUnload(Box::new((double, s3))),
        ..fixture()
    }
}

fn unloading() -> (RedshiftDouble, S3Double) {
    let mut buckets = S3Buckets::new(&["results"]);
    buckets.secret_key = super::TOKEN.into();
    let (double, s3) = (double(), S3Double::start(buckets).unwrap());
    double.workgroup().s3 = Some(s3.buckets().clone());
    (double, s3)
}

fn unload_config(double: &RedshiftDouble, s3: &S3Double) -> Json {
    let mut config = config(double);
    config["unload"] = json!({ "to": "s3://results/red", "role": "default" });
    config["s3_url"] = json!(s3.url());
    config
}

struct Given(&'static str);

#[async_trait]
impl SecretSource for Given {
    async fn get(&self, _: &Reference) -> Result<String, Fault> {
        Ok(self.0.to_owned())
    }
}

async fn open(config: &Json, secret: &'static str) -> Result<Arc<dyn Warehouse>, Fault> {
    let entry = warehouses::find("redshift").unwrap();
    let (secrets, clock) = (Given(secret), SystemClock::shared());
    (entry.open)(OpenArgs { name: "red", config, folder: Path::new("."), secrets: &secrets, clock: &clock }).await
}

fn numbered(count: u32) -> String {
    NUMBERS.replace("{}", &count.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_counts_once() {
    let double = double();
    let warehouse = open(&config(&double), super::TOKEN).await.unwrap();
    for (step, failure) in [
        (Step::Execute, Failure::Cut),
        (Step::Execute, Failure::Exception(400, "ThrottlingException", "Rate exceeded")),
        (Step::Execute, Failure::Exception(400, "ActiveStatementsExceededException", "too many")),
        (Step::Execute, Failure::CutAfter(10)),
        (Step::Describe, Failure::Exception(500, "InternalServerException", "")),
        (Step::Page, Failure::Cut),
        (Step::Page, Failure::CutAfter(2000)),
        (Step::Page, Failure::Exception(400, "ThrottlingException", "Rate exceeded")),
    ] {
        double.workgroup().executed.clear();
        double.workgroup().fail(step, failure.clone(), 2);
        let batches =
            read(&*warehouse, &numbered(3500)).await.unwrap_or_else(|(_, f)| panic!("{step:?} {failure:?}: {f}"));
        assert_eq!(numbers(&batches), (1..=3500).collect::<Vec<_>>(), "{step:?} {failure:?}");
        assert_eq!(double.workgroup().executed.len(), 1, "{step:?} {failure:?}: the statement runs once");
    }
    // A page that says it is the last one and is not.
    double.workgroup().fail(Step::Page, Failure::LastPage, 1);
    let (batches, fault) = read(&*warehouse, &numbered(3500)).await.unwrap_err();
    assert_eq!((numbers(&batches).len(), fault.code), (1000, Code::WarehouseUnreachable));
    assert!(fault.what.contains("1000 rows, and 3500 were promised"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_what_to_do() {
    let double = double();
    let fault = read(&*open(&config(&double), "another-secret").await.unwrap(), "select 1").await.unwrap_err().1;
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(
        fault.to_string().contains("renew the AWS credentials") && !fault.to_string().contains("another-secret"),
        "{fault}"
    );
    let mut elsewhere = config(&double);
    elsewhere["workgroup"] = json!("other");
    let fault = read(&*open(&elsewhere, super::TOKEN).await.unwrap(), "select 1").await.unwrap_err().1;
    assert!(fault.code == Code::ConnectionInvalid && fault.to_string().contains("`workgroup`"), "{fault}");
    double.workgroup().fail(
        Step::Execute,
        Failure::Exception(
            400,
            "AccessDeniedException",
            "User is not authorized to perform: redshift-data:ExecuteStatement",
        ),
        1,
    );
    let fault = read(&*open(&config(&double), super::TOKEN).await.unwrap(), "select 1").await.unwrap_err().1;
    assert!(fault.to_string().contains("on the workgroup analytics"), "{fault}");
    elsewhere["cluster"] = json!("c");
    assert!(open(&elsewhere, super::TOKEN).await.err().unwrap().what.contains("one of `workgroup`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_or_is_given_up_is_cancelled() {
    let double = double();
    double.workgroup().polls = 1_000_000;
    let mut settings = config(&double);
    settings["statement_timeout"] = json!("300ms");
    let fault = read(&*open(&settings, super::TOKEN).await.unwrap(), "select 1").await.unwrap_err().1;
    assert_eq!(fault.code, Code::ModelTimeout);
    eventually(async || double.workgroup().cancelled.len() == 1).await;
    let warehouse = open(&config(&double), super::TOKEN).await.unwrap();
    let label = QueryLabel { sync: "contacts".into(), run: "01J".into() };
    let asked = Query { sql: "select 1".into(), label, ..Query::default() };
    assert!(tokio::time::timeout(Duration::from_millis(300), collect(&*warehouse, &asked)).await.is_err());
    eventually(async || double.workgroup().cancelled.len() == 2).await;
    assert_eq!(double.workgroup().executed[1]["StatementName"], "sluicegate contacts 01J");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_data_api_does_not_give_out_is_unloaded() {
    let (double, s3) = unloading();
    double.workgroup().result_rows = 2000;
    let fault = read(&*open(&config(&double), super::TOKEN).await.unwrap(), &numbered(5000)).await.unwrap_err().1;
    assert_eq!(fault.code, Code::ModelFailed);
    assert!(fault.to_string().contains("set `unload: { to: s3://BUCKET/PREFIX/, role: ARN }`"), "{fault}");
    // The advice, tried.
    let mut settings = unload_config(&double, &s3);
    let arn = "arn:aws:iam::000000000000:role/unloads";
    settings["unload"] = json!({ "to": "s3://results/red/", "role": arn });
    let warehouse = open(&settings, super::TOKEN).await.unwrap();
    let fault = read(&*warehouse, &numbered(5000)).await.unwrap_err().1;
    assert!(fault.code == Code::WarehouseDenied && fault.to_string().contains("GRANT ASSUMEROLE"), "{fault}");
    double.workgroup().roles.push(arn.into());
    // A LIMIT of the model, its quotes and its backslashes stay within it.
    let model = "select n, 'it''s \\' as t from (select 1 as n union all select 2) as x limit 1";
    let row = read(&*warehouse, model).await.unwrap()[0].rows().next().unwrap().value(1).to_text().into_owned();
    assert_eq!(row, "it's \\");
    assert_eq!(numbers(&read(&*warehouse, &numbered(5000)).await.unwrap()), (1..=5000).collect::<Vec<_>>());
    eventually(async || s3.buckets().lock().objects.is_empty()).await;
    // Rows of some keys come by pages.
    let (pages, served) = (double.workgroup().pages, s3.buckets().lock().served.len());
    let only = RowFilter::Keys { columns: vec!["n".into()], keys: vec![vec!["7".into()]] };
    let asked = Query { sql: numbered(50), only: Some(only), ..Query::default() };
    assert_eq!(numbers(&collect(&*warehouse, &asked).await.unwrap()), [7]);
    assert_eq!((double.workgroup().pages, s3.buckets().lock().served.len()), (pages + 1, served));
    // A bucket that is not there, seen by Redshift.
    settings["unload"]["to"] = json!("s3://gone/");
    let fault = read(&*open(&settings, super::TOKEN).await.unwrap(), &numbered(5000)).await.unwrap_err().1;
    assert!(fault.to_string().contains("s3:PutObject, s3:ListBucket and s3:GetBucketLocation"), "{fault}");
    for (unload, part) in [
        (json!({ "to": "results", "role": "default" }), "no folder in S3"),
        (json!({ "to": "s3://results/", "role": "unloads" }), "no ARN of a role"),
    ] {
        settings["unload"] = unload;
        let fault = open(&settings, super::TOKEN).await.err().unwrap();
        assert!(fault.code == Code::ConnectionInvalid && fault.what.contains(part), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unload_that_is_given_up_leaves_nothing() {
    let (double, s3) = unloading();
    let warehouse = open(&unload_config(&double, &s3), super::TOKEN).await.unwrap();
    // Refused files are told, and deleted all the same.
    s3.buckets().lock().fail(S3Step::Range, S3Failure::Error(403, "AccessDenied", "Access Denied"), 1);
    let fault = read(&*warehouse, &numbered(3500)).await.unwrap_err().1;
    assert!(fault.code == Code::WarehouseDenied && fault.to_string().contains("s3:GetObject"), "{fault}");
    eventually(async || s3.buckets().lock().objects.is_empty()).await;
    // So is what was written by a statement that nobody waits for any more.
    double.workgroup().polls = 1_000_000;
    let asked = super::query(&numbered(3500));
    assert!(tokio::time::timeout(Duration::from_millis(300), warehouse.rows(&asked)).await.is_err());
    eventually(async || double.workgroup().cancelled.len() == 1 && s3.buckets().lock().objects.is_empty()).await;
}
