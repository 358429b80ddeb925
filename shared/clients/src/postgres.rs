//! Connecting to PostgreSQL: the settings of a connection, TLS, timeouts, cancelling. The same for a
//! warehouse and for a destination.
//!
//! Not here: what the server's errors mean (`postgres_fault`), and any statement.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::clock::Span;
use domain::config::SecretSource;
use domain::config::{Secret, Setting};
use domain::fault::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use crate::postgres_fault::{StatementContext, fault};
use crate::{DatabasePlace, SentSql, postgres_tls};

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Not at all: for a server on this machine or in a trusted network.
    Disable,
    /// Encrypted, but the server's certificate is not checked: whoever can put himself between here and
    /// the server can read along. Prefer `verify-full` with `ca_file`.
    Require,
    /// Encrypted, and the certificate must be valid for the host.
    #[default]
    VerifyFull,
}

/// Settings of a PostgreSQL connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// Host name or address, or a folder (beginning with `/`) for a Unix socket; 127.0.0.1 if left out.
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
    /// With `tls: verify-full`: a PEM file with the certificates to trust in place of the system's
    /// (Amazon RDS publishes such a file). Relative to the folder of `connections.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// How long connecting may take.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long one statement may take.
    #[serde(default = "default_statement_timeout")]
    pub statement_timeout: Span,
}

fn default_port() -> u16 {
    5432
}

fn default_connect_timeout() -> Span {
    Span::seconds(10)
}

fn default_statement_timeout() -> Span {
    Span::seconds(600)
}

/// Settings with every reference resolved: all that connecting needs. Its `Debug` shows no password.
#[derive(Clone)]
pub struct Connector {
    place: DatabasePlace,
    address: String,
    pub(crate) settings: tokio_postgres::Config,
    pub(crate) tls: Option<MakeRustlsConnect>,
    pub(crate) connect_timeout: Duration,
    statement_timeout: Duration,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({} at {})", self.place, self.address)
    }
}

impl PostgresConfig {
    /// Resolves the references and reads the certificates. Does not connect. Relative paths begin at `folder`.
    pub async fn resolve(
        &self,
        place: DatabasePlace,
        folder: &Path,
        secrets: &dyn SecretSource,
    ) -> Result<Connector, Fault> {
        let host = match &self.host {
            Some(host) => host.resolve(secrets).await?,
            None => "127.0.0.1".to_owned(),
        };
        let mut settings = tokio_postgres::Config::new();
        settings.host(&host).port(self.port).application_name("sluicegate");
        settings.user(self.user.resolve(secrets).await?).dbname(self.database.resolve(secrets).await?);
        if let Some(password) = &self.password {
            settings.password(password.resolve(secrets).await?);
        }
        settings.connect_timeout(self.connect_timeout.0);
        // A connection may be silent for as long as a statement computes; without keepalives a firewall forgets it.
        settings.keepalives(true).keepalives_idle(Duration::from_secs(60));
        settings.ssl_mode(if self.tls == Tls::Disable { SslMode::Disable } else { SslMode::Require });
        if self.ca_file.is_some() && self.tls != Tls::VerifyFull {
            return Err(place.invalid("`ca_file` is only used with `tls: verify-full`; remove one of them."));
        }
        let tls = match self.tls {
            Tls::Disable => None,
            Tls::Require => Some(postgres_tls::unverified(&place)?),
            Tls::VerifyFull => {
                Some(postgres_tls::verified(&place, self.ca_file.as_ref().map(|file| folder.join(file))).await?)
            }
        };
        let address = if host.starts_with('/') {
            format!("{host}/.s.PGSQL.{}", self.port)
        } else {
            format!("{host}:{}", self.port)
        };
        Ok(Connector {
            place,
            address,
            settings,
            tls,
            connect_timeout: self.connect_timeout.0,
            statement_timeout: self.statement_timeout.0,
        })
    }
}

/// Resolves and connects in one go.
pub async fn connect(
    place: DatabasePlace,
    config: &PostgresConfig,
    folder: &Path,
    secrets: &dyn SecretSource,
) -> Result<Connected, Fault> {
    config.resolve(place, folder, secrets).await?.connect().await
}

impl Connector {
    /// The connection as people know it.
    pub fn place(&self) -> &DatabasePlace {
        &self.place
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        self.settings.get_dbname().unwrap_or_default()
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects. Sets nothing in the session: what a statement needs (its timeout, read only) belongs into
    /// its transaction as `set local`, which poolers between here and the server keep.
    pub async fn connect(&self) -> Result<Connected, Fault> {
        let failed = |e: tokio_postgres::Error| fault(&self.context(None), &e);
        let connecting = async {
            // The two kinds of connection are of different types; driving them is the same.
            match &self.tls {
                None => {
                    let (client, connection) = self.settings.connect(NoTls).await.map_err(failed)?;
                    Ok((client, tokio::spawn(drive(connection))))
                }
                Some(tls) => {
                    let (client, connection) = self.settings.connect(tls.clone()).await.map_err(failed)?;
                    Ok((client, tokio::spawn(drive(connection))))
                }
            }
        };
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(connected) => {
                connected.map(|(client, task)| Connected { client, task: Task(task), connector: self.clone() })
            }
            Err(_) => Err(self.too_slow()),
        }
    }

    /// The fault of connecting that takes longer than it may.
    pub(crate) fn too_slow(&self) -> Fault {
        let limit = Span(self.connect_timeout);
        self.place.unreachable(format!("{} does not answer within {limit} (connect_timeout).", self.address))
    }

    /// How long one statement may take.
    pub fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    pub(crate) fn context<'a>(&'a self, sent: Option<SentSql<'a>>) -> StatementContext<'a> {
        StatementContext { place: &self.place, address: &self.address, statement_timeout: self.statement_timeout, sent }
    }
}

/// Moves bytes until the client is dropped. Its error also reaches whoever waits for an answer.
async fn drive<S, T>(connection: tokio_postgres::Connection<S, T>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a PostgreSQL connection ended");
    }
}

/// A connection in use. Dropping it closes it; a statement that still runs is stopped by [`Connected::cancel`].
pub struct Connected {
    /// The client.
    pub client: Client,
    task: Task,
    connector: Connector,
}

/// The task that moves the bytes. It ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connected {
    /// The connection as people know it.
    pub fn place(&self) -> &DatabasePlace {
        &self.connector.place
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> &str {
        &self.connector.address
    }

    /// How long one statement may take: `statement_timeout` of the settings, for `set local statement_timeout`.
    pub fn statement_timeout(&self) -> Duration {
        self.connector.statement_timeout
    }

    /// True when the connection is of no more use.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What an error on this connection means. `sent` is the person's own SQL, where the statement was that.
    pub fn fault(&self, error: &tokio_postgres::Error, sent: Option<SentSql<'_>>) -> Fault {
        fault(&StatementContext { sent, ..self.connector.context(None) }, error)
    }

    /// What cancels the statement that runs.
    pub fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// Asks the server to stop the statement that runs, over a connection with the same TLS.
    pub async fn cancel(&self) -> Result<(), Fault> {
        let token = self.client.cancel_token();
        let cancelled = match &self.connector.tls {
            None => token.cancel_query(NoTls).await,
            Some(tls) => token.cancel_query(tls.clone()).await,
        };
        cancelled.map_err(|e| self.fault(&e, None))
    }

    /// Says goodbye to the server, which dropping leaves out; waits a second at most.
    pub async fn close(self) {
        let Self { client, mut task, .. } = self;
        drop(client);
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut task.0).await;
    }
}

impl std::fmt::Debug for Connected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connected({:?})", self.connector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_careful() {
        let config: PostgresConfig =
            serde_json::from_value(serde_json::json!({ "user": "u", "database": "d" })).unwrap();
        assert_eq!((config.host, config.port, config.tls), (None, 5432, Tls::VerifyFull));
        assert_eq!((config.connect_timeout, config.statement_timeout), (Span::seconds(10), Span::seconds(600)));
    }

    #[test]
    fn a_password_in_clear_and_an_unknown_key_are_refused() {
        let read = |v| serde_json::from_value::<PostgresConfig>(v).unwrap_err().to_string();
        assert!(
            read(serde_json::json!({ "user": "u", "database": "d", "password": "p" })).contains("must be a reference")
        );
        assert!(read(serde_json::json!({ "user": "u", "database": "d", "sslmode": "require" })).contains("sslmode"));
    }

    struct NoSecrets;
    #[async_trait::async_trait]
    impl SecretSource for NoSecrets {
        async fn get(&self, reference: &domain::config::Reference) -> Result<String, Fault> {
            Err(Fault::new(domain::fault::Code::SecretMissing, reference.to_string()))
        }
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_named() {
        // The listener is dropped at once, so that nobody answers at its port.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = serde_json::json!({ "user": "u", "database": "d", "port": port, "tls": "disable" });
        let config: PostgresConfig = serde_json::from_value(config).unwrap();
        let fault = connect(DatabasePlace::warehouse("w"), &config, Path::new("."), &NoSecrets).await.unwrap_err();
        assert_eq!(fault.code, domain::fault::Code::WarehouseUnreachable);
        assert!(fault.what.contains(&format!("127.0.0.1:{port}")), "{}", fault.what);
    }

    #[tokio::test]
    async fn a_missing_ca_file_is_named() {
        let config = serde_json::json!({ "user": "u", "database": "d", "ca_file": "none.pem" });
        let config: PostgresConfig = serde_json::from_value(config).unwrap();
        let fault = config.resolve(DatabasePlace::warehouse("w"), Path::new("/nowhere"), &NoSecrets).await.unwrap_err();
        assert_eq!(fault.code, domain::fault::Code::ConnectionInvalid);
        assert!(fault.what.contains("/nowhere/none.pem"), "{}", fault.what);
    }
}
