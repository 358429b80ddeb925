//! A project whose `sluice run` is killed: the real command, a warehouse in a file, and a webhook's double or a table.

use std::process::Child;
use std::time::{Duration, Instant};

use domain::mode::Mode;
use serde_json::{Value, json};
use support::double::Double;
use support::project::{Project, SYNC, execute};

use crate::model::{Model, Rows};
use crate::promise::{Delivery, FOREIGN, View};

/// Most records in a batch.
pub const BATCH: usize = 10;
/// Most batches at once.
pub const WRITERS: usize = 3;

/// A project and what its model was.
pub struct Killed {
    pub project: Project,
    pub mode: Mode,
    pub model: Model,
    pub kills: usize,
}

impl Killed {
    /// A webhook that answers one by one and takes a moment for it.
    pub fn webhook(mode: Mode, rows: i64) -> Self {
        let mut project = Project::webhook(0);
        project.connections["there"]["batch_size"] = json!(BATCH);
        project.connections["there"]["concurrency"] = json!(WRITERS);
        project.double.delay(Duration::from_millis(5));
        Self::of(project, mode, rows)
    }

    /// A table that others have rows in.
    pub fn table(mode: Mode, rows: i64) -> Self {
        let mut project = Project::table(0);
        project.sync()["destination"]["options"] = json!({ "batch_size": BATCH });
        for key in FOREIGN {
            project.product(&format!("insert into customers (id, name) values ({key}, 'foreign {key}')"));
        }
        Self::of(project, mode, rows)
    }

    fn of(mut project: Project, mode: Mode, rows: i64) -> Self {
        let sync = project.sync();
        sync["mode"] = json!(mode);
        sync["model"]["sql"] = json!("select id, name from customers");
        sync["mapping"] = json!([{ "from": "id", "to": "id", "identifier": true }, { "from": "name", "to": "name" }]);
        sync["guards"] = json!({ "min_rows": null, "max_delete_percent": null, "max_change_percent": null });
        let killed = Self { project, mode, model: Model::new(rows), kills: 0 };
        killed.save();
        killed
    }

    /// Brings the warehouse to where the model is.
    pub fn save(&self) {
        let rows: Vec<String> = self.model.rows.iter().map(|(key, name)| format!("({key}, '{name}')")).collect();
        let insert = if rows.is_empty() {
            String::new()
        } else {
            format!("insert into customers (id, name) values {};", rows.join(","))
        };
        execute(&self.project.path("warehouse.db"), &format!("begin; delete from customers; {insert} commit;"));
    }

    pub fn start(&self) -> Child {
        self.project.start(&["--json", "run", SYNC])
    }

    /// Runs to the end and measures it.
    pub fn measure(&self) -> Duration {
        let begun = Instant::now();
        self.run_well().unwrap_or_else(|e| panic!("{e}"));
        begun.elapsed()
    }

    /// Runs to the end. The run, or why it is not complete.
    pub fn run_well(&self) -> Result<Value, String> {
        let said = self.project.sluice(&["--json", "run", SYNC]);
        if said.code == 0 {
            Ok(said.json())
        } else {
            Err(format!("an undisturbed run ended with {}: {} {}", said.code, said.out, said.err))
        }
    }

    /// Starts a run and kills it after this time, if it is still there.
    pub fn run_for(&mut self, time: Duration) {
        let child = self.start();
        std::thread::sleep(time);
        self.kill(child);
    }

    /// Kills it. What it had sent by then is with the double before this returns.
    pub fn kill(&mut self, mut child: Child) {
        child.kill().expect("a process to kill");
        child.wait().expect("its end");
        self.kills += 1;
        settle(&self.project.double);
    }

    /// What the destination has and got.
    pub fn view(&self) -> View {
        let double = &self.project.double;
        let mut rows: Rows =
            self.project.there().values().map(|fields| (fields["id"].as_i64().expect("a key"), name(fields))).collect();
        if !self.is_table() {
            rows.extend(FOREIGN.map(|key| (key, format!("foreign {key}"))));
        }
        let delivery = |d: support::double::Delivered| Delivery {
            key: d.fields["id"].as_i64().expect("a key"),
            name: name(&d.fields),
            id: d.id,
            operation: d.operation,
        };
        View { rows, deliveries: double.deliveries().into_iter().map(delivery).collect(), requests: double.count() }
    }

    fn is_table(&self) -> bool {
        self.project.connections["there"]["type"] == "sqlite"
    }

    /// Records that may have been appended twice by now.
    pub fn surplus(&self) -> usize {
        self.kills * BATCH * WRITERS
    }

    /// The statuses in `sluice runs`, newest first.
    pub fn statuses(&self) -> Vec<String> {
        let said = self.project.sluice(&["--json", "runs", SYNC, "--limit", "1000"]);
        assert_eq!(said.code, 0, "{said:?}");
        let runs = said.json();
        runs.as_array()
            .expect("a list")
            .iter()
            .map(|run| run["status"].as_str().expect("a status").to_owned())
            .collect()
    }

    /// An undisturbed run makes everything good, the one after that has nothing to do, and no run shows as running.
    pub fn recovers(&self) -> Result<(), String> {
        self.run_well()?;
        let view = self.view();
        if let Some(broken) = crate::promise::broken(self.mode, &self.model, &view, self.surplus()) {
            return Err(broken);
        }
        let idle = self.run_well()?;
        let to_send: u64 =
            ["added", "changed", "removed"].iter().map(|of| idle["counts"][of].as_u64().unwrap_or(u64::MAX)).sum();
        let requests = self.view().requests - view.requests;
        if to_send > 0 || requests > 0 {
            return Err(format!("the run after that made {requests} requests: {}", idle["counts"]));
        }
        match self.statuses().iter().any(|status| status == "running") {
            true => Err(format!("a run still shows as running: {:?}", self.statuses())),
            false => Ok(()),
        }
    }
}

fn name(fields: &Value) -> String {
    fields["name"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the double has seen what was on its way to it. A request that arrives after the next run began would be
/// one that no client can call back.
fn settle(double: &Double) {
    let mut seen = double.count();
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(15));
        let now = double.count();
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// Waits until something holds. Panics when that takes a minute.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited a minute until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
