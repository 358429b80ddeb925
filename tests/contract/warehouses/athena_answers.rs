//! Athena and S3, on their doubles: what goes wrong and passes, what stays and is told, and what is left in S3.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::config::{Reference, SecretSource};
use domain::fault::{Code, Fault};
use domain::ports::{OpenArgs, Query, QueryLabel, RowFilter, SystemClock, Warehouse};
use doubles::athena::{AthenaFailure as Failure, AthenaStep as Step};
use doubles::s3::{S3Failure, S3Step};
use doubles::sql::SqlValue;
use futures_util::StreamExt as _;
use serde_json::{Value as Json, json};

use super::athena::{AthenaRig, NUMBERS, config, rig};
use super::{TOKEN, collect, eventually, numbers, query, read};

struct Given(&'static str);

#[async_trait]
impl SecretSource for Given {
    async fn get(&self, _: &Reference) -> Result<String, Fault> {
        Ok(self.0.to_owned())
    }
}

async fn open(config: &Json, secret: &'static str) -> Result<Arc<dyn Warehouse>, Fault> {
    let entry = warehouses::find("athena").unwrap();
    let (secrets, clock) = (Given(secret), SystemClock::shared());
    (entry.open)(OpenArgs { name: "lake", config, folder: Path::new("."), secrets: &secrets, clock: &clock }).await
}

fn numbered(count: u32) -> String {
    NUMBERS.replace("{}", &count.to_string())
}

/// Nothing of ours is left in S3.
async fn is_clean(rig: &AthenaRig) {
    eventually(async || rig.s3.buckets().lock().objects.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_no_row_comes_twice() {
    let rig = rig();
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    let expected: Vec<_> = (1..=3500).collect();
    assert_eq!(numbers(&read(&*warehouse, &numbered(3500)).await.unwrap()), expected);
    for (step, failure) in [
        (Step::Start, Failure::Cut),
        (Step::Start, Failure::CutAfter(10)),
        (Step::Start, Failure::Exception(400, "TooManyRequestsException", "You have exceeded the limit")),
        (Step::Start, Failure::Exception(400, "ThrottlingException", "Rate exceeded")),
        (Step::Poll, Failure::Exception(500, "InternalServerException", "")),
        (Step::Poll, Failure::CutAfter(30)),
        (Step::Results, Failure::Cut),
    ] {
        let fresh = open(&config(&rig), TOKEN).await.unwrap();
        rig.athena.workgroup().started.clear();
        rig.athena.workgroup().fail(step, failure.clone(), 2);
        let batches = read(&*fresh, &numbered(3500)).await.unwrap_or_else(|(_, f)| panic!("{step:?} {failure:?}: {f}"));
        assert_eq!(numbers(&batches), expected, "{step:?} {failure:?}");
        assert_eq!(rig.athena.workgroup().started.len(), 2, "{step:?} {failure:?}: each query runs once");
        rig.athena.workgroup().failures_end();
    }
    for (step, failure, times) in [
        (S3Step::Get, S3Failure::Cut, 5),
        (S3Step::Get, S3Failure::Error(503, "SlowDown", "Please reduce your request rate."), 5),
        (S3Step::Get, S3Failure::Error(500, "InternalError", "We encountered an internal error."), 3),
        // What broke off is not read twice.
        (S3Step::Range, S3Failure::CutAfter(1000), 5),
        (S3Step::Range, S3Failure::Shorter(500), 3),
        (S3Step::Range, S3Failure::Error(503, "SlowDown", "Please reduce your request rate."), 5),
        (S3Step::List, S3Failure::Error(503, "SlowDown", "Please reduce your request rate."), 2),
        (S3Step::Delete, S3Failure::Cut, 2),
    ] {
        rig.s3.buckets().lock().fail(step, failure.clone(), times);
        let batches =
            read(&*warehouse, &numbered(3500)).await.unwrap_or_else(|(_, f)| panic!("{step:?} {failure:?}: {f}"));
        assert_eq!(numbers(&batches), expected, "{step:?} {failure:?}");
        rig.s3.buckets().lock().failures_end();
        is_clean(&rig).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_says_which_files_are_the_result() {
    let rig = rig();
    rig.athena.workgroup().leaves_orphans = true;
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    // A file of an attempt that failed lies beside those of the result, and is deleted with them.
    assert_eq!(numbers(&read(&*warehouse, &numbered(2500)).await.unwrap()), (1..=2500).collect::<Vec<_>>());
    is_clean(&rig).await;
    rig.athena.workgroup().leaves_orphans = false;
    for omits in [false, true] {
        rig.athena.workgroup().omits_empty_manifests = omits;
        assert!(read(&*warehouse, &numbered(0)).await.unwrap().is_empty(), "no rows are no files");
    }
    // The workgroup decides where manifests lie, not the request.
    rig.athena.workgroup().enforced_output = Some("s3://enforced/all/".into());
    assert_eq!(numbers(&read(&*warehouse, &numbered(2500)).await.unwrap()).len(), 2500);
    let left: Vec<_> = rig.s3.buckets().lock().objects.keys().map(|(bucket, _)| bucket.clone()).collect();
    assert!(!left.is_empty() && left.iter().all(|bucket| bucket == "enforced"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_told_and_nothing_is_taken_for_the_end() {
    let rig = rig();
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    warehouse.describe(&query(&numbered(3500))).await.unwrap();
    for (failure, code, part) in [
        (
            Failure::Ends("FAILED", "GENERIC_INTERNAL_ERROR: io.trino.spi", 1, true),
            Code::WarehouseUnreachable,
            "within Athena",
        ),
        (
            Failure::Ends("FAILED", "Insufficient Lake Formation permission(s): Required Select on orders", 2, false),
            Code::WarehouseDenied,
            "grant the role SELECT",
        ),
        (
            Failure::Ends("FAILED", "HIVE_BAD_DATA: Error reading field value", 2, false),
            Code::ModelFailed,
            "HIVE_BAD_DATA",
        ),
        (
            Failure::Ends("CANCELLED", "Query cancelled! : Bytes scanned limit was exceeded", 0, false),
            Code::ModelFailed,
            "limit of bytes",
        ),
        (Failure::Ends("CANCELLED", "", 0, false), Code::ModelTimeout, "cancelled at Athena"),
    ] {
        rig.athena.workgroup().fail(Step::End, failure.clone(), 1);
        let fault = read(&*warehouse, &numbered(3500)).await.unwrap_err().1;
        assert!(fault.code == code && fault.to_string().contains(part), "{failure:?}: {fault}");
        // Files that were written before it failed are deleted.
        is_clean(&rig).await;
    }
    for (failure, times, code, part) in [
        (S3Failure::Error(403, "AccessDenied", "Access Denied"), 1, Code::WarehouseDenied, "s3:GetObject"),
        (S3Failure::Error(400, "ExpiredToken", "The provided token has expired."), 1, Code::WarehouseDenied, "renew"),
        (S3Failure::Error(503, "SlowDown", "Reduce."), 1000, Code::WarehouseUnreachable, "503 (SlowDown)"),
        (S3Failure::Cut, 1000, Code::WarehouseUnreachable, "broke before the whole answer"),
    ] {
        rig.s3.buckets().lock().fail(S3Step::Get, failure.clone(), times);
        let (batches, fault) = read(&*warehouse, &numbered(3500)).await.unwrap_err();
        assert!(fault.code == code && fault.to_string().contains(part), "{failure:?}: {fault}");
        assert!(batches.is_empty());
        rig.s3.buckets().lock().failures_end();
        is_clean(&rig).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_or_broken_is_no_end() {
    let rig = rig();
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    for spoil in ["gone", "cut", "text"] {
        let mut rows = warehouse.rows(&query(&numbered(5000))).await.unwrap();
        {
            let mut buckets = rig.s3.buckets().lock();
            let last = buckets.objects.keys().filter(|(_, key)| key.ends_with("+004")).cloned().collect::<Vec<_>>();
            assert_eq!(last.len(), 1, "the fifth of five files");
            let bytes = buckets.objects[&last[0]].clone();
            match spoil {
                "gone" => drop(buckets.objects.remove(&last[0])),
                "cut" => drop(buckets.objects.insert(last[0].clone(), bytes.slice(100..))),
                _ => drop(buckets.objects.insert(last[0].clone(), "no parquet".into())),
            }
        }
        let (mut batches, mut faults) = (Vec::new(), Vec::new());
        while let Some(item) = rows.next().await {
            match item {
                Ok(batch) => batches.push(batch),
                Err(fault) => faults.push(fault),
            }
        }
        assert_eq!(numbers(&batches), (1..=4000).collect::<Vec<_>>(), "{spoil}");
        assert_eq!((faults.len(), faults[0].code), (1, Code::WarehouseUnreachable), "{spoil}: {}", faults[0]);
        assert!(faults[0].what.contains("s3://results/sync/sluicegate/"), "{spoil}: {}", faults[0]);
        is_clean(&rig).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_what_to_do() {
    let rig = rig();
    let fault = read(&*open(&config(&rig), "another-secret").await.unwrap(), "select 1 as a").await.unwrap_err().1;
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(fault.to_string().contains("renew the AWS credentials"), "{fault}");
    assert!(!fault.to_string().contains("another-secret"), "{fault}");
    for (setting, value, code, part) in [
        ("workgroup", "other", Code::ConnectionInvalid, "check `workgroup`"),
        ("output", "s3://no-such-bucket/x/", Code::WarehouseDenied, "s3:PutObject"),
    ] {
        let mut settings = config(&rig);
        settings[setting] = json!(value);
        let fault = read(&*open(&settings, TOKEN).await.unwrap(), "select 1 as a").await.unwrap_err().1;
        assert!(fault.code == code && fault.to_string().contains(part), "{setting}: {fault}");
    }
    for (setting, value, part) in [
        ("output", json!("results"), "no folder in S3"),
        ("url", json!("ftp://x"), "`url`"),
        ("timeout", json!("0s"), "more than 0"),
    ] {
        let mut settings = config(&rig);
        settings[setting] = value;
        let fault = open(&settings, TOKEN).await.err().unwrap();
        assert!(fault.code == Code::ConnectionInvalid && fault.what.contains(part), "{setting}: {fault}");
    }
    let denied = "You are not authorized to perform: athena:StartQueryExecution on the resource.";
    rig.athena.workgroup().fail(Step::Start, Failure::Exception(400, "AccessDeniedException", denied), 1);
    let fault = read(&*open(&config(&rig), TOKEN).await.unwrap(), "select 1 as a").await.unwrap_err().1;
    assert!(fault.to_string().contains("athena:StartQueryExecution on the workgroup analytics"), "{fault}");
    // A result that cannot be deleted is read all the same.
    rig.s3.buckets().lock().fail(S3Step::Delete, S3Failure::Error(403, "AccessDenied", "Access Denied"), 1000);
    assert_eq!(numbers(&read(&*open(&config(&rig), TOKEN).await.unwrap(), &numbered(5)).await.unwrap()).len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_or_is_given_up_is_stopped() {
    let rig = rig();
    rig.athena.workgroup().polls = 1_000_000;
    let mut settings = config(&rig);
    settings["statement_timeout"] = json!("300ms");
    let fault = read(&*open(&settings, TOKEN).await.unwrap(), "select 1 as a").await.unwrap_err().1;
    assert_eq!(fault.code, Code::ModelTimeout);
    assert!(fault.to_string().contains("300ms"), "{fault}");
    eventually(async || rig.athena.workgroup().stopped.len() == 1).await;
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    let asked = query("select 1 as a");
    assert!(tokio::time::timeout(Duration::from_millis(300), warehouse.rows(&asked)).await.is_err(), "it is running");
    eventually(async || rig.athena.workgroup().stopped.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_say_who_asked_and_describing_reads_nothing() {
    let rig = rig();
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    let label = QueryLabel { sync: "contacts".into(), run: "01J*/ drop".into() };
    let asked = Query { sql: "select a from kept".into(), label, ..Query::default() };
    let schema = warehouse.describe(&asked).await.unwrap();
    assert_eq!(schema.columns[0].name, "a");
    assert_eq!(numbers(&collect(&*warehouse, &asked).await.unwrap()), [1]);
    let started = rig.athena.workgroup().started.clone();
    assert_eq!(started.len(), 2, "what was described is not described again");
    let sql = |at: usize| started[at]["QueryString"].as_str().unwrap();
    assert_eq!(
        sql(0),
        "/* app=sluicegate sync=contacts run=01Jdrop */\nselect * from (\nselect a from kept\n) as model limit 0"
    );
    assert!(
        sql(1).starts_with("UNLOAD (\n/* app=sluicegate sync=contacts run=01Jdrop */\nselect \"a\" as c0 from (\n"),
        "{}",
        sql(1)
    );
    assert!(sql(1).contains(" TO 's3://results/sync/sluicegate/contacts-01Jdrop-"), "{}", sql(1));
    assert_eq!(started[0]["QueryExecutionContext"], json!({ "Catalog": "AwsDataCatalog", "Database": "marts" }));
    assert_eq!(
        started[0]["ResultReuseConfiguration"],
        json!({ "ResultReuseByAgeConfiguration": { "Enabled": false } })
    );
    is_clean(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_longer_than_a_query_take_several() {
    let rig = rig();
    let long = |n: i64| format!("{n:0100}");
    let rows = (1..=5000).map(|n| vec![SqlValue::Int(n), SqlValue::text(long(n))]).collect();
    rig.athena.workgroup().database.table("keyed", &[("n", "bigint(18)"), ("k", "varchar")], rows).unwrap();
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    let keys = (1001..=5000).map(|n| vec![long(n)]).collect();
    let only = Some(RowFilter::Keys { columns: vec!["k".into()], keys });
    let asked = Query { sql: "select n, k from keyed".into(), only, ..Query::default() };
    let mut found = numbers(&collect(&*warehouse, &asked).await.unwrap());
    found.sort_unstable();
    assert_eq!(found, (1001..=5000).collect::<Vec<_>>());
    assert_eq!(rig.athena.workgroup().started.len(), 1 + 3, "one for the columns");
    is_clean(&rig).await;
}

/// However large the result is, no more of it is held than a row group of each file that is being read, and the batches
/// that wait: whoever does not take rows is not sent more.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_not_taken_is_not_fetched() {
    let rig = rig();
    let wide = |n: i64| {
        vec![SqlValue::Int(n), SqlValue::text(format!("{n:064}").repeat(64) + &fastrand::u128(..).to_string())]
    };
    rig.athena
        .workgroup()
        .database
        .table("wide", &[("n", "bigint(18)"), ("t", "varchar")], (1..=20_000).map(wide).collect())
        .unwrap();
    rig.athena.workgroup().shape = doubles::parquet::ParquetShape { file_rows: 1000, group_rows: 500 };
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    let mut rows = warehouse.rows(&query("select n, t from wide")).await.unwrap();
    assert!(!rows.next().await.unwrap().unwrap().is_empty());
    let served = || {
        rig.s3
            .buckets()
            .lock()
            .served
            .iter()
            .filter(|(key, _)| key.contains("/rows/"))
            .map(|(_, bytes)| *bytes)
            .collect::<Vec<_>>()
    };
    eventually(async || {
        let before = served();
        tokio::time::sleep(Duration::from_millis(100)).await;
        before == served()
    })
    .await;
    let whole: usize = rig
        .s3
        .buckets()
        .lock()
        .objects
        .iter()
        .filter(|((_, key), _)| key.contains("/rows/"))
        .map(|(_, body)| body.len())
        .sum();
    let (groups, held) = (40, served());
    let largest = whole / groups * 2;
    assert!(
        held.iter().all(|bytes| *bytes <= largest.max(64 * 1024)),
        "no answer is larger than a row group: {held:?}"
    );
    assert!(held.iter().sum::<usize>() < whole / 4, "{held:?} of {whole}");
    // All of it is there all the same.
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch.unwrap().len();
    }
    assert!(count > 19_000);
    assert!(served().iter().all(|bytes| *bytes <= largest.max(64 * 1024)), "row groups come one by one");
    is_clean(&rig).await;
}

/// A request to the emulator: its status and its answer.
fn sent(emulator: &str, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
    use std::io::{Read as _, Write as _};
    let host = emulator.trim_start_matches("http://").trim_end_matches('/');
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!("{head} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let status = String::from_utf8_lossy(&answer[..12]).rsplit(' ').next().unwrap().parse().unwrap();
    (status, answer)
}

/// What Athena's double writes goes into the emulator's S3, and is read, listed and deleted there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the AWS emulator: ./tests/run"]
async fn files_in_another_s3_are_read_and_deleted() {
    let emulator = support::aws::endpoint();
    // It may be there from another run.
    let there =
        b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert!(matches!(sent(&emulator, "PUT /results", there).0, 200 | 409));
    let rig = rig();
    {
        let emulator = emulator.clone();
        rig.s3.buckets().lock().mirror = Some(Box::new(move |address, body| {
            let path = address.trim_start_matches("s3:/").replace(' ', "%20").replace('+', "%2B");
            assert_eq!(sent(&emulator, &format!("PUT {path}"), body).0, 200, "{address}");
        }));
    }
    let output = format!("emulated-{:08x}", fastrand::u32(..));
    rig.athena.workgroup().leaves_orphans = true;
    let left = || {
        let (status, answer) = sent(&emulator, &format!("GET /results?list-type=2&prefix={output}"), b"");
        assert_eq!(status, 200);
        String::from_utf8_lossy(&answer).matches("<Key>").count()
    };
    let mut settings = config(&rig);
    settings["s3_url"] = json!(emulator);
    settings["output"] = json!(format!("s3://results/{output}/"));
    let warehouse = open(&settings, TOKEN).await.unwrap();
    assert_eq!(numbers(&read(&*warehouse, &numbered(2500)).await.unwrap()), (1..=2500).collect::<Vec<_>>());
    assert_eq!(left(), 0);
    // What is there before it is read is seen there, so that nothing of it would be.
    let rows = warehouse.rows(&query(&numbered(2500))).await.unwrap();
    assert!(left() > 3);
    drop(rows);
    eventually(async || left() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iceberg_tables_version_is_where_its_metadata_lie() {
    let rig = rig();
    for table in ["contacts", "files"] {
        rig.athena.workgroup().database.table(table, &[("id", "bigint(18)")], vec![vec![SqlValue::Int(1)]]).unwrap();
    }
    rig.athena.workgroup().iceberg.insert("contacts".into());
    let warehouse = open(&config(&rig), TOKEN).await.unwrap();
    let version = async |sql: &str| warehouse.version(&query(sql)).await.unwrap();
    let before = version("select id from contacts").await.unwrap();
    assert!(before.contains("AwsDataCatalog.marts.contacts@s3://"), "{before}");
    assert_eq!(version("select * from \"marts\".Contacts c").await.as_ref(), Some(&before));
    for other in ["select id from files", "select count(*) as id from contacts", "select id from contacts where id > 0"]
    {
        assert_eq!(version(other).await, None, "{other}");
    }
    rig.athena.workgroup().database.execute("insert into contacts values (2)").unwrap();
    assert_ne!(version("select id from contacts").await.unwrap(), before);
    assert!(warehouse.version(&query("select id from nowhere")).await.is_err());
    assert!(rig.athena.workgroup().started.is_empty(), "no query was started");
}
