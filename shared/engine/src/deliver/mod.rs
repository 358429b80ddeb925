//! The second half of a run: one message of the queue, from fence to commit. What a writer does.
//!
//! ```text
//! message ─► fence and claim ─► send (halves, probes, waits) ─► record: one result each ─► settle ─► close, when it was
//!            here               send, job; answers in on_error  record_results                 delivery   the last
//! ```
//!
//! - [`delivery`]: one delivery of a message, step by step, and what the queue does with it afterwards; [`attempt`] is
//!   what it works on.
//! - [`send`]: its requests, one after the other.
//! - [`job`]: its job, where the destination takes batches so.
//! - [`on_error`]: what a request that came to nothing means, as a table.
//! - [`record_results`]: what became of each record, written down.

mod attempt;
mod dead_letter;
mod delivery;
mod in_doubt;
mod job;
pub mod old_jobs;
mod on_error;
pub mod rate_limiter;
mod readback;
mod record_results;
pub mod refusals;
mod result;
mod send;

pub use self::result::MessageResult;

use std::time::Duration;

use domain::batch::{Message, read_body};
use domain::fault::{Code, Fault};
use domain::ports::{BatchRef, Claim};

use self::attempt::Attempt;
use self::in_doubt::notes_of;
use crate::Context;
use crate::close::close_if_done;

/// Handles one message. A fault leaves the message as it is: the queue delivers it again.
pub async fn handle(context: &Context, message: &Message) -> Result<MessageResult, Fault> {
    let header = &message.header;
    let records = read_body(&message.body);
    if records.len() != header.records as usize {
        let what = format!(
            "Message {} of run {} is damaged: {} records of {} can be read.",
            header.number,
            header.run,
            records.len(),
            header.records
        );
        return Err(Fault::new(Code::MessageUnreadable, what));
    }
    let batch = BatchRef { sync: &header.sync, run: &header.run, number: header.number };
    let now = context.clock.now();
    let doubt = notes_of(context.sync.mode, header, &records);
    let state =
        match context.store.claim(batch, header.generation, &doubt, now, now.plus(context.settings.claim)).await? {
            Claim::Granted(state) => state,
            Claim::Stale(_) => return Ok(MessageResult::Stale),
            // Whoever did the last batch may have ended before it closed the run.
            Claim::Done(progress) => {
                let closed = close_if_done(context, &header.run, progress).await?.filter(|closed| closed.now);
                return Ok(
                    closed.map_or(MessageResult::Done, |closed| MessageResult::RunClosed(Some(Box::new(closed.run))))
                );
            }
            Claim::InProgress(until) => {
                return Ok(MessageResult::RetryAfter(until.since(now).max(Duration::from_secs(1))));
            }
        };
    Attempt::new(context, header, &records, batch, state).run().await
}
