//! `sluice init`: a project folder with an example that runs as it is.

use std::path::Path;
use std::process::ExitCode;

use domain::fault::{Code, Fault};

use crate::exit;
use crate::output::Out;

const CONNECTIONS: &str = "\
# Where rows come from and where records go. Secrets only as references: ${env:NAME} or ${secret:name#field}.
# `sluice schema --connections` prints what each type takes.
warehouse:
  type: sqlite
  path: example-warehouse.db
product:
  type: sqlite
  path: example-product.db
# A warehouse and a webhook of your own might look like this:
# analytics: { type: postgres, host: db.example.com, database: analytics, user: sluice, password: \"${env:PG_PASSWORD}\" }
# events: { type: webhook, url: https://api.example.com/customers, headers: { authorization: \"Bearer ${env:API_TOKEN}\" } }
";

const SYNC: &str = "\
# Run the model, find what changed since each record was last accepted, and send only that.
# Editors complete this file with the schema that `sluice schema` prints.
name: example-customers
model:
  warehouse: warehouse
  sql: select id, email, first_name, lifetime_value, tier from customers
  key: [id]
destination:
  connection: product
  object: customers
mode: mirror            # upsert | update | append | mirror (upsert, and delete what is gone from the model)
mapping:
  - { from: id, to: id, identifier: true }
  - { from: email, to: email, transform: [trim, lowercase] }
  - { from: first_name, to: name, nulls: ignore }
  - { from: lifetime_value, to: ltv, nulls: clear }
  - { from: tier, to: tier, values: { Free: free, Pro: pro } }
validate:
  - { field: email, format: email }
schedule: manual
";

const WAREHOUSE: &str = "
create table customers (id integer primary key, email text, first_name text, lifetime_value numeric, tier text);
insert into customers values
  (1, ' Ada@Example.com ', 'Ada', 120.50, 'Pro'),
  (2, 'bo@example.com', 'Bo', 0, 'Free'),
  (3, 'chloe@example.com', 'Chloé', null, 'Free'),
  (4, 'not an address', 'Dee', 12, 'Pro');
";

const PRODUCT: &str = "create table customers (id integer primary key, email text, name text, ltv numeric, tier text);";

pub fn run(folder: &Path, out: &Out) -> Result<ExitCode, Fault> {
    write_example(folder)?;
    let folder = folder.display();
    out.value(&serde_json::json!({ "folder": folder.to_string(), "sync": "example-customers" }));
    out.line(format!("Made an example project in {folder}: connections.yaml, syncs/example-customers.yaml and two small SQLite databases."));
    out.line("next:\n  sluice check\n  sluice plan example-customers\n  sluice run example-customers\n  sluice explain example-customers 4");
    Ok(ExitCode::from(exit::OK))
}

/// Writes the example. Never over something that is there.
pub fn write_example(folder: &Path) -> Result<(), Fault> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| {
        Fault::new(Code::ProjectUnreadable, format!("{} cannot be written: {e}.", path.display()))
    };
    let syncs = folder.join("syncs");
    for name in ["connections.yaml", "syncs", "example-warehouse.db", "example-product.db"] {
        let path = folder.join(name);
        if path.exists() {
            return Err(Fault::new(
                Code::ProjectUnreadable,
                format!("{} is there already; nothing was written.", path.display()),
            )
            .with_next("run `sluice init` in an empty folder"));
        }
    }
    std::fs::create_dir_all(&syncs).map_err(|e| failed(&syncs, &e))?;
    for (name, text) in
        [("connections.yaml", CONNECTIONS), ("syncs/example-customers.yaml", SYNC), (".gitignore", ".sluice/\n")]
    {
        let path = folder.join(name);
        if !path.exists() {
            std::fs::write(&path, text).map_err(|e| failed(&path, &e))?;
        }
    }
    for (name, sql) in [("example-warehouse.db", WAREHOUSE), ("example-product.db", PRODUCT)] {
        let path = folder.join(name);
        rusqlite::Connection::open(&path).and_then(|c| c.execute_batch(sql)).map_err(|e| failed(&path, &e))?;
    }
    Ok(())
}
