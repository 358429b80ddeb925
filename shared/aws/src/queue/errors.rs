//! Every sentence about a queue that cannot be used: which queue, what AWS said, what to do.

use domain::fault::{Code, Fault};

use crate::failure::{AwsFailure, AwsFailureKind};

/// The name of a queue: the last part of its URL.
pub(super) fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// The fault of a call that SQS refused. `done` is what the queue could not be: `sent to`, `read`.
pub(super) fn queue(url: &str, done: &str, permission: &str, failure: &AwsFailure) -> Fault {
    let queue = name(url);
    let fault = |what: String| Fault::new(Code::QueueUnusable, what);
    match failure.kind {
        AwsFailureKind::Missing => fault(format!("The queue `{queue}` does not exist ({failure})."))
            .with_next("Deploy the stack, with the connection in its list of destinations. What was not delivered is planned again."),
        AwsFailureKind::Denied => fault(format!("The queue `{queue}` may not be {done} by this function or user ({failure})."))
            .with_next(format!("Allow its role {permission} on the queue, or deploy the stack again, which does.")),
        AwsFailureKind::Key => fault(format!("The key that encrypts the queue `{queue}` cannot be used ({failure})."))
            .with_next("Allow the role kms:Decrypt and kms:GenerateDataKey on the key, and check that the key is enabled."),
        AwsFailureKind::Throttled => fault(format!("The queue `{queue}` cannot be {done}: too many requests at once ({failure}).")),
        AwsFailureKind::Unreachable | AwsFailureKind::Other => fault(format!("The queue `{queue}` cannot be {done} ({failure}).")),
    }
}

/// The fault of a message whose body is gone from the bucket.
pub(super) fn body_gone(key: &str) -> Fault {
    let what = format!(
        "The body of a batch, the object {key} of the stack's bucket, is not there: it was removed after its batch was done, or by the bucket's lifecycle rule."
    );
    Fault::new(Code::MessageUnreadable, what)
        .with_next("Remove the message: if its batch was not delivered, the next run plans it again.")
}

/// The fault of a message that is none of ours, or damaged.
pub(super) fn message(why: &str) -> Fault {
    Fault::new(Code::MessageUnreadable, format!("A message cannot be read: {why}."))
}

/// The fault of a batch that is too large.
pub(super) fn too_large(number: u32, size: usize, most: usize) -> Fault {
    Fault::new(Code::QueueUnusable, format!("Batch {number} has {size} bytes, the queue takes {most}."))
}
