//! Calls of functions: the extractor starts itself anew to go on with a plan, the command asks the extractor.

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use domain::fault::{Code, Fault};
use serde_json::Value;

use crate::Clients;
use crate::failure::{AwsFailure, AwsFailureKind};

/// Most bytes of an event that is not waited for (1 MiB since October 2025, 256 KiB before; 6 MB when waited for).
pub const LARGEST_EVENT: usize = 256 * 1024;
/// Most characters of what a failed function says.
const WORDS: usize = 2000;

/// Functions by name or ARN.
#[derive(Clone)]
pub struct Functions {
    client: aws_sdk_lambda::Client,
}

impl Functions {
    /// Functions in the account and region of these clients.
    pub fn new(clients: &Clients) -> Self {
        Self { client: clients.lambda() }
    }

    /// Starts a function and does not wait for it. Lambda runs it at least once, also when its first attempts fail.
    pub async fn start(&self, function: &str, event: &Value) -> Result<(), Fault> {
        let body = event.to_string();
        if body.len() > LARGEST_EVENT {
            return Err(Fault::new(
                Code::Internal,
                format!("An event for {function} has {} bytes, Lambda takes {LARGEST_EVENT}.", body.len()),
            ));
        }
        self.invoke(function, InvocationType::Event, body).await.map(drop)
    }

    /// Calls a function and waits for what it returns. A function that fails is a fault with its own words.
    pub async fn call(&self, function: &str, event: &Value) -> Result<Value, Fault> {
        let (failed, body) = self.invoke(function, InvocationType::RequestResponse, event.to_string()).await?;
        let answer: Value = serde_json::from_slice(&body).map_err(|_| {
            Fault::new(Code::Internal, format!("The function {function} answered with something that is no JSON."))
        })?;
        match failed {
            None => Ok(answer),
            Some(kind) => Err(failure_of(function, &kind, &answer)),
        }
    }

    async fn invoke(
        &self,
        function: &str,
        how: InvocationType,
        body: String,
    ) -> Result<(Option<String>, Vec<u8>), Fault> {
        let sent =
            self.client.invoke().function_name(function).invocation_type(how).payload(Blob::new(body)).send().await;
        let answer = sent.map_err(|e| refused(function, &AwsFailure::of(&e)))?;
        Ok((answer.function_error, answer.payload.map(Blob::into_inner).unwrap_or_default()))
    }
}

/// What a function that failed said: `{"errorType": …, "errorMessage": …}`.
fn failure_of(function: &str, kind: &str, answer: &Value) -> Fault {
    let words: String = answer["errorMessage"].as_str().unwrap_or("it does not say why").chars().take(WORDS).collect();
    let fault = Fault::new(Code::Internal, format!("The function {function} failed ({kind}): {words}"));
    fault.with_next(format!("Look into its log: aws logs tail /aws/lambda/{function} --since 1h"))
}

fn refused(function: &str, failure: &AwsFailure) -> Fault {
    let what = format!("The function {function} could not be called ({failure}).");
    match failure.kind {
        AwsFailureKind::Missing => {
            Fault::new(Code::NotFound, what).with_next("Deploy the stack, and check its name and the region.")
        }
        AwsFailureKind::Denied | AwsFailureKind::Key => {
            Fault::new(Code::Internal, what).with_next("Allow the caller lambda:InvokeFunction on the function.")
        }
        AwsFailureKind::Throttled => Fault::new(Code::Internal, what)
            .with_next("Run again; if it stays so, raise the function's or the account's concurrency."),
        AwsFailureKind::Unreachable | AwsFailureKind::Other => Fault::new(Code::Internal, what)
            .with_next("Run again; if it stays so, look at the function in the console."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_function_is_a_fault_with_its_words() {
        let fault = failure_of(
            "crm-extractor",
            "Unhandled",
            &serde_json::json!({ "errorType": "Fault", "errorMessage": "The table is gone." }),
        );
        assert!(fault.what.contains("Unhandled") && fault.what.contains("The table is gone."));
        assert!(fault.next_step().contains("aws logs tail /aws/lambda/crm-extractor"));
    }

    #[test]
    fn a_refused_call_says_what_to_do() {
        let missing = refused("crm-extractor", &AwsFailure::said(Some("ResourceNotFoundException"), None));
        assert_eq!(missing.code, Code::NotFound);
        let denied = refused(
            "crm-extractor",
            &AwsFailure::said(
                Some("AccessDeniedException"),
                Some("User u is not authorized to perform: lambda:InvokeFunction"),
            ),
        );
        assert!(denied.what.contains("User u") && denied.next_step().contains("lambda:InvokeFunction"));
    }
}
