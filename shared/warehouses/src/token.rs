//! Access tokens: kept as long as they are good, and minted from a form (OAuth 2.0, RFC 6749).

use std::sync::Arc;
use std::time::Duration;

use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, HttpReply, HttpRequest, Method, Url, detail};
use domain::clock::Millis;
use domain::fault::Fault;
use serde_json::Value;
use tokio::sync::Mutex;

/// A token is not used in the last moments of its life.
const MARGIN: Duration = Duration::from_secs(120);
/// The life of a token that does not say how long it is.
const LIFE: Duration = Duration::from_secs(10 * 60);

/// A token and how long it is good; no end for one that somebody else renews.
pub(crate) type MintedToken = (String, Option<Duration>);

/// A token as it is sent.
struct CachedToken {
    authorization: HeaderValue,
    until: Millis,
}

/// The last token of a connection.
#[derive(Default)]
pub(crate) struct TokenCache(Mutex<Option<Arc<CachedToken>>>);

impl TokenCache {
    /// The `Authorization` of a token that is good as far as is known, else that of what `mint` gives.
    pub(crate) async fn bearer(
        &self,
        http: &Http,
        place: &DatabasePlace,
        mint: impl Future<Output = Result<MintedToken, Fault>>,
    ) -> Result<HeaderValue, Fault> {
        let mut cached = self.0.lock().await;
        if let Some(known) = cached.as_ref().filter(|known| known.until > http.now()) {
            return Ok(known.authorization.clone());
        }
        let (token, life) = mint.await?;
        http.redactor().add([token.as_str()]);
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| place.invalid("the token holds a control character, perhaps a line break within it."))?;
        authorization.set_sensitive(true);
        let until = life.map_or(Millis(i64::MAX), |life| http.now().plus(life.saturating_sub(MARGIN)));
        *cached = Some(Arc::new(CachedToken { authorization: authorization.clone(), until }));
        Ok(authorization)
    }

    /// Forgets a token that was refused.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

/// What is sent for a token.
pub(crate) struct TokenRequest {
    pub(crate) url: Url,
    pub(crate) form: String,
    /// `Basic …`, where the client authenticates so.
    pub(crate) basic: Option<String>,
    /// What to look at when no token is given.
    pub(crate) advice: &'static str,
}

impl TokenRequest {
    /// Asks for a token.
    pub(crate) async fn mint(&self, http: &Http, place: &DatabasePlace) -> Result<MintedToken, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if let Some(mut basic) = self.basic.as_deref().and_then(|basic| HeaderValue::from_str(basic).ok()) {
            basic.set_sensitive(true);
            headers.insert("authorization", basic);
        }
        let body = self.form.clone().into_bytes();
        let request = HttpRequest { method: Method::POST, url: self.url.clone(), headers, body };
        let reply = http.send(request).await.map_err(|e| e.at(place))?;
        read(&reply, http, place, self.advice)
    }
}

/// The token of an answer; `advice` is what to look at when there is none.
pub(crate) fn read(reply: &HttpReply, http: &Http, place: &DatabasePlace, advice: &str) -> Result<MintedToken, Fault> {
    let said = detail::detail(&reply.body, http.redactor());
    let host = reply.url.host_str().unwrap_or_default();
    if reply.status == 429 || reply.status >= 500 {
        return Err(place.unreachable(format!("{host} gives no access token now ({}): {said}.", reply.status)));
    }
    let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let field = |snake: &str, camel: &str| json.get(snake).or_else(|| json.get(camel));
    match field("access_token", "accessToken").and_then(Value::as_str) {
        Some(token) if (200..300).contains(&reply.status) => {
            let life = field("expires_in", "expiresIn").and_then(Value::as_u64).map_or(LIFE, Duration::from_secs);
            Ok((token.to_owned(), Some(life)))
        }
        _ => Err(place.denied(format!("{host} gives no access token ({}): {said}.", reply.status)).with_next(advice)),
    }
}
