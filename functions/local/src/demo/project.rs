//! The demo's project folder: the files a person would write, and the product database that waits for records.

use std::path::{Path, PathBuf};

use domain::fault::{Code, Fault};
use rusqlite::Connection;

use super::sample;

/// The sync to the HTTP endpoint.
pub const CRM: &str = "crm-contacts";
/// The sync to the product database.
pub const PRODUCT: &str = "product-customers";

const CONNECTIONS: &str = "\
# Where rows come from and where records go.
warehouse:
  type: sqlite
  path: warehouse.db
# An HTTP endpoint that the demo runs itself: it is gone when the demo has ended.
crm:
  type: webhook
  url: URL
  allow_private: true     # a loopback address; only public ones are allowed unless a connection says this
  batch_size: 100
product:
  type: sqlite
  path: product.db
";

const CRM_SYNC: &str = "\
# Customers as contacts of a CRM: created and updated, never deleted.
name: crm-contacts
model:
  warehouse: warehouse
  sql: select id, email, first_name, plan, lifetime_value, signed_up, profile from customers
  key: [id]
destination:
  connection: crm
  options:
    results: { id: /id }      # the response has a result for every record, found by its id
mode: upsert
mapping:
  - { from: id, to: id, identifier: true }
  - { from: email, to: email, transform: [trim, lowercase] }
  - { from: first_name, to: first_name, nulls: ignore }
  - { from: plan, to: plan, values: { Free: free, Pro: pro, Team: team } }
  - { from: lifetime_value, to: lifetime_value, nulls: clear, transform: [{ number: { decimals: 2 } }] }
  - { from: signed_up, to: signed_up, transform: [{ date: \"%Y-%m-%d\" }] }
  - { from: profile, to: profile, transform: [json] }
validate:
  - { field: email, format: email }
schedule: { every: 15 minutes }
";

const PRODUCT_SYNC: &str = "\
# The product's own copy of the customers: what leaves the model is deleted there.
name: product-customers
model:
  warehouse: warehouse
  sql: select id, email, first_name, plan, lifetime_value, signed_up, profile from customers
  key: [id]
destination:
  connection: product
  object: customers
mode: mirror
mapping:
  - { from: id, to: id, identifier: true }
  - { from: email, to: email, transform: [trim, lowercase] }
  - { from: first_name, to: first_name, nulls: clear }
  - { from: plan, to: plan, values: { Free: free, Pro: pro, Team: team } }
  - { from: lifetime_value, to: lifetime_value, nulls: clear, transform: [{ number: { decimals: 2 } }] }
  - { from: signed_up, to: signed_up, transform: [{ date: \"%Y-%m-%d\" }] }
  - { from: profile, to: profile, transform: [json] }
validate:
  - { field: email, format: email }
guards: { min_rows: 1, max_delete_percent: 5, max_change_percent: 50 }     # the defaults
schedule: { every: 15 minutes }
";

const PRODUCT_TABLE: &str = "
create table customers (
  id integer primary key,
  email text,
  first_name text,
  plan text not null check (plan in ('free', 'pro', 'team')),
  lifetime_value decimal(12, 2),
  signed_up date not null,
  profile text not null check (json_valid(profile))
);
";

/// The folder of the demo; a temporary one is removed when this is dropped.
pub struct Folder {
    pub path: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Folder {
    /// An empty folder: this one, made where it is not there, or a temporary one.
    pub fn make(keep: Option<&Path>) -> Result<Self, Fault> {
        let Some(path) = keep else {
            let folder = tempfile::Builder::new().prefix("sluice-demo").tempdir();
            let folder = folder
                .map_err(|e| Fault::new(Code::ProjectUnreadable, format!("A temporary folder cannot be made: {e}.")))?;
            return Ok(Self { path: folder.path().to_owned(), _temporary: Some(folder) });
        };
        std::fs::create_dir_all(path).map_err(|e| unwritable(path, &e))?;
        if std::fs::read_dir(path).map_err(|e| unwritable(path, &e))?.next().is_some() {
            let what = format!("{} is not empty; the demo writes over nothing.", path.display());
            return Err(Fault::new(Code::ProjectUnreadable, what)
                .with_next("name an empty folder, or one that is not there yet"));
        }
        Ok(Self { path: path.to_owned(), _temporary: None })
    }

    pub fn warehouse(&self) -> PathBuf {
        self.path.join("warehouse.db")
    }

    /// The product database's file.
    pub fn product(&self) -> PathBuf {
        self.path.join("product.db")
    }

    /// Writes a project with one sync, to the service of this connection: its files, and the warehouse. `source` is the
    /// warehouse's connection, if that is not the file.
    pub fn write_service(&self, source: Option<&str>, connection: &str, sync: &str) -> Result<(), Fault> {
        let source = source.unwrap_or("warehouse:\n  type: sqlite\n  path: warehouse.db\n");
        self.write_files(&[
            ("connections.yaml", format!("# Where rows come from and where records go.\n{source}{connection}")),
            ("syncs/crm-contacts.yaml", sync.to_owned()),
        ])?;
        made(self.warehouse(), sample::fill)
    }

    /// Writes the project: its files, the warehouse with its customers, the product database without any.
    pub fn write(&self, url: &str) -> Result<(), Fault> {
        self.write_files(&[
            ("connections.yaml", CONNECTIONS.replace("URL", url)),
            ("syncs/crm-contacts.yaml", CRM_SYNC.to_owned()),
            ("syncs/product-customers.yaml", PRODUCT_SYNC.to_owned()),
        ])?;
        made(self.warehouse(), sample::fill)?;
        made(self.product(), |connection| connection.execute_batch(PRODUCT_TABLE))
    }

    fn write_files(&self, files: &[(&str, String)]) -> Result<(), Fault> {
        let syncs = self.path.join("syncs");
        std::fs::create_dir_all(&syncs).map_err(|e| unwritable(&syncs, &e))?;
        let ignored = (".gitignore", ".sluice/\n".to_owned());
        for (name, text) in files.iter().chain([&ignored]) {
            let path = self.path.join(name);
            std::fs::write(&path, text).map_err(|e| unwritable(&path, &e))?;
        }
        Ok(())
    }
}

/// Makes a database and what is in it.
fn made(path: PathBuf, make: fn(&mut Connection) -> rusqlite::Result<()>) -> Result<(), Fault> {
    Connection::open(&path).and_then(|mut connection| make(&mut connection)).map_err(|e| unwritable(&path, &e))
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(Code::ProjectUnreadable, format!("{} cannot be written: {error}.", path.display()))
        .with_next("name another folder with --keep")
}
