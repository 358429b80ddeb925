//! Tells people of a sync's problems after a run, and on AWS from time to time while none runs. What is told is decided
//! in `domain::alert`; here it is looked up what was told before, told anew, and kept.
//!
//! What was told is kept with the run and not in the head: telling takes a while, and a head that changes under the
//! next run would end it. It is kept after it was told, so a process that ends in between tells it twice, never not at
//! all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::alert_settings::{Alerts, KnownProblem};
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::head::Head;
use domain::monitoring::alert::{Alert, AlertInput};
use domain::monitoring::cost;
use domain::monitoring::decide::{AlertDecision, decide};
use domain::monitoring::health::SyncHealth;
use domain::ports::{Clock, Notifier, StateStore};
use domain::run::{Run, Status};

/// How many of the newest runs are looked at for what was told before, and for what runs use of the warehouse.
pub const LOOK_BACK: usize = cost::MAX_RUNS + 1;
/// Nobody is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Whoever closed a run may be telling of it for so long; a watch does not tell the same beside it.
const SETTLED_AFTER: Duration = Duration::from_secs(300);

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

/// What is decided from, besides the settings.
#[derive(Clone, Copy)]
pub struct AlertContext<'a> {
    /// The run that is told of, closed.
    pub run: &'a Run,
    /// The newest runs of the sync, [`LOOK_BACK`] of them, the newest first.
    pub runs: &'a [Run],
    /// The sync's head.
    pub head: &'a Head,
    /// What a watch sees; none after a run.
    pub seen: Option<&'a SyncHealth>,
    /// Now.
    pub now: Millis,
}

impl AlertContext<'_> {
    /// True when a watch has something to tell that nobody else is telling. Opens nobody: their secrets are asked for
    /// only when there is something to say.
    pub fn has_news(&self, settings: &Alerts, stack: &str) -> bool {
        let settled = self.run.ended.is_some_and(|ended| self.now.since(ended) >= SETTLED_AFTER);
        let before = self.known_before();
        settled
            && settings
                .channels()
                .iter()
                .any(|channel| self.decide(&before, &channel.name(), settings, Some(stack)).alert.is_some())
    }

    /// By the name of who was told. The run itself, when it is told of again, knows best.
    fn known_before(&self) -> BTreeMap<String, Vec<KnownProblem>> {
        self.runs.iter().filter(|old| old.id <= self.run.id).find_map(|old| old.alerted.clone()).unwrap_or_default()
    }

    fn decide(
        &self,
        before: &BTreeMap<String, Vec<KnownProblem>>,
        name: &str,
        settings: &Alerts,
        stack: Option<&str>,
    ) -> AlertDecision {
        let before = before.get(name).map(Vec::as_slice).unwrap_or_default();
        let Self { run, runs, head, seen, now } = *self;
        decide(&AlertInput {
            run,
            delivered: head.delivered,
            seen,
            records: head.records,
            usual: cost::usual(run, runs),
            before,
            settings,
            stack,
            now,
        })
    }
}

/// Tells people what has changed with this closed run. Never fails: what cannot be told is logged, and told after the
/// next run or by the next watch. Does nothing for a run that goes on or never began.
pub async fn alert(alerting: &Alerting, run: &Run) {
    alert_of(alerting, run, None).await;
}

/// Tells people what a watch sees of a sync whose newest closed run this is. What was told is kept with that run: once
/// told, it is not told by the next watch again.
pub async fn alert_of_health(alerting: &Alerting, run: &Run, seen: &SyncHealth) {
    alert_of(alerting, run, Some(seen)).await;
}

async fn alert_of(alerting: &Alerting, run: &Run, seen: Option<&SyncHealth>) {
    if alerting.notifiers.is_empty() || !run.status.is_closed() || run.status == Status::Skipped {
        return;
    }
    if let Err(fault) = try_to_alert(alerting, run, seen).await {
        tracing::warn!(sync = run.sync, run = run.id, code = %fault.code, "nobody could be told what became of the run: {}", fault.what);
    }
}

/// The stalled run that this one superseded, if there is one. No alert was sent of it: the caller must send it.
pub async fn replaced_by(store: &dyn StateStore, run: &Run) -> Option<Run> {
    let runs = store.runs(&run.sync, LOOK_BACK).await.ok()?;
    let before = runs.into_iter().find(|old| old.id < run.id && old.status != Status::Skipped)?;
    let stalled =
        before.fault.as_ref().is_some_and(|fault| fault.code == Code::Stalled) && before.ended >= Some(run.started);
    (stalled && before.status == Status::Incomplete).then_some(before)
}

async fn try_to_alert(alerting: &Alerting, run: &Run, seen: Option<&SyncHealth>) -> Result<(), Fault> {
    let store = alerting.store.as_ref();
    let (runs, head) = (store.runs(&run.sync, LOOK_BACK).await?, store.head(&run.sync).await?);
    let known = AlertContext { run, runs: &runs, head: &head, seen, now: alerting.clock.now() };
    let before = known.known_before();
    let mut after: BTreeMap<String, Vec<KnownProblem>> = BTreeMap::new();
    for notifier in &alerting.notifiers {
        let decision = known.decide(&before, notifier.name(), &alerting.settings, alerting.stack.as_deref());
        let told = match &decision.alert {
            Some(alert) if !notify(notifier.as_ref(), alert).await => {
                before.get(notifier.name()).cloned().unwrap_or_default()
            }
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
    if run.alerted.as_ref() == Some(&after) {
        return Ok(());
    }
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
    tracing::warn!(
        sync = alert.sync,
        run = alert.run,
        to = notifier.name(),
        "an alert could not be told, and is told after the next run or by the next watch: {why}"
    );
    false
}
