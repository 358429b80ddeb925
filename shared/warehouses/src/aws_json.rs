//! Operations of an AWS service that speaks JSON 1.1: called, and again while what fails passes.
//! <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>

use std::time::Duration;

use clients::DatabasePlace;
use clients::http::{Http, Method, Url, detail};
use domain::fault::{Code, Fault};
use domain::retry::backoff;
use serde_json::Value as Json;

use crate::aws_login::{AwsIdentity, UnsignedRequest};

/// A request is sent so often.
const ATTEMPTS: u32 = 6;
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// An answer is read to this many bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// One service, asked as one identity.
pub(crate) struct AwsJsonApi {
    pub(crate) http: Http,
    pub(crate) base: Url,
    pub(crate) place: DatabasePlace,
    pub(crate) identity: AwsIdentity,
    /// As it is signed for.
    pub(crate) service: &'static str,
    /// What goes before an operation's name in `x-amz-target`.
    pub(crate) target: &'static str,
    pub(crate) retry_pause: Duration,
}

/// What a call was refused with.
#[derive(Debug, Clone, Default)]
pub(crate) struct AwsRefusal {
    pub(crate) status: u16,
    /// The exception's name, without what goes before it.
    pub(crate) name: String,
    pub(crate) message: String,
}

impl AwsRefusal {
    /// True for what every service has and is worth asking again.
    pub(crate) fn passes(&self) -> bool {
        let passing = ["ThrottlingException", "TooManyRequestsException", "InternalServerException"];
        self.status == 429 || self.status >= 500 || passing.contains(&self.name.as_str())
    }
}

/// An address that a setting gives.
pub(crate) fn endpoint(place: &DatabasePlace, setting: &str, written: &str) -> Result<Url, Fault> {
    let read = Url::parse(written.trim()).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    read.ok_or_else(|| place.invalid(format!("`{setting}` is not valid: it begins with https:// and names a host.")))
}

impl AwsJsonApi {
    /// The host, for messages.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Calls an operation. `explain` tells what a refusal means: one that says the warehouse is unreachable passes, and is
    /// asked again.
    pub(crate) async fn call(
        &self,
        operation: &str,
        body: &Json,
        explain: impl Fn(&AwsRefusal) -> Fault + Send,
    ) -> Result<Json, Fault> {
        let mut tries = 1;
        loop {
            let fault = match self.send(operation, body).await {
                Ok(Ok(json)) => return Ok(json),
                Ok(Err(refusal)) => explain(&refusal),
                Err(fault) => fault,
            };
            if fault.code != Code::WarehouseUnreachable || tries >= ATTEMPTS {
                return Err(fault);
            }
            tokio::time::sleep(backoff(tries, self.retry_pause, fastrand::f64()).min(MAX_PAUSE)).await;
            tries += 1;
        }
    }

    async fn send(&self, operation: &str, body: &Json) -> Result<Result<Json, AwsRefusal>, Fault> {
        let request = UnsignedRequest {
            service: self.service,
            method: Method::POST,
            url: self.base.clone(),
            headers: vec![
                ("content-type", "application/x-amz-json-1.1".into()),
                ("x-amz-target", format!("{}.{operation}", self.target)),
            ],
            body: body.to_string().into_bytes(),
        };
        let request = self.identity.sign(&self.http, request)?;
        let reply = self.http.open(request).await.map_err(|e| e.at(&self.place))?;
        let reply = reply.whole(MAX_ANSWER_BYTES).await.map_err(|e| e.at(&self.place))?;
        let json = serde_json::from_slice::<Json>(&reply.body).ok();
        Ok(match json {
            Some(json) if (200..300).contains(&reply.status) => Ok(json),
            json => {
                let text = |name: &str| {
                    json.as_ref().and_then(|json| json.get(name)).and_then(Json::as_str).map(str::to_owned)
                };
                let kind =
                    text("__type").or_else(|| reply.header("x-amzn-errortype").map(str::to_owned)).unwrap_or_default();
                let name =
                    kind.split(':').next().unwrap_or_default().rsplit(['#', '.']).next().unwrap_or_default().to_owned();
                let said = || detail::detail(&reply.body, self.http.redactor());
                let message = text("message").or_else(|| text("Message")).unwrap_or_else(said);
                let status = if (200..300).contains(&reply.status) { 502 } else { reply.status };
                Err(AwsRefusal { status, name, message: self.http.redactor().hide(&message) })
            }
        })
    }
}
