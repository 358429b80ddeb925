//! Who asks: a token that is signed with the user's key, one that was given, or one of OAuth.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, Url};
use domain::fault::Fault;

use super::key::{LIFE_SECONDS, SigningKey};
use crate::token::{TokenCache, TokenRequest};

/// Where tokens come from. Prints no secret.
pub(super) enum SnowflakeLogin {
    Key(Box<SigningKey>),
    /// A programmatic access token, or an access token of OAuth.
    Given {
        token: String,
        kind: &'static str,
    },
    Minted(TokenRequest),
}

/// What is sent for a token of OAuth: by refresh token, else by the client's own credentials.
pub(super) fn grant(url: Url, id: &str, secret: &str, refresh: Option<&str>, scope: Option<&str>) -> TokenRequest {
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
    let advice = "check `oauth`: the client, its secret, the refresh token (it may have ended) and the scope";
    TokenRequest { url, form: form.finish(), basic, advice }
}

/// Tokens of one connection.
pub(super) struct BearerTokens {
    login: SnowflakeLogin,
    place: DatabasePlace,
    cache: TokenCache,
}

impl BearerTokens {
    pub(super) fn new(login: SnowflakeLogin, place: DatabasePlace) -> Self {
        Self { login, place, cache: TokenCache::default() }
    }

    /// Adds a token to the headers of a request.
    pub(super) async fn sign(&self, http: &Http, headers: &mut HeaderMap) -> Result<(), Fault> {
        let kind = match &self.login {
            SnowflakeLogin::Key(_) => "KEYPAIR_JWT",
            SnowflakeLogin::Given { kind, .. } => kind,
            SnowflakeLogin::Minted(_) => "OAUTH",
        };
        let fresh = async {
            match &self.login {
                SnowflakeLogin::Key(key) => {
                    let token = key.token(http.now()).map_err(|why| self.place.invalid(format!("{why}.")))?;
                    Ok((token, Some(Duration::from_secs(LIFE_SECONDS.unsigned_abs()))))
                }
                SnowflakeLogin::Given { token, .. } => Ok((token.clone(), None)),
                SnowflakeLogin::Minted(request) => request.mint(http, &self.place).await,
            }
        };
        headers.insert("authorization", self.cache.bearer(http, &self.place, fresh).await?);
        headers.insert("x-snowflake-authorization-token-type", HeaderValue::from_static(kind));
        Ok(())
    }

    /// Forgets a token that was refused; `false` when another one would be refused as well.
    pub(super) async fn forget(&self) -> bool {
        self.cache.forget().await;
        matches!(self.login, SnowflakeLogin::Minted(_))
    }
}
