//! What only PostgreSQL has: columns that cannot be read, timeouts, a server that goes away, certificates.

use std::path::Path;

use domain::fault::Code;
use futures_util::StreamExt as _;
use serde_json::json;

use super::{open, query, read};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn postgres_names_columns_it_cannot_read_and_timeouts() {
    let database = support::postgres::database().await;
    let mut config = database.connection_config();
    config["statement_timeout"] = json!("50ms");
    let warehouse = open("postgres", &config, Path::new("/nowhere")).await;
    let described =
        warehouse.describe(&query("select 1 as a, '1'::money as price, 'x'::tsvector as words")).await.unwrap();
    assert!(described.findings.is_empty(), "what nobody maps harms nobody: {:?}", described.findings);
    let told: Vec<(&str, bool)> =
        described.unreadable.iter().map(|(column, finding)| (column.as_str(), finding.is_error())).collect();
    assert_eq!(told, [("price", true), ("words", true)]);
    assert!(
        described.unreadable[0].1.fix.contains("price::numeric")
            && described.unreadable[1].1.fix.contains("words::text"),
        "{described:?}"
    );
    let (_, fault) = read(&*warehouse, "select pg_sleep(600)::text as a").await.unwrap_err();
    assert_eq!(fault.code, Code::ModelTimeout);
    assert!(fault.what.contains("50ms"), "{fault}");
    config["database"] = json!("no_such_database");
    let fault = open("postgres", &config, Path::new("/nowhere")).await.describe(&query("select 1")).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseDenied, "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_postgres_that_goes_away_while_rows_come_is_a_fault() {
    let database = support::postgres::database().await;
    let warehouse = open("postgres", &database.connection_config(), Path::new("/nowhere")).await;
    let mut rows = warehouse.rows(&query("select generate_series(1, 1000000000000) as n")).await.unwrap();
    assert!(!rows.next().await.unwrap().unwrap().is_empty());
    let others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    database.client.batch_execute(others).await.unwrap();
    let fault = loop {
        match rows.next().await {
            Some(Ok(_)) => {}
            Some(Err(fault)) => break fault,
            None => panic!("a stream that broke off looks like one that came to its end"),
        }
    };
    assert_eq!(fault.code, Code::WarehouseUnreachable, "{fault}");
}

/// The server's certificate is checked against the authority that signed it, and not taken from anybody else.
#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn postgres_is_read_over_a_verified_connection() {
    let authority = std::env::var("SLUICEGATE_TEST_POSTGRES_CA")
        .expect("tests/run starts a server with TLS and names the authority's certificate");
    let database = support::postgres::database().await;
    let mut config = database.connection_config();
    let over_tls = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    for (tls, ca_file) in [("verify-full", Some(&authority)), ("require", None)] {
        config["tls"] = json!(tls);
        config.as_object_mut().unwrap().remove("ca_file");
        if let Some(file) = ca_file {
            config["ca_file"] = json!(file);
        }
        let warehouse = open("postgres", &config, Path::new("/")).await;
        let mut rows = warehouse.rows(&query(over_tls)).await.unwrap();
        let batch = futures_util::StreamExt::next(&mut rows).await.unwrap().unwrap();
        assert_eq!(batch.rows().next().unwrap().value(0), domain::value::Value::Bool(true), "{tls}");
    }
    config["tls"] = json!("verify-full");
    let fault = open("postgres", &config, Path::new("/")).await.describe(&query(over_tls)).await.unwrap_err();
    assert_eq!(fault.code, Code::WarehouseUnreachable, "{fault}");
    assert!(fault.what.to_lowercase().contains("certificate"), "{fault}");
}
