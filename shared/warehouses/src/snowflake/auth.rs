//! Who asks: a token that is signed with the user's key, one that was given, or one of OAuth.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, HttpRequest, Method, Url, detail};
use domain::clock::Millis;
use domain::fault::Fault;
use serde_json::Value;
use tokio::sync::Mutex;

use super::key::{LIFE_SECONDS, SigningKey};

/// A token is not used in the last moments of its life.
const MARGIN: Duration = Duration::from_secs(120);
/// The life of an OAuth token that does not say how long it is.
const LIFE: Duration = Duration::from_secs(10 * 60);

/// Where tokens come from. Prints no secret.
pub(super) enum SnowflakeLogin {
    Key(Box<SigningKey>),
    /// A programmatic access token, or an access token of OAuth.
    Given {
        token: String,
        kind: &'static str,
    },
    Minted(OAuthGrant),
}

/// What is sent for a token of OAuth.
pub(super) struct OAuthGrant {
    pub(super) url: Url,
    pub(super) form: String,
    /// `Basic …`, where the client authenticates so.
    pub(super) basic: Option<String>,
}

impl OAuthGrant {
    /// The grant of a client: by refresh token, else by its own credentials.
    pub(super) fn new(url: Url, id: &str, secret: &str, refresh: Option<&str>, scope: Option<&str>) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let basic = match refresh {
            // Snowflake's own token endpoint takes the client so, and no other way.
            // <https://docs.snowflake.com/en/user-guide/oauth-custom>
            Some(refresh) => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh);
                Some(format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))
            }
            None => {
                form.append_pair("grant_type", "client_credentials");
                form.append_pair("client_id", id).append_pair("client_secret", secret);
                None
            }
        };
        if let Some(scope) = scope {
            form.append_pair("scope", scope);
        }
        Self { url, form: form.finish(), basic }
    }
}

/// A token as it is sent.
#[derive(Clone)]
pub(super) struct Bearer {
    pub(super) authorization: HeaderValue,
    /// `X-Snowflake-Authorization-Token-Type`.
    pub(super) kind: &'static str,
    until: Millis,
}

/// BearerTokens of one connection, kept as long as they are good.
pub(super) struct BearerTokens {
    pub(super) auth: SnowflakeLogin,
    pub(super) place: DatabasePlace,
    cached: Mutex<Option<Arc<Bearer>>>,
}

impl BearerTokens {
    pub(super) fn new(auth: SnowflakeLogin, place: DatabasePlace) -> Self {
        Self { auth, place, cached: Mutex::default() }
    }

    /// A token that is good as far as is known.
    pub(super) async fn bearer(&self, http: &Http) -> Result<Arc<Bearer>, Fault> {
        let mut cached = self.cached.lock().await;
        if let Some(bearer) = cached.as_ref().filter(|b| b.until > http.now()) {
            return Ok(Arc::clone(bearer));
        }
        let bearer = Arc::new(self.fresh(http).await?);
        *cached = Some(Arc::clone(&bearer));
        Ok(bearer)
    }

    /// Forgets a token that was refused; `false` when another one would be refused as well.
    pub(super) async fn forget(&self) -> bool {
        *self.cached.lock().await = None;
        matches!(self.auth, SnowflakeLogin::Minted(_))
    }

    async fn fresh(&self, http: &Http) -> Result<Bearer, Fault> {
        let now = http.now();
        let life = Duration::from_secs(LIFE_SECONDS.unsigned_abs());
        match &self.auth {
            SnowflakeLogin::Key(key) => {
                let token = key.token(now).map_err(|why| self.place.invalid(format!("{why}.")))?;
                self.bearer_of(http, &token, "KEYPAIR_JWT", now.plus(life - MARGIN))
            }
            SnowflakeLogin::Given { token, kind } => self.bearer_of(http, token, kind, Millis(i64::MAX)),
            SnowflakeLogin::Minted(grant) => {
                let (token, life) = self.mint(http, grant).await?;
                self.bearer_of(http, &token, "OAUTH", http.now().plus(life.saturating_sub(MARGIN)))
            }
        }
    }

    fn bearer_of(&self, http: &Http, token: &str, kind: &'static str, until: Millis) -> Result<Bearer, Fault> {
        http.redactor().add([token]);
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| self.place.invalid("the token holds a control character, perhaps a line break within it."))?;
        authorization.set_sensitive(true);
        Ok(Bearer { authorization, kind, until })
    }

    async fn mint(&self, http: &Http, grant: &OAuthGrant) -> Result<(String, Duration), Fault> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if let Some(mut basic) = grant.basic.as_deref().and_then(|basic| HeaderValue::from_str(basic).ok()) {
            basic.set_sensitive(true);
            headers.insert("authorization", basic);
        }
        let body = grant.form.clone().into_bytes();
        let request = HttpRequest { method: Method::POST, url: grant.url.clone(), headers, body };
        let reply = http.send(request).await.map_err(|e| e.at(&self.place))?;
        let said = detail::detail(&reply.body, http.redactor());
        let host = grant.url.host_str().unwrap_or_default();
        if reply.status == 429 || reply.status >= 500 {
            return Err(self
                .place
                .unreachable(format!("{host} gives no access token now ({}): {said}.", reply.status)));
        }
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        match json.get("access_token").and_then(Value::as_str) {
            Some(token) if (200..300).contains(&reply.status) => {
                let life = json.get("expires_in").and_then(Value::as_u64).map_or(LIFE, Duration::from_secs);
                Ok((token.to_owned(), life))
            }
            _ => Err(self.place.denied(format!("{host} gives no access token ({}): {said}.", reply.status)).with_next(
                "check `oauth`: the client, its secret, the refresh token (it may have ended) and the scope",
            )),
        }
    }
}
