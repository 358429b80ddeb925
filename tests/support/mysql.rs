//! The MariaDB server that `tests/run` starts, and databases in it for single tests.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};

/// The server's address, `mysql://root@127.0.0.1:port`, which `tests/run` puts into the environment.
pub fn url() -> String {
    std::env::var("SLUICEGATE_TEST_MYSQL")
        .expect("SLUICEGATE_TEST_MYSQL is not set: start these tests with ./tests/run, which starts a MariaDB")
}

/// A database of one test. It goes away with the server.
pub struct MysqlDatabase {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub name: String,
}

/// A fresh database with a name of its own.
pub async fn database() -> MysqlDatabase {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
    let name = format!("t_{}_{}_{}", std::process::id(), since.as_millis(), COUNT.fetch_add(1, Ordering::Relaxed));
    let options = Opts::from_url(&url()).expect("SLUICEGATE_TEST_MYSQL is an address");
    let database = MysqlDatabase {
        host: options.ip_or_hostname().to_owned(),
        port: options.tcp_port(),
        user: options.user().unwrap_or("root").to_owned(),
        name,
    };
    let mut conn = Conn::new(options).await.expect("the MariaDB of SLUICEGATE_TEST_MYSQL answers");
    conn.query_drop(format!("create database {} character set utf8mb4", database.name)).await.unwrap();
    database
}

impl MysqlDatabase {
    /// The settings of a connection to this database, as in `connections.yaml`, without `type`.
    pub fn connection_config(&self) -> serde_json::Value {
        serde_json::json!({ "host": self.host, "port": self.port, "user": self.user, "database": self.name, "tls": "disable" })
    }

    /// A connection to it.
    pub async fn connect(&self) -> Conn {
        Conn::from_url(format!("{}/{}", url(), self.name)).await.expect("the database is there")
    }

    /// Runs statements, one after the other.
    pub async fn execute(&self, statements: &[&str]) {
        let mut conn = self.connect().await;
        for sql in statements {
            conn.query_drop(*sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        conn.disconnect().await.unwrap();
    }
}
