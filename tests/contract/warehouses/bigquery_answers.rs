//! BigQuery, on its double: logging in, pages, and the sentences for what goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::config::{Reference, SecretSource};
use domain::fault::{Code, Fault};
use domain::ports::{OpenArgs, Query, QueryLabel, SystemClock, Warehouse};
use doubles::bigquery::{BigQueryDouble, BigQueryFailure as Failure, BigQueryProject, BigQueryStep as Step};
use doubles::sql::SqlValue;
use serde_json::{Value as Json, json};
use support::openssl::{openssl, rsa_key};

use super::{collect, eventually, numbers, query, read};

const NUMBERS: &str = "with recursive s(n) as (select 1 union all select n + 1 from s where n < {}) select n from s";

fn double() -> BigQueryDouble {
    BigQueryDouble::start(BigQueryProject::new("acme").unwrap()).unwrap()
}

fn config(double: &BigQueryDouble) -> Json {
    json!({ "project": "acme", "url": double.url(), "allow_private": true, "retry_pause": "1ms", "page_rows": 1000 })
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

async fn opened(double: &BigQueryDouble) -> Arc<dyn Warehouse> {
    open(&config(double), "").await.unwrap()
}

fn numbered(count: u32) -> String {
    NUMBERS.replace("{}", &count.to_string())
}

/// The key of a service account as Google gives it.
fn key_file(double: &BigQueryDouble, pem: &str) -> String {
    json!({ "type": "service_account", "client_email": "sluice@acme.iam.gserviceaccount.com", "private_key": pem, "private_key_id": "k1",
        "token_uri": format!("{}/token", double.url()) })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_logs_in_with_its_key() {
    let double = double();
    let (pem, public) = rsa_key();
    let pem = String::from_utf8(openssl(&["pkcs8", "-topk8", "-nocrypt"], pem.as_bytes())).unwrap();
    double.project().accounts.insert("sluice@acme.iam.gserviceaccount.com".into(), public);
    let mut settings = config(&double);
    settings["service_account"] = json!("${env:KEY}");
    let key = key_file(&double, &pem);
    let warehouse = open(&settings, &key).await.unwrap();
    for _ in 0..2 {
        assert_eq!(numbers(&read(&*warehouse, &numbered(3)).await.unwrap()), [1, 2, 3]);
    }
    assert_eq!(double.project().minted, 1, "a token is kept while it is good");
    double.project().tokens.clear();
    assert!(read(&*warehouse, "select 1").await.is_ok());
    assert_eq!(double.project().minted, 2, "one that is refused is minted anew");
    double.project().accounts.insert("sluice@acme.iam.gserviceaccount.com".into(), vec![1, 2, 3]);
    double.project().tokens.clear();
    let fault = read(&*warehouse, "select 1").await.unwrap_err().1;
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(fault.to_string().contains("Invalid JWT Signature") && fault.to_string().contains("clock"), "{fault}");
    for (key, part) in [
        ("{}", "is not the JSON file"),
        (pem.as_str(), "is not the JSON file"),
        (r#"{"client_email":"a","private_key":"-----BEGIN"}"#, "no RSA key in PKCS#8"),
    ] {
        let fault = open(&settings, key).await.err().unwrap();
        assert_eq!(fault.code, Code::ConnectionInvalid);
        assert!(fault.what.contains(part) && !fault.to_string().contains("MII"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_counts_once() {
    let double = double();
    let warehouse = opened(&double).await;
    for (step, failure) in [
        (Step::Query, Failure::Cut),
        (Step::Query, Failure::CutAfter(50)),
        (Step::Query, Failure::Status(503, "backendError", "Error encountered during execution.")),
        (Step::Query, Failure::Status(403, "rateLimitExceeded", "Exceeded rate limits")),
        (Step::Page, Failure::Cut),
        (Step::Page, Failure::CutAfter(500)),
        (Step::Page, Failure::Status(500, "", "")),
        (Step::Page, Failure::Html(502)),
        (Step::Page, Failure::Html(200)),
        (Step::Page, Failure::Status(429, "", "")),
    ] {
        double.project().begun.clear();
        double.project().page_rows = 700;
        double.project().fail(step, failure.clone(), 2);
        let batches =
            read(&*warehouse, &numbered(5000)).await.unwrap_or_else(|(_, f)| panic!("{step:?} {failure:?}: {f}"));
        assert_eq!(
            numbers(&batches),
            (1..=5000).collect::<Vec<_>>(),
            "{step:?} {failure:?}: pages shorter than asked for"
        );
        assert_eq!(double.project().begun.len(), 1, "{step:?} {failure:?}: the query runs once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_told_and_nothing_is_taken_for_the_end() {
    let double = double();
    double.project().polls = 0;
    let warehouse = opened(&double).await;
    for (step, failure, code, part) in [
        (Step::Page, Failure::Empty, Code::WarehouseUnreachable, "do not come"),
        (
            Step::Page,
            Failure::Status(404, "notFound", "Not found: Job acme:job_1"),
            Code::ModelFailed,
            "Not found: Job",
        ),
        (Step::Page, Failure::Html(503), Code::WarehouseUnreachable, "503"),
        (
            Step::Query,
            Failure::Status(403, "accessDenied", "Access Denied: Table acme:d.t"),
            Code::WarehouseDenied,
            "roles/bigquery.dataViewer",
        ),
        (Step::Query, Failure::Status(403, "quotaExceeded", "Quota exceeded"), Code::WarehouseUnreachable, "Quotas"),
        (
            Step::Query,
            Failure::Status(400, "responseTooLarge", "Response too large to return."),
            Code::ModelFailed,
            "cursor",
        ),
        (
            Step::Query,
            Failure::Status(401, "authError", "Invalid Credentials"),
            Code::WarehouseDenied,
            "Invalid Credentials",
        ),
    ] {
        double.project().failures_end();
        double.project().fail(step, failure.clone(), 1000);
        let (batches, fault) = read(&*warehouse, &numbered(5000)).await.unwrap_err();
        assert_eq!(fault.code, code, "{failure:?}: {fault}");
        assert!(fault.to_string().contains(part), "{failure:?}: {fault}");
        let read = numbers(&batches);
        assert_eq!(read, (1..=read.len() as i64).collect::<Vec<_>>(), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_says_what_it_costs_and_is_bounded() {
    let double = double();
    let warehouse = opened(&double).await;
    let described = warehouse.describe(&query("select 1 as a")).await.unwrap();
    assert_eq!(described.cost.as_deref(), Some("a full read scans 12.3 MB"));
    let label = QueryLabel { sync: "Crm Contacts".into(), run: "01JRUN".into() };
    collect(&*warehouse, &Query { sql: "select 1".into(), label, ..Query::default() }).await.unwrap();
    let begun = double.project().begun[0].clone();
    assert_eq!(begun["labels"], json!({ "app": "sluicegate", "sync": "crm-contacts", "run": "01jrun" }));
    let mut settings = config(&double);
    settings["maximum_bytes_billed"] = json!(1000);
    let bounded = open(&settings, "").await.unwrap();
    let fault = read(&*bounded, "select 1").await.unwrap_err().1;
    assert_eq!(fault.code, Code::ModelFailed);
    assert!(fault.to_string().contains("maximum_bytes_billed"), "{fault}");
    assert_eq!(double.project().begun.len(), 1, "nothing of it ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_given_up_is_cancelled() {
    let double = double();
    double.project().polls = 1_000_000;
    let warehouse = opened(&double).await;
    let asked = query("select 1");
    let reading = tokio::time::timeout(Duration::from_millis(300), warehouse.rows(&asked));
    assert!(reading.await.is_err(), "it is still running");
    eventually(async || double.project().cancelled.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_where_they_stand() {
    let double = double();
    let warehouse = opened(&double).await;
    for (sql, part) in [
        ("select 1 as a,\n  nope", "at line 2, column 3: Unrecognized name: nope"),
        ("select a from no_such_table", "no_such_table"),
        ("select 1 as a,\n  from nowhere where", "at line 2"),
    ] {
        let fault = warehouse.describe(&query(sql)).await.unwrap_err();
        assert_eq!(fault.code, Code::ModelFailed);
        assert!(fault.what.contains(part), "{sql}: {fault}");
    }
    let mut elsewhere = config(&double);
    elsewhere["project"] = json!("other");
    let fault = open(&elsewhere, "").await.unwrap().describe(&query("select 1")).await.unwrap_err();
    assert!(fault.to_string().contains("Project other") && fault.to_string().contains("`project`"), "{fault}");
    elsewhere["project"] = json!("no project!");
    assert!(open(&elsewhere, "").await.err().unwrap().what.contains("no project id"));
    let mut without = config(&double);
    without.as_object_mut().unwrap().remove("url");
    assert!(open(&without, "").await.err().unwrap().what.contains("`service_account`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tables_version_is_when_it_was_modified_last() {
    let double = double();
    double.project().database.table("acme.marts.contacts", &[("id", "int64")], vec![vec![SqlValue::Int(1)]]).unwrap();
    double.project().database.execute("create view \"acme.marts.all_contacts\" as select 1 as id").unwrap();
    let mut settings = config(&double);
    settings["dataset"] = json!("marts");
    let warehouse = open(&settings, "").await.unwrap();
    let version = async |sql: &str| warehouse.version(&query(sql)).await.unwrap();
    let before = version("select id from contacts").await.unwrap();
    assert_eq!(version("select * from `acme.marts.contacts` as c").await.as_ref(), Some(&before));
    for other in ["select id from all_contacts", "select id from contacts limit 5", "select 1 as id"] {
        assert_eq!(version(other).await, None, "{other}");
    }
    double.project().database.execute("insert into \"acme.marts.contacts\" values (2)").unwrap();
    assert_ne!(version("select id from contacts").await.unwrap(), before);
    double.project().streaming = true;
    assert_eq!(version("select id from contacts").await, None, "what streams in is not counted yet");
    assert!(warehouse.version(&query("select id from nowhere")).await.is_err());
    assert!(double.project().begun.is_empty(), "no query was begun");
}
