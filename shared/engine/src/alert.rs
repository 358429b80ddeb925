//! Tells people of a sync's problems after a run. What is told is decided in `domain::alert`; here it is looked up what
//! was told before, told anew, and kept.
//!
//! What was told is kept with the run and not in the head: telling takes a while, and a head that changes under the next
//! run would end it. It is kept after it was told, so a process that ends in between tells it twice, never not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::alert::{Alert, Alerts, Facts, Told, decide};
use domain::fault::{Code, Fault};
use domain::ports::{Clock, Notifier, StateStore};
use domain::run::{Run, Status};

/// How many of the newest runs are looked at for what was told before.
const LOOK_BACK: usize = 10;
/// Nobody is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who is told, and of what.
#[derive(Clone)]
pub struct Alerting {
    /// Where runs are kept.
    pub store: Arc<dyn StateStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Of which problems: the sync's own settings over those of connections.yaml.
    pub settings: Alerts,
    /// Who is told.
    pub notifiers: Vec<Arc<dyn Notifier>>,
    /// The stack that the sync runs on, for the commands in the text; none on one machine.
    pub stack: Option<String>,
}

/// Tells people what has changed with this closed run. Never fails: what cannot be told is logged, and told after the
/// next run. Does nothing for a run that goes on or never began.
pub async fn tell(alerting: &Alerting, run: &Run) {
    if alerting.notifiers.is_empty() || !run.status.is_closed() || run.status == Status::Skipped {
        return;
    }
    if let Err(fault) = try_tell(alerting, run).await {
        tracing::warn!(sync = run.sync, run = run.id, code = %fault.code, "nobody could be told what became of the run: {}", fault.what);
    }
}

/// Tells of the run before this one, if this one took over from it because it made no progress: nobody else closed it, so
/// nobody has told of it. For those who start a run and leave its end to others.
pub async fn tell_of_replaced(alerting: &Alerting, run: &Run) {
    if alerting.notifiers.is_empty() {
        return;
    }
    let replaced = match alerting.store.runs(&run.sync, LOOK_BACK).await {
        Ok(runs) => runs.into_iter().find(|old| old.id < run.id),
        Err(_) => None,
    };
    let stalled = |old: &Run| old.status == Status::Incomplete && old.fault.as_ref().is_some_and(|f| f.code == Code::Stalled) && old.alerted.is_none();
    if let Some(replaced) = replaced.filter(stalled) {
        tell(alerting, &replaced).await;
    }
}

async fn try_tell(alerting: &Alerting, run: &Run) -> Result<(), Fault> {
    let store = alerting.store.as_ref();
    let runs = store.runs(&run.sync, LOOK_BACK).await?;
    // This very run, when it is told of again, knows best.
    let before = runs.into_iter().filter(|old| old.id <= run.id).find_map(|old| old.alerted).unwrap_or_default();
    let head = store.head(&run.sync).await?;
    let mut after: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for notifier in &alerting.notifiers {
        let known = before.get(notifier.name()).map(Vec::as_slice).unwrap_or_default();
        let facts = Facts {
            run,
            delivered: head.delivered,
            records: head.records,
            before: known,
            settings: &alerting.settings,
            stack: alerting.stack.as_deref(),
            now: alerting.clock.now(),
        };
        let decision = decide(&facts);
        let told = match &decision.alert {
            Some(alert) if !notify(notifier.as_ref(), alert).await => known.to_vec(),
            _ => decision.told,
        };
        if !told.is_empty() {
            after.insert(notifier.name().to_owned(), told);
        }
    }
    if before.is_empty() && after.is_empty() {
        return Ok(());
    }
    // As stored: whoever closed the run may have summed it up since.
    let run = store.run(&run.sync, &run.id).await?.unwrap_or_else(|| run.clone());
    store.put_run(&Run { alerted: Some(after), ..run }).await
}

/// `false`: it could not be told.
async fn notify(notifier: &dyn Notifier, alert: &Alert) -> bool {
    let told = tokio::time::timeout(PATIENCE, notifier.notify(alert)).await;
    let why = match told {
        Ok(Ok(())) => return true,
        Ok(Err(fault)) => fault.what,
        Err(_) => format!("no answer within {} seconds", PATIENCE.as_secs()),
    };
    tracing::warn!(sync = alert.sync, run = alert.run, to = notifier.name(), "an alert could not be told, and is told after the next run: {why}");
    false
}
