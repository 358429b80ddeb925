//! The PostgreSQL server that `tests/run` starts, and databases in it for single tests.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, Config, NoTls};

/// The server's address, `postgres://user@127.0.0.1:port/postgres`, which `tests/run` puts into the environment.
pub fn url() -> String {
    std::env::var("SLUICEGATE_TEST_POSTGRES")
        .expect("SLUICEGATE_TEST_POSTGRES is not set: start these tests with ./tests/run, which starts a PostgreSQL")
}

/// A database of one test. Dropping it drops the database.
pub struct TestDatabase {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub name: String,
    /// A connection to set it up with.
    pub client: Client,
    server: Config,
}

/// A fresh database with a name of its own.
pub async fn database() -> TestDatabase {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    let name = format!("t_{}_{}_{}", std::process::id(), since.as_millis(), COUNT.fetch_add(1, Ordering::Relaxed));
    let server: Config = url().parse().expect("SLUICEGATE_TEST_POSTGRES is a connection string");
    connect(&server).await.batch_execute(&format!("create database {name}")).await.expect("a database can be created");
    let host = match server.get_hosts() {
        [tokio_postgres::config::Host::Tcp(host), ..] => host.clone(),
        _ => panic!("SLUICEGATE_TEST_POSTGRES names no host"),
    };
    let mut own = server.clone();
    own.dbname(&name);
    TestDatabase {
        host,
        port: server.get_ports().first().copied().unwrap_or(5432),
        user: server.get_user().unwrap_or("postgres").to_owned(),
        name,
        client: connect(&own).await,
        server,
    }
}

impl TestDatabase {
    /// The settings of a connection to this database, as in `connections.yaml`, without `type`.
    pub fn connection_config(&self) -> serde_json::Value {
        serde_json::json!({ "host": self.host, "port": self.port, "user": self.user, "database": self.name, "tls": "disable" })
    }
}

async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.expect("the PostgreSQL of SLUICEGATE_TEST_POSTGRES answers");
    tokio::spawn(connection);
    client
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, drop) = (self.server.clone(), format!("drop database {} with (force)", self.name));
        // A runtime of its own: the test's may be gone, and must not be blocked.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { connect(&server).await.batch_execute(&drop).await.map_err(std::io::Error::other) })
        });
        // The server goes away after the tests, and what is left in it with it.
        let _ = dropping.join();
    }
}
