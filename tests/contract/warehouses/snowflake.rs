//! Snowflake, on its double: the fixture of the contract, and what only Snowflake has: logging in, partitions, statements
//! that are asked about, and the sentences for what goes wrong.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::config::{Reference, SecretSource};
use domain::fault::{Code, Fault};
use domain::ports::{OpenArgs, Query, QueryLabel, SystemClock, Warehouse};
use domain::value::Value;
use doubles::snowflake::{SnowflakeAccount, SnowflakeDouble, SnowflakeFailure as Failure, SnowflakeStep as Step};
use doubles::sql::SqlValue;
use futures_util::StreamExt as _;
use serde_json::json;
use support::openssl::{openssl, rsa_key};

use super::{Fixture, Keep, TOKEN, collect, eventually, numbers, query, read};

const NUMBERS: &str = "with recursive s(n) as (select 1 where {} > 0 union all select n + 1 from s where n < {}) select n, 'row ' || n as t from s";

fn double() -> SnowflakeDouble {
    let mut account = SnowflakeAccount::new("acme-main").unwrap();
    account.tokens.insert(TOKEN.into());
    account.database.table("KEPT", &[("A", "NUMBER(38,0)")], vec![vec![SqlValue::Int(1)]]).unwrap();
    SnowflakeDouble::start(account).unwrap()
}

fn config(double: &SnowflakeDouble) -> serde_json::Value {
    json!({ "account": "acme-main", "url": double.url(), "allow_private": true, "token": "${env:TOKEN}", "role": "READER",
        "warehouse": "WH", "retry_pause": "1ms", "timeout": "20s" })
}

pub fn fixture() -> Fixture {
    let double = double();
    double.account().partition_rows = 1500;
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nowhere = config(&double);
    nowhere["url"] = json!(format!("http://127.0.0.1:{port}"));
    Fixture {
        name: "snowflake",
        config: config(&double),
        nowhere: (nowhere, "127.0.0.1".into()),
        literals: vec![
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("1", Value::Int(1)),
            ("'-999999999999999999'::number(18,0)", Value::Int(-999_999_999_999_999_999)),
            ("'9223372036854775808'::number(38,0)", Value::Decimal("9223372036854775808")),
            ("'-12345678901234567890123456789012345.67800'::number(38,3)", Value::Decimal(super::fixtures::DECIMAL_38)),
            ("'100000000'::number(20,4)", Value::Decimal("100000000")),
            ("'0.1'::float", Value::Float(0.1)),
            ("'NaN'::float", Value::Unreadable("not a number (NaN)")),
            ("'-inf'::double precision", Value::Unreadable("an infinite number")),
            ("''", Value::Text("")),
            ("'Zoë 🌊 \\\"\\\\ \\t'", Value::Text("Zoë 🌊 \"\\ \t")),
            ("to_binary('00ff', 'HEX')", Value::Bytes(&[0, 255])),
            ("'2024-02-29'::date", Value::Date(19_782)),
            ("'1969-12-31'::date", Value::Date(-1)),
            ("'12:34:56.000007'::time", Value::Time(45_296_000_007)),
            ("'2024-02-29 12:34:56.000007'::timestamp_ntz(9)", Value::DateTime(1_709_210_096_000_007)),
            ("'1969-12-31 23:59:59.999999Z'::timestamp_ltz", Value::Timestamp(-1)),
            ("'2024-02-29 12:34:56+02:00'::timestamp_tz", Value::Timestamp(1_709_202_896_000_000)),
            (
                "'2024-02-29 12:34:56.000000007'::timestamp_ntz(9)",
                Value::Unreadable(
                    "a time with parts of a microsecond: cast the column in the model, such as COLUMN::timestamp_ntz(6)",
                ),
            ),
            ("'{\"a\": [1, 1.0]}'::variant", Value::Json("{\"a\": [1, 1.0]}")),
        ],
        numbers: NUMBERS,
        fails_halfway: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 5000) select n, divided(1, n - 3000) as f from s",
        rows_before_failure: 0,
        capitals: true,
        tells_positions: true,
        endless: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 200000) select n from s",
        kept: "kept",
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
                "select 1 as n, '1969-12-31'::date as c union all select 2, '1970-01-01'::date union all select 3, '1970-01-02'::date union all select 4, '2026-01-01'::date",
                Value::Date(1),
            ),
            (
                "select 1 as n, '1970-01-01'::timestamp_ntz as c union all select 2, '1970-01-01 00:00:00'::timestamp_ntz union all select 3, '1970-01-01 00:00:00.000001'::timestamp_ntz union all select 4, '2026-01-01'::timestamp_ntz",
                Value::DateTime(1),
            ),
            (
                "select 1 as n, '1969-12-31T00:00:00Z'::timestamp_tz as c union all select 2, '1970-01-01T00:00:00Z'::timestamp_tz union all select 3, '1970-01-01T00:00:00.000001Z'::timestamp_tz union all select 4, '2026-01-01T00:00:00Z'::timestamp_tz",
                Value::Timestamp(1),
            ),
        ],
        keep: Keep::Snowflake(Box::new(double)),
    }
}

/// Secrets by name.
struct Given(Vec<(&'static str, String)>);

#[async_trait]
impl SecretSource for Given {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        let Reference::Env(name) = reference else {
            return Err(Fault::new(Code::SecretMissing, reference.to_string()));
        };
        let known = self.0.iter().find(|(known, _)| known == name);
        known.map(|(_, secret)| secret.clone()).ok_or_else(|| Fault::new(Code::SecretMissing, reference.to_string()))
    }
}

async fn open(config: &serde_json::Value, secrets: Vec<(&'static str, String)>) -> Result<Arc<dyn Warehouse>, Fault> {
    let mut secrets = Given(secrets);
    secrets.0.push(("TOKEN", TOKEN.into()));
    let entry = warehouses::find("snowflake").unwrap();
    let clock = SystemClock::shared();
    (entry.open)(OpenArgs { name: "snow", config, folder: Path::new("."), secrets: &secrets, clock: &clock }).await
}

async fn opened(double: &SnowflakeDouble) -> Arc<dyn Warehouse> {
    open(&config(double), Vec::new()).await.unwrap()
}

fn numbered(count: u32) -> String {
    NUMBERS.replace("{}", &count.to_string())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_key_logs_in_however_it_is_kept() {
    let double = double();
    let (pem, public) = rsa_key();
    double.account().user("sluice", &public);
    let plain = text(openssl(&["pkcs8", "-topk8", "-nocrypt"], pem.as_bytes()));
    let encrypted =
        |how: &str| text(openssl(&["pkcs8", "-topk8", "-v2", how, "-passout", "pass:open sesame"], pem.as_bytes()));
    let mut settings = config(&double);
    settings.as_object_mut().unwrap().remove("token");
    settings["user"] = json!("Sluice");
    settings["private_key"] = json!("${env:KEY}");
    for (how, key, passphrase) in [
        ("PKCS#8", plain.clone(), None),
        ("PKCS#1", pem.clone(), None),
        ("Windows lines", plain.replace('\n', "\r\n"), None),
        ("one line", plain.replace('\n', "\\n"), None),
        ("des3, as Snowflake's page makes it", encrypted("des3"), Some("open sesame")),
        ("AES-256", encrypted("aes-256-cbc"), Some("open sesame")),
    ] {
        if passphrase.is_some() {
            settings["private_key_passphrase"] = json!("${env:PASS}");
        }
        let secrets = vec![("KEY", key), ("PASS", passphrase.unwrap_or_default().to_owned())];
        let warehouse = open(&settings, secrets).await.unwrap_or_else(|fault| panic!("{how}: {fault}"));
        assert_eq!(
            numbers(&read(&*warehouse, &numbered(3)).await.unwrap_or_else(|(_, f)| panic!("{how}: {f}"))),
            [1, 2, 3]
        );
    }
    // An account by its locator and region.
    double.account().user("sluice", &public);
    settings["account"] = json!("https://ACME-MAIN.snowflakecomputing.com/");
    let secrets = vec![("KEY", plain.clone()), ("PASS", String::new())];
    assert!(read(&*open(&settings, secrets).await.unwrap(), "select 1").await.is_ok());
}

#[tokio::test]
async fn a_key_that_cannot_be_used_says_why() {
    let double = double();
    let (pem, _) = rsa_key();
    let encrypted = text(openssl(&["pkcs8", "-topk8", "-passout", "pass:open sesame"], pem.as_bytes()));
    let curve = text(openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], b""));
    let public = text(openssl(&["rsa", "-pubout"], pem.as_bytes()));
    let mut settings = config(&double);
    settings.as_object_mut().unwrap().remove("token");
    settings["user"] = json!("Sluice");
    settings["private_key"] = json!("${env:KEY}");
    for (key, passphrase, part) in [
        (encrypted.clone(), None, "`private_key_passphrase` is missing"),
        (encrypted, Some("wrong"), "cannot be opened with `private_key_passphrase`"),
        (curve, None, "an RSA key of 2048 bits or more"),
        (public, None, "is a public key"),
        ("MIIEvQIBADANBg".into(), None, "is not in PEM"),
        (pem.lines().filter(|l| !l.contains("END")).collect::<Vec<_>>().join("\n"), None, "is damaged"),
    ] {
        match passphrase {
            Some(_) => settings["private_key_passphrase"] = json!("${env:PASS}"),
            None => settings.as_object_mut().unwrap().retain(|name, _| name != "private_key_passphrase"),
        }
        let secrets = vec![("KEY", key), ("PASS", passphrase.unwrap_or_default().to_owned())];
        let fault = open(&settings, secrets).await.err().unwrap();
        assert_eq!(fault.code, Code::ConnectionInvalid);
        assert!(fault.what.contains(part), "{part}: {fault}");
        assert!(!fault.to_string().contains("MIIE"), "nothing of a key is told: {fault}");
    }
    assert!(double.account().submitted.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_says_what_to_look_at() {
    let double = double();
    let (pem, public) = rsa_key();
    let mut settings = config(&double);
    settings.as_object_mut().unwrap().remove("token");
    settings["user"] = json!("Sluice");
    settings["private_key"] = json!("${env:KEY}");
    let warehouse = open(&settings, vec![("KEY", pem)]).await.unwrap();
    let fault = warehouse.describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(fault.to_string().contains("RSA_PUBLIC_KEY_FP"), "{fault}");
    double.account().user("sluice", &public);
    double.account().clock_ahead = 7200;
    let fault = warehouse.describe(&query("select 1")).await.unwrap_err();
    assert!(fault.what.contains("seconds behind Snowflake's") && fault.to_string().contains("NTP"), "{fault}");
    double.account().clock_ahead = 0;
    assert!(warehouse.describe(&query("select 1")).await.is_ok());
    // A token that was revoked.
    let warehouse = opened(&double).await;
    double.account().tokens.clear();
    let fault = warehouse.describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(
        fault.what.contains("Programmatic access token is invalid") && !fault.to_string().contains(TOKEN),
        "{fault}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn oauth_tokens_are_minted_and_renewed() {
    for refresh in [None, Some("planted-refresh".to_owned())] {
        let double = double();
        double.account().oauth_client = Some(("client".into(), "planted-secret".into(), refresh.clone()));
        let mut settings = config(&double);
        settings.as_object_mut().unwrap().remove("token");
        settings["oauth"] =
            json!({ "client_id": "client", "client_secret": "${env:SECRET}", "scope": "session:role:READER" });
        if refresh.is_some() {
            settings["oauth"]["refresh_token"] = json!("${env:REFRESH}");
        }
        let secrets = vec![("SECRET", "planted-secret".to_owned()), ("REFRESH", refresh.unwrap_or_default())];
        let warehouse = open(&settings, secrets).await.unwrap();
        for _ in 0..2 {
            assert!(read(&*warehouse, "select 1").await.is_ok());
        }
        assert_eq!(double.account().minted, 1, "a token is kept while it is good");
        double.account().oauth_tokens.clear();
        assert!(read(&*warehouse, "select 1").await.is_ok());
        assert_eq!(double.account().minted, 2, "one that is refused is minted anew");
        double.account().oauth_client = None;
        double.account().oauth_tokens.clear();
        let fault = read(&*warehouse, "select 1").await.unwrap_err().1;
        assert_eq!(fault.code, Code::WarehouseDenied);
        assert!(fault.what.contains("gives no access token") && fault.to_string().contains("`oauth`"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_granted_is_named() {
    let double = double();
    let told = async |settings: serde_json::Value, sql: &str| {
        open(&settings, Vec::new()).await.unwrap().describe(&query(sql)).await.unwrap_err()
    };
    let with = |name: &str, value: &str| {
        let mut settings = config(&double);
        settings[name] = json!(value);
        settings
    };
    let fault = told(with("role", "NOBODY"), "select 1").await;
    assert_eq!(fault.code, Code::WarehouseDenied);
    assert!(fault.to_string().contains("GRANT ROLE NOBODY"), "{fault}");
    let fault = told(with("warehouse", "NONE"), "select 1").await;
    assert!(fault.to_string().contains("GRANT USAGE ON WAREHOUSE NONE TO ROLE READER"), "{fault}");
    let fault = told(config(&double), "select * from analytics.crm.contacts").await;
    assert_eq!(fault.code, Code::ModelFailed);
    assert!(fault.to_string().contains("GRANT SELECT"), "{fault}");
    double.account().stopped =
        Some("Warehouse 'WH' cannot be resumed because resource monitor 'M' has exceeded its quota.".into());
    let fault = told(config(&double), "select 1").await;
    assert_eq!(fault.code, Code::WarehouseUnreachable);
    assert!(fault.to_string().contains("AUTO_RESUME"), "{fault}");
    let unknown = with("account", "no such account");
    assert!(open(&unknown, Vec::new()).await.err().unwrap().what.contains("no account identifier"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again_and_counts_once() {
    let double = double();
    double.account().polls = 2;
    let warehouse = opened(&double).await;
    for (step, failure) in [
        (Step::Submit, Failure::Cut),
        (Step::Submit, Failure::Status(503, "", "")),
        (Step::Submit, Failure::TooMany(0)),
        (Step::Submit, Failure::CutAfter(20)),
        (Step::Poll, Failure::Cut),
        (Step::Poll, Failure::Html(502)),
        (Step::Poll, Failure::TooMany(0)),
        (Step::Partition(3), Failure::Cut),
        (Step::Partition(3), Failure::Status(500, "", "")),
        (Step::Partition(3), Failure::TooMany(0)),
        (Step::Partition(3), Failure::CutAfter(100)),
        (Step::Partition(3), Failure::CutAfter(1000)),
        (Step::Partition(3), Failure::RowMissing),
        (Step::Partition(3), Failure::Html(504)),
    ] {
        double.account().submitted.clear();
        double.account().fail(step, failure.clone(), 2);
        let batches =
            read(&*warehouse, &numbered(5000)).await.unwrap_or_else(|(_, f)| panic!("{step:?} {failure:?}: {f}"));
        assert_eq!(numbers(&batches), (1..=5000).collect::<Vec<_>>(), "{step:?} {failure:?}");
        assert_eq!(double.account().submitted.len(), 1, "{step:?} {failure:?}: the statement runs once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_stays_broken_ends_the_read() {
    let double = double();
    double.account().partition_rows = 100;
    let warehouse = opened(&double).await;
    for (failure, code, part) in [
        (Failure::CutAfter(200), Code::WarehouseUnreachable, "broke before the whole answer"),
        (Failure::RowMissing, Code::WarehouseUnreachable, "rows, and 100 were promised"),
        (Failure::Html(503), Code::WarehouseUnreachable, "answers 503"),
        (Failure::Status(404, "000709", "Statement 01b2 not found"), Code::WarehouseUnreachable, "answers 404"),
    ] {
        double.account().failures_end();
        double.account().fail(Step::Partition(37), failure.clone(), 100);
        let (batches, fault) = read(&*warehouse, &numbered(5000)).await.unwrap_err();
        assert_eq!(fault.code, code, "{failure:?}: {fault}");
        assert!(fault.what.contains(part), "{failure:?}: {fault}");
        let read = numbers(&batches);
        assert_eq!(read, (1..=read.len() as i64).collect::<Vec<_>>(), "{failure:?}: no row twice, none left out");
        assert!(read.len() < 3710 && read.len() >= 3610);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_result_is_told() {
    let double = double();
    let warehouse = opened(&double).await;
    double.account().polls = 0;
    for (failure, code, part) in [
        (Failure::Status(200, "391908", "Result set is too large."), Code::ModelFailed, "too large"),
        (
            Failure::Status(408, "000630", "Statement reached its statement or warehouse timeout"),
            Code::ModelTimeout,
            "statement_timeout",
        ),
        (Failure::Status(422, "000604", "SQL execution canceled"), Code::ModelTimeout, "cancelled"),
        (Failure::Status(401, "390318", "OAuth access token expired."), Code::WarehouseDenied, "access token"),
        (Failure::Html(403), Code::WarehouseDenied, "refuses the login"),
        (Failure::Html(200), Code::ModelFailed, "Service Unavailable"),
    ] {
        double.account().failures_end();
        double.account().fail(Step::Poll, failure.clone(), 1);
        let fault = read(&*warehouse, "select 1").await.unwrap_err().1;
        assert_eq!(fault.code, code, "{failure:?}: {fault}");
        assert!(fault.what.contains(part), "{failure:?}: {fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_given_up_cancels_its_statement() {
    let double = double();
    double.account().polls = 1_000_000;
    let warehouse = opened(&double).await;
    let asked = query("select 1");
    let reading = tokio::time::timeout(Duration::from_millis(300), warehouse.rows(&asked));
    assert!(reading.await.is_err(), "it is still running");
    eventually(async || !double.account().running()).await;
    assert_eq!(double.account().cancelled.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_say_who_asked() {
    let double = double();
    let warehouse = opened(&double).await;
    let label = QueryLabel { sync: "contacts".into(), run: "01J".into() };
    collect(&*warehouse, &Query { sql: "select 1".into(), label, ..Query::default() }).await.unwrap();
    let tag: serde_json::Value = serde_json::from_str(&double.account().submitted[0].1).unwrap();
    assert_eq!(tag, json!({ "app": "sluicegate", "sync": "contacts", "run": "01J" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_forty_megabytes_arrives() {
    let double = double();
    let long = "é\"\\\n".repeat(8 * 1024 * 1024);
    let rows = vec![
        vec![SqlValue::Int(1), SqlValue::text("short")],
        vec![SqlValue::Int(2), SqlValue::text(long.clone())],
        vec![SqlValue::Int(3), SqlValue::text("short")],
    ];
    double.account().database.table("LONG_TEXTS", &[("ID", "NUMBER(18,0)"), ("T", "VARCHAR")], rows).unwrap();
    double.account().partition_rows = 1;
    let warehouse = opened(&double).await;
    let mut stream = warehouse.rows(&query("select id, t from long_texts order by id")).await.unwrap();
    let mut lengths = Vec::new();
    while let Some(batch) = stream.next().await {
        for row in batch.unwrap().rows() {
            let Value::Text(text) = row.value(1) else { panic!("{:?}", row.value(1)) };
            lengths.push((text.len(), text == "short" || text == long));
        }
    }
    assert_eq!(lengths, [(5, true), (long.len(), true), (5, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_described_by_their_declared_types() {
    let double = double();
    let columns = [
        ("ID", "NUMBER(38,0)"),
        ("SMALL", "NUMBER(9,0)"),
        ("PRICE", "NUMBER(12,2)"),
        ("SEEN", "TIMESTAMP_LTZ(9)"),
        ("TAGS", "ARRAY"),
    ];
    double.account().database.table("EMPTY", &columns, Vec::new()).unwrap();
    let warehouse = opened(&double).await;
    let described = warehouse.describe(&query("select * from empty")).await.unwrap();
    let kinds: Vec<_> = described.columns.iter().map(|c| format!("{} {}", c.name, c.kind)).collect();
    assert_eq!(kinds, ["ID decimal", "SMALL int", "PRICE decimal", "SEEN timestamp", "TAGS json"]);
    let twice = warehouse.describe(&query("select 1 as id, 2 as \"ID\", 3 as \"id\"")).await.unwrap();
    assert!(twice.findings.iter().any(|f| f.is_error() && f.what.contains("`ID`")), "{:?}", twice.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tables_version_is_its_last_commit_and_wakes_no_warehouse() {
    let double = double();
    let rows = vec![vec![SqlValue::Int(1)], vec![SqlValue::Int(2)]];
    double.account().database.table("ANALYTICS.CRM.CONTACTS", &[("ID", "NUMBER(18,0)")], rows).unwrap();
    double.account().database.execute("create view \"ANALYTICS.CRM.ALL_CONTACTS\" as select 1 as id").unwrap();
    let mut settings = config(&double);
    settings["database"] = json!("analytics");
    settings["schema"] = json!("crm");
    let warehouse = open(&settings, vec![]).await.unwrap();
    let version = async |sql: &str| warehouse.version(&query(sql)).await.unwrap();
    let before = version("select id from contacts").await.unwrap();
    assert!(before.contains(r#""ANALYTICS"."CRM"."CONTACTS"@"#), "{before}");
    for same in ["select * from crm.contacts c", "select id as x from \"ANALYTICS\".crm.\"CONTACTS\""] {
        assert_eq!(version(same).await.as_ref(), Some(&before), "{same}");
    }
    for other in ["select id from all_contacts", "select id from contacts where id > 0", "select id from nowhere"] {
        assert_eq!(version(other).await, None, "{other}");
    }
    double.account().database.execute("delete from \"ANALYTICS.CRM.CONTACTS\" where id = 2").unwrap();
    assert_ne!(version("select id from contacts").await.unwrap(), before);
    assert_eq!(double.account().computed, 0, "all of it is metadata");
}
