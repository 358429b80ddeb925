//! The second half of a run: one message of the queue, from fence to commit. What a writer does.
//!
//! fence → claim → slot → send → exactly one outcome for every record → commit the accepted → note the rest.

mod job;

pub(crate) use self::job::MOST_TIME as MOST_TIME_OF_A_JOB;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::batch::{BatchHeader, BatchRecord, Message, WriteBatch, read_body};
use domain::bucket::{EntryWrite, Trouble, TroubleKind};
use domain::clock::Millis;
use domain::dead_letter::DeadLetter;
use domain::doubt::Doubt;
use domain::fault::{Code, Fault};
use domain::key::{KeyHash, display_key};
use domain::layout::Layout;
use domain::mode::{Mode, Op};
use domain::outcome::{Outcome, WriteError};
use domain::ports::{BatchRef, Claim, Destination};
use domain::retry::{MAX_ATTEMPTS, MOST_OBEYED, backoff};
use domain::run::{BatchState, Run, Status};

use crate::close::{close_early, close_if_done};
use crate::{Context, commit, readback};

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Handled {
    /// Remove it from the queue: its batch is done, or nobody may do it any more.
    Done,
    /// Remove it from the queue: its run is closed. The run is here when it was closed by this very message, so
    /// that it is reported once.
    Closed(Option<Box<Run>>),
    /// Make it visible again after this time.
    Later(Duration),
}

/// More requests than this for one message mean that bisecting gets nowhere: what is left waits for the next attempt.
const MOST_REQUESTS: u32 = 256;

/// Handles one message. A fault leaves the message as it is: the queue delivers it again.
pub async fn handle(context: &Context, message: &Message) -> Result<Handled, Fault> {
    let header = &message.header;
    let records = read_body(&message.body);
    if records.len() != header.records as usize {
        let what = format!("Message {} of run {} is damaged: {} records of {} can be read.", header.number, header.run, records.len(), header.records);
        return Err(Fault::new(Code::MessageUnreadable, what));
    }
    let batch = BatchRef { sync: &header.sync, run: &header.run, number: header.number };
    let now = context.clock.now();
    let doubt = doubts_of(context.sync.mode, header, &records);
    let state = match context.store.claim(batch, header.generation, &doubt, now, now.plus(context.settings.claim)).await? {
        Claim::Granted(state) => state,
        Claim::Stale(_) => return Ok(Handled::Done),
        // Whoever did the last batch may have ended before it closed the run.
        Claim::Done(progress) => {
            let closed = close_if_done(context, &header.run, progress).await?.filter(|closed| closed.now);
            return Ok(closed.map_or(Handled::Done, |closed| Handled::Closed(Some(Box::new(closed.run)))));
        }
        Claim::InProgress(until) => return Ok(Handled::Later(until.since(now).max(Duration::from_secs(1)))),
    };
    let mut attempt = Attempt {
        context,
        header,
        records: &records,
        batch,
        outcomes: vec![None; records.len()],
        state,
        wait: None,
        throttled: false,
        refused: false,
        said: ("", String::new()),
        renewed: None,
    };
    attempt.run().await
}

/// Which records a later run must not trust the state about, should this writer never be heard of again.
fn doubts_of(mode: Mode, header: &BatchHeader, records: &[BatchRecord<'_>]) -> Vec<u8> {
    let mut note = Vec::with_capacity(records.len() * 5);
    for record in records {
        if mode == Mode::Mirror && header.op != Op::Delete {
            Doubt::Record(record.hash, record.revision, header.layout.identifier_cells(record.fields)).push_to(&mut note);
        } else {
            Doubt::Prefix(record.hash.prefix()).push_to(&mut note);
        }
    }
    note
}

struct Attempt<'a> {
    context: &'a Context,
    header: &'a BatchHeader,
    records: &'a [BatchRecord<'a>],
    batch: BatchRef<'a>,
    /// For each record what this attempt came to; `None`: not sent in this attempt.
    outcomes: Vec<Option<Outcome>>,
    state: BatchState,
    /// The longest wait a destination asked for.
    wait: Option<Duration>,
    throttled: bool,
    /// A request of several records was refused whole.
    refused: bool,
    /// What the destination said to a whole request, under the code its records wait by.
    said: (&'static str, String),
    /// The destination with newer credentials, once those it was opened with were refused.
    renewed: Option<Arc<dyn Destination>>,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<Handled, Fault> {
        let open: Vec<usize> = (0..self.records.len()).filter(|i| !self.state.is_settled(*i)).collect();
        let first = self.state.tally.sent == 0;
        let mut broken = None;
        let stopped = match self.by_job(&open).await? {
            job::Step::Waiting(pause) => return Ok(Handled::Later(pause)),
            job::Step::Over(stopped) => stopped,
            job::Step::Nobody => match self.send(&open).await {
                Ok(stopped) => stopped,
                // What is known by now is noted first: nothing of it is sent again because of a fault of ours.
                Err(fault) if self.has_outcomes() => {
                    broken = Some(fault);
                    None
                }
                Err(fault) => return Err(fault),
            },
        };
        if first && self.has_outcomes() {
            self.state.tally.sent = self.records.len() as u64;
        }
        if self.was_attempt() {
            self.state.attempts += 1;
        }
        let failed = self.outcomes.iter().flatten().any(has_failed);
        self.record_outcomes().await?;
        self.doubt_job();
        let progress = self.context.store.settle(self.batch, &self.state, self.context.clock.now()).await?;
        if let Some(fault) = broken {
            return Err(fault);
        }
        if let Some(fault) = stopped {
            let closed = self.stop_run(fault).await?;
            return Ok(Handled::Closed(closed.map(Box::new)));
        }
        if self.state.done {
            let closed = close_if_done(self.context, &self.header.run, progress).await?;
            return Ok(closed.map_or(Handled::Done, |closed| Handled::Closed(closed.now.then(|| Box::new(closed.run)))));
        }
        let limits = self.context.destination.limits();
        let pause = backoff(self.state.attempts.max(1), limits.first_pause, fastrand::f64());
        Ok(Handled::Later(if self.throttled && !failed { self.wait.unwrap_or(pause) } else { self.wait.map_or(pause, |w| w.max(pause)) }))
    }

    fn has_outcomes(&self) -> bool {
        self.outcomes.iter().any(Option::is_some)
    }

    /// A delivery is an attempt unless the destination asked for a pause before it looked at anything, or some requests
    /// went well and the others only wait for their turn. One that was refused and came to nothing is one, too: it would
    /// come to nothing for ever.
    fn was_attempt(&self) -> bool {
        let outcomes = || self.outcomes.iter().flatten();
        let goes_on = outcomes().any(waits) && self.state.attempts > 0;
        outcomes().any(has_failed) || outcomes().any(|outcome| !waits(outcome)) && !goes_on || self.refused && outcomes().all(waits)
    }

    /// Sends the open records, halving a batch that is refused whole. A fault means that the run must stop.
    async fn send(&mut self, open: &[usize]) -> Result<Option<Fault>, Fault> {
        let identifiers = self.header.layout.clone();
        let layout: &Layout = &identifiers;
        let mut parts = self.parts(open);
        // Every attempt begins with another request: one that fails always does not keep the others from being sent.
        let first = self.state.attempts as usize % parts.len().max(1);
        parts.rotate_left(first);
        let mut requests = 0;
        let (began, patience) = (self.context.clock.now(), self.context.settings.patience);
        while let Some(part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            // This process may be ended soon, and there is more for it to do: once something has come of it, the rest is for
            // another delivery.
            let patience = match self.has_outcomes() {
                true => patience.saturating_sub(self.context.clock.now().since(began)),
                false => patience,
            };
            if patience.is_zero() && self.has_outcomes() {
                self.wait = self.wait.max(Some(Duration::ZERO));
                self.throttled = true;
                self.wait_for(&part, parts, THROTTLED);
                return Ok(None);
            }
            if requests == MOST_REQUESTS {
                part.iter().for_each(|i| self.outcomes[*i] = Some(Outcome::retry("too_many_refusals")));
                continue;
            }
            let records: Vec<BatchRecord<'_>> = part.iter().map(|i| self.records[*i]).collect();
            let batch = WriteBatch { sync: &self.header.sync, op: self.header.op, layout, records: &records };
            let destination = Arc::clone(self.renewed.as_ref().unwrap_or(&self.context.destination));
            match self.take_slots(destination.as_ref(), &batch, patience).await {
                Ok(None) => {}
                Ok(Some(wait)) => {
                    // Waiting costs time that the queue has for nothing.
                    self.wait = self.wait.max(Some(wait));
                    self.throttled = true;
                    self.wait_for(&part, parts, THROTTLED);
                    return Ok(None);
                }
                Err(fault) if fault.code == Code::DestinationLimit => {
                    self.wait_for(&part, parts, THROTTLED);
                    return Ok(Some(fault));
                }
                Err(fault) => return Err(fault),
            }
            requests += 1;
            match destination.write(&batch).await {
                Ok(outcomes) if outcomes.len() == records.len() => {
                    for (index, outcome) in part.iter().zip(outcomes) {
                        if let Outcome::Retry { after, .. } = &outcome {
                            self.wait = self.wait.max(*after);
                        }
                        self.outcomes[*index] = Some(outcome);
                    }
                }
                Ok(outcomes) => {
                    // A connector must give one outcome each. One that does not has not told us anything.
                    tracing::error!(expected = records.len(), got = outcomes.len(), "a destination gave a wrong number of outcomes");
                    part.iter().for_each(|i| self.outcomes[*i] = Some(Outcome::unmentioned()));
                }
                Err(WriteError::Refused { code, detail }) if part.len() == 1 => self.outcomes[part[0]] = Some(Outcome::Rejected { code, detail }),
                Err(WriteError::Refused { .. }) => {
                    self.refused = true;
                    let (left, right) = part.split_at(part.len() / 2);
                    parts.push_front(right.to_vec());
                    parts.push_front(left.to_vec());
                }
                Err(WriteError::Throttled { after }) => {
                    self.state.tally.throttled += 1;
                    self.context.meter.throttle();
                    self.throttled = true;
                    let pause =
                        after.unwrap_or_else(|| backoff(self.state.tally.throttled as u32, self.context.destination.limits().first_pause, fastrand::f64()));
                    self.context.slots.pause(self.context.clock.now().plus(pause)).await?;
                    self.wait = self.wait.max(Some(pause));
                    self.wait_for(&part, parts, THROTTLED);
                    if pause > MOST_OBEYED {
                        let until = self.context.clock.now().plus(pause);
                        let what =
                            format!("The quota of the destination of `{}` is used up until {until}, which is longer than a run waits.", self.header.sync);
                        return Ok(Some(Fault::new(Code::DestinationLimit, what)));
                    }
                    return Ok(None);
                }
                Err(WriteError::Unavailable { after, detail }) => {
                    tracing::warn!(sync = self.header.sync, batch = self.header.number, detail, "the destination is unavailable");
                    self.wait = self.wait.max(after.map(|a| a.min(MOST_OBEYED)));
                    self.wait_for(&part, parts, UNAVAILABLE);
                    self.said = (UNAVAILABLE, detail);
                    return Ok(None);
                }
                Err(WriteError::Unauthorized { .. }) if self.renew().await? => parts.push_front(part),
                Err(WriteError::Unauthorized { detail }) => {
                    return Ok(Some(self.stopping(Code::DestinationUnauthorized, "refuses the credentials", &detail)));
                }
                Err(WriteError::Misconfigured { detail }) => {
                    return Ok(Some(self.stopping(Code::DestinationMisconfigured, "cannot be written to as configured", &detail)));
                }
            }
        }
        Ok(None)
    }

    /// Opens the destination with newer credentials, once. `false`: there are none.
    async fn renew(&mut self) -> Result<bool, Fault> {
        let Some(renew) = self.context.renew.as_ref().filter(|_| self.renewed.is_none()) else { return Ok(false) };
        self.renewed = renew.renew().await?;
        Ok(self.renewed.is_some())
    }

    /// Waits for as many slots as the batch needs requests, at the rate that the destination has now; the time to wait
    /// where that is too long.
    async fn take_slots(&mut self, destination: &dyn Destination, batch: &WriteBatch<'_>, patience: Duration) -> Result<Option<Duration>, Fault> {
        let settings = &self.context.settings;
        if settings.rate.is_none() {
            self.context.slots.adjust(destination.limits().rate);
        }
        let requests = destination.requests(batch).max(1);
        let wait = self.context.slots.take(requests, &self.context.stop, patience).await?;
        if wait.is_none() {
            self.state.tally.requests += u64::from(requests);
            self.context.meter.add_requests(requests);
        }
        Ok(wait)
    }

    fn stopping(&self, code: Code, what: &str, detail: &str) -> Fault {
        Fault::new(code, format!("The destination of `{}` {what}: {detail}", self.header.sync))
    }

    /// Everything not yet sent in this attempt waits for the next.
    fn wait_for(&mut self, part: &[usize], rest: VecDeque<Vec<usize>>, code: &str) {
        for index in part.iter().chain(rest.iter().flatten()) {
            self.outcomes[*index] = Some(Outcome::retry(code));
        }
    }

    /// Commits the accepted records, notes the others, counts all of them.
    async fn record_outcomes(&mut self) -> Result<(), Fault> {
        let now = self.context.clock.now();
        let last = self.state.attempts >= MAX_ATTEMPTS;
        let history = self.troubles(last).await?;
        let (mut writes, mut letters, mut delivered, mut sample) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut settled = 0;
        for (index, outcome) in std::mem::take(&mut self.outcomes).into_iter().enumerate() {
            let record = &self.records[index];
            let (kind, code, detail) = match outcome {
                None => continue,
                Some(Outcome::Accepted { effect, record_id }) => {
                    self.state.tally.accept(effect);
                    writes.push((record.hash, commit::accepted(self.context.sync.mode, self.header, record, record_id.as_deref())));
                    if record.had_trouble {
                        delivered.push(record.hash);
                    }
                    if u64::from(record.hash.turn()) < self.header.read_back_below {
                        sample.push(record);
                    }
                    self.state.settle(index);
                    settled += 1;
                    continue;
                }
                // What only waited for its turn has not had its last attempt.
                Some(Outcome::Retry { code, .. }) if !last || code == THROTTLED => {
                    self.state.tally.retried += u64::from(self.state.attempts == 1 && code != THROTTLED);
                    continue;
                }
                Some(Outcome::Retry { code, .. }) => {
                    self.state.tally.exhausted += 1;
                    // It may have arrived all the same: the next run must not trust the state about it.
                    self.state.doubt.extend(doubts_of(self.context.sync.mode, self.header, std::slice::from_ref(record)));
                    let detail = if code == self.said.0 { self.said.1.clone() } else { "the attempts ran out".into() };
                    (TroubleKind::Exhausted, code, detail)
                }
                Some(Outcome::Skipped { reason }) => {
                    self.state.tally.skipped += 1;
                    (TroubleKind::Skipped, reason, String::new())
                }
                Some(Outcome::Rejected { code, detail }) => {
                    self.state.tally.rejected += 1;
                    (TroubleKind::Rejected, code, detail)
                }
            };
            self.state.tally.reason(&code, &detail, || display_key(record.key));
            let trouble = Trouble::after(history.get(&record.hash), kind, record.checksum, &code, now);
            // A skip is no failure: nobody has to look at it.
            if kind != TroubleKind::Skipped {
                letters.push(self.letter(record, &trouble, detail, now));
            }
            writes.push((record.hash, EntryWrite::Trouble(trouble)));
            self.state.settle(index);
            settled += 1;
        }
        commit::commit(self.context.store.as_ref(), self.header, writes).await?;
        if !letters.is_empty() {
            self.context.store.put_dead_letters(letters).await?;
        }
        if !delivered.is_empty() {
            self.context.store.remove_dead_letters(&self.header.sync, &delivered).await?;
        }
        let destination = self.renewed.as_ref().unwrap_or(&self.context.destination);
        readback::read_back(self.context, destination.as_ref(), self.header, &sample, &mut self.state.tally.read_back).await;
        self.context.meter.settle(settled);
        self.state.done = (0..self.records.len()).all(|i| self.state.is_settled(i));
        if self.state.done && !self.state.tally.balances() {
            tracing::error!(sync = self.header.sync, batch = self.header.number, tally = ?self.state.tally, "a batch does not balance");
        }
        Ok(())
    }

    /// The troubles of records that failed again, so that their pauses grow. Failures are few: this read is rare.
    async fn troubles(&self, last: bool) -> Result<HashMap<KeyHash, Trouble>, Fault> {
        let bits = self.header.bucket_bits;
        let fails =
            |outcome: &Outcome| matches!(outcome, Outcome::Rejected { .. } | Outcome::Skipped { .. }) || last && matches!(outcome, Outcome::Retry { .. });
        let failed = self.records.iter().zip(&self.outcomes).filter(|(record, outcome)| record.had_trouble && outcome.as_ref().is_some_and(fails));
        let mut buckets: Vec<u32> = failed.map(|(record, _)| record.hash.bucket(bits)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        if buckets.is_empty() {
            return Ok(HashMap::new());
        }
        let read = self.context.store.buckets(&self.header.sync, bits, &buckets).await?;
        Ok(read.into_iter().flat_map(|b| b.entries).filter_map(|(hash, entry)| Some((hash, entry.trouble?))).collect())
    }

    fn letter(&self, record: &BatchRecord<'_>, trouble: &Trouble, detail: String, now: Millis) -> DeadLetter {
        let mut json = Vec::new();
        self.header.layout.write_json(record.fields, &mut json);
        DeadLetter {
            sync: self.header.sync.clone(),
            hash: record.hash,
            key: display_key(record.key),
            op: self.header.op,
            kind: trouble.kind,
            code: trouble.code.clone(),
            detail,
            at: now,
            run: self.header.run.clone(),
            attempts: self.state.attempts,
            record: serde_json::from_slice(&json).unwrap_or_default(),
        }
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

fn waits(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry { code, .. } if code == THROTTLED)
}

fn has_failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Retry { .. }) && !waits(outcome)
}

/// The code of a record that waits because the destination asked to slow down.
const THROTTLED: &str = "throttled";
/// The code of a record whose request came to nothing.
const UNAVAILABLE: &str = "unavailable";
