//! An attempt to deliver a message: what it has to do with, and what it came to so far for each record. Not here: the
//! order of its steps (`delivery`), what is sent when (`send`, `job`), and what answers mean (`on_error`).

use std::sync::Arc;
use std::time::Duration;

use domain::batch::{BatchHeader, BatchRecord};
use domain::fault::{Code, Fault};
use domain::outcome::Outcome;
use domain::ports::{BatchRef, Destination};
use domain::retry::{MAX_ATTEMPTS, MAX_RETRY_AFTER};
use domain::run::BatchState;

use crate::Context;

/// A run ends when its destination has asked to slow down and taken nothing for this time, or for the stall time of the
/// settings where that is longer.
const MAX_THROTTLED_TIME: Duration = Duration::from_secs(30 * 60);

/// A pause of this length is logged; a shorter one only shows in the numbers of the run.
const WORTH_TELLING: Duration = Duration::from_millis(500);

/// What an attempt came to for a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attempted {
    /// It was settled before, or this attempt did not come to it.
    NotTried,
    /// It waits for its turn: the destination has not looked at it.
    Deferred,
    /// The destination has answered, or should have.
    Answered(Outcome),
}

impl Attempted {
    /// A record that is to be sent again, because something failed.
    pub(super) fn failed(&self) -> bool {
        matches!(self, Attempted::Answered(Outcome::Retry { .. }))
    }
}

/// A delivery under way.
pub(super) struct Attempt<'a> {
    pub(super) context: &'a Context,
    pub(super) header: &'a BatchHeader,
    pub(super) records: &'a [BatchRecord<'a>],
    pub(super) batch: BatchRef<'a>,
    /// For each record what this attempt came to.
    pub(super) results: Vec<Attempted>,
    pub(super) state: BatchState,
    /// The longest wait that somebody asked for.
    pub(super) wait: Option<Duration>,
    /// A request of several records was refused whole.
    pub(super) refused: bool,
    /// The destination with newer credentials, once those it was opened with were refused.
    renewed: Option<Arc<dyn Destination>>,
    /// Newer credentials were asked for.
    asked_for_newer: bool,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        context: &'a Context,
        header: &'a BatchHeader,
        records: &'a [BatchRecord<'a>],
        batch: BatchRef<'a>,
        state: BatchState,
    ) -> Self {
        let results = vec![Attempted::NotTried; records.len()];
        Self {
            context,
            header,
            records,
            batch,
            results,
            state,
            wait: None,
            refused: false,
            renewed: None,
            asked_for_newer: false,
        }
    }

    pub(super) fn has_results(&self) -> bool {
        self.results.iter().any(|fate| *fate != Attempted::NotTried)
    }

    /// True when the next failure of a record is its last.
    pub(super) fn is_last(&self) -> bool {
        self.state.attempts + 1 >= MAX_ATTEMPTS
    }

    /// The destination, with the newest credentials.
    pub(super) fn destination(&self) -> Arc<dyn Destination> {
        Arc::clone(self.renewed.as_ref().unwrap_or(&self.context.destination))
    }

    /// True when newer credentials may be had that were not tried.
    pub(super) fn is_renewable(&self) -> bool {
        self.context.renew.is_some() && !self.asked_for_newer
    }

    /// Opens the destination with newer credentials. `false`: there are none.
    pub(super) async fn renew(&mut self) -> Result<bool, Fault> {
        let Some(renew) = self.context.renew.as_ref().filter(|_| !self.asked_for_newer) else { return Ok(false) };
        self.asked_for_newer = true;
        self.renewed = renew.renew().await?;
        Ok(self.renewed.is_some())
    }

    /// These records wait for their turn.
    pub(super) fn defer<'i>(&mut self, records: impl IntoIterator<Item = &'i usize>) {
        records.into_iter().for_each(|index| self.results[*index] = Attempted::Deferred);
    }

    /// These records were sent and got no answer.
    pub(super) fn may_have_arrived(&mut self, records: &[usize]) {
        records.iter().for_each(|index| self.state.set_unseen(*index));
    }

    /// These records are to be sent again.
    pub(super) fn retry<'i>(&mut self, records: impl IntoIterator<Item = &'i usize>, code: &str, detail: &str) {
        records
            .into_iter()
            .for_each(|index| self.results[*index] = Attempted::Answered(Outcome::retry_because(code, detail)));
    }

    /// Counts a request that was throttled, and makes everyone of the connection wait. A fault when that is longer than
    /// a run waits: for this one time, or for all the time that nothing has come of the run.
    pub(super) async fn pause_connection(&mut self, after: Option<Duration>) -> Result<Option<Fault>, Fault> {
        self.state.tally.throttled += 1;
        self.context.meter.throttle();
        let (sync, connection) = (&self.header.sync, &self.context.sync.destination.connection);
        let times = u32::try_from(self.state.tally.throttled).unwrap_or(u32::MAX);
        let pause =
            self.context.slots.pause_connection(times, self.context.destination.limits().first_pause, after).await?;
        self.wait = self.wait.max(Some(pause));
        let now = self.context.clock.now();
        if pause >= WORTH_TELLING {
            tracing::warn!(target: "sluice::waiting", sync, connection, "the destination asks to slow down: waiting until {}", now.plus(pause));
        }
        let fault = |what: String| {
            let next = format!(
                "Nothing is lost: run again when the quota is back. `sluice limits lift {connection}` ends the pause before that."
            );
            Some(Fault::new(Code::DestinationLimit, what).with_next(next))
        };
        if let Some(asked) = after.filter(|asked| *asked > MAX_RETRY_AFTER) {
            let until = now.plus(asked);
            let what = format!(
                "The quota of the destination of `{sync}` is used up until {until}, which is longer than a run waits."
            );
            return Ok(fault(what));
        }
        let silent = now.since(self.last_progress().await?);
        if silent >= self.context.settings.stall.max(MAX_THROTTLED_TIME) {
            let what = format!(
                "The destination of `{sync}` has asked to slow down for {} minutes and taken nothing.",
                silent.as_secs() / 60
            );
            return Ok(fault(what));
        }
        Ok(None)
    }

    /// When the run last got anywhere.
    async fn last_progress(&self) -> Result<domain::clock::Millis, Fault> {
        let (store, run) = (self.context.store.as_ref(), &self.header.run);
        if let Some(at) = store.last_progress(run).await? {
            return Ok(at);
        }
        Ok(store.run(&self.header.sync, run).await?.map_or_else(|| self.context.clock.now(), |run| run.progress))
    }
}
