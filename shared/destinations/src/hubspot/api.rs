//! Calls of the API: addresses by version, the token, one renewal after a 401, the quota's headers. What an answer
//! means for a record is in `classify`.

use domain::fault::{Code, Fault};
use domain::outcome::WriteError;
use domain::retry::MAX_RETRY_AFTER;
use serde_json::Value;

use super::auth::Tokens;
use super::classify;
use super::quota::HubSpotQuota;
use clients::http::detail;
use clients::http::{HeaderMap, HeaderValue, Http, HttpReply, HttpRequest, Method, Url, percent_encode};

/// How often a question of preflight waits for a quota.
const PATIENCE: u32 = 3;

/// The API of one account.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: Http,
    pub(super) base: Url,
    /// `v3`, or a date.
    pub(super) version: String,
    pub(super) tokens: Tokens,
    pub(super) quota: HubSpotQuota,
}

#[derive(Debug)]
pub(super) struct ApiReply {
    pub(super) status: u16,
    /// The body; null when it is no JSON.
    pub(super) body: Value,
}

impl Api {
    fn dated(&self) -> bool {
        self.version != "v3"
    }

    /// `…/{object}/batch/{operation}`
    pub(super) fn batch(&self, object: &str, operation: &str) -> String {
        let (version, object) = (&self.version, percent_encode(object));
        if self.dated() {
            format!("/crm/objects/{version}/{object}/batch/{operation}")
        } else {
            format!("/crm/v3/objects/{object}/batch/{operation}")
        }
    }

    /// The definitions of an object's properties.
    pub(super) fn properties(&self, object: &str) -> String {
        let (version, object) = (&self.version, percent_encode(object));
        if self.dated() {
            format!("/crm/properties/{version}/{object}")
        } else {
            format!("/crm/v3/properties/{object}")
        }
    }

    /// The schema of a custom object.
    pub(super) fn schema(&self, object: &str) -> String {
        let (version, object) = (&self.version, percent_encode(object));
        if self.dated() {
            format!("/crm-object-schemas/{version}/schemas/{object}")
        } else {
            format!("/crm/v3/schemas/{object}")
        }
    }

    pub(super) fn account(&self) -> String {
        format!("/account-info/{}/details", self.version)
    }

    /// Associations between two objects: `labels`, `batch/create`. They have had a version of their own.
    pub(super) fn associations(&self, from: &str, to: &str, what: &str) -> String {
        let (version, from, to) = (&self.version, percent_encode(from), percent_encode(to));
        if self.dated() {
            format!("/crm/associations/{version}/{from}/{to}/{what}")
        } else {
            format!("/crm/v4/associations/{from}/{to}/{what}")
        }
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<ApiReply, WriteError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Asks before anything is written: a short pause of the quota is waited for.
    pub(super) async fn get(&self, path: &str) -> Result<ApiReply, WriteError> {
        let mut patience = PATIENCE;
        loop {
            match self.call(Method::GET, path, None).await {
                Err(WriteError::Throttled { after: Some(pause) }) if patience > 0 && pause <= MAX_RETRY_AFTER / 30 => {
                    patience -= 1;
                    tokio::time::sleep(pause).await;
                }
                other => return other,
            }
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<ApiReply, WriteError> {
        if let Some(pause) = self.quota.pause(self.http.now()) {
            return Err(WriteError::Throttled { after: Some(pause) });
        }
        let body = body.map(|json| json.to_string().into_bytes());
        let mut token = self.tokens.token(&self.http).await?;
        let mut reply = self.send(method.clone(), path, body.clone(), &token).await?;
        if reply.status == 401
            && let Some(other) = self.tokens.other(&self.http, &token).await?
        {
            token = other;
            reply = self.send(method, path, body, &token).await?;
        }
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if (200..300).contains(&reply.status) {
            return Ok(ApiReply { status: reply.status, body: json });
        }
        if reply.status == 429 {
            return Err(WriteError::Throttled { after: Some(self.quota.throttled(&reply, &json, self.http.now())) });
        }
        let redactor = self.http.redactor();
        let shorten = |text: &str| redactor.shorten(text);
        Err(classify::refusal(&reply, &json, &detail::detail(&reply.body, redactor), shorten))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        token: &str,
    ) -> Result<HttpReply, WriteError> {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&(prefix + path));
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| WriteError::Unauthorized {
            detail: "the token holds a control character, perhaps a line break at its end".into(),
        })?;
        bearer.set_sensitive(true);
        headers.insert("authorization", bearer);
        if body.is_some() {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
        }
        let reply = self.http.send(HttpRequest { method, url, headers, body: body.unwrap_or_default() }).await?;
        self.quota.note(&reply, self.http.now());
        Ok(reply)
    }

    /// What a call came to, for those who do not write.
    pub(super) fn fault(&self, error: WriteError) -> Fault {
        let code = match &error {
            WriteError::Throttled { after: Some(after) } => {
                let until = self.http.now().plus(*after);
                return Fault::new(
                    Code::DestinationLimit,
                    format!("HubSpot's quota of requests is used up until {until}."),
                );
            }
            WriteError::Throttled { after: None } => Code::DestinationLimit,
            WriteError::Unavailable { .. } => Code::DestinationUnreachable,
            WriteError::Unauthorized { .. } => Code::DestinationUnauthorized,
            WriteError::Misconfigured { .. } | WriteError::Refused { .. } => Code::DestinationMisconfigured,
        };
        Fault::new(code, format!("HubSpot cannot be asked: {error}."))
    }
}
