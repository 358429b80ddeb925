//! Talking to the org: a token, asked for once and again when it is no longer taken, and requests with it.
//!
//! Sources: OAuth 2.0 client credentials and JWT bearer flows (help.salesforce.com); RFC 7519 and RFC 7523. The reply
//! to a token request names no time at which it ends, so the only sign is 401 `INVALID_SESSION_ID`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clients::jwt;
use domain::clock::Millis;
use domain::outcome::WriteError;
use ring::signature::RsaKeyPair;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::classify;
use super::config::Config;
use clients::http::detail;
use clients::http::{HeaderMap, HeaderValue, Http, HttpReply, HttpRequest, Method, Url, percent_encode};

/// How long an assertion is good for; the server takes at most five minutes.
const ASSERTION_SECONDS: i64 = 180;

/// What a token is asked for with.
pub(super) enum Grant {
    Secret { client_id: String, client_secret: String },
    Signed { client_id: String, username: String, audience: String, key: Box<RsaKeyPair> },
}

impl Grant {
    /// JWT bearer with a key in PEM; the error is the end of a sentence and repeats nothing of the key.
    pub(super) fn signed(client_id: String, username: String, audience: String, pem: &str) -> Result<Self, String> {
        let pem = pem.replace("\\n", "\n");
        let der =
            PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "`private_key` is not a private key in PEM")?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err("`private_key` is not an RSA key".into()),
        };
        let key =
            key.map_err(|e| format!("`private_key` is not an RSA key of 2048 bits or more that can be used: {e}"))?;
        Ok(Grant::Signed { client_id, username, audience, key: Box::new(key) })
    }

    /// The form of a token request.
    fn form(&self, now: Millis) -> Result<Vec<(&'static str, String)>, WriteError> {
        match self {
            Grant::Secret { client_id, client_secret } => Ok(vec![
                ("grant_type", "client_credentials".into()),
                ("client_id", client_id.clone()),
                ("client_secret", client_secret.clone()),
            ]),
            Grant::Signed { client_id, username, audience, key } => {
                let until = now.0 / 1000 + ASSERTION_SECONDS;
                let claims = json!({ "iss": client_id, "sub": username, "aud": audience, "exp": until });
                let assertion = jwt::sign(key, None, &claims).ok_or_else(|| WriteError::Misconfigured {
                    detail: "the assertion cannot be signed with `private_key`".into(),
                })?;
                Ok(vec![("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()), ("assertion", assertion)])
            }
        }
    }
}

/// A token and where it is good.
struct Token {
    bearer: HeaderValue,
    instance: Url,
    org: Option<String>,
}

/// A connection to one org.
pub(super) struct Session {
    http: Http,
    domain: Url,
    grant: Grant,
    headers: HeaderMap,
    version: String,
    keep_requests: u64,
    limit_pause: Duration,
    token: Mutex<Option<Arc<Token>>>,
    /// Requests of the day: used, and in all. 0: not known yet.
    used: AtomicU64,
    most: AtomicU64,
}

impl Session {
    pub(super) fn new(http: Http, domain: Url, grant: Grant, headers: HeaderMap, config: &Config) -> Self {
        Self {
            http,
            domain,
            grant,
            headers,
            version: config.api_version.clone(),
            keep_requests: config.keep_requests,
            limit_pause: config.limit_pause.0,
            token: Mutex::default(),
            used: AtomicU64::new(0),
            most: AtomicU64::new(0),
        }
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    /// Where tokens are asked for.
    pub(super) fn domain(&self) -> &Url {
        &self.domain
    }

    /// A request without a body; `path` follows the version (`/sobjects/Contact/describe`) and is percent-encoded.
    pub(super) async fn get(&self, path: &str) -> Result<HttpReply, WriteError> {
        self.call(Method::GET, path, "application/json", Vec::new()).await
    }

    /// The same; `None` when there is nothing at that path.
    pub(super) async fn find(&self, path: &str) -> Result<Option<HttpReply>, WriteError> {
        let reply = self.reply(Method::GET, path, "application/json", Vec::new()).await?;
        if reply.status == 404 { Ok(None) } else { self.good(reply).map(Some) }
    }

    /// A request with a JSON body.
    pub(super) async fn json(&self, method: Method, path: &str, body: Vec<u8>) -> Result<HttpReply, WriteError> {
        self.call(method, path, "application/json", body).await
    }

    /// A request; the reply has a good status.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<HttpReply, WriteError> {
        let reply = self.reply(method, path, media_type, body).await?;
        self.good(reply)
    }

    fn good(&self, reply: HttpReply) -> Result<HttpReply, WriteError> {
        if (200..300).contains(&reply.status) {
            Ok(reply)
        } else {
            Err(classify::request(&reply, self.http.redactor(), self.limit_pause))
        }
    }

    /// A request and its reply, with any status. A token that is no longer taken is replaced once.
    async fn reply(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<HttpReply, WriteError> {
        self.leave_some()?;
        let token = self.token(None).await?;
        let mut reply = self.send(&token, method.clone(), path, media_type, body.clone()).await?;
        if reply.status == 401 {
            let token = self.token(Some(&token)).await?;
            reply = self.send(&token, method, path, media_type, body).await?;
        }
        self.note_usage(&reply);
        Ok(reply)
    }

    async fn send(
        &self,
        token: &Token,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<HttpReply, WriteError> {
        let whole = format!("/services/data/{}{path}", self.version);
        let url = token
            .instance
            .join(&whole)
            .map_err(|_| WriteError::Misconfigured { detail: "the request's address cannot be built".into() })?;
        let mut headers = self.headers.clone();
        headers.insert("authorization", token.bearer.clone());
        headers.insert(
            "accept",
            HeaderValue::from_static(if media_type == "text/csv" { "*/*" } else { "application/json, text/csv" }),
        );
        if !body.is_empty() {
            headers.insert("content-type", HeaderValue::from_static(media_type));
        }
        Ok(self.http.send(HttpRequest { method, url, headers, body }).await?)
    }

    /// The token; another one than `refused`. Whoever comes first asks for it, the others wait and get the same.
    async fn token(&self, refused: Option<&Arc<Token>>) -> Result<Arc<Token>, WriteError> {
        let mut held = self.token.lock().await;
        match held.as_ref() {
            Some(token) if refused.is_none_or(|r| !Arc::ptr_eq(r, token)) => Ok(Arc::clone(token)),
            _ => {
                *held = None;
                let token = Arc::new(self.mint().await?);
                *held = Some(Arc::clone(&token));
                Ok(token)
            }
        }
    }

    async fn mint(&self) -> Result<Token, WriteError> {
        // A page of maintenance, or of somebody else: that passes.
        let unreadable = |reply: &HttpReply, what: &str| WriteError::Unavailable {
            after: None,
            detail: classify::no_token(reply, what),
        };
        let url = self
            .domain
            .join("/services/oauth2/token")
            .map_err(|_| WriteError::Misconfigured { detail: "`domain` is not an address".into() })?;
        let form = self.grant.form(self.http.now())?;
        let body =
            form.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect::<Vec<_>>().join("&");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        let reply = self.http.send(HttpRequest { method: Method::POST, url, headers, body: body.into_bytes() }).await?;
        if !(200..300).contains(&reply.status) {
            return Err(classify::token(&reply, self.http.redactor()));
        }
        let json: Value = serde_json::from_slice(&reply.body).map_err(|_| {
            unreadable(&reply, &format!("it is not JSON: {}", detail::detail(&reply.body, self.http.redactor())))
        })?;
        let text = |name: &str| json.get(name).and_then(Value::as_str);
        let instance = text("instance_url")
            .and_then(|u| Url::parse(u).ok())
            .ok_or_else(|| unreadable(&reply, "it names no `instance_url`"))?;
        let token = text("access_token").ok_or_else(|| unreadable(&reply, "it holds no token"))?;
        self.http.redactor().add([token]);
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| unreadable(&reply, "its token cannot stand in a header"))?;
        bearer.set_sensitive(true);
        // `id` is the user's address: …/id/ORG/USER.
        let org = text("id")
            .and_then(|id| id.split("/id/").nth(1)?.split('/').next().map(str::to_owned))
            .filter(|org| org.starts_with("00D"));
        Ok(Token { bearer, instance, org })
    }

    /// The id of the org that tokens are good for, in its short form; where an answer does not tell it, the org's
    /// address.
    pub(super) async fn org(&self) -> Result<String, WriteError> {
        let token = self.token(None).await?;
        let address = || token.instance.host_str().unwrap_or_default().to_owned();
        Ok(token.org.as_deref().map_or_else(address, |org| org.chars().take(15).collect()))
    }

    /// Requests of the day that are left, as the last reply told; `None` before the first.
    pub(super) fn left(&self) -> Option<u64> {
        let most = self.most.load(Ordering::Relaxed);
        (most > 0).then(|| most.saturating_sub(self.used.load(Ordering::Relaxed)))
    }

    /// The day's requests in all, as the last reply told.
    fn note_usage(&self, reply: &HttpReply) {
        if let Some((used, most)) = classify::usage(reply) {
            self.used.store(used, Ordering::Relaxed);
            self.most.store(most, Ordering::Relaxed);
        }
    }

    /// Stops before the requests that are to be left to others are touched.
    fn leave_some(&self) -> Result<(), WriteError> {
        match self.left() {
            Some(left) if self.keep_requests > 0 && left <= self.keep_requests => {
                Err(WriteError::Throttled { after: Some(self.limit_pause) })
            }
            _ => Ok(()),
        }
    }
}
