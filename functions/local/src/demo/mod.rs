//! `sluice demo`: the product in a few seconds, on sample data and without an account. Two syncs run at once, to an
//! HTTP endpoint and to a database; then rows change; then the model is emptied by accident. Every claim it
//! prints it has checked.

mod compare;
mod endpoint;
mod next;
mod project;
mod sample;
mod service;
mod warehouse;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use domain::fault::{Code, Fault};
use domain::run::{Run, Status, Trigger};
use engine::CancelToken;
use engine::started::RunRequest;
use serde_json::json;

use self::compare::{SeenRecords, came_out, same};
use self::endpoint::Endpoint;
use self::project::{CRM, Folder, PRODUCT};
use self::sample::{BAD_EMAILS, BLOCKED, CHANGED, DELETED, INVALID, ROWS};
use crate::cli::{DemoDestination, DemoWarehouse};
use crate::exit;
use crate::output::{Out, thousands};
use crate::progress::Bars;
use crate::project::Project;
use crate::session::run_sync;
use crate::signal::stop_on_signal;

/// Rows of the model that become records.
const VALID: u64 = ROWS - INVALID;
const REFUSED: u64 = BLOCKED.len() as u64;

/// Runs the command; with a destination or a warehouse, against doubles of those services.
pub async fn run(
    keep: Option<&Path>,
    destination: Option<DemoDestination>,
    warehouse: Option<DemoWarehouse>,
    out: &Out,
) -> Result<ExitCode, Fault> {
    if destination.is_some() || warehouse.is_some() {
        return service::run(destination.unwrap_or(DemoDestination::Hubspot), warehouse, keep, out).await;
    }
    let began = Instant::now();
    let stop = CancelToken::default();
    tokio::spawn(stop_on_signal(stop.clone()));
    let endpoint = Endpoint::start().await?;
    let (keep, url) = (keep.map(Path::to_owned), endpoint.url());
    let kept = keep.is_some();
    let folder =
        blocking(move || Folder::make(keep.as_deref()).and_then(|folder| folder.write(&url).map(|()| folder))).await?;
    let project = Project::load(&folder.path)?;
    let demo = Demo { out, stop, endpoint, folder, project };
    demo.open();
    demo.first().await?;
    demo.second().await?;
    let plan_hash = demo.third().await?;
    out.line(format!("The demo took {:.1} seconds.\n", began.elapsed().as_secs_f64()));
    next::print(kept.then_some(demo.folder.path.as_path()), &plan_hash, out);
    Ok(ExitCode::from(exit::OK))
}

struct Demo<'a> {
    out: &'a Out,
    stop: CancelToken,
    endpoint: Endpoint,
    folder: Folder,
    project: Project,
}

/// What both ends have.
struct Ends {
    model: SeenRecords,
    endpoint: SeenRecords,
    product: SeenRecords,
}

impl Demo<'_> {
    fn open(&self) {
        let (rows, url, folder) = (thousands(ROWS), self.endpoint.url(), self.folder.path.display().to_string());
        self.out.value(
            &json!({ "step": "project", "folder": folder, "endpoint": url, "rows": ROWS, "syncs": [CRM, PRODUCT] }),
        );
        self.out.line(format!(
            "A warehouse of {rows} customers (accents, emoji, nulls, decimals, dates, nested JSON) and two syncs:\n\
             \x20 {CRM:17}  upsert, to an HTTP endpoint: {url}\n\
             \x20 {PRODUCT:17}  mirror, to a table of a product database\n"
        ));
    }

    async fn first(&self) -> Result<(), Fault> {
        self.out.line("1. The first run of both syncs, at once. Everything is new.");
        let (crm, product) = self.run_both().await?;
        let counts = |run: &Run| [("added", run.counts.added, VALID), ("invalid", run.counts.invalid, INVALID)];
        came_out(
            &crm,
            Status::Partial,
            &[
                &counts(&crm)[..],
                &[("accepted", crm.tally.accepted(), VALID - REFUSED), ("rejected", crm.tally.rejected, REFUSED)],
            ]
            .concat(),
        )?;
        came_out(
            &product,
            Status::Partial,
            &[&counts(&product)[..], &[("accepted", product.tally.accepted(), VALID)]].concat(),
        )?;
        let ends = self.ends().await?;
        same("The endpoint", &compare::taken_by_endpoint(&ends.model), &ends.endpoint)?;
        same("The product database", &ends.model, &ends.product)?;
        self.tell("first_run", &crm, &product, &ends);
        self.out.notes(&[&crm, &product]);
        self.out.line(format!(
            "✓ {} records at the endpoint and {} rows in the product database equal the model, field by field.\n\
             \x20 {INVALID} rows are invalid ({} emails that are no addresses, a key that is null, a key that two rows have) and were not sent.\n\
             \x20 {REFUSED} records were rejected by the endpoint: they are dead letters now, and stopped no other record.\n",
            thousands(ends.endpoint.len() as u64),
            thousands(ends.product.len() as u64),
            BAD_EMAILS.len(),
        ));
        Ok(())
    }

    async fn second(&self) -> Result<(), Fault> {
        self.out.line(format!(
            "2. Overnight {CHANGED} customers change, {DELETED} are deleted, the row without a key goes (while it is there, deletes wait: it might be\n\
             \x20  any of them), and every row is loaded anew (`loaded_at`). Both run again."
        ));
        let warehouse = self.folder.warehouse();
        let deleted = blocking(move || sample::change(&warehouse)).await?;
        let (crm, product) = self.run_both().await?;
        let (changed, gone) = (CHANGED as u64, DELETED as u64);
        let rest = VALID - changed - gone;
        let counts = |run: &Run, unchanged, removed, held| {
            let c = run.counts;
            [
                ("added", c.added, 0),
                ("changed", c.changed, changed),
                ("removed", c.removed, removed),
                ("unchanged", c.unchanged, unchanged),
                ("held", c.held, held),
            ]
        };
        came_out(
            &crm,
            Status::Partial,
            &[&counts(&crm, rest - REFUSED, 0, REFUSED)[..], &[("accepted", crm.tally.accepted(), changed)]].concat(),
        )?;
        came_out(
            &product,
            Status::Partial,
            &[&counts(&product, rest, gone, 0)[..], &[("accepted", product.tally.accepted(), changed + gone)]].concat(),
        )?;
        let mut ends = self.ends().await?;
        // An upsert deletes nothing: what left the model stays at the endpoint as it was.
        let stay = deleted.iter().filter(|id| ends.endpoint.contains_key(id)).count();
        let there = ends.endpoint.clone();
        ends.endpoint.retain(|id, _| !deleted.contains(id));
        same("The endpoint", &compare::taken_by_endpoint(&ends.model), &ends.endpoint)?;
        same("The product database", &ends.model, &ends.product)?;
        let equal = ends.endpoint.len() as u64;
        ends.endpoint = there;
        self.tell("second_run", &crm, &product, &ends);
        self.out.line(format!(
            "✓ Only what changed was sent, in {} requests: a new `loaded_at`, which no sync maps, is no change.\n\
             \x20 Again {} records at the endpoint and {} rows in the product database equal the model.\n\
             \x20 The {DELETED} deleted ones are gone from the product (mirror); {stay} stay at the endpoint (upsert never deletes).\n\
             \x20 The {REFUSED} rejected ones are held: unchanged, they would only be rejected again.\n",
            crm.tally.requests + product.tally.requests,
            thousands(equal),
            thousands(ends.product.len() as u64),
        ));
        Ok(())
    }

    /// The model is empty. Gives the hash of the plan that was blocked.
    async fn third(&self) -> Result<String, Fault> {
        self.out.line("3. A load fails and leaves the table empty. Both run again.");
        let before = self.ends().await?;
        let warehouse = self.folder.warehouse();
        blocking(move || sample::empty(&warehouse)).await?;
        let (crm, product) = self.run_both().await?;
        for run in [&crm, &product] {
            came_out(run, Status::Blocked, &[("rows", run.counts.rows, 0), ("sent", run.tally.sent, 0)])?;
        }
        let ends = self.ends().await?;
        same("The endpoint", &before.endpoint, &ends.endpoint)?;
        same("The product database", &before.product, &ends.product)?;
        self.tell("guard", &crm, &product, &ends);
        let tripped = [&crm, &product]
            .into_iter()
            .flat_map(|run| run.tripped.iter().map(|t| vec![run.sync.clone(), t.guard.clone(), t.why.clone()]));
        self.out.table(&["sync", "guard", "why it stopped the run"], tripped.collect());
        self.out.line(format!(
            "✓ Both runs were blocked: the table shows what was planned, and nothing of it was sent.\n\
             \x20 The endpoint still has its {} records, the product database its {} rows.\n",
            thousands(ends.endpoint.len() as u64),
            thousands(ends.product.len() as u64),
        ));
        product.plan_hash.ok_or_else(|| Fault::new(Code::Internal, "A blocked run has no plan hash."))
    }

    /// Both syncs, concurrently. A fault of one does not cut the other off.
    async fn run_both(&self) -> Result<(Run, Run), Fault> {
        let request = RunRequest { trigger: Trigger::Manual, approve: None, full: false };
        let bars = Bars::new(self.out.is_json());
        let (crm, product) = (self.project.sync(CRM)?, self.project.sync(PRODUCT)?);
        let both = tokio::join!(
            run_sync(&self.project, crm, &request, self.stop.clone(), &bars),
            run_sync(&self.project, product, &request, self.stop.clone(), &bars)
        );
        self.stop.check()?;
        Ok((both.0?, both.1?))
    }

    async fn ends(&self) -> Result<Ends, Fault> {
        let (warehouse, product, records) = (self.folder.warehouse(), self.folder.product(), self.endpoint.records());
        blocking(move || {
            Ok(Ends {
                model: compare::model(&warehouse)?,
                endpoint: compare::endpoint(records),
                product: compare::product(&product)?,
            })
        })
        .await
    }

    /// Prints what happened, once it is known to be as it should.
    fn tell(&self, step: &str, crm: &Run, product: &Run, ends: &Ends) {
        self.out.value(&json!({ "step": step, "runs": [crm, product], "endpoint_records": ends.endpoint.len(), "product_rows": ends.product.len() }));
        self.out.runs(&[crm, product]);
    }
}

/// Runs `work` where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Fault::new(Code::Internal, format!("A thread of the demo ended: {e}."))))
}
