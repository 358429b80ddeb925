//! The measured things: a run of the product, reading to cells, only fetching the same answers.

use std::path::Path;
use std::sync::Arc;

use domain::run::Trigger;
use engine::CancelToken;
use engine::plan::prepare::model_query;
use engine::started::RunRequest;
use futures_util::{StreamExt as _, TryStreamExt as _};
use local::progress::Bars;
use local::project::Project;
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};

use crate::usage::{Measured, Usage};

/// Answers that are fetched at once, as the connectors do.
const AT_ONCE: usize = 4;

/// Runs `WHAT FOLDER KIND`. `requests` of the answer is what a run sent, or the rows that were read.
pub fn run(arguments: &[String]) -> Measured {
    let [what, folder, kind, ..] = arguments else { panic!("WHAT FOLDER KIND") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let folder = Path::new(folder);
    match (what.as_str(), kind.as_str()) {
        ("run", _) => runtime.block_on(product(folder)),
        ("read", _) => runtime.block_on(read(folder)),
        ("fetch", "mysql") => runtime.block_on(bare_mysql()),
        ("fetch", kind) => runtime.block_on(fetch(folder, kind)),
        _ => panic!("{what} is not measured"),
    }
}

async fn product(folder: &Path) -> Measured {
    let usage = Usage::begin();
    let project = Project::load(folder).expect("the project is good");
    let sync = project.sync("bench").expect("the sync is good");
    let request = RunRequest { trigger: Trigger::Manual, approve: None, full: false };
    let run = local::session::run_sync(&project, sync, &request, CancelToken::default(), &Bars::new(true))
        .await
        .expect("the run is delivered");
    assert!(run.fault.is_none() && run.tally.balances() && run.counts.invalid == 0, "{run:?}");
    usage.end(run.tally.requests)
}

async fn read(folder: &Path) -> Measured {
    let usage = Usage::begin();
    let project = Project::load(folder).expect("the project is good");
    let store = local::open::state(&project).await.expect("a state");
    let sync = project.sync("bench").expect("the sync is good");
    let engine = local::open::engine(&project, sync, store, CancelToken::default()).await.expect("it opens");
    let mut rows = engine.warehouse.rows(&model_query(&engine, "")).await.expect("a result");
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch.expect("rows").len() as u64;
    }
    usage.end(count)
}

/// Fetches what a read of the model fetches, and inflates it.
async fn fetch(folder: &Path, kind: &str) -> Measured {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = std::fs::read_to_string(folder.join("connections.yaml")).expect("the connections");
    let connections: Value = serde_json::from_str(&text).expect("the connections");
    let base = ["url", "host"]
        .into_iter()
        .find_map(|name| connections["warehouse"][name].as_str())
        .expect("an address")
        .to_owned();
    let usage = Usage::begin();
    let client = Arc::new(Client { http: reqwest::Client::builder().gzip(true).build().expect("a client"), base });
    let sql = "select * from customers";
    match kind {
        "snowflake" => {
            let begun = client
                .json("/api/v2/statements?async=true", Some(json!({ "statement": sql, "warehouse": "WH" })))
                .await;
            let handle = begun["statementHandle"].as_str().expect("a handle").to_owned();
            let first = client.json(&format!("/api/v2/statements/{handle}"), None).await;
            let count = first["resultSetMetaData"]["partitionInfo"].as_array().expect("partitions").len();
            let path = |n| format!("/api/v2/statements/{handle}?partition={n}");
            client.all((1..count).map(path).collect()).await;
        }
        "databricks" => {
            let body = json!({ "statement": sql, "warehouse_id": "abc123", "disposition": "EXTERNAL_LINKS", "format": "ARROW_STREAM" });
            let begun = client.json("/api/2.0/sql/statements", Some(body)).await;
            let (id, count) =
                (&begun["statement_id"], begun["manifest"]["total_chunk_count"].as_u64().expect("chunks"));
            let id = id.as_str().expect("an id");
            let chunks = futures_util::stream::iter(0..count).map(|chunk| {
                let (client, path) =
                    (Arc::clone(&client), format!("/api/2.0/sql/statements/{id}/result/chunks/{chunk}"));
                async move {
                    let answer = client.json(&path, None).await;
                    let link = answer["external_links"][0]["external_link"].as_str().expect("a link").to_owned();
                    client.get(&link).await
                }
            });
            chunks.buffered(AT_ONCE).for_each(async |bytes| drop(std::hint::black_box(bytes))).await;
        }
        _ => {
            let rows = connections["warehouse"]["page_rows"].as_u64().expect("a number");
            let body = json!({ "query": sql, "useLegacySql": false, "maxResults": rows, "formatOptions": { "useInt64Timestamp": true } });
            let begun = client.json("/bigquery/v2/projects/acme/queries", Some(body)).await;
            let id = begun["jobReference"]["jobId"].as_str().expect("an id").to_owned();
            let total: u64 = begun["totalRows"].as_str().and_then(|n| n.parse().ok()).expect("a number");
            let page = |n| format!("/bigquery/v2/projects/acme/queries/{id}?startIndex={}&maxResults={rows}", n * rows);
            client.all((1..total.div_ceil(rows)).map(page).collect()).await;
        }
    }
    usage.end(0)
}

struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    async fn json(&self, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.base);
        let request = match body {
            Some(body) => self.http.post(url).header("content-type", "application/json").body(body.to_string()),
            None => self.http.get(url),
        };
        let token = std::env::var("BENCH_TOKEN").expect("a token");
        let request =
            request.bearer_auth(token).header("X-Snowflake-Authorization-Token-Type", "PROGRAMMATIC_ACCESS_TOKEN");
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }

    async fn get(&self, url: &str) -> bytes::Bytes {
        let token = std::env::var("BENCH_TOKEN").expect("a token");
        let mut request = self.http.get(url);
        if url.contains("/api/") {
            request =
                request.bearer_auth(token).header("X-Snowflake-Authorization-Token-Type", "PROGRAMMATIC_ACCESS_TOKEN");
        }
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{url}: {}", answer.status());
        answer.bytes().await.expect("a body")
    }

    async fn all(&self, paths: Vec<String>) {
        let bodies = futures_util::stream::iter(paths)
            .map(|path| async move { self.get(&format!("{}{path}", self.base)).await });
        bodies.buffered(AT_ONCE).for_each(async |bytes| drop(std::hint::black_box(bytes))).await;
    }
}

async fn bare_mysql() -> Measured {
    let server = std::env::var("SLUICEGATE_TEST_MYSQL").expect("checked before");
    let usage = Usage::begin();
    let mut conn = mysql_async::Conn::from_url(format!("{server}/sluicegate_bench")).await.expect("the server answers");
    let mut rows = conn.exec_stream::<mysql_async::Row, _, _>("select * from customers", ()).await.expect("a query");
    let mut count = 0;
    while let Some(row) = rows.try_next().await.expect("a row") {
        count += u64::from(std::hint::black_box(row).len() == 12);
    }
    usage.end(count)
}

/// Makes the table in MySQL.
pub async fn mysql_table(server: &str, rows: usize, notes: &str) {
    let mut conn = mysql_async::Conn::from_url(server).await.expect("the server answers");
    for sql in [
        "drop database if exists sluicegate_bench".to_owned(),
        "create database sluicegate_bench character set utf8mb4".to_owned(),
        "use sluicegate_bench".to_owned(),
        "create table customers (id bigint primary key, email varchar(100), first_name varchar(50), last_name varchar(50), company varchar(100),
           city varchar(50), country varchar(50), tier varchar(10), ltv decimal(14,3), orders int, updated_at timestamp(6) null, notes text)"
            .to_owned(),
        format!(
            "insert into customers select seq, concat('someone.with.a.name.', lpad(seq, 8, '0'), '@example.com'), 'Maximiliana', 'Featherstonehaugh',
               'Example Trading and Shipping Company Limited', 'Kirkby Lonsdale', 'United Kingdom', if(seq % 3 = 0, 'pro', 'free'), seq / 8, seq % 50,
               '2026-01-02 03:04:05.678901', '{notes}' from seq_1_to_{rows}"
        ),
    ] {
        conn.query_drop(sql).await.expect("the table is made");
    }
    conn.disconnect().await.expect("it ends");
}
