//! BigQuery: the fixture of the contract, on an emulator that runs GoogleSQL on DuckDB.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clients::http::{HeaderMap, HeaderValue, Http, HttpRequest, HttpSettings, Method, Url};
use domain::value::Value;
use serde_json::{Value as Json, json};

use super::{Fixture, Keep};

/// The emulator's address.
fn emulator() -> String {
    std::env::var("SLUICEGATE_TEST_BIGQUERY").expect("SLUICEGATE_TEST_BIGQUERY names the emulator: run ./tests/run")
}

/// Runs a statement on the emulator.
async fn execute(url: &str, project: &str, sql: &str) {
    let body = json!({ "query": sql, "useLegacySql": false });
    let http =
        Http::new(HttpSettings { timeout: Duration::from_secs(30), allow_private: true, ..HttpSettings::default() });
    let url = Url::parse(&format!("{url}/bigquery/v2/projects/{project}/queries")).unwrap();
    let headers =
        HeaderMap::from_iter([("content-type".parse().unwrap(), HeaderValue::from_static("application/json"))]);
    let request = HttpRequest { method: Method::POST, url, headers, body: body.to_string().into_bytes() };
    let reply = http.unwrap().send(request).await.unwrap();
    let answer: Json = serde_json::from_slice(&reply.body).unwrap();
    assert!(answer.get("errors").is_none() && answer.get("error").is_none(), "{sql}: {answer}");
}

pub async fn fixture() -> Fixture {
    static PROJECTS: AtomicU32 = AtomicU32::new(1);
    let url = emulator();
    let project = format!("p{}-{}", std::process::id(), PROJECTS.fetch_add(1, Ordering::Relaxed));
    execute(&url, &project, "create schema d").await;
    execute(&url, &project, "create table d.kept (a int64)").await;
    execute(&url, &project, "insert into d.kept values (1)").await;
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = json!({ "project": project, "dataset": "d", "url": url, "allow_private": true, "page_rows": 1500, "retry_pause": "1ms" });
    let mut nowhere = config.clone();
    nowhere["url"] = json!(format!("http://127.0.0.1:{port}"));
    Fixture {
        name: "bigquery",
        config,
        nowhere: (nowhere, "127.0.0.1".into()),
        literals: vec![
            ("cast(null as int64)", Value::Null),
            ("true", Value::Bool(true)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("-9223372036854775807 - 1", Value::Int(i64::MIN)),
            ("numeric '-123456789012345.125'", Value::Decimal("-123456789012345.125")),
            ("numeric '100000000.5000'", Value::Decimal("100000000.5")),
            ("0.1", Value::Float(0.1)),
            ("''", Value::Text("")),
            ("'Zoë 🌊 \\' \\\\'", Value::Text("Zoë 🌊 ' \\")),
            ("from_hex('00ff')", Value::Bytes(&[0, 255])),
            ("date '2024-02-29'", Value::Date(19_782)),
            ("date '1969-12-31'", Value::Date(-1)),
            ("time '12:34:56.000007'", Value::Time(45_296_000_007)),
            ("datetime '2024-02-29 12:34:56.000007'", Value::DateTime(1_709_210_096_000_007)),
            ("timestamp '1969-12-31 23:59:59.999999+00'", Value::Timestamp(-1)),
            ("timestamp '2024-02-29 12:34:56+02'", Value::Timestamp(1_709_202_896_000_000)),
            ("json '{\"a\":[1]}'", Value::Json("{\"a\":[1]}")),
            ("[1, 2]", Value::Json("[1,2]")),
            (
                "struct(1 as x, 'y\"' as y, [date '2024-02-29'] as d)",
                Value::Json("{\"x\":1,\"y\":\"y\\\"\",\"d\":[\"2024-02-29\"]}"),
            ),
        ],
        numbers: "select n, concat('row ', cast(n as string)) as t from unnest(generate_array(1, {})) as n order by n",
        fails_halfway: "select n, if(n = 3000, error('planted'), n) as f from unnest(generate_array(1, 5000)) as n",
        rows_before_failure: 0,
        capitals: false,
        // The emulator has the words of the database below it.
        tells_positions: false,
        endless: "select n from unnest(generate_array(1, 200000)) as n",
        kept: "d.kept",
        writes: &[
            "delete from d.kept where true",
            "insert into d.kept values (2)",
            "with x as (select 1) insert into d.kept select 2 from x",
        ],
        cursors: vec![
            (
                "select 1 as n, 10 as c union all select 2, 20 union all select 3, 30 union all select 4, 40",
                Value::Int(30),
            ),
            (
                "select 1 as n, 'a' as c union all select 2, 'b' union all select 3, 'c\\'d' union all select 4, 'd'",
                Value::Text("c'd"),
            ),
            (
                "select 1 as n, date '1969-12-31' as c union all select 2, date '1970-01-01' union all select 3, date '1970-01-02' union all select 4, date '2026-01-01'",
                Value::Date(1),
            ),
            (
                "select 1 as n, datetime '1969-12-31 00:00:00' as c union all select 2, datetime '1970-01-01 00:00:00' union all select 3, datetime '1970-01-01 00:00:00.000001' union all select 4, datetime '2026-01-01 00:00:00'",
                Value::DateTime(1),
            ),
            (
                "select 1 as n, timestamp '1969-12-31 00:00:00+00' as c union all select 2, timestamp '1970-01-01 00:00:00+00' union all select 3, timestamp '1970-01-01 00:00:00.000001+00' union all select 4, timestamp '2026-01-01 00:00:00+00'",
                Value::Timestamp(1),
            ),
        ],
        keep: Keep::Nothing,
    }
}
