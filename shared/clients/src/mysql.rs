//! Connecting to MySQL and MariaDB: the settings of a connection, TLS, timeouts, stopping a statement. The same for a
//! warehouse and for a destination.
//!
//! Not here: what the server's errors mean (`mysql_fault`), and any statement of a user.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::clock::Span;
use domain::config::{Secret, SecretSource, Setting};
use domain::fault::Fault;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::mysql_fault::fault;
use crate::postgres::Tls;
use crate::{DatabasePlace, SentSql};

/// Settings of a MySQL or MariaDB connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MysqlConfig {
    /// Host name or address; 127.0.0.1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Setting>,
    /// Port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// User.
    pub user: Setting,
    /// Password, as a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Database.
    pub database: Setting,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: Tls,
    /// With `tls: verify-full`: a PEM file with the certificates to trust besides the public ones (Amazon RDS publishes
    /// such a file). Relative to the folder of `connections.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long connecting may take.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long one statement may take.
    #[serde(default = "default_statement_timeout")]
    pub statement_timeout: Span,
}

/// Whatever the server's defaults are: texts are never cut, dates never made up, a key of 0 stays 0, a backslash escapes, times
/// are UTC.
const SESSION: &str = "set session sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'";

fn default_port() -> u16 {
    3306
}

fn default_connect_timeout() -> Span {
    Span::seconds(10)
}

fn default_statement_timeout() -> Span {
    Span::seconds(600)
}

/// Settings with every reference resolved: all that connecting needs. Its `Debug` shows no password.
#[derive(Clone)]
pub struct MysqlConnector {
    place: DatabasePlace,
    address: String,
    database: String,
    options: Opts,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

impl std::fmt::Debug for MysqlConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MysqlConnector({} at {})", self.place, self.address)
    }
}

impl MysqlConfig {
    /// Resolves the references. Does not connect. Relative paths begin at `folder`.
    pub async fn resolve(
        &self,
        place: DatabasePlace,
        folder: &Path,
        secrets: &dyn SecretSource,
    ) -> Result<MysqlConnector, Fault> {
        let host = match &self.host {
            Some(host) => host.resolve(secrets).await?,
            None => "127.0.0.1".to_owned(),
        };
        let database = self.database.resolve(secrets).await?;
        let mut options = OptsBuilder::default()
            .ip_or_hostname(host.clone())
            .tcp_port(self.port)
            .prefer_socket(false)
            .user(Some(self.user.resolve(secrets).await?))
            .db_name(Some(database.clone()))
            // A statement may be silent for long; without keepalives a firewall forgets its connection.
            .tcp_keepalive(Some(Duration::from_secs(60)))
            // An update of a row that has these values already counts it.
            .client_found_rows(true)
            .stmt_cache_size(Some(0));
        if let Some(password) = &self.password {
            options = options.pass(Some(password.resolve(secrets).await?));
        }
        if self.ca_file.is_some() && self.tls != Tls::VerifyFull {
            return Err(place.invalid("`ca_file` is only used with `tls: verify-full`; remove one of them."));
        }
        let tls = match self.tls {
            Tls::Disable => None,
            Tls::Require => {
                Some(SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true))
            }
            Tls::VerifyFull => {
                let mut tls = SslOpts::default();
                if let Some(file) = &self.ca_file {
                    let file = folder.join(file);
                    let pem = std::fs::read(&file)
                        .map_err(|e| place.invalid(format!("`ca_file`: {} cannot be read: {e}.", file.display())))?;
                    tls = tls.with_root_certs(vec![pem.into()]);
                }
                Some(tls)
            }
        };
        let address = format!("{host}:{}", self.port);
        Ok(MysqlConnector {
            place,
            address,
            database,
            options: options.ssl_opts(tls).into(),
            connect_timeout: self.connect_timeout.0,
            statement_timeout: self.statement_timeout.0,
        })
    }
}

impl MysqlConnector {
    /// The connection as people know it.
    pub fn place(&self) -> &DatabasePlace {
        &self.place
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How long one statement may take.
    pub fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// Connects, with a session that keeps values as they are: strict, in UTC, in UTF-8.
    pub async fn connect(&self) -> Result<MysqlConnected, Fault> {
        let connecting = async {
            let mut conn = Conn::new(self.options.clone()).await?;
            conn.query_drop(SESSION).await?;
            conn.query_drop("set names utf8mb4").await?;
            let version: Option<String> = conn.query_first("select version()").await?;
            Ok::<_, mysql_async::Error>((conn, version.unwrap_or_default()))
        };
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(Ok((conn, version))) => {
                let is_mariadb = version.to_lowercase().contains("mariadb");
                Ok(MysqlConnected { conn, is_mariadb, version, connector: self.clone() })
            }
            Ok(Err(error)) => Err(self.fault(&error, None)),
            Err(_) => Err(self.place.unreachable(format!(
                "{} does not answer within {} (connect_timeout).",
                self.address,
                Span(self.connect_timeout)
            ))),
        }
    }

    /// What an error means. `sent` is the person's own SQL, where the statement was that.
    pub fn fault(&self, error: &mysql_async::Error, sent: Option<SentSql<'_>>) -> Fault {
        fault(&self.place, &self.address, self.statement_timeout, error, sent)
    }

    /// Asks the server to stop what connection `id` runs, over another connection.
    pub async fn kill(&self, id: u32) -> Result<(), Fault> {
        let mut other = self.connect().await?;
        other.conn.query_drop(format!("kill query {id}")).await.map_err(|e| self.fault(&e, None))?;
        other.close().await;
        Ok(())
    }
}

/// A connection in use. Dropping it closes it.
pub struct MysqlConnected {
    /// The connection.
    pub conn: Conn,
    /// MariaDB, whose timeouts and JSON differ from MySQL's.
    pub is_mariadb: bool,
    /// What the server calls itself.
    pub version: String,
    connector: MysqlConnector,
}

impl MysqlConnected {
    /// What it was made with.
    pub fn connector(&self) -> &MysqlConnector {
        &self.connector
    }

    /// Sets the timeout of the statements to come.
    pub async fn limit(&mut self) -> Result<(), Fault> {
        let timeout = self.connector.statement_timeout;
        let sql = if self.is_mariadb {
            format!("set session max_statement_time = {}", timeout.as_secs_f64())
        } else {
            format!("set session max_execution_time = {}", timeout.as_millis())
        };
        self.conn.query_drop(sql).await.map_err(|e| self.connector.fault(&e, None))
    }

    /// Says goodbye to the server; waits a second at most.
    pub async fn close(self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.conn.disconnect()).await;
    }
}
