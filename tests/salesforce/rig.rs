//! An org, a model in memory, and both ways to the connector: by single batches and by whole runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use domain::batch::{BatchRecord, WriteBatch};
use domain::cells::{self, Cells};
use domain::clock::Millis;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::key::KeyHash;
use domain::layout::{Field as LayoutField, Layout};
use domain::mode::Op;
use domain::ports::{Clock, Destination, ModelSchema, OpenArgs, Query, RowStream, StateStore, Warehouse};
use domain::row::{Column, RowBatch};
use domain::run::{Run, Trigger};
use domain::sync::{Sync, Target};
use domain::value::{Type, Value as Cell};
use doubles::salesforce::{ObjectField, Org, SObject, SObjectRecord, SalesforceDouble};
use embedded::{MemoryQueue, SqliteState, SystemClock};
use engine::deliver::rate_limiter::RateLimiter;
use engine::started::RunRequest;
use engine::{CancelToken, Context, Engine, RunProgress, Settings};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::key::PLANTED_KEY;

/// Accounts and contacts; three accounts with the codes A, B and C.
pub fn org() -> Org {
    let account = SObject::new(
        "Account",
        "001",
        vec![ObjectField::text("Name", 255).required(), ObjectField::text("Code__c", 20).external()],
    );
    let fields = vec![
        ObjectField::text("LastName", 80).required(),
        ObjectField::email("Email"),
        ObjectField::number("Score__c", 8, 2),
        ObjectField::picklist("Tier__c", &["gold", "silver"]),
        ObjectField::checkbox("Active__c"),
        ObjectField::date("Born__c"),
        ObjectField::datetime("Seen__c"),
        ObjectField::text("Ext__c", 40).external(),
        ObjectField::reference("AccountId", "Account", &["Account"]),
        ObjectField::reference("WhatId", "What", &["Account", "Contact"]),
        ObjectField::text("Formula__c", 100).read_only(),
    ];
    let contact = SObject::new("Contact", "003", fields)
        .with_rule("LastName", json!("forbidden"), "this name is forbidden")
        .with_duplicate_rule("Email");
    Org::new(vec![account, contact])
}

/// An org that runs, with its accounts.
pub async fn start() -> SalesforceDouble {
    let double = SalesforceDouble::start(org()).unwrap();
    let accounts = open(&double, "Account", json!({}), json!({})).await;
    let rows = ["A", "B", "C"].map(|code| vec![Cell::Text(code), Cell::Text("an account")]);
    Batch::new(&[("Code__c", Type::Text, true), ("Name", Type::Text, false)], &rows)
        .write(&*accounts, Op::Upsert)
        .await
        .unwrap();
    double.org().calls.clear();
    double
}

struct Secrets;

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "PLANTED" => Ok("planted-secret".into()),
            Reference::Env(name) if name == "KEY" => {
                let kind = "RSA PRIVATE KEY";
                Ok(format!("-----BEGIN {kind}-----\\n{PLANTED_KEY}\\n-----END {kind}-----\\n"))
            }
            other => Err(Fault::new(Code::SecretMissing, other.to_string())),
        }
    }
}

/// Opens an object; `config` is added to what is usual.
pub async fn open(double: &SalesforceDouble, object: &str, config: Value, options: Value) -> Arc<dyn Destination> {
    let auth = json!({ "client_credentials": { "client_id": "client", "client_secret": "${env:PLANTED}" } });
    let mut whole =
        json!({ "domain": double.url(), "auth": auth, "allow_private": true, "retry_pause": "1ms", "job_poll": "1ms" });
    whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let target =
        Target { connection: "crm".into(), object: object.into(), options: options.as_object().unwrap().clone() };
    let entry = destinations::find("salesforce").unwrap();
    (entry.open)(
        OpenArgs {
            name: "crm",
            config: &whole,
            folder: Path::new("."),
            secrets: &Secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
    .unwrap()
}

/// Records for a single write.
pub struct Batch {
    pub layout: Layout,
    cells: Vec<Vec<u8>>,
    ids: Vec<Option<String>>,
}

impl Batch {
    /// Values in the order of `fields`, which need not be the layout's.
    pub fn new(fields: &[(&str, Type, bool)], records: &[Vec<Cell<'_>>]) -> Self {
        let layout = Layout::new(
            fields
                .iter()
                .map(|(n, kind, identifier)| LayoutField { name: (*n).into(), kind: *kind, identifier: *identifier })
                .collect(),
        );
        let of = |values: &Vec<Cell<'_>>| {
            let mut out = Vec::new();
            for field in layout.fields() {
                cells::push(&mut out, values[fields.iter().position(|(name, ..)| *name == field.name).unwrap()]);
            }
            out
        };
        Self { cells: records.iter().map(of).collect(), ids: vec![None; records.len()], layout }
    }

    /// The same with these record ids remembered.
    pub fn with_ids(mut self, ids: &[Option<&str>]) -> Self {
        self.ids = ids.iter().map(|id| id.map(str::to_owned)).collect();
        self
    }

    /// The records, as a batch has them.
    pub fn records(&self) -> Vec<BatchRecord<'_>> {
        let mut out = Vec::new();
        for (cells, id) in self.cells.iter().zip(&self.ids) {
            let (hash, fields, record_id) = (KeyHash::of(cells), Cells(cells), id.as_deref());
            out.push(BatchRecord {
                hash,
                checksum: 1,
                revision: 1,
                had_failure: false,
                record_id,
                key: fields,
                fields,
            });
        }
        out
    }

    pub async fn write(
        &self,
        to: &dyn Destination,
        op: Op,
    ) -> Result<Vec<domain::outcome::Outcome>, domain::outcome::WriteError> {
        let records = self.records();
        let result = to.write(&WriteBatch { sync: "crm", op, layout: &self.layout, records: &records }).await;
        if let Ok(outcomes) = &result {
            assert_eq!(outcomes.len(), records.len(), "exactly one outcome for every record");
        }
        result
    }
}

/// A run by hand.
pub fn request() -> RunRequest {
    RunRequest { trigger: Trigger::Manual, approve: None, full: false }
}

/// The system's clock, turned forward.
#[derive(Clone, Default)]
pub struct Turned(Arc<AtomicI64>);

impl Turned {
    pub fn forward(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Turned {
    fn now(&self) -> Millis {
        Millis(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }
}

/// A row of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub name: String,
    pub account: Option<&'static str>,
    pub score: Option<i64>,
    /// Its external id, where that is not `E` and its number.
    pub ext: Option<&'static str>,
}

/// A sync to contacts with its model.
pub struct World {
    pub double: SalesforceDouble,
    pub rows: BTreeMap<i64, Row>,
    pub mode: &'static str,
    pub key: &'static str,
    pub config: Value,
    /// How many accepted records are read back. None, because most tests count requests.
    pub read_back: u64,
    pub clock: Turned,
    pub folder: tempfile::TempDir,
}

impl World {
    /// So many rows, and an org without contacts.
    pub async fn new(mode: &'static str, rows: i64) -> Self {
        let mut world = Self {
            double: start().await,
            rows: BTreeMap::new(),
            mode,
            key: "ext",
            config: json!({}),
            read_back: 0,
            clock: Turned::default(),
            folder: tempfile::tempdir().unwrap(),
        };
        world.add(1, rows);
        world
    }

    /// Adds rows with these ids.
    pub fn add(&mut self, from: i64, to: i64) {
        for id in from..=to {
            let account = ["A", "B", "C"].get(usize::try_from(id % 4).unwrap()).copied();
            self.rows.insert(
                id,
                Row { name: format!("Name {id}"), account, score: (id % 5 != 0).then_some(id % 1000), ext: None },
            );
        }
    }

    pub async fn engine(&self) -> Engine {
        let sync: Sync = serde_json::from_value(json!({
            "name": "crm", "mode": self.mode,
            "model": { "warehouse": "w", "sql": "select id, ext, name, account, score from rows", "key": [self.key] },
            "destination": { "connection": "crm", "object": "Contact" },
            "mapping": [
                { "from": "ext", "to": "Ext__c", "identifier": true }, { "from": "name", "to": "LastName" },
                { "from": "account", "to": "Account.Code__c", "nulls": "clear" }, { "from": "score", "to": "Score__c", "nulls": "clear" },
            ],
            "guards": { "min_rows": null, "max_delete_percent": null, "max_change_percent": null },
            "readback": { "sample": self.read_back },
        }))
        .unwrap();
        let store: Arc<dyn StateStore> =
            Arc::new(SqliteState::open(self.folder.path().join("state.db")).await.unwrap());
        let clock = Arc::new(self.clock.clone());
        let context = Context {
            destination: open(&self.double, "Contact", self.config.clone(), json!({})).await,
            sync: Arc::new(sync),
            slots: Arc::new(RateLimiter::new("crm", None, store.clone(), clock.clone())),
            store,
            renew: None,
            plan_store: None,
            queue: Arc::new(MemoryQueue::new(Duration::from_secs(3600))),
            clock,
            meter: Arc::new(RunProgress::default()),
            stop: CancelToken::default(),
            settings: Settings {
                stall: Duration::ZERO,
                spool_folder: self.folder.path().to_owned(),
                ..Settings::default()
            },
        };
        Engine { context, warehouse: Arc::new(Memory(self.rows.clone())) }
    }

    /// Runs the sync from start to end.
    pub async fn run(&self) -> Run {
        local::drive::run(&self.engine().await, &request()).await.unwrap()
    }

    /// Runs and panics unless the run is complete and its numbers add up.
    pub async fn run_well(&self) -> Run {
        let run = self.run().await;
        assert_eq!(run.status, domain::run::Status::Complete, "{:?} {:#?}", run.fault, run.tally);
        assert!(run.tally.balances(), "{:#?}", run.tally);
        run
    }

    /// The contacts by external id.
    pub fn contacts(&self) -> BTreeMap<String, SObjectRecord> {
        self.double.org().object("Contact").records_by("Ext__c")
    }

    /// Panics unless the org has exactly what the model gives.
    #[track_caller]
    pub fn assert_arrived(&self) {
        let codes: BTreeMap<String, String> = self
            .double
            .org()
            .object("Account")
            .records()
            .iter()
            .map(|(id, r)| (id.clone(), r["Code__c"].as_str().unwrap().to_owned()))
            .collect();
        let shown = |r: &SObjectRecord| {
            let account = r.get("AccountId").map(|id| codes[id.as_str().unwrap()].clone());
            (
                r["LastName"].as_str().unwrap().to_owned(),
                account,
                r.get("Score__c").and_then(Value::as_f64).map(|s| s as i64),
            )
        };
        let there: BTreeMap<String, _> = self.contacts().iter().map(|(ext, r)| (ext.clone(), shown(r))).collect();
        let model: BTreeMap<String, _> = self
            .rows
            .iter()
            .map(|(id, r)| (format!("E{id}"), (r.name.clone(), r.account.map(str::to_owned), r.score)))
            .collect();
        let differs = model.iter().find(|(k, v)| there.get(*k) != Some(v)).map(|(k, v)| (k, v, there.get(k)));
        assert!(
            there == model,
            "the org has {} contacts, the model {} rows; the first that differs: {differs:?}",
            there.len(),
            model.len()
        );
    }
}

struct Memory(BTreeMap<i64, Row>);

#[async_trait]
impl Warehouse for Memory {
    async fn describe(&self, _: &Query) -> Result<ModelSchema, Fault> {
        let column = |(name, kind): (&str, Type)| Column { name: name.into(), kind };
        let columns = [
            ("id", Type::Int),
            ("ext", Type::Text),
            ("name", Type::Text),
            ("account", Type::Text),
            ("score", Type::Int),
        ];
        Ok(ModelSchema { columns: columns.map(column).to_vec(), findings: Vec::new(), ..ModelSchema::default() })
    }

    async fn rows(&self, _: &Query) -> Result<RowStream, Fault> {
        let mut batch = RowBatch::new(5);
        for (id, row) in &self.0 {
            batch.push(Cell::Int(*id));
            batch.push(Cell::Text(&row.ext.map_or_else(|| format!("E{id}"), str::to_owned)));
            batch.push(Cell::Text(&row.name));
            batch.push(row.account.map_or(Cell::Null, Cell::Text));
            batch.push(row.score.map_or(Cell::Null, Cell::Int));
        }
        Ok(futures_util::stream::iter([Ok(batch)]).boxed())
    }
}
