//! The measured things: a run of the product, only reading a table, only posting bodies.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use domain::run::Trigger;
use engine::CancelToken;
use engine::started::RunRequest;
use futures_util::TryStreamExt;
use local::progress::Bars;
use local::project::Project;

use crate::data::{COLUMNS, CONCURRENCY};
use crate::usage::{Measured, Usage};

/// Runs `WHAT FOLDER ARGUMENT`.
pub fn run(arguments: &[String]) -> Measured {
    let [what, folder, argument, ..] = arguments else { panic!("WHAT FOLDER ARGUMENT") };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let folder = Path::new(folder);
    match (what.as_str(), argument.as_str()) {
        ("run", _) => runtime.block_on(product(folder)),
        ("read", "sqlite") => sqlite(folder),
        ("read", _) => runtime.block_on(postgres()),
        ("post", url) => runtime.block_on(post(folder, url)),
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

fn sqlite(folder: &Path) -> Measured {
    let usage = Usage::begin();
    let conn = rusqlite::Connection::open(folder.join("warehouse.db")).expect("the warehouse");
    let mut statement = conn.prepare("select * from customers").expect("a statement");
    let mut rows = statement.query([]).expect("a query");
    let mut bytes = 0;
    while let Some(row) = rows.next().expect("a row") {
        for column in 0..COLUMNS.len() {
            bytes += match row.get_ref(column).expect("a value") {
                rusqlite::types::ValueRef::Text(text) | rusqlite::types::ValueRef::Blob(text) => text.len(),
                _ => 8,
            };
        }
    }
    std::hint::black_box(bytes);
    usage.end(0)
}

async fn postgres() -> Measured {
    let url = std::env::var("SLUICEGATE_TEST_POSTGRES").expect("checked before");
    let usage = Usage::begin();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the server answers");
    tokio::spawn(connection);
    let rows = client.query_raw("select * from bench_customers", Vec::<i32>::new()).await.expect("a query");
    let mut rows = std::pin::pin!(rows);
    let mut count = 0u64;
    while let Some(row) = rows.try_next().await.expect("a row") {
        count += row.len() as u64;
    }
    std::hint::black_box(count);
    usage.end(0)
}

/// Posts the captured bodies, `CONCURRENCY` at once.
async fn post(folder: &Path, url: &str) -> Measured {
    // The product installs its cryptography itself; a bare client needs some too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let usage = Usage::begin();
    let client = reqwest::Client::builder().build().expect("a client");
    let (sender, receiver) = tokio::sync::mpsc::channel::<Vec<u8>>(CONCURRENCY);
    let file = std::fs::File::open(folder.join("bodies")).expect("captured bodies");
    let reading = tokio::task::spawn_blocking(move || {
        let mut file = std::io::BufReader::with_capacity(1 << 20, file);
        let mut length = [0; 4];
        while file.read_exact(&mut length).is_ok() {
            let mut body = vec![0; u32::from_le_bytes(length) as usize];
            file.read_exact(&mut body).expect("a whole body");
            if sender.blocking_send(body).is_err() {
                return;
            }
        }
    });
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let mut posting = tokio::task::JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (client, receiver, url) = (client.clone(), Arc::clone(&receiver), url.to_owned());
        posting.spawn(async move {
            let mut requests = 0u64;
            while let Some(body) = { receiver.lock().await.recv().await } {
                let reply = client
                    .post(&url)
                    .header("content-type", "application/json")
                    .body(body)
                    .send()
                    .await
                    .expect("an answer");
                assert!(reply.status().is_success());
                reply.bytes().await.expect("a body");
                requests += 1;
            }
            requests
        });
    }
    let mut requests = 0;
    while let Some(count) = posting.join_next().await {
        requests += count.expect("nobody panics");
    }
    reading.await.expect("all bodies are read");
    usage.end(requests)
}
