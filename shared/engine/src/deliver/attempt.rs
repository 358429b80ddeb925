//! One delivery of a message: its records are sent, what became of them is written down, and the queue is told what to do
//! with the message. Not here: what is sent when, and what answers mean.

use std::sync::Arc;
use std::time::Duration;

use domain::batch::{BatchHeader, BatchRecord};
use domain::fault::{Code, Fault};
use domain::outcome::Outcome;
use domain::ports::{BatchRef, Destination};
use domain::retry::{MAX_ATTEMPTS, MAX_RETRY_AFTER, backoff};
use domain::run::{BatchState, Run, Status};

use super::job;
use super::result::MessageResult;
use crate::Context;
use crate::close::{close_early, close_if_done};

/// A run whose destination asks to slow down, and takes nothing for so long, ends; or later, where runs may be silent for longer.
const MAX_THROTTLED_TIME: Duration = Duration::from_secs(30 * 60);

/// A shorter pause is told of by the numbers of the run alone.
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
    fn failed(&self) -> bool {
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
    pub(super) fn new(context: &'a Context, header: &'a BatchHeader, records: &'a [BatchRecord<'a>], batch: BatchRef<'a>, state: BatchState) -> Self {
        let results = vec![Attempted::NotTried; records.len()];
        Self { context, header, records, batch, results, state, wait: None, refused: false, renewed: None, asked_for_newer: false }
    }

    pub(super) async fn run(&mut self) -> Result<MessageResult, Fault> {
        let open: Vec<usize> = (0..self.records.len()).filter(|i| !self.state.is_settled(*i)).collect();
        let first = self.state.tally.sent == 0;
        let mut broken = None;
        let stopped = match self.via_job(&open).await? {
            job::JobStep::Pending(pause) => return Ok(MessageResult::RetryAfter(pause)),
            job::JobStep::Finished(stopped) => stopped,
            job::JobStep::NotAJob => match self.send(&open).await {
                Ok(stopped) => stopped,
                // What is known by now is noted first: nothing of it is sent again because of a fault of ours.
                Err(fault) if self.has_results() => {
                    broken = Some(fault);
                    None
                }
                Err(fault) => return Err(fault),
            },
        };
        if first && self.has_results() {
            self.state.tally.sent = self.records.len() as u64;
        }
        let attempted = counts_as_attempt(&self.results, self.state.attempts, self.refused);
        self.state.attempts += u32::from(attempted);
        let (deferred, failed) = (self.results.contains(&Attempted::Deferred), self.results.iter().any(Attempted::failed));
        let settled = self.record_results().await?;
        self.keep_job_in_doubt();
        // Waiting is not getting anywhere: a run whose destination takes nothing more must end.
        let now = self.context.clock.now();
        let progress = self.context.store.settle(self.batch, &self.state, (settled > 0 || attempted).then_some(now)).await?;
        if let Some(fault) = broken {
            return Err(fault);
        }
        if let Some(fault) = stopped {
            let closed = self.stop_run(fault).await?;
            return Ok(MessageResult::RunClosed(closed.map(Box::new)));
        }
        if self.state.done {
            let closed = close_if_done(self.context, &self.header.run, progress).await?;
            return Ok(closed.map_or(MessageResult::Done, |closed| MessageResult::RunClosed(closed.now.then(|| Box::new(closed.run)))));
        }
        let pause = backoff(self.state.attempts.max(1), self.context.destination.limits().first_pause, fastrand::f64());
        Ok(MessageResult::RetryAfter(if deferred && !failed { self.wait.unwrap_or(pause) } else { self.wait.map_or(pause, |w| w.max(pause)) }))
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
        records.into_iter().for_each(|index| self.results[*index] = Attempted::Answered(Outcome::retry_because(code, detail)));
    }

    /// Counts a request that was throttled, and makes everyone of the connection wait. A fault when that is longer than a run
    /// waits: for this one time, or for all the time that nothing has come of the run.
    pub(super) async fn pause_connection(&mut self, after: Option<Duration>) -> Result<Option<Fault>, Fault> {
        self.state.tally.throttled += 1;
        self.context.meter.throttle();
        let (sync, connection) = (&self.header.sync, &self.context.sync.destination.connection);
        let times = u32::try_from(self.state.tally.throttled).unwrap_or(u32::MAX);
        let pause = self.context.slots.pause_connection(times, self.context.destination.limits().first_pause, after).await?;
        self.wait = self.wait.max(Some(pause));
        let now = self.context.clock.now();
        if pause >= WORTH_TELLING {
            tracing::warn!(target: "sluice::waiting", sync, connection, "the destination asks to slow down: waiting until {}", now.plus(pause));
        }
        let fault = |what: String| {
            let next = format!("Nothing is lost: run again when the quota is back. `sluice limits lift {connection}` ends the pause before that.");
            Some(Fault::new(Code::DestinationLimit, what).with_next(next))
        };
        if let Some(asked) = after.filter(|asked| *asked > MAX_RETRY_AFTER) {
            let until = now.plus(asked);
            let what = format!("The quota of the destination of `{sync}` is used up until {until}, which is longer than a run waits.");
            return Ok(fault(what));
        }
        let silent = now.since(self.last_progress().await?);
        if silent >= self.context.settings.stall.max(MAX_THROTTLED_TIME) {
            let what = format!("The destination of `{sync}` has asked to slow down for {} minutes and taken nothing.", silent.as_secs() / 60);
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

    /// The destination refuses everything: the run ends here, and its other messages go stale. Returns the run if it is closed now.
    async fn stop_run(&self, fault: Fault) -> Result<Option<Run>, Fault> {
        self.context.slots.halt();
        let store = self.context.store.as_ref();
        let Some(run) = store.run(&self.header.sync, &self.header.run).await?.filter(|r| !r.status.is_closed()) else { return Ok(None) };
        let status = if fault.code == Code::DestinationLimit { Status::Incomplete } else { Status::Failed };
        close_early(store, self.context.clock.as_ref(), run, status, Some(fault)).await.map(Some)
    }
}

/// True when a delivery counts as an attempt of its batch. It does unless the destination asked for a pause before it looked
/// at anything, or some requests went well and the others only wait for their turn. One that was refused and came to
/// nothing is one, too: it would come to nothing for ever.
fn counts_as_attempt(results: &[Attempted], attempts: u32, refused: bool) -> bool {
    let any = |is: fn(&Attempted) -> bool| results.iter().any(is);
    let (deferred, answered) = (any(|fate| *fate == Attempted::Deferred), any(|fate| matches!(fate, Attempted::Answered(_))));
    let goes_on = deferred && attempts > 0;
    any(Attempted::failed) || answered && !goes_on || refused && !answered
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::outcome::Effect;

    #[test]
    fn waiting_is_no_attempt_and_failing_is() {
        let (accepted, rejected) = (Attempted::Answered(Outcome::accepted(Effect::Created)), Attempted::Answered(Outcome::rejected("c", "d")));
        // The very word that once stood for waiting: a destination may well say it of a record.
        let failed = Attempted::Answered(Outcome::retry("throttled"));
        let deferred = Attempted::Deferred;
        for (results, attempts, refused, expected) in [
            (vec![&Attempted::NotTried], 0, false, false),
            (vec![&deferred], 0, false, false),
            (vec![&deferred], 3, false, false),
            (vec![&deferred], 0, true, true),
            (vec![&failed], 0, false, true),
            (vec![&failed, &deferred], 2, false, true),
            (vec![&accepted], 0, false, true),
            (vec![&accepted, &deferred], 0, false, true),
            (vec![&accepted, &deferred], 1, false, false),
            (vec![&rejected, &deferred], 1, true, false),
            (vec![&rejected, &accepted], 4, false, true),
        ] {
            let all: Vec<Attempted> = results.iter().map(|fate| (*fate).clone()).collect();
            assert_eq!(counts_as_attempt(&all, attempts, refused), expected, "{all:?} {attempts} {refused}");
        }
    }
}
