//! BigQuery: the fixture of the contract, on an emulator that runs GoogleSQL on DuckDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clients::http::{HeaderMap, HeaderValue, Http, HttpReply, HttpRequest, HttpSettings, Method, Url};
use domain::value::Value;
use doubles::server::{DoubleReply, DoubleRequest, DoubleService, Server};
use serde_json::{Value as Json, json};

use super::{Fixture, Keep, open, read};

/// The emulator's address.
fn emulator() -> String {
    std::env::var("SLUICEGATE_TEST_BIGQUERY").expect("SLUICEGATE_TEST_BIGQUERY names the emulator: run ./tests/run")
}

async fn send(method: Method, url: &str, body: Vec<u8>) -> HttpReply {
    let http =
        Http::new(HttpSettings { timeout: Duration::from_secs(30), allow_private: true, ..HttpSettings::default() });
    let headers =
        HeaderMap::from_iter([("content-type".parse().unwrap(), HeaderValue::from_static("application/json"))]);
    http.unwrap().send(HttpRequest { method, url: Url::parse(url).unwrap(), headers, body }).await.unwrap()
}

/// Runs a statement on the emulator.
async fn execute(url: &str, project: &str, sql: &str) {
    let body = json!({ "query": sql, "useLegacySql": false }).to_string().into_bytes();
    let reply = send(Method::POST, &format!("{url}/bigquery/v2/projects/{project}/queries"), body).await;
    let answer: Json = serde_json::from_slice(&reply.body).unwrap();
    assert!(answer.get("errors").is_none() && answer.get("error").is_none(), "{sql}: {answer}");
}

/// The emulator, but for one thing: it names tables of results, and has none. This makes the table when a job is asked for it.
struct WithResults {
    emulator: String,
    project: String,
}

impl DoubleService for WithResults {
    fn name(&self) -> &'static str {
        "bigquery-emulator"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        // The thread of the server already drives a runtime.
        std::thread::scope(|scope| {
            let forwarding = || tokio::runtime::Runtime::new().unwrap().block_on(self.forward(request));
            scope.spawn(forwarding).join().unwrap()
        })
    }
}

impl WithResults {
    async fn forward(&self, request: &DoubleRequest) -> DoubleReply {
        let url = format!("{}{}?{}", self.emulator, request.path, request.query);
        let reply = send(request.method.parse().unwrap(), &url, request.body.to_vec()).await;
        let segments = request.segments();
        let mut answer: Json = serde_json::from_slice(&reply.body).unwrap();
        if let ("GET", [.., jobs, id]) = (request.method.as_str(), &segments[..])
            && jobs == "jobs"
        {
            let name = format!("result_{}", id.replace('-', "_"));
            let query = answer["configuration"]["query"]["query"].as_str().unwrap();
            execute(&self.emulator, &self.project, &format!("create or replace table d.{name} as\n{query}\n")).await;
            answer["configuration"]["query"]["destinationTable"] =
                json!({ "projectId": self.project, "datasetId": "d", "tableId": name });
        }
        DoubleReply::json(reply.status, &answer)
    }
}

/// The same facts, and every result by the Storage Read API.
pub async fn storage_fixture() -> Fixture {
    let mut fixture = fixture().await;
    let project = fixture.config["project"].as_str().unwrap().to_owned();
    let storage = std::env::var("SLUICEGATE_TEST_BIGQUERY_STORAGE")
        .expect("SLUICEGATE_TEST_BIGQUERY_STORAGE names the emulator's Storage Read API: run ./tests/run");
    let server = Server::start(Arc::new(WithResults { emulator: emulator(), project })).unwrap();
    fixture.config["url"] = json!(server.url());
    fixture.config["storage_url"] = json!(storage);
    fixture.config["read_api"] = json!("storage");
    // One stream: each that is dropped half read keeps one of the few threads of the emulator for good.
    fixture.config["pages"] = json!(1);
    fixture.keep = Keep::Server(Box::new(server));
    fixture
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

/// Every type that the emulator encodes as BigQuery does; GEOGRAPHY, which it does not, is held by the connector's own tests.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the BigQuery emulator: ./tests/run"]
async fn both_apis_of_the_emulator_give_the_same_cells() {
    let model = "select n, repeat(cast(n as string), 40) as wide, mod(n, 2) = 0 as flag, n / 7 as ratio,
        if(mod(n, 5) = 0, null, cast(n as numeric) / 8) as amount, bignumeric '-1.5' as fine,
        from_hex('00ff') as raw, date_add(date '1969-12-31', interval mod(n, 1000) day) as day,
        time '12:34:56.000007' as clock, datetime '2024-02-29 12:34:56.000007' as wall,
        timestamp_micros(n * -1234567) as instant, json '{\"a\":[1]}' as doc,
        [n, n + 1] as many, struct(n as x, ['a', 'b'] as tags, numeric '1.50' as y) as record,
        make_interval(1, 2, 3, 4, 5, 6) as span
        from unnest(generate_array(1, 20000)) as n";
    let fixture = storage_fixture().await;
    let project = fixture.config["project"].as_str().unwrap();
    execute(&emulator(), project, &format!("create table d.everything as {model}")).await;
    execute(
        &emulator(),
        project,
        "create table d.ranges (days range<date>, walls range<datetime>, instants range<timestamp>)",
    )
    .await;
    execute(
        &emulator(),
        project,
        "insert into d.ranges values (range(date '2024-01-01', null), range(null, datetime '2024-02-29 12:00:00.5'), range(timestamp '1970-01-01 00:00:01.5+00', null))",
    )
    .await;
    for sql in ["select * from d.everything", "select * from d.ranges"] {
        let cells = async |read_api: &str| {
            let mut config = fixture.config.clone();
            (config["read_api"], config["pages"]) = (json!(read_api), json!(4));
            let batches = read(&*open("bigquery", &config, std::path::Path::new("/nowhere")).await, sql).await.unwrap();
            let mut rows: Vec<Vec<String>> = Vec::new();
            for batch in &batches {
                let columns = if sql.contains("ranges") { 3 } else { 15 };
                rows.extend(batch.rows().map(|row| (0..columns).map(|at| format!("{:?}", row.value(at))).collect()));
            }
            rows.sort();
            rows
        };
        let (rest, storage) = (cells("rest").await, cells("storage").await);
        assert_eq!(rest.len(), storage.len(), "{sql}");
        for (rest, storage) in rest.iter().zip(&storage) {
            assert_eq!(rest, storage, "{sql}");
        }
        assert!(!rest.concat().concat().contains("Unreadable"), "{sql}: {:?}", rest[0]);
    }
}
