//! One message: read, handed to the engine, and what the queue does with it then.

use std::time::Duration;

use aws::report::run_closed;
use domain::batch::Message;
use domain::fault::{Code, Fault};
use domain::ports::BatchQueue;
use domain::retry::backoff;
use engine::deliver::{MessageResult, handle};
use engine::notify::alert;

use crate::open::{alerting, context};
use crate::receive::QueueMessage;
use crate::services::WriterServices;

/// What the queue does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Delete,
    /// It stays, and shows again after a time.
    Retry,
}

/// A message that was received so often is sent anew: its receives are counted from one again, and the queue does not
/// take a message that only had to wait for one that nobody can handle.
const RESEND_AFTER_RECEIVES: u32 = 50;

/// The pause after a fault of ours (the state does not answer), before the second try; it doubles from there.
const AFTER_FAULT: Duration = Duration::from_secs(2);

/// The longest wait for a request slot within an invocation.
const PATIENCE: Duration = Duration::from_secs(20);

/// Delivers a message. Waits at most `patience` for a request slot.
pub async fn deliver(services: &WriterServices, received: &QueueMessage, patience: Duration) -> Disposition {
    let message = match services.queue.read(&received.body).await {
        Ok(message) => message,
        Err(fault) if fault.code == Code::MessageUnreadable => {
            return dead_letter_message(services, received, &fault).await;
        }
        // The bucket does not answer: that passes.
        Err(fault) => {
            tracing::error!(
                message = received.id,
                code = fault.code.as_str(),
                next = fault.next_step(),
                "{}",
                fault.what
            );
            return hide(services, received, after_fault(received)).await;
        }
    };
    let header = &message.header;
    match write(services, &message, patience.min(PATIENCE)).await {
        Ok(MessageResult::Done | MessageResult::Stale) => Disposition::Delete,
        Ok(MessageResult::RunClosed(_)) => Disposition::Delete,
        Ok(MessageResult::RetryAfter(pause)) => later(services, received, message, pause).await,
        Err(fault) if matches!(fault.code, Code::NotFound | Code::MessageUnreadable) => {
            dead_letter_message(services, received, &fault).await
        }
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
            later(services, received, message, after_fault(received)).await
        }
    }
}

async fn write(services: &WriterServices, message: &Message, patience: Duration) -> Result<MessageResult, Fault> {
    let header = &message.header;
    let unknown = || {
        let what = format!(
            "Version {} of sync `{}`, which planned this batch, is not in the table: it was deleted.",
            header.sync_version, header.sync
        );
        Fault::new(Code::NotFound, what).with_next("nothing to do: the next run of the sync plans its records again")
    };
    let (context, definition) =
        context(services, &header.sync, &header.sync_version, patience).await?.ok_or_else(unknown)?;
    let handled = handle(&context, message).await;
    let (requests, throttles) = (context.meter.requests(), context.meter.throttles());
    if requests > 0 {
        services.metrics.batch(&header.sync, &context.sync.destination.connection, requests, throttles);
    }
    let handled = handled?;
    if let MessageResult::RunClosed(Some(run)) = &handled {
        run_closed(&services.metrics, services.store.as_ref(), services.clock.as_ref(), &context.sync, run).await;
        alert(&alerting(services, &definition).await, run).await;
    }
    Ok(handled)
}

/// Lets the message show again after `pause`.
async fn later(services: &WriterServices, received: &QueueMessage, message: Message, pause: Duration) -> Disposition {
    if received.receives >= RESEND_AFTER_RECEIVES {
        match services.queue.send(message).await {
            Ok(()) => return Disposition::Delete,
            Err(fault) => tracing::error!(code = fault.code.as_str(), "{}", fault.what),
        }
    }
    hide(services, received, pause).await
}

fn after_fault(received: &QueueMessage) -> Duration {
    backoff(received.receives, AFTER_FAULT, fastrand::f64())
}

/// Hides the message for `pause`. Where this fails, it shows after the queue's own time.
async fn hide(services: &WriterServices, received: &QueueMessage, pause: Duration) -> Disposition {
    if let Err(fault) = services.queue.delay(&received.receipt, pause).await {
        tracing::warn!(code = fault.code.as_str(), "{}", fault.what);
    }
    Disposition::Retry
}

/// Puts a message that nobody can handle where people look, with the reason.
async fn dead_letter_message(services: &WriterServices, received: &QueueMessage, fault: &Fault) -> Disposition {
    tracing::error!(
        message = received.id,
        code = fault.code.as_str(),
        next = fault.next_step(),
        "a message is set aside: {}",
        fault.what
    );
    match services.queue.dead_letter_message(&services.settings.dlq_url, &received.body, &fault.what).await {
        Ok(()) => Disposition::Delete,
        Err(fault) => {
            tracing::error!(code = fault.code.as_str(), "{}", fault.what);
            Disposition::Retry
        }
    }
}
