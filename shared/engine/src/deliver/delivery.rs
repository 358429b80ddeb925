//! One delivery of a message: its records are sent, what became of them is written down, and the queue is told what to
//! do with the message.

use domain::fault::{Code, Fault};
use domain::retry::backoff;
use domain::run::{Run, Status};

use super::attempt::{Attempt, Attempted};
use super::job::JobStep;
use super::result::MessageResult;
use crate::close::{close_early, close_if_done};

impl Attempt<'_> {
    pub(super) async fn run(&mut self) -> Result<MessageResult, Fault> {
        let open: Vec<usize> = (0..self.records.len()).filter(|i| !self.state.is_settled(*i)).collect();
        let first = self.state.tally.sent == 0;
        let mut broken = None;
        let stopped = match self.via_job(&open).await? {
            JobStep::Pending(pause) => return Ok(MessageResult::RetryAfter(pause)),
            JobStep::Finished(stopped) => stopped,
            JobStep::NotAJob => match self.send(&open).await {
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
        let (deferred, failed) =
            (self.results.contains(&Attempted::Deferred), self.results.iter().any(Attempted::failed));
        let settled = self.record_results().await?;
        self.keep_job_in_doubt();
        // Waiting is not getting anywhere: a run whose destination takes nothing more must end.
        let now = self.context.clock.now();
        let progress =
            self.context.store.settle(self.batch, &self.state, (settled > 0 || attempted).then_some(now)).await?;
        if let Some(fault) = broken {
            return Err(fault);
        }
        if let Some(fault) = stopped {
            let closed = self.stop_run(fault).await?;
            return Ok(MessageResult::RunClosed(closed.map(Box::new)));
        }
        if self.state.done {
            let closed = close_if_done(self.context, &self.header.run, progress).await?;
            return Ok(closed.map_or(MessageResult::Done, |closed| {
                MessageResult::RunClosed(closed.now.then(|| Box::new(closed.run)))
            }));
        }
        let pause = backoff(self.state.attempts.max(1), self.context.destination.limits().first_pause, fastrand::f64());
        Ok(MessageResult::RetryAfter(if deferred && !failed {
            self.wait.unwrap_or(pause)
        } else {
            self.wait.map_or(pause, |w| w.max(pause))
        }))
    }

    /// The destination refuses everything: the run ends here, and its other messages go stale. Returns the run if it is
    /// closed now.
    async fn stop_run(&self, fault: Fault) -> Result<Option<Run>, Fault> {
        self.context.slots.halt();
        let store = self.context.store.as_ref();
        let Some(run) = store.run(&self.header.sync, &self.header.run).await?.filter(|r| !r.status.is_closed()) else {
            return Ok(None);
        };
        let status = if fault.code == Code::DestinationLimit { Status::Incomplete } else { Status::Failed };
        close_early(store, self.context.clock.as_ref(), run, status, Some(fault)).await.map(Some)
    }
}

/// True when a delivery counts as an attempt of its batch. It does not when the destination asked for a pause before it
/// looked at anything, or when some requests went well and the others were deferred. A refused request counts even if
/// it settled nothing: otherwise it would repeat for ever.
fn counts_as_attempt(results: &[Attempted], attempts: u32, refused: bool) -> bool {
    let any = |is: fn(&Attempted) -> bool| results.iter().any(is);
    let (deferred, answered) =
        (any(|fate| *fate == Attempted::Deferred), any(|fate| matches!(fate, Attempted::Answered(_))));
    let goes_on = deferred && attempts > 0;
    any(Attempted::failed) || answered && !goes_on || refused && !answered
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::outcome::{Effect, Outcome};

    #[test]
    fn waiting_is_no_attempt_and_failing_is() {
        let (accepted, rejected) =
            (Attempted::Answered(Outcome::accepted(Effect::Created)), Attempted::Answered(Outcome::rejected("c", "d")));
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
