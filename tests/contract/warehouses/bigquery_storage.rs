//! BigQuery's Storage Read API, on the double: streams that break, refusals, and the same cells as by the REST API.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use domain::config::{Reference, SecretSource};
use domain::fault::{Code, Fault};
use domain::ports::{OpenArgs, SystemClock, Warehouse};
use domain::row::RowBatch;
use doubles::bigquery::{BigQueryDouble, BigQueryFailure as Failure, BigQueryProject, BigQueryStep as Step};
use doubles::sql::SqlValue;
use serde_json::{Value as Json, json};
use support::openssl::{openssl, rsa_key};

use super::{TOKEN, numbers, query, read};

const NUMBERS: &str = "with recursive s(n) as (select 1 union all select n + 1 from s where n < {}) select n from s";

fn double() -> BigQueryDouble {
    BigQueryDouble::start(BigQueryProject::new("acme").unwrap()).unwrap()
}

fn config(double: &BigQueryDouble, read_api: &str) -> Json {
    json!({ "project": "acme", "url": double.url(), "storage_url": double.url(), "read_api": read_api, "allow_private": true,
        "retry_pause": "1ms", "page_rows": 1000 })
}

struct Given(String);

#[async_trait]
impl SecretSource for Given {
    async fn get(&self, _: &Reference) -> Result<String, Fault> {
        Ok(self.0.clone())
    }
}

async fn open(config: &Json, secret: &str) -> Result<Arc<dyn Warehouse>, Fault> {
    let entry = warehouses::find("bigquery").unwrap();
    let (secrets, clock) = (Given(secret.to_owned()), SystemClock::shared());
    (entry.open)(OpenArgs { name: "bq", config, folder: Path::new("."), secrets: &secrets, clock: &clock }).await
}

async fn opened(double: &BigQueryDouble, read_api: &str) -> Arc<dyn Warehouse> {
    open(&config(double, read_api), "").await.unwrap()
}

fn numbered(count: u32) -> String {
    NUMBERS.replace("{}", &count.to_string())
}

/// The numbers that were read, in the order of their size: streams have none.
fn sorted(batches: &[RowBatch]) -> Vec<i64> {
    let mut numbers = numbers(batches);
    numbers.sort_unstable();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_is_read_on_and_no_row_comes_twice() {
    let double = double();
    let warehouse = opened(&double, "storage").await;
    for (step, failure, goes_on) in [
        (Step::Session, Failure::Cut, false),
        (Step::Session, Failure::Html(502), false),
        (Step::Session, Failure::CutAfter(3), false),
        (Step::Session, Failure::Grpc(0, 14, "try later"), false),
        (Step::Session, Failure::Grpc(0, 8, "Quota exceeded"), false),
        (Step::Rows(0), Failure::Cut, false),
        (Step::Rows(1), Failure::Html(503), false),
        (Step::Rows(1), Failure::Grpc(0, 14, "unavailable"), false),
        (Step::Rows(2), Failure::Grpc(2, 14, "unavailable"), true),
        (Step::Rows(2), Failure::Grpc(1, 13, "Received RST_STREAM with error code 2"), true),
        (Step::Rows(3), Failure::Grpc(7, 2, "Stream removed"), true),
        (Step::Rows(3), Failure::CutAfter(4000), true),
        (Step::Rows(3), Failure::CutAfter(2), false),
    ] {
        double.project().begun.clear();
        double.project().begun_streams.clear();
        double.project().fail(step, failure.clone(), 2);
        let batches =
            read(&*warehouse, &numbered(9000)).await.unwrap_or_else(|(_, f)| panic!("{step:?} {failure:?}: {f}"));
        assert_eq!(sorted(&batches), (1..=9000).collect::<Vec<_>>(), "{step:?} {failure:?}");
        let project = double.project();
        assert_eq!(project.begun.len(), 1, "{step:?} {failure:?}: the query runs once");
        assert_eq!(
            project.begun_streams.iter().any(|(_, offset)| *offset > 0),
            goes_on,
            "{step:?} {failure:?}: {:?}",
            project.begun_streams
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_streams_are_asked_for_and_read() {
    let double = double();
    double.project().polls = 0;
    for (asked, there, expected) in [(4, 9, 4), (4, 2, 2), (1, 9, 1), (1000, 64, 32)] {
        double.project().streams = there;
        double.project().begun_streams.clear();
        let mut settings = config(&double, "storage");
        settings["pages"] = json!(asked);
        let warehouse = open(&settings, "").await.unwrap();
        let batches = read(&*warehouse, &numbered(20_000)).await.unwrap();
        assert_eq!(sorted(&batches), (1..=20_000).collect::<Vec<_>>());
        assert_eq!(double.project().begun_streams.len(), expected, "{asked} of {there}");
    }
    // Streams without a row, and a result without one.
    double.project().streams = 4;
    let warehouse = opened(&double, "storage").await;
    assert_eq!(sorted(&read(&*warehouse, &numbered(2)).await.unwrap()), [1, 2]);
    assert!(read(&*warehouse, "select 1 as a where 1 = 0").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_told_and_an_early_end_is_none() {
    let double = double();
    double.project().polls = 0;
    let warehouse = opened(&double, "storage").await;
    for (step, failure, code, part) in [
        (
            Step::Rows(3),
            Failure::RowsMissing,
            Code::WarehouseUnreachable,
            "the result has 9000 rows, and its streams gave",
        ),
        (Step::Rows(3), Failure::CutAfter(2), Code::WarehouseUnreachable, "ended without a status"),
        (Step::Rows(0), Failure::Grpc(0, 14, "try later"), Code::WarehouseUnreachable, "UNAVAILABLE: try later."),
        (
            Step::Rows(1),
            Failure::Grpc(1, 5, "Requested entity was not found."),
            Code::WarehouseUnreachable,
            "for a day",
        ),
        (Step::Rows(1), Failure::Grpc(1, 9, "session expired"), Code::WarehouseUnreachable, "six hours"),
        (Step::Session, Failure::Grpc(0, 8, "Quota exceeded"), Code::WarehouseUnreachable, "Quotas"),
        (Step::Session, Failure::Grpc(0, 3, "bad request"), Code::ModelFailed, "read_api: rest"),
        (Step::Session, Failure::Grpc(0, 12, "unknown service"), Code::ConnectionInvalid, "storage_url"),
        (Step::Session, Failure::Grpc(0, 16, "Invalid Credentials"), Code::WarehouseDenied, "Invalid Credentials"),
        (Step::Session, Failure::Html(404), Code::ConnectionInvalid, "a gateway answers 404"),
    ] {
        double.project().failures_end();
        double.project().fail(step, failure.clone(), 1000);
        let (batches, fault) = read(&*warehouse, &numbered(9000)).await.unwrap_err();
        assert_eq!(fault.code, code, "{failure:?}: {fault}");
        assert!(fault.to_string().contains(part), "{failure:?}: {fault}");
        let mut read = sorted(&batches);
        read.dedup();
        assert_eq!(read.len(), numbers(&batches).len(), "{failure:?}: no row comes twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_role_is_named_or_the_pages_are_read() {
    let double = double();
    double.project().reads_sessions = false;
    let fault = read(&*opened(&double, "storage").await, &numbered(3)).await.unwrap_err().1;
    assert_eq!(fault.code, Code::WarehouseDenied);
    for part in [
        "bigquery.readsessions.create",
        "gcloud projects add-iam-policy-binding acme",
        "roles/bigquery.readSessionUser",
    ] {
        assert!(fault.to_string().contains(part), "{fault}");
    }
    let warehouse = opened(&double, "auto").await;
    for _ in 0..2 {
        let batches = read(&*warehouse, &numbered(60_000)).await.unwrap();
        assert_eq!(numbers(&batches), (1..=60_000).collect::<Vec<_>>());
    }
    assert!(double.project().begun_streams.is_empty());
    // What was refused once is not asked for again by the same connection.
    double.project().reads_sessions = true;
    read(&*warehouse, &numbered(60_000)).await.unwrap();
    assert!(double.project().begun_streams.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_take_the_streams_by_themselves() {
    let double = double();
    for (read_api, rows, streams) in [("auto", 50_000, 0), ("auto", 50_001, 4), ("rest", 50_001, 0), ("storage", 1, 4)]
    {
        double.project().begun_streams.clear();
        let batches = read(&*opened(&double, read_api).await, &numbered(rows)).await.unwrap();
        assert_eq!(sorted(&batches), (1..=i64::from(rows)).collect::<Vec<_>>());
        assert_eq!(double.project().begun_streams.len(), streams, "{read_api} {rows}");
    }
    // Beside another address of the API, the streams have one of their own or are not used.
    let mut settings = config(&double, "storage");
    settings.as_object_mut().unwrap().remove("storage_url");
    assert!(open(&settings, "").await.err().unwrap().what.contains("`storage_url`"));
    settings["read_api"] = json!("auto");
    double.project().begun_streams.clear();
    read(&*open(&settings, "").await.unwrap(), &numbered(60_000)).await.unwrap();
    assert!(double.project().begun_streams.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_is_minted_anew() {
    let double = double();
    let (pem, public) = rsa_key();
    let pem = String::from_utf8(openssl(&["pkcs8", "-topk8", "-nocrypt"], pem.as_bytes())).unwrap();
    double.project().accounts.insert("sluice@acme.iam.gserviceaccount.com".into(), public);
    let mut settings = config(&double, "storage");
    settings["service_account"] = json!("${env:KEY}");
    let key = json!({ "type": "service_account", "client_email": "sluice@acme.iam.gserviceaccount.com", "private_key": pem,
        "token_uri": format!("{}/token", double.url()) });
    let warehouse = open(&settings, &key.to_string()).await.unwrap();
    assert_eq!(sorted(&read(&*warehouse, &numbered(3)).await.unwrap()), [1, 2, 3]);
    assert_eq!(double.project().minted, 1, "one token for both APIs");
    for step in [Step::Session, Step::Rows(2)] {
        let before = double.project().minted;
        double.project().fail(step, Failure::Grpc(0, 16, "Request had invalid authentication credentials."), 1);
        assert_eq!(sorted(&read(&*warehouse, &numbered(900)).await.unwrap()).len(), 900);
        assert_eq!(double.project().minted, before + 1, "{step:?}");
    }
    let mut settings = config(&double, "storage");
    settings["access_token"] = json!("${env:TOKEN}");
    let fault = read(&*open(&settings, TOKEN).await.unwrap(), "select 1").await.unwrap_err().1;
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(!fault.to_string().contains(TOKEN), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_apis_give_the_same_cells() {
    let double = double();
    let columns = [
        ("id", "int8", &["1", "-9007199254740993", "0", ""][..]),
        ("flag", "bool", &["true", "false", "", "true"]),
        ("whole", "bigint", &["9223372036854775807", "-9223372036854775808", "7", ""]),
        ("amount", "numeric(38,9)", &["-12345678901234567890123456789.123456789", "0.1", "0", "100000000.5"]),
        ("ratio", "double", &["0.1", "-1e300", "nan", "-inf"]),
        ("name", "text", &["Zoë 🌊 ' \\", "", " ", "\u{1F469}\u{200D}\u{1F52C}"]),
        ("raw", "bytes", &["00ff", "", "0a", "ffff"]),
        ("day", "date", &["2024-02-29", "1969-12-31", "9999-12-31", ""]),
        ("clock", "time", &["12:34:56.000007", "00:00:00", "23:59:59.999999", ""]),
        ("wall", "datetime", &["2024-02-29 12:34:56.000007", "1969-12-31 23:59:59.999999", "1583-01-01 00:00:00", ""]),
        (
            "at",
            "timestamptz",
            &["2024-02-29T12:34:56.000007Z", "1969-12-31T23:59:59.999999Z", "9998-12-31T23:59:59Z", ""],
        ),
        ("doc", "json", &["{\"a\":[1,null]}", "null", "\"x\"", ""]),
    ];
    let value = |kind: &str, text: &str| match (kind, text) {
        ("text", text) => SqlValue::text(text),
        (_, "") => SqlValue::Null,
        (kind, text) => SqlValue::of(kind, text).unwrap_or_else(|| panic!("{text} is no {kind}")),
    };
    let rows = (0..4).map(|row| columns.iter().map(|(_, kind, texts)| value(kind, texts[row])).collect()).collect();
    let described: Vec<_> = columns.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    double.project().database.table("everything", &described, rows).unwrap();
    double.project().streams = 1;
    let cells = async |read_api: &str| {
        let batches = read(&*opened(&double, read_api).await, "select * from everything").await.unwrap();
        batches
            .iter()
            .flat_map(|batch| {
                let cells = |row: domain::row::RowRef<'_>| (0..columns.len()).map(|at| row.cell(at).to_vec()).collect();
                batch.rows().map(cells).collect::<Vec<Vec<Vec<u8>>>>()
            })
            .collect::<Vec<_>>()
    };
    let (rest, storage) = (cells("rest").await, cells("storage").await);
    assert_eq!(double.project().begun_streams.len(), 1, "one of the two came by a stream");
    assert_eq!((rest.len(), storage.len()), (4, 4));
    for (row, (rest, storage)) in rest.iter().zip(&storage).enumerate() {
        for ((name, ..), (rest, storage)) in columns.iter().zip(rest.iter().zip(storage)) {
            assert_eq!(domain::cells::value(rest), domain::cells::value(storage), "row {row}, column {name}");
            assert_eq!(rest, storage, "row {row}, column {name}");
        }
    }
    let described = opened(&double, "storage").await.describe(&query("select * from everything")).await.unwrap();
    assert_eq!(described.columns.len(), columns.len());
}
