//! Objects of the stack's bucket: write, read, remove, each with a fault that says what to do. Knows nothing of what is
//! in them.

use aws_sdk_s3::Client;
use bytes::Bytes;
use domain::fault::{Code, Fault};

use crate::Clients;
use crate::failure::{AwsFailure, AwsFailureKind};

#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    bucket: String,
}

impl Objects {
    pub(crate) fn new(clients: &Clients, bucket: &str) -> Self {
        Self { client: clients.s3(), bucket: bucket.to_owned() }
    }

    pub(crate) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Fault> {
        let sent = self.client.put_object().bucket(&self.bucket).key(key).body(bytes.into()).send().await;
        sent.map(drop).map_err(|e| self.fault("written", "s3:PutObject", key, &AwsFailure::of(&e)))
    }

    /// The object; `None` when it is not there.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Bytes>, Fault> {
        let answer = match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => answer,
            // Who may not list a bucket is told 403 for a key that is not there: the stack lets its functions list.
            Err(e) if e.as_service_error().is_some_and(|e| e.is_no_such_key()) => return Ok(None),
            Err(e) => return Err(self.fault("read", "s3:GetObject", key, &AwsFailure::of(&e))),
        };
        let body = answer.body.collect().await;
        body.map(|body| Some(body.into_bytes())).map_err(|_| {
            self.fault("read", "s3:GetObject", key, &AwsFailure::said(Some("a body that ended early"), None))
        })
    }

    pub(crate) async fn remove(&self, key: &str) -> Result<(), Fault> {
        let sent = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        sent.map(drop).map_err(|e| self.fault("removed", "s3:DeleteObject", key, &AwsFailure::of(&e)))
    }

    fn fault(&self, done: &str, permission: &str, key: &str, failure: &AwsFailure) -> Fault {
        let what = format!("The object {key} of bucket `{}` could not be {done} ({failure}).", self.bucket);
        let fault = Fault::new(Code::QueueUnusable, what);
        match failure.kind {
            AwsFailureKind::Denied => fault.with_next(format!(
                "Allow the function's role {permission} on the bucket's objects, or deploy the stack again, which does."
            )),
            AwsFailureKind::Key => {
                fault.with_next("Allow the function's role kms:Decrypt and kms:GenerateDataKey on the bucket's key.")
            }
            AwsFailureKind::Missing => {
                fault.with_next("Deploy the stack again: it makes the bucket. What was not delivered is planned again.")
            }
            AwsFailureKind::Throttled | AwsFailureKind::Unreachable | AwsFailureKind::Other => fault,
        }
    }
}
