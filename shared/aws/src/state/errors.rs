//! What is said when DynamoDB refuses: the table, the service's code and what to do. Never what was in an item.

use domain::fault::{Code, Fault};

use crate::failure::{AwsFailure, AwsFailureKind};

/// What to make of a failed call.
pub(super) enum RetryVerdict {
    /// The condition did not hold.
    Refused,
    /// Try again; this is the fault when that goes on.
    Again(Fault),
    /// It will fail again.
    Final(Fault),
}

/// What is said of a failed call of `action` on `table`, and whether to call again.
pub(super) fn verdict(table: &str, action: &str, failure: &AwsFailure) -> RetryVerdict {
    let code = &failure.code;
    if failure.is_condition() {
        return RetryVerdict::Refused;
    }
    if failure.too_large {
        return RetryVerdict::Final(full(table, action));
    }
    if failure.is_unsent() {
        return RetryVerdict::Final(no_way(table, action));
    }
    match failure.kind {
        AwsFailureKind::Throttled => RetryVerdict::Again(throttled(table, action, code)),
        AwsFailureKind::Missing => {
            let next = "deploy the stack or set SLUICEGATE_TABLE to the table of the one that is deployed; check the region too. Nothing is lost.";
            RetryVerdict::Final(unusable(format!("The state table `{table}` does not exist ({action}: {code})."), next))
        }
        AwsFailureKind::Denied if failure.is_about_credentials() => {
            let next =
                "renew the AWS credentials of this process (and check its clock), then run again; nothing is lost.";
            RetryVerdict::Final(unusable(
                format!("The state table `{table}` cannot be used: AWS refuses the credentials ({action}: {code})."),
                next,
            ))
        }
        AwsFailureKind::Denied => {
            let next = format!(
                "allow `dynamodb:{action}` on the table `{table}` to this role, then run again; nothing is lost."
            );
            RetryVerdict::Final(unusable(
                format!("Access to the state table `{table}` is denied ({action}: {code})."),
                next,
            ))
        }
        AwsFailureKind::Key => {
            let next = format!(
                "allow this role kms:Decrypt and kms:GenerateDataKey on the key of the table `{table}`, and check that the key is enabled; nothing is lost."
            );
            RetryVerdict::Final(unusable(
                format!("The key that encrypts the state table `{table}` cannot be used ({action}: {code})."),
                next,
            ))
        }
        AwsFailureKind::Unreachable => {
            let next = "run again; what was not delivered is planned again. If it goes on, look at AWS's health page for DynamoDB.";
            RetryVerdict::Again(unusable(
                format!("The state table `{table}` does not answer ({action}: {code})."),
                next,
            ))
        }
        AwsFailureKind::Other => RetryVerdict::Final(unusable(
            format!("The state table `{table}` refused a request ({action}: {code})."),
            "Please report it, with the message above.",
        )),
    }
}

/// The service takes less than is asked of it.
pub(super) fn throttled(table: &str, action: &str, code: &str) -> Fault {
    let next = "wait and run again: an on-demand table takes more within minutes; give a provisioned one more capacity, or lower the \
                destination's concurrency. Nothing is lost.";
    unusable(format!("The state table `{table}` is throttled ({action}: {code})."), next)
}

/// An item is as large as one can be.
fn full(table: &str, action: &str) -> Fault {
    let next = "a bucket's records have to become smaller: map a shorter identifier (mirror mode keeps it for every record). Nothing is lost.";
    unusable(
        format!(
            "An item of the state table `{table}` would be larger than DynamoDB's 400 KB ({action}: ValidationException)."
        ),
        next,
    )
}

fn no_way(table: &str, action: &str) -> Fault {
    let next = "set AWS_REGION and credentials for this process, then run again; nothing is lost.";
    unusable(
        format!(
            "The state table `{table}` cannot be asked: there are no credentials, no region or no valid endpoint ({action})."
        ),
        next,
    )
}

/// Something in the table is not what was written there.
pub(super) fn corrupt(table: &str, what: impl std::fmt::Display) -> Fault {
    let next = "restore the table from its point-in-time recovery, or remove the sync's state: the next run then sends every record once more.";
    unusable(format!("{what} in the state table `{table}` cannot be read."), next)
}

pub(super) fn unusable(what: String, next: impl Into<String>) -> Fault {
    Fault::new(Code::StateUnusable, what).with_next(next)
}
