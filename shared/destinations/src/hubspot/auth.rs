//! The token of a request: fixed, or minted from a refresh token, cached, and minted anew when it ends or is refused.

use std::time::Duration;

use domain::clock::Millis;
use domain::outcome::WriteError;
use serde_json::Value;
use tokio::sync::Mutex;

use clients::http::detail;
use clients::http::status::{StatusMeaning, Statuses, classify_status};
use clients::http::{HeaderMap, HeaderValue, Http, HttpRequest, Method, Url};

/// A token is not used in the last moments of its life.
const MARGIN: Duration = Duration::from_secs(60);
/// The life of a token that does not say how long it is.
const LIFE: Duration = Duration::from_secs(30 * 60);

/// Where tokens come from. Prints no secret.
pub(super) enum Tokens {
    /// A service key, or a private app's token.
    Fixed(String),
    Minted {
        /// Where they are minted.
        url: Url,
        /// What is sent for one: the form's body.
        form: String,
        /// The last one, with its end.
        cached: Mutex<Option<(String, Millis)>>,
    },
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Tokens::Fixed(_)) { "Tokens::Fixed" } else { "Tokens::Minted" })
    }
}

impl Tokens {
    /// Tokens of an OAuth app.
    pub(super) fn minted(url: Url, client_id: &str, client_secret: &str, refresh_token: &str) -> Self {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("client_secret", client_secret),
            ("refresh_token", refresh_token),
        ];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Tokens::Minted { url, form, cached: Mutex::default() }
    }

    /// A token that is good as far as is known.
    pub(super) async fn token(&self, http: &Http) -> Result<String, WriteError> {
        match self {
            Tokens::Fixed(token) => Ok(token.clone()),
            Tokens::Minted { url, form, cached } => {
                let mut cached = cached.lock().await;
                match cached.as_ref() {
                    Some((token, until)) if *until > http.now() => Ok(token.clone()),
                    _ => mint(http, url, form, &mut cached).await,
                }
            }
        }
    }

    /// Another token than `refused`; `None` when there is none to be had.
    pub(super) async fn other(&self, http: &Http, refused: &str) -> Result<Option<String>, WriteError> {
        let Tokens::Minted { url, form, cached } = self else { return Ok(None) };
        let mut cached = cached.lock().await;
        match cached.as_ref() {
            // Somebody else has minted one meanwhile.
            Some((token, until)) if token != refused && *until > http.now() => Ok(Some(token.clone())),
            _ => mint(http, url, form, &mut cached).await.map(Some),
        }
    }
}

async fn mint(http: &Http, url: &Url, form: &str, cached: &mut Option<(String, Millis)>) -> Result<String, WriteError> {
    *cached = None;
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
    let reply = http
        .send(HttpRequest { method: Method::POST, url: url.clone(), headers, body: form.as_bytes().to_vec() })
        .await?;
    let said = || detail::detail(&reply.body, http.redactor());
    match classify_status(reply.status, reply.header("retry-after"), reply.clock(), &Statuses::default()) {
        StatusMeaning::Ok => {}
        verdict @ (StatusMeaning::Throttled(_) | StatusMeaning::Unavailable(_)) => {
            return Err(unusable(verdict, reply.status, &said()));
        }
        _ => {
            return Err(WriteError::Unauthorized {
                detail: format!("no access token is given for the refresh token ({}): {}", reply.status, said()),
            });
        }
    }
    let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let field = |snake: &str, camel: &str| json.get(snake).or_else(|| json.get(camel)).cloned();
    let Some(Value::String(token)) = field("access_token", "accessToken") else {
        return Err(WriteError::Unavailable {
            after: None,
            detail: "the answer to a refresh token holds no access token".into(),
        });
    };
    http.redactor().add([token.as_str()]);
    let life = field("expires_in", "expiresIn").and_then(|seconds| seconds.as_u64()).map_or(LIFE, Duration::from_secs);
    *cached = Some((token.clone(), http.now().plus(life.saturating_sub(MARGIN))));
    Ok(token)
}

fn unusable(verdict: StatusMeaning, status: u16, said: &str) -> WriteError {
    match verdict {
        StatusMeaning::Throttled(after) => WriteError::Throttled { after },
        StatusMeaning::Unavailable(after) => {
            WriteError::Unavailable { after, detail: format!("no access token could be minted ({status}): {said}") }
        }
        _ => WriteError::Unavailable { after: None, detail: format!("no access token could be minted ({status})") },
    }
}
