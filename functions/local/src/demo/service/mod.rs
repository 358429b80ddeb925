//! `sluice demo --destination NAME`: the demo's customers go to a double of a service, which holds records and enforces
//! types, unique values and a quota as the real one does, in this process. What the double holds is compared with the
//! model after every run, and some of it is shown. Nothing is sent to the service itself.
//!
//! A service is one implementation of [`DemoService`] and one arm of [`start`].

mod hubspot;
mod salesforce;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use domain::fault::Fault;
use domain::run::{Run, Status, Trigger};
use engine::CancelToken;
use engine::started::RunRequest;
use serde_json::json;

use super::compare::{self, SeenRecords, came_out};
use super::project::{CRM, Folder};
use super::sample::{self, CHANGED, DELETED, INVALID, ROWS};
use super::warehouse::{self, WarehouseDouble};
use super::{VALID, blocking};
use crate::cli::{DemoDestination, DemoWarehouse};
use crate::exit;
use crate::output::{Out, thousands};
use crate::progress::Bars;
use crate::project::Project;
use crate::session::run_sync;
use crate::signal::stop_on_signal;

/// Records as a service shows them that are printed.
const SHOWN: usize = 5;

/// What a service holds of each customer, as texts by field; empty fields are left out.
pub(super) type DemoRecords = BTreeMap<i64, BTreeMap<String, String>>;

/// A double of a service, running.
pub(super) trait DemoService {
    /// What it is called.
    fn title(&self) -> &'static str;
    /// What it calls customers.
    fn records_are(&self) -> &'static str;
    /// Its connection as a person writes it, under the name `crm`.
    fn connection(&self) -> String;
    /// The sync's file, whose name is `crm-contacts`; its mode is mirror.
    fn sync(&self) -> &'static str;
    /// The secret that the connection refers to: its variable, and its value.
    fn secret(&self) -> (&'static str, String);
    /// What else is different in the connection of an account of one's own, as a part of a sentence.
    fn yours(&self) -> &'static str;
    /// What it holds, by the customers' keys.
    fn held(&self) -> DemoRecords;
    /// What it should hold of these customers.
    fn wanted(&self, model: &SeenRecords) -> DemoRecords;
    /// The fields that are shown, in order.
    fn shown(&self) -> &'static [&'static str];
    fn requests(&self) -> u64;
    /// What they were for, and how many were refused because of its quota: a sentence.
    fn how(&self) -> String;
}

fn start(name: DemoDestination) -> Result<Box<dyn DemoService>, Fault> {
    match name {
        DemoDestination::Hubspot => hubspot::start(),
        DemoDestination::Salesforce => salesforce::start(),
    }
}

pub(super) async fn run(
    name: DemoDestination,
    warehouse: Option<DemoWarehouse>,
    keep: Option<&Path>,
    out: &Out,
) -> Result<ExitCode, Fault> {
    let began = Instant::now();
    let stop = CancelToken::default();
    tokio::spawn(stop_on_signal(stop.clone()));
    let service = start(name)?;
    let warehouse = warehouse.map(warehouse::start).transpose()?;
    let source = warehouse.as_ref().map(WarehouseDouble::connection);
    let (keep, connection, sync) = (keep.map(Path::to_owned), service.connection(), service.sync());
    let folder = blocking(move || {
        let folder = Folder::make(keep.as_deref())?;
        folder.write_service(source.as_deref(), &connection, sync).map(|()| folder)
    })
    .await?;
    let mut project = Project::load(&folder.path)?;
    let (variable, value) = service.secret();
    project.secrets.own.insert(variable.into(), value);
    if let Some((variable, value)) = warehouse.as_ref().map(WarehouseDouble::secret) {
        project.secrets.own.insert(variable.into(), value.to_owned());
    }
    let demo = ServiceDemo { out, stop, service: service.as_ref(), warehouse, folder, project };
    demo.open();
    demo.first().await?;
    demo.second().await?;
    out.line(format!("The demo took {:.1} seconds.\n", began.elapsed().as_secs_f64()));
    demo.next();
    Ok(ExitCode::from(exit::OK))
}

struct ServiceDemo<'a> {
    out: &'a Out,
    stop: CancelToken,
    service: &'a dyn DemoService,
    /// Where the customers are read from, if not from the file.
    warehouse: Option<WarehouseDouble>,
    folder: Folder,
    project: Project,
}

impl ServiceDemo<'_> {
    fn open(&self) {
        let (rows, folder, title) = (thousands(ROWS), self.folder.path.display().to_string(), self.service.title());
        self.out
            .value(&json!({ "step": "project", "folder": folder, "destination": title, "rows": ROWS, "syncs": [CRM] }));
        self.out.line(format!(
            "A warehouse of {rows} customers{}, and a sync that mirrors them to {} of {title}.\n\
             {title} is played by a double on this machine: it checks types, options and unique values, answers as the\n\
             documentation says, and keeps {title}'s limit of requests.{}\n",
            self.warehouse.as_ref().map(|w| format!(" in {}", w.title())).unwrap_or_default(),
            self.service.records_are(),
            self.warehouse.as_ref().map(|w| format!("\n{} is a double, too: it runs the SQL and speaks the service's wire format.", w.title())).unwrap_or_default(),
        ));
    }

    async fn first(&self) -> Result<(), Fault> {
        self.out.line("1. The first run. Everything is new.");
        let run = self.run().await?;
        came_out(
            &run,
            Status::Partial,
            &[
                ("added", run.counts.added, VALID),
                ("invalid", run.counts.invalid, INVALID),
                ("accepted", run.tally.accepted(), VALID),
            ],
        )?;
        let held = self.compare().await?;
        self.tell("first_run", &run, &held);
        self.out.notes(&[&run]);
        self.show(&held);
        self.out.line(format!(
            "✓ {} {} equal the model, field by field. It took {} requests.\n\
             \x20 {}\n\
             \x20 {INVALID} rows are invalid and were not sent.\n",
            thousands(held.len() as u64),
            self.service.records_are(),
            self.service.requests(),
            self.service.how(),
        ));
        Ok(())
    }

    async fn second(&self) -> Result<(), Fault> {
        self.out.line(format!("2. Overnight {CHANGED} customers change, {DELETED} are deleted, and every row is loaded anew (`loaded_at`). It runs again."));
        let warehouse = self.folder.warehouse();
        let deleted = blocking(move || sample::change(&warehouse)).await?;
        let before = self.service.requests();
        let run = self.run().await?;
        let (changed, gone) = (CHANGED as u64, DELETED as u64);
        let accepted = ("accepted", run.tally.accepted(), changed + gone);
        came_out(
            &run,
            Status::Partial,
            &[("changed", run.counts.changed, changed), ("removed", run.counts.removed, gone), accepted],
        )?;
        let held = self.compare().await?;
        self.tell("second_run", &run, &held);
        let after = self.service.requests();
        self.out.line(format!(
            "✓ Only what changed was sent, in {} requests, those for definitions included. The {} deleted customers are gone there,\n\
             \x20 and the {} {} that it has equal the model.\n",
            after - before,
            deleted.len(),
            thousands(held.len() as u64),
            self.service.records_are(),
        ));
        Ok(())
    }

    async fn run(&self) -> Result<Run, Fault> {
        if let Some(warehouse) = &self.warehouse {
            warehouse.load(&self.folder.warehouse())?;
        }
        let request = RunRequest { trigger: Trigger::Manual, approve: None, full: false };
        let run = run_sync(
            &self.project,
            self.project.sync(CRM)?,
            &request,
            self.stop.clone(),
            &Bars::new(self.out.is_json()),
        )
        .await;
        self.stop.check()?;
        run
    }

    /// Holds what the service has against the model. Gives what it has.
    async fn compare(&self) -> Result<DemoRecords, Fault> {
        let warehouse = self.folder.warehouse();
        let model = blocking(move || compare::model(&warehouse)).await?;
        let held = self.service.held();
        compare::same(self.service.title(), &as_seen(&self.service.wanted(&model)), &as_seen(&held))?;
        Ok(held)
    }

    fn tell(&self, step: &str, run: &Run, held: &DemoRecords) {
        self.out
            .value(&json!({ "step": step, "runs": [run], "records": held.len(), "requests": self.service.requests() }));
        self.out.runs(&[run]);
    }

    /// Prints some records as the service has them.
    fn show(&self, held: &DemoRecords) {
        let row = |fields: &BTreeMap<String, String>| {
            self.service.shown().iter().map(|name| fields.get(*name).cloned().unwrap_or_default()).collect()
        };
        self.out.table(self.service.shown(), held.values().take(SHOWN).map(row).collect());
    }

    fn next(&self) {
        let folder = self.folder.path.display().to_string();
        self.out.value(&json!({ "step": "next", "folder": folder }));
        let variable = self.service.secret().0;
        self.out.line(format!(
            "Next, for an account of your own: {}, and {variable} holds a real key.\n\
             The files that the demo used are those that you would write: keep them with --keep DIR.{}",
            self.service.yours(),
            match &self.warehouse {
                Some(warehouse) => format!("\nWhat {} needs to let you in: docs/WAREHOUSES.md.", warehouse.title()),
                None => String::new(),
            },
        ));
    }
}

fn as_seen(held: &DemoRecords) -> SeenRecords {
    held.iter().map(|(key, fields)| (*key, json!(fields))).collect()
}
