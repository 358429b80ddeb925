//! Batches that a destination takes as jobs: submitted in one delivery, asked for in later ones (see [`domain::job`]).
//! Not here: what outcomes mean; they go the way of a write's.
//!
//! The ticket is stored before the message goes back to the queue. A writer that dies before that leaves the batch
//! as it was, to be submitted again: its records stay in doubt with the claim, as those of any other request do.

use std::time::Duration;

use domain::batch::{BatchRecord, WriteBatch};
use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::in_doubt::InDoubt;
use domain::job::{AbortResult, Counted, Job, Jobs, Poll, Ticket};
use domain::outcome::{Outcome, WriteError};
use domain::retry::{MAX_RETRY_AFTER, backoff};

use super::attempt::Attempt;
use super::on_error::Reaction;
use super::send::UNAVAILABLE;

/// A job that is not done by then is stopped, and tells what it did until then.
pub(crate) const MAX_JOB_AGE: Duration = Duration::from_secs(24 * 3600);
/// A job that could not be asked for so long costs an attempt every time. When they run out, its ticket stays with its
/// records in doubt.
const MAX_JOB_SILENCE: Duration = Duration::from_secs(3600);
/// The code of records whose job did not come to an end.
const UNFINISHED: &str = "job_unfinished";

/// What a delivery came to as far as jobs go.
pub(super) enum JobStep {
    /// No job has the records: they are to be written.
    NotAJob,
    /// A job has them. All is stored; ask again after this time.
    Pending(Duration),
    /// There are outcomes, or a fault that stops the run.
    Finished(Option<Fault>),
}

impl Attempt<'_> {
    /// Submits the open records or asks for their job.
    pub(super) async fn via_job(&mut self, open: &[usize]) -> Result<JobStep, Fault> {
        let destination = self.destination();
        let Some(jobs) = destination.jobs() else { return Ok(JobStep::NotAJob) };
        let records: Vec<BatchRecord<'_>> = open.iter().map(|i| self.records[*i]).collect();
        let layout = self.header.layout.clone();
        let batch = WriteBatch { sync: &self.header.sync, op: self.header.op, layout: &layout, records: &records };
        let job = self.state.job.take();
        if records.is_empty() || job.is_none() && !jobs.takes(&batch) {
            return Ok(JobStep::NotAJob);
        }
        match self.context.slots.take(jobs.requests(), &self.context.stop, self.context.settings.patience).await {
            Ok(None) => {}
            Ok(Some(wait)) => {
                self.state.job = job;
                self.wait = Some(wait);
                self.defer(open);
                return Ok(JobStep::Finished(None));
            }
            Err(fault) if fault.code == Code::DestinationLimit => {
                self.state.job = job;
                return Ok(JobStep::Finished(Some(fault)));
            }
            Err(fault) => return Err(fault),
        }
        match job {
            Some(job) => self.poll_job(jobs, job, open, &batch).await,
            None => self.submit_job(jobs, open, &batch).await,
        }
    }

    async fn submit_job(&mut self, jobs: &dyn Jobs, open: &[usize], batch: &WriteBatch<'_>) -> Result<JobStep, Fault> {
        let told = jobs.submit(batch).await;
        match self.sent(told) {
            Ok(ticket) => {
                let now = self.context.clock.now();
                self.state.tally.sent = self.records.len() as u64;
                let step = self
                    .wait(
                        Box::new(Job { ticket: ticket.clone(), begun: now, heard: now, failures: 0 }),
                        Duration::ZERO,
                        Some(now),
                    )
                    .await?;
                self.stop_if_stale(jobs, &ticket).await?;
                Ok(step)
            }
            Err(error) => match self.decide(error, open).await? {
                // Writing it in parts finds the record to blame.
                Reaction::Reject { .. } | Reaction::Halve | Reaction::Probe | Reaction::Suspect { .. } => {
                    Ok(JobStep::NotAJob)
                }
                Reaction::Wait { after } => {
                    self.defer(open);
                    Ok(JobStep::Finished(self.pause_connection(after).await?))
                }
                Reaction::Fail { after, detail } => {
                    self.unavailable(after, &detail);
                    self.may_have_arrived(open);
                    self.retry(open, UNAVAILABLE, &detail);
                    Ok(JobStep::Finished(None))
                }
                // With the newer credentials that are there now, and for this once.
                Reaction::Renew => Box::pin(self.via_job(open)).await,
                Reaction::Stop { code, detail } => Ok(JobStep::Finished(Some(self.stopping(code, &detail)))),
            },
        }
    }

    async fn poll_job(
        &mut self,
        jobs: &dyn Jobs,
        mut job: Box<Job>,
        open: &[usize],
        batch: &WriteBatch<'_>,
    ) -> Result<JobStep, Fault> {
        let now = self.context.clock.now();
        let told = jobs.poll(&job.ticket, batch).await;
        match self.sent(told) {
            Ok(Poll::Running { after }) if now.since(job.begun) > MAX_JOB_AGE => {
                tracing::warn!(
                    sync = self.header.sync,
                    batch = self.header.number,
                    job = job.ticket.0,
                    "a job does not come to an end"
                );
                let told = jobs.abort(&job.ticket).await;
                match self.sent(told) {
                    Ok(AbortResult::Over) => self.wait(job, Duration::ZERO, None).await,
                    _ => {
                        self.wait = self.wait.max(Some(after.min(MAX_RETRY_AFTER)));
                        self.state.job = Some(job);
                        self.may_have_arrived(open);
                        self.retry(open, UNFINISHED, "its job does not come to an end and cannot be stopped");
                        Ok(JobStep::Finished(None))
                    }
                }
            }
            Ok(Poll::Running { after }) => {
                (job.heard, job.failures) = (now, 0);
                self.wait(job, after.min(MAX_RETRY_AFTER), Some(now)).await
            }
            Ok(Poll::Finished(outcomes)) => {
                if outcomes.len() != open.len() {
                    tracing::error!(
                        expected = open.len(),
                        got = outcomes.len(),
                        "a destination gave a wrong number of outcomes"
                    );
                }
                let whole = outcomes.len() == open.len();
                let mut outcomes = outcomes.into_iter().filter(|_| whole);
                for index in open {
                    let outcome = outcomes.next().unwrap_or_else(Outcome::unmentioned);
                    self.take(*index, outcome);
                }
                Ok(JobStep::Finished(None))
            }
            // A newer run may have stopped it: then that run sends the records, as they are now.
            Err(WriteError::Refused { .. }) if self.is_stale().await? => self.wait(job, Duration::ZERO, None).await,
            Err(WriteError::Refused { code, detail }) => {
                tracing::warn!(
                    sync = self.header.sync,
                    batch = self.header.number,
                    code,
                    detail,
                    "a job was refused whole; its records are written in parts"
                );
                Ok(JobStep::NotAJob)
            }
            Err(WriteError::Throttled { after }) => match self.pause_connection(after).await? {
                Some(fault) => {
                    self.state.job = Some(job);
                    Ok(JobStep::Finished(Some(fault)))
                }
                None => {
                    let pause = self.wait.unwrap_or_default();
                    self.wait(job, pause, None).await
                }
            },
            Err(WriteError::Unavailable { after, detail }) if now.since(job.heard) > MAX_JOB_SILENCE => {
                self.state.job = Some(job);
                self.unavailable(after, &detail);
                self.may_have_arrived(open);
                self.retry(open, UNAVAILABLE, &detail);
                Ok(JobStep::Finished(None))
            }
            Err(WriteError::Unavailable { after, detail }) => {
                tracing::warn!(
                    sync = self.header.sync,
                    batch = self.header.number,
                    detail,
                    "a job cannot be asked for"
                );
                job.failures += 1;
                let pause = backoff(job.failures, self.context.destination.limits().first_pause, fastrand::f64());
                self.wait(job, after.map_or(pause, |a| a.min(MAX_RETRY_AFTER).max(pause)), None).await
            }
            Err(error) => {
                // Whatever it is, the job is not to blame: it goes on, and is asked again or left to the next run.
                let (code, detail) = match error {
                    WriteError::Unauthorized { .. } if self.is_renewable() && self.renew().await? => {
                        self.state.job = Some(job);
                        return Box::pin(self.via_job(open)).await;
                    }
                    WriteError::Unauthorized { detail } => {
                        (Code::DestinationUnauthorized, format!("refuses the credentials: {detail}"))
                    }
                    other => (Code::DestinationMisconfigured, format!("cannot be written to as configured: {other}")),
                };
                self.state.job = Some(job);
                Ok(JobStep::Finished(Some(self.stopping(code, &detail))))
            }
        }
    }

    /// Counts what a call took.
    fn sent<T>(&mut self, told: Counted<T>) -> Result<T, WriteError> {
        self.state.tally.requests += u64::from(told.requests);
        self.context.meter.add_requests(told.requests);
        told.result
    }

    pub(super) async fn is_stale(&self) -> Result<bool, Fault> {
        Ok(!self.context.store.head(&self.header.sync).await?.is_of(&self.header.run, self.header.generation))
    }

    /// A newer run looks for the jobs of older ones before it sends: one that was submitted while it looked is stopped
    /// here.
    async fn stop_if_stale(&mut self, jobs: &dyn Jobs, ticket: &Ticket) -> Result<(), Fault> {
        if !self.is_stale().await? {
            return Ok(());
        }
        let told = jobs.abort(ticket).await;
        if let Err(error) = self.sent(told) {
            tracing::warn!(
                sync = self.header.sync,
                batch = self.header.number,
                job = ticket.0,
                "a job of a run that was taken over cannot be stopped: {error}"
            );
        }
        Ok(())
    }

    /// A batch that is done without its job having come to an end leaves the job to the next run.
    pub(super) fn keep_job_in_doubt(&mut self) {
        if let Some(job) = self.state.job.take_if(|_| self.state.done) {
            self.state.doubt.extend(InDoubt::of_job(&job));
        }
    }

    /// Stores the ticket and gives the batch up until `after`. Only what the destination said, and when, counts as
    /// progress of the run: one that never answers again stalls it.
    async fn wait(&mut self, job: Box<Job>, after: Duration, heard: Option<Millis>) -> Result<JobStep, Fault> {
        self.state.job = Some(job);
        self.context.store.settle(self.batch, &self.state, heard).await?;
        Ok(JobStep::Pending(after))
    }
}
