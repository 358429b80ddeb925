//! What an attempt came to, written down: checksums of what was accepted, failures and dead letters of what was not,
//! and the batch's numbers. This order keeps the promises: nothing counts before it is committed, and a process that
//! ends in between leaves only what is done once more.

use std::collections::HashMap;

use domain::batch::BatchRecord;
use domain::bucket::{DeliveryFailure, EntryWrite, FailureKind};
use domain::fault::Fault;
use domain::key::{KeyHash, display_key};
use domain::mode::{Mode, Op};
use domain::outcome::Outcome;
use domain::retry::MAX_ATTEMPTS;

use super::attempt::{Attempt, Attempted};
use super::in_doubt::notes_of;
use super::readback;
use crate::commit;

/// The code of a record whose unique value another one has, by every destination that is a database.
const UNIQUE_VIOLATION: &str = "unique_violation";
/// So many attempts are made before that is believed to stay so.
const TRIES_FOR_ROOM: u32 = 2;

impl Attempt<'_> {
    /// Commits the accepted records, notes the others, counts all of them. How many need no more sending.
    pub(super) async fn record_results(&mut self) -> Result<u64, Fault> {
        let now = self.context.clock.now();
        let last = self.state.attempts >= MAX_ATTEMPTS;
        self.wait_for_deletes();
        let history = self.earlier_failures(last).await?;
        let (mut writes, mut deleted, mut letters, mut delivered, mut sample) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut settled = 0;
        for (index, fate) in std::mem::take(&mut self.results).into_iter().enumerate() {
            let record = &self.records[index];
            // A deferred record has not used its last attempt.
            let Attempted::Answered(outcome) = fate else { continue };
            let (kind, code, detail) = match outcome {
                Outcome::Accepted { effect, record_id } => {
                    self.state.tally.accept(effect);
                    self.state.clear_unseen(index);
                    writes.push((
                        record.hash,
                        commit::accepted(self.context.sync.mode, self.header, record, record_id.as_deref()),
                    ));
                    if self.header.op == Op::Delete {
                        deleted.push((record.hash, commit::perhaps_deleted(self.header, record)));
                    }
                    if record.had_failure {
                        delivered.push(record.hash);
                    }
                    if u64::from(record.hash.sample_rank()) < self.header.sample_below {
                        sample.push(record);
                    }
                    self.state.settle(index);
                    settled += 1;
                    continue;
                }
                Outcome::Retry { .. } if !last => {
                    self.state.tally.retried += u64::from(self.state.attempts == 1);
                    continue;
                }
                Outcome::Retry { code, detail, .. } => {
                    self.state.tally.exhausted += 1;
                    self.state.set_unseen(index);
                    (
                        FailureKind::Exhausted,
                        code,
                        if detail.is_empty() { "the attempts ran out".into() } else { detail },
                    )
                }
                Outcome::Skipped { reason } => {
                    self.state.tally.skipped += 1;
                    (FailureKind::Skipped, reason, String::new())
                }
                Outcome::Rejected { code, detail } => {
                    self.state.tally.rejected += 1;
                    (FailureKind::Rejected, code, detail)
                }
            };
            self.state.tally.reason(&code, &detail, || display_key(record.key));
            let failure = DeliveryFailure::after(history.get(&record.hash), kind, record.checksum, &code, now);
            // A skip is no failure: nobody has to look at it.
            if kind != FailureKind::Skipped {
                letters.push(self.dead_letter(record, &failure, detail, now));
            }
            writes.push((record.hash, EntryWrite::Failure(failure)));
            self.state.settle(index);
            settled += 1;
        }
        commit::commit(self.context.store.as_ref(), self.header, writes, deleted).await?;
        // What is settled is noted before anything else may fail: a record that is appended must not be sent again for
        // a letter.
        if self.context.sync.mode == Mode::Append && (!letters.is_empty() || !sample.is_empty()) {
            self.context.store.settle(self.batch, &self.state, None).await?;
        }
        if !letters.is_empty() {
            self.context.store.put_dead_letters(letters).await?;
        }
        if !delivered.is_empty() {
            self.context.store.remove_dead_letters(&self.header.sync, &delivered).await?;
        }
        let destination = self.destination();
        readback::read_back(self.context, destination.as_ref(), self.header, &sample, &mut self.state.tally.read_back)
            .await;
        self.context.meter.settle(settled);
        self.state.done = (0..self.records.len()).all(|i| self.state.is_settled(i));
        if self.state.done {
            // They may have arrived all the same: the next run must not trust the state about them.
            let unseen: Vec<BatchRecord<'_>> =
                (0..self.records.len()).filter(|i| self.state.is_unseen(*i)).map(|i| self.records[i]).collect();
            self.state.doubt.extend(notes_of(self.context.sync.mode, self.header, &unseen));
        }
        if self.state.done && !self.state.tally.balances() {
            tracing::error!(sync = self.header.sync, batch = self.header.number, tally = ?self.state.tally, "a batch does not balance");
        }
        Ok(settled)
    }

    /// In a mirror, a record of the same run that goes may have a unique value that this one is to get: it is tried
    /// again, when the deletes are through.
    fn wait_for_deletes(&mut self) {
        if self.context.sync.mode != Mode::Mirror
            || self.header.op == Op::Delete
            || self.state.attempts > TRIES_FOR_ROOM
        {
            return;
        }
        for fate in &mut self.results {
            if let Attempted::Answered(Outcome::Rejected { code, detail }) = fate
                && code == UNIQUE_VIOLATION
            {
                *fate = Attempted::Answered(Outcome::retry_because(std::mem::take(code), std::mem::take(detail)));
            }
        }
    }

    /// The earlier failures of records that failed again, so that their pauses grow. Failures are few: this read is
    /// rare.
    async fn earlier_failures(&self, last: bool) -> Result<HashMap<KeyHash, DeliveryFailure>, Fault> {
        let bits = self.header.bucket_bits;
        let fails = |fate: &Attempted| match fate {
            Attempted::Answered(Outcome::Rejected { .. } | Outcome::Skipped { .. }) => true,
            Attempted::Answered(Outcome::Retry { .. }) => last,
            _ => false,
        };
        let failed = self.records.iter().zip(&self.results).filter(|(record, fate)| record.had_failure && fails(fate));
        let mut buckets: Vec<u32> = failed.map(|(record, _)| record.hash.bucket(bits)).collect();
        buckets.sort_unstable();
        buckets.dedup();
        if buckets.is_empty() {
            return Ok(HashMap::new());
        }
        let read = self.context.store.buckets(&self.header.sync, bits, &buckets).await?;
        Ok(read.into_iter().flat_map(|b| b.entries).filter_map(|(hash, entry)| Some((hash, entry.failure?))).collect())
    }
}
