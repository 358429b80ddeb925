//! One message: read, handed to the engine, and what the queue does with it then.

use std::time::Duration;

use aws::report::run_closed;
use domain::batch::Message;
use domain::fault::{Code, Fault};
use domain::ports::BatchQueue;
use domain::retry::backoff;
use engine::deliver::{Handled, handle};
use engine::notify::tell;

use crate::handler::House;
use crate::open::{alerting, context};
use crate::receive::Received;

/// What the queue does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is removed.
    Remove,
    /// It stays, and shows again after a time.
    Keep,
}

/// A message that was received so often is sent anew: its receives are counted from one again, and the queue does not
/// take a message that only had to wait for one that nobody can handle.
const SENT_ANEW: u32 = 50;

/// The pause after a fault of ours (the state does not answer), before the second try; it doubles from there.
const AFTER_FAULT: Duration = Duration::from_secs(2);

/// The longest wait for a request slot within an invocation.
const PATIENCE: Duration = Duration::from_secs(20);

/// Delivers a message. Waits at most `patience` for a request slot.
pub async fn deliver(house: &House, received: &Received, patience: Duration) -> Fate {
    let message = match house.queue.read(&received.body).await {
        Ok(message) => message,
        Err(fault) if fault.code == Code::MessageUnreadable => return set_aside(house, received, &fault).await,
        // The bucket does not answer: that passes.
        Err(fault) => {
            tracing::error!(message = received.id, code = fault.code.as_str(), next = fault.next_step(), "{}", fault.what);
            return hide(house, received, after_fault(received)).await;
        }
    };
    let header = &message.header;
    match write(house, &message, patience.min(PATIENCE)).await {
        Ok(Handled::Done | Handled::Stale) => Fate::Remove,
        Ok(Handled::Closed(_)) => Fate::Remove,
        Ok(Handled::Later(pause)) => later(house, received, message, pause).await,
        Err(fault) if matches!(fault.code, Code::NotFound | Code::MessageUnreadable) => set_aside(house, received, &fault).await,
        Err(fault) => {
            tracing::error!(
                sync = header.sync,
                run = header.run,
                batch = header.number,
                code = fault.code.as_str(),
                next = fault.next_step(),
                "{}",
                fault.what
            );
            later(house, received, message, after_fault(received)).await
        }
    }
}

async fn write(house: &House, message: &Message, patience: Duration) -> Result<Handled, Fault> {
    let header = &message.header;
    let unknown = || {
        let what = format!("Version {} of sync `{}`, which planned this batch, is not in the table: it was deleted.", header.sync_version, header.sync);
        Fault::new(Code::NotFound, what).with_next("nothing to do: the next run of the sync plans its records again")
    };
    let (context, definition) = context(house, &header.sync, &header.sync_version, patience).await?.ok_or_else(unknown)?;
    let handled = handle(&context, message).await;
    let (requests, throttles) = (context.meter.requests(), context.meter.throttles());
    if requests > 0 {
        house.metrics.batch(&header.sync, &context.sync.destination.connection, requests, throttles);
    }
    let handled = handled?;
    if let Handled::Closed(Some(run)) = &handled {
        run_closed(&house.metrics, house.store.as_ref(), house.clock.as_ref(), &context.sync, run).await;
        tell(&alerting(house, &definition).await, run).await;
    }
    Ok(handled)
}

/// Lets the message show again after `pause`.
async fn later(house: &House, received: &Received, message: Message, pause: Duration) -> Fate {
    if received.receives >= SENT_ANEW {
        match house.queue.send(message).await {
            Ok(()) => return Fate::Remove,
            Err(fault) => tracing::error!(code = fault.code.as_str(), "{}", fault.what),
        }
    }
    hide(house, received, pause).await
}

fn after_fault(received: &Received) -> Duration {
    backoff(received.receives, AFTER_FAULT, fastrand::f64())
}

/// Hides the message for `pause`. Where this fails, it shows after the queue's own time.
async fn hide(house: &House, received: &Received, pause: Duration) -> Fate {
    if let Err(fault) = house.queue.delay(&received.receipt, pause).await {
        tracing::warn!(code = fault.code.as_str(), "{}", fault.what);
    }
    Fate::Keep
}

/// Puts a message that nobody can handle where people look, with the reason.
async fn set_aside(house: &House, received: &Received, fault: &Fault) -> Fate {
    tracing::error!(message = received.id, code = fault.code.as_str(), next = fault.next_step(), "a message is set aside: {}", fault.what);
    match house.queue.set_aside(&house.settings.dlq_url, &received.body, &fault.what).await {
        Ok(()) => Fate::Remove,
        Err(fault) => {
            tracing::error!(code = fault.code.as_str(), "{}", fault.what);
            Fate::Keep
        }
    }
}
