//! Who asks: a service account by its key, an AWS role that Google trusts, or a token that was given.

use std::sync::Arc;

use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderValue, Http, HttpRequest, Method, Url};
use clients::jwt;
use domain::fault::Fault;
use ring::signature::RsaKeyPair;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;

use super::aws_identity;
use crate::settings;
use crate::token::{self, MintedToken, TokenCache, TokenRequest};

/// What a token is for: queries, and reading their results.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// An assertion lives this long at most.
const ASSERTION_SECONDS: i64 = 3600;

/// Where tokens come from. Prints no secret.
pub(super) enum GoogleLogin {
    /// An emulator asks for none.
    None,
    Given(String),
    Account(Box<ServiceAccount>),
    Federated(Federation),
}

/// The key of a service account.
pub(super) struct ServiceAccount {
    key: RsaKeyPair,
    key_id: Option<String>,
    email: String,
    token_url: Url,
}

/// An AWS role that stands for an identity of Google's.
pub(super) struct Federation {
    pub(super) audience: String,
    pub(super) token_url: Url,
    /// Where the tokens of the service account to act as are made; none: the identity is used itself.
    pub(super) impersonation: Option<Url>,
}

/// The file that Google gives.
#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccount {
    /// Reads the JSON of a key. The error is the end of a sentence and repeats nothing of it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let file: KeyFile = serde_json::from_str(text.trim()).map_err(|_| {
            "`service_account` is not the JSON file of a service account's key (IAM & Admin → Service accounts → Keys): it has no `client_email` and `private_key`".to_owned()
        })?;
        let pem = file.private_key.replace("\\n", "\n");
        let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            _ => None,
        };
        let key = key.ok_or("`private_key` in `service_account` is no RSA key in PKCS#8")?;
        let token_url = file.token_uri.unwrap_or_else(|| "https://oauth2.googleapis.com/token".into());
        let token_url = Url::parse(&token_url).map_err(|_| "`token_uri` in `service_account` is no address")?;
        Ok(Self { key, key_id: file.private_key_id, email: file.client_email, token_url })
    }

    async fn mint(&self, http: &Http, place: &DatabasePlace) -> Result<MintedToken, Fault> {
        let issued = http.now().0 / 1000;
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_url.as_str(), "iat": issued,
            "exp": issued + ASSERTION_SECONDS,
        });
        let assertion = jwt::sign(&self.key, self.key_id.as_deref(), &claims)
            .ok_or_else(|| place.invalid("a token cannot be signed with `service_account`."))?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        let advice = "check that the service account and its key exist and are enabled, and that the clock of this machine is right";
        TokenRequest { url: self.token_url.clone(), form, basic: None, advice }.mint(http, place).await
    }
}

impl Federation {
    async fn mint(&self, http: &Http, place: &DatabasePlace) -> Result<MintedToken, Fault> {
        let credentials = settings::aws_credentials().map_err(|missing| {
            place.invalid(format!("`workload_identity` needs an AWS role, and {missing} is not set.")).with_next(
                "use it where AWS gives the process a role (the functions have one), or export credentials of one",
            )
        })?;
        let subject = aws_identity::subject_token(&credentials, &self.audience, http.now());
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("audience", &self.audience)
            .append_pair("scope", SCOPE)
            .append_pair("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
            .append_pair("subject_token_type", "urn:ietf:params:aws:token-type:aws4_request")
            .append_pair("subject_token", &subject)
            .finish();
        let advice = "check `workload_identity.audience`, and that the provider's attribute condition lets this AWS account and role in";
        let request = TokenRequest { url: self.token_url.clone(), form, basic: None, advice };
        let (federated, life) = request.mint(http, place).await?;
        let Some(url) = &self.impersonation else { return Ok((federated, life)) };
        http.redactor().add([federated.as_str()]);
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {federated}"))
            .map_err(|_| place.denied("the token that Google gives cannot be sent."))?;
        bearer.set_sensitive(true);
        headers.insert("authorization", bearer);
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let body = json!({ "scope": [SCOPE], "lifetime": "3600s" }).to_string().into_bytes();
        let request = HttpRequest { method: Method::POST, url: url.clone(), headers, body };
        let reply = http.send(request).await.map_err(|e| e.at(place))?;
        let advice = "grant the identity roles/iam.workloadIdentityUser on the service account";
        token::read(&reply, http, place, advice)
    }
}

/// Tokens of one connection.
pub(super) struct GoogleTokens {
    pub(super) login: GoogleLogin,
    pub(super) place: DatabasePlace,
    pub(super) cache: TokenCache,
}

impl GoogleTokens {
    pub(super) fn new(login: GoogleLogin, place: DatabasePlace) -> Arc<Self> {
        Arc::new(Self { login, place, cache: TokenCache::default() })
    }

    /// Adds a token to the headers of a request.
    pub(super) async fn sign(&self, http: &Http, headers: &mut HeaderMap) -> Result<(), Fault> {
        let fresh = async {
            match &self.login {
                GoogleLogin::None => Ok((String::new(), None)),
                GoogleLogin::Given(token) => Ok((token.clone(), None)),
                GoogleLogin::Account(account) => account.mint(http, &self.place).await,
                GoogleLogin::Federated(federation) => federation.mint(http, &self.place).await,
            }
        };
        if !matches!(self.login, GoogleLogin::None) {
            headers.insert("authorization", self.cache.bearer(http, &self.place, fresh).await?);
        }
        Ok(())
    }

    /// Forgets a token that was refused; `false` when another one would be refused as well.
    pub(super) async fn forget(&self) -> bool {
        self.cache.forget().await;
        matches!(self.login, GoogleLogin::Account(_) | GoogleLogin::Federated(_))
    }
}
