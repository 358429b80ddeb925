//! The projects of `examples/`: each is read, and each of its connections is opened as far as that goes without the
//! other side. What `sluice check` would say of the files themselves, it says here.

#![allow(clippy::unwrap_used, reason = "in a test, whatever does not work out fails it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use async_trait::async_trait;
use domain::config::{Reference, SecretSource};
use domain::fault::Fault;
use local::project::Project;

/// Any secret, for connections that are never used.
struct AnySecret;

#[async_trait]
impl SecretSource for AnySecret {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "SNOWFLAKE_KEY" => Ok(private_key("planted-word")),
            _ => Ok("planted-word".to_owned()),
        }
    }
}

/// A key that no service knows, behind this passphrase.
fn private_key(passphrase: &str) -> String {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-aes-256-cbc", "-pass", &format!("pass:{passphrase}")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

fn examples() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

#[tokio::test]
async fn every_example_is_a_good_project() {
    let folders = examples();
    assert!(folders.len() >= 6, "{folders:?}");
    for folder in folders {
        let project = Project::load(&folder).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
        assert!(!project.syncs().is_empty(), "{}: no sync", folder.display());
        for file in project.syncs() {
            let sync = project.sync(file.name()).unwrap_or_else(|fault| panic!("{}: {fault}", folder.display()));
            let open = async {
                let warehouse = project.connection(&sync.model.warehouse, "model.warehouse")?;
                warehouses::open(&sync.model.warehouse, warehouse, &folder, &AnySecret, &project.clock).await?;
                let destination = project.connection(&sync.destination.connection, "destination.connection")?;
                destinations::open(sync, destination, &folder, &AnySecret, &project.clock).await
            };
            open.await.map(drop).unwrap_or_else(|fault| panic!("{}: {}: {fault}", folder.display(), sync.name));
        }
    }
}
