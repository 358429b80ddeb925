//! The data of the flow bench: 12 columns, about 430 bytes a row; a project over it; and a server that
//! keeps the bodies a run sends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;

/// Creates the table in SQLite.
pub fn sqlite(path: &Path, rows: u64) {
    let mut conn = rusqlite::Connection::open(path).expect("a new database");
    conn.execute_batch(
        "pragma journal_mode = off; pragma synchronous = off;
         create table customers (id integer primary key, email text, first_name text, last_name text, company text, city text,
           country text, tier text, ltv real, orders integer, updated_at text, notes text)",
    )
    .expect("a new table");
    let all = conn.transaction().expect("a transaction");
    {
        let mut insert = all.prepare("insert into customers values (?,?,?,?,?,?,?,?,?,?,?,?)").expect("an insert");
        for id in 0..rows as i64 {
            insert
                .execute(rusqlite::params![
                    id,
                    format!("someone.with.a.name.{id:08}@example.com"),
                    "Maximiliana",
                    "Featherstonehaugh",
                    "Example Trading and Shipping Company Limited",
                    "Kirkby Lonsdale",
                    "United Kingdom",
                    if id % 3 == 0 { "pro" } else { "free" },
                    id as f64 / 8.0,
                    id % 50,
                    "2026-01-02T03:04:05.678901Z",
                    NOTES,
                ])
                .expect("a row");
        }
    }
    all.commit().expect("the rows");
}

const NOTES: &str = "Asked for a call back next week about the renewal, prefers the morning. Has two open invoices and one ticket \
about the export to spreadsheets, which the second line looks at. Works with the regional team on most days.";

/// Creates the same table in PostgreSQL.
pub fn postgres(url: &str, rows: u64) {
    let sql = format!(
        "drop table if exists bench_customers;
         create unlogged table bench_customers as select i::bigint as id, 'someone.with.a.name.' || lpad(i::text, 8, '0') || '@example.com' as email,
           'Maximiliana'::text as first_name, 'Featherstonehaugh'::text as last_name, 'Example Trading and Shipping Company Limited'::text as company,
           'Kirkby Lonsdale'::text as city, 'United Kingdom'::text as country, case when i % 3 = 0 then 'pro' else 'free' end as tier,
           (i / 8.0)::numeric(14, 3) as ltv, (i % 50)::int as orders, timestamptz '2026-01-02T03:04:05.678901Z' as updated_at, '{NOTES}'::text as notes
         from generate_series(0, {} - 1) i;
         vacuum analyze bench_customers;",
        rows
    );
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        for statement in sql.split_inclusive(';') {
            client.simple_query(statement).await.expect("the table is made");
        }
    });
}

/// The columns of both tables.
pub const COLUMNS: [&str; 12] = [
    "id",
    "email",
    "first_name",
    "last_name",
    "company",
    "city",
    "country",
    "tier",
    "ltv",
    "orders",
    "updated_at",
    "notes",
];

/// Writes the project: one sync from the table to a webhook, 100 records a request.
pub fn project(folder: &Path, source: &str, url: &str) {
    let warehouse = match source {
        "sqlite" => serde_json::json!({ "type": "sqlite", "path": "warehouse.db" }),
        _ => {
            let server =
                url::Url::parse(&std::env::var("SLUICEGATE_TEST_POSTGRES").expect("checked before")).expect("a URL");
            serde_json::json!({ "type": "postgres", "host": server.host_str(), "port": server.port(), "user": server.username(), "database": server.path().trim_start_matches('/'), "tls": "disable" })
        }
    };
    let connections = serde_json::json!({
        "warehouse": warehouse,
        "hook": { "type": "webhook", "url": url, "allow_private": true, "batch_size": 100, "concurrency": CONCURRENCY },
    });
    let mapping: Vec<_> = COLUMNS
        .iter()
        .map(|c| match *c {
            "id" => serde_json::json!({ "from": c, "to": c, "identifier": true }),
            "email" => serde_json::json!({ "from": c, "to": c, "transform": ["trim", "lowercase"] }),
            c => serde_json::json!({ "from": c, "to": c }),
        })
        .collect();
    let table = if source == "sqlite" { "customers" } else { "bench_customers" };
    let sync = serde_json::json!({
        "name": "bench", "mode": "upsert", "mapping": mapping,
        "model": { "warehouse": "warehouse", "sql": format!("select * from {table}"), "key": ["id"] },
        "destination": { "connection": "hook" },
    });
    std::fs::create_dir_all(folder.join("syncs")).expect("a folder");
    // JSON is YAML.
    std::fs::write(folder.join("connections.yaml"), connections.to_string()).expect("a file");
    std::fs::write(folder.join("syncs/bench.yaml"), sync.to_string()).expect("a file");
}

/// Requests at once, in the run and in the bare loop.
pub const CONCURRENCY: usize = 8;

/// A server that writes every body to a file: its length in four bytes, then the body.
pub struct Capture {
    url: String,
    _runtime: tokio::runtime::Runtime,
}

impl Capture {
    pub fn start(file: &Path) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let file =
            Arc::new(Mutex::new(std::io::BufWriter::new(std::fs::File::create(PathBuf::from(file)).expect("a file"))));
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let file = Arc::clone(&file);
                let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let file = Arc::clone(&file);
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let mut file = file.lock().expect("nobody panics with it");
                        file.write_all(&(body.len() as u32).to_le_bytes())
                            .and_then(|()| file.write_all(&body))
                            .and_then(|()| file.flush())
                            .expect("the disk takes it");
                        Ok::<_, hyper::Error>(hyper::Response::new(Full::new(Bytes::from_static(b"{}"))))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(hyper_util::rt::TokioIo::new(socket), service),
                );
            }
        });
        Self { url, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}
