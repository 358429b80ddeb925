//! The only place that reads the environment.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};

/// Secrets from environment variables. References to a secret store need the deployed stack.
pub struct Environment;

#[async_trait]
impl SecretSource for Environment {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) => match std::env::var(name) {
                Ok(value) if !value.is_empty() => Ok(value),
                _ => Err(Fault::new(
                    Code::SecretMissing,
                    format!("The environment variable {name} is not set; a connection refers to it as {reference}."),
                )
                .with_next(format!("export {name}=… and run again; nothing was sent"))),
            },
            Reference::Secret { .. } => Err(Fault::new(
                Code::SecretMissing,
                format!("{reference} is kept in a secret store, which a run on this machine does not ask."),
            )
            .with_next("use `${env:NAME}` for local runs")),
        }
    }
}

/// Secrets of a project: those that this process made itself (the demo's services take them), else the environment's.
#[derive(Debug, Clone, Default)]
pub struct LocalSecrets {
    /// By the name that `${env:NAME}` has.
    pub own: BTreeMap<String, String>,
}

#[async_trait]
impl SecretSource for LocalSecrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if self.own.contains_key(name) => Ok(self.own[name].clone()),
            other => Environment.get(other).await,
        }
    }
}

/// Logs to standard error: errors and what a run waits for, with `-v` information, with `-vv` everything of ours.
/// RUST_LOG overrides.
pub fn start_logging(verbose: u8) {
    let default = match verbose {
        // A person who waits must know what for.
        0 => "error,sluice::waiting=warn",
        1 => "info",
        _ => "engine=debug,destinations=debug,warehouses=debug,embedded=debug,local=debug,info",
    };
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| default.to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .finish();
    // A second start in one process (tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
