//! A project folder for a test: a warehouse, a destination, one sync or more, and both ways to run it: in this
//! process and by the binary.
//!
//! The model is the table `customers (id, email, name, n)` of the warehouse, mapped name for name, so that what the
//! destination must have in the end is what the model gives: [`Project::assert_arrived`].

#![allow(clippy::expect_used, reason = "a project that cannot be made is a test that cannot run")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::clock::Millis;
use domain::fault::Fault;
use domain::ports::{Clock, StateStore};
use domain::run::{Run, Status, Trigger};
use embedded::SystemClock;
use engine::started::RunRequest;
use engine::{CancelToken, Engine};
use local::{drive, open};
use serde_json::{Value, json};

use crate::binary::{self, Said};
use crate::double::Double;

/// The name of the sync.
pub const SYNC: &str = "crm";

/// A project folder, gone when it is dropped.
pub struct Project {
    folder: tempfile::TempDir,
    /// The webhook's other end; answers to nobody when the destination is a table.
    pub double: Double,
    /// `connections.yaml`. Change it as you like: it is written before every run.
    pub connections: Value,
    pub syncs: Vec<Value>,
    /// What `${env:NAME}` leads to, by name.
    pub secrets: BTreeMap<String, String>,
    clock: Turned,
}

impl Project {
    /// `rows` customers, and a webhook that takes 10 records at a time, tells each one's result, and is tried again
    /// soon.
    pub fn webhook(rows: u32) -> Self {
        let double = Double::start();
        let hook = json!({ "type": "webhook", "url": double.url(), "allow_private": true, "batch_size": 10, "retry_pause": "1ms", "timeout": "20s" });
        let destination = json!({ "connection": "there", "options": { "results": { "id": "/id" } } });
        Self::new(rows, double, hook, destination)
    }

    /// `rows` customers, and a table of the same columns in a product's database.
    pub fn table(rows: u32) -> Self {
        let destination = json!({ "connection": "there", "object": "customers" });
        let project = Self::new(rows, Double::start(), json!({ "type": "sqlite", "path": "product.db" }), destination);
        project.product("create table customers (id integer primary key, email text, name text, n real)");
        project
    }

    fn new(rows: u32, double: Double, there: Value, destination: Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("syncs")).expect("a folder for syncs");
        let line = |name: &str| json!({ "from": name, "to": name });
        let sync = json!({
            "name": SYNC,
            "model": { "warehouse": "here", "sql": "select id, email, name, n from customers", "key": ["id"] },
            "destination": destination,
            "mode": "upsert",
            "mapping": [{ "from": "id", "to": "id", "identifier": true }, line("email"), line("name"), line("n")],
        });
        let connections = json!({ "here": { "type": "sqlite", "path": "warehouse.db" }, "there": there });
        let project =
            Self { folder, double, connections, syncs: vec![sync], secrets: BTreeMap::new(), clock: Turned::default() };
        project.warehouse("create table customers (id integer primary key, email text, name text, n)");
        project.add_rows(1, rows);
        project.save();
        project
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The first sync's file.
    pub fn sync(&mut self) -> &mut Value {
        &mut self.syncs[0]
    }

    /// The mapping line of a field.
    pub fn line(&mut self, field: &str) -> &mut Value {
        let lines = self.syncs[0]["mapping"].as_array_mut().expect("a mapping");
        lines.iter_mut().find(|l| l["to"] == field).expect("a line of that field")
    }

    /// Writes `connections.yaml` and the sync files. JSON is YAML.
    pub fn save(&self) {
        self.write("connections.yaml", &self.connections.to_string());
        for sync in &self.syncs {
            let name = sync["name"].as_str().expect("a name");
            self.write(&format!("syncs/{name}.yaml"), &sync.to_string());
        }
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file that can be written");
    }

    /// Adds customers with these ids, from and to.
    pub fn add_rows(&self, from: u32, to: u32) {
        self.warehouse(&format!(
            "with recursive ids(id) as (select {from} where {from} <= {to} union all select id + 1 from ids where id < {to})
             insert into customers select id, 'c' || id || '@h.test', 'Customer ' || id, id * 0.5 from ids"
        ));
    }

    pub fn warehouse(&self, sql: &str) {
        execute(&self.path("warehouse.db"), sql);
    }

    /// Changes the product's database.
    pub fn product(&self, sql: &str) {
        execute(&self.path("product.db"), sql);
    }

    /// Turns the clock of runs in this process forward.
    pub fn later(&self, by: Duration) {
        self.clock.0.fetch_add(i64::try_from(by.as_millis()).expect("a time"), Ordering::Relaxed);
    }
}

/// Running it in this process.
impl Project {
    /// Opens the first sync.
    pub async fn engine(&self) -> Result<Engine, Fault> {
        self.engine_of(SYNC).await
    }

    /// Opens a sync: state in the folder, the test's clock.
    pub async fn engine_of(&self, name: &str) -> Result<Engine, Fault> {
        self.save();
        let project = local::project::Project::load(self.folder())?;
        let store = open::state(&project).await?;
        self.engine_on(name, store).await
    }

    /// Opens a sync on this state.
    pub async fn engine_on(&self, name: &str, store: Arc<dyn StateStore>) -> Result<Engine, Fault> {
        self.save();
        let mut project = local::project::Project::load(self.folder())?;
        project.secrets.own.clone_from(&self.secrets);
        project.clock = Arc::new(self.clock.clone());
        open::engine(&project, project.sync(name)?, store, CancelToken::default()).await
    }

    /// Runs the first sync from start to end.
    pub async fn run(&self) -> Run {
        self.try_run().await.unwrap_or_else(|fault| panic!("the run did not come about: {fault}"))
    }

    /// The same, or the fault that there is no run.
    pub async fn try_run(&self) -> Result<Run, Fault> {
        drive::run(&self.engine().await?, &request()).await
    }

    /// Runs the first sync with this plan approved.
    pub async fn approve(&self, hash: &str) -> Run {
        let request = RunRequest { approve: Some(hash.to_owned()), ..request() };
        let engine = self.engine().await.unwrap_or_else(|fault| panic!("{fault}"));
        drive::run(&engine, &request).await.unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Runs the first sync, and once more with its plan approved if a guard blocks it.
    pub async fn approve_whatever(&self) -> Run {
        let run = self.run().await;
        if run.status != Status::Blocked {
            return run;
        }
        self.approve(&run.plan_hash.expect("a plan")).await
    }

    /// The state of the folder.
    pub async fn store(&self) -> Arc<dyn StateStore> {
        let project = local::project::Project::load(self.folder()).unwrap_or_else(|fault| panic!("{fault}"));
        open::state(&project).await.unwrap_or_else(|fault| panic!("{fault}"))
    }
}

impl Project {
    /// The binary with this project and these arguments; both outputs are piped, the environment is as it is here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.save();
        self.command_as_saved(arguments)
    }

    /// The same, with the files as they are in the folder.
    pub fn command_as_saved(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary::sluice());
        command.arg("--project").arg(self.folder()).args(arguments);
        command
            .env_remove("RUST_LOG")
            .envs(&self.secrets)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    pub fn sluice(&self, arguments: &[&str]) -> Said {
        Said::of(self.start(arguments))
    }

    /// The same, with the files as they are in the folder.
    pub fn sluice_as_saved(&self, arguments: &[&str]) -> Said {
        Said::of(self.command_as_saved(arguments).spawn().expect("the binary starts"))
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().expect("the binary starts")
    }
}

/// What both ends have.
impl Project {
    /// What the model of a sync gives, by key: its columns by name, nulls left out.
    pub fn model(&self) -> BTreeMap<String, Value> {
        let sql = self.syncs[0]["model"]["sql"].as_str().expect("SQL").to_owned();
        rows(&self.path("warehouse.db"), &sql)
    }

    /// What the destination has, by key.
    pub fn there(&self) -> BTreeMap<String, Value> {
        if self.connections["there"]["type"] == "sqlite" {
            return rows(&self.path("product.db"), "select id, email, name, n from customers");
        }
        self.double.records()
    }

    /// Panics unless the destination has exactly what the model gives.
    #[track_caller]
    pub fn assert_arrived(&self) {
        let (model, there) = (self.model(), self.there());
        let differ = |a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>| {
            a.iter().find(|(k, v)| b.get(*k) != Some(*v)).map(|(k, v)| (k.clone(), v.clone()))
        };
        assert!(
            model == there,
            "the destination has {} records, the model {}; first that is missing or differs: {:?}, first that should not be so: {:?}",
            there.len(),
            model.len(),
            differ(&model, &there),
            differ(&there, &model)
        );
    }
}

/// A run asked for by hand.
pub fn request() -> RunRequest {
    RunRequest { trigger: Trigger::Manual, approve: None, full: false }
}

/// Panics unless the numbers of a run add up and every batch was accounted for.
#[track_caller]
pub fn assert_balances(run: &Run) {
    assert!(run.tally.balances(), "accepted + skipped + rejected + exhausted is not sent: {:#?}", run.tally);
}

/// Runs SQL on an SQLite file that is made where there is none.
pub fn execute(file: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(file).expect("a database");
    connection.busy_timeout(Duration::from_secs(10)).expect("a timeout");
    connection.execute_batch(sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
}

fn rows(file: &Path, sql: &str) -> BTreeMap<String, Value> {
    let connection = rusqlite::Connection::open(file).expect("a database");
    let mut statement = connection.prepare(sql).expect("a statement");
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let value = |row: &rusqlite::Row<'_>, at: usize| match row.get_ref(at).expect("a column") {
        rusqlite::types::ValueRef::Null => Value::Null,
        rusqlite::types::ValueRef::Integer(v) => v.into(),
        rusqlite::types::ValueRef::Real(v) if v.fract() == 0.0 => (v as i64).into(),
        rusqlite::types::ValueRef::Real(v) => v.into(),
        rusqlite::types::ValueRef::Text(v) => String::from_utf8_lossy(v).into(),
        rusqlite::types::ValueRef::Blob(v) => format!("{} bytes", v.len()).into(),
    };
    let record = |row: &rusqlite::Row<'_>| {
        let fields: serde_json::Map<_, _> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.clone(), value(row, at)))
            .filter(|(_, v)| !v.is_null())
            .collect();
        Ok((fields["id"].to_string(), Value::Object(fields)))
    };
    statement.query_map([], record).expect("rows").collect::<Result<_, _>>().expect("every row")
}

/// The system's clock, turned forward.
#[derive(Clone, Default)]
struct Turned(Arc<AtomicI64>);

impl Clock for Turned {
    fn now(&self) -> Millis {
        Millis(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }
}
