//! The token endpoint: client credentials, and assertions whose signature is verified.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::org::Org;
use crate::server::{DoubleReply, DoubleRequest};

/// Who may come with an assertion.
#[derive(Debug, Clone)]
pub struct Signed {
    pub username: String,
    /// Whom the assertion must be for.
    pub audience: String,
    /// The app's public key, as PKCS#1 DER.
    pub public_key: Vec<u8>,
}

/// The server takes assertions that end within this time.
const MAX_SECONDS: u64 = 300;

impl Org {
    pub(super) fn token(&mut self, request: &DoubleRequest) -> DoubleReply {
        let form = request.form();
        let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
        let refused =
            |error: &str, why: &str| DoubleReply::json(400, &json!({ "error": error, "error_description": why }));
        match value("grant_type") {
            "client_credentials" if value("client_id") != self.client_id => {
                refused("invalid_client_id", "client identifier invalid")
            }
            "client_credentials" if value("client_secret") != self.client_secret => {
                refused("invalid_client", "invalid client credentials")
            }
            "client_credentials" => self.mint(request),
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => match self.verify(value("assertion")) {
                Ok(()) => self.mint(request),
                Err(why) => refused("invalid_grant", why),
            },
            _ => refused("unsupported_grant_type", "grant type not supported"),
        }
    }

    fn mint(&mut self, request: &DoubleRequest) -> DoubleReply {
        self.minted += 1;
        // A new token does not end the old ones.
        let token = format!("00Ddouble!token.{}", self.minted);
        self.tokens.insert(token.clone());
        let instance = format!("http://{}", request.header("host").unwrap_or_default());
        DoubleReply::json(
            200,
            &json!({ "access_token": token, "instance_url": instance, "id": format!("{instance}/id/{}/005000000000001AAA", self.id), "token_type": "Bearer", "issued_at": "1767323045678" }),
        )
    }

    fn verify(&self, assertion: &str) -> Result<(), &'static str> {
        let signed = self.signed.as_ref().ok_or("user hasn't approved this consumer")?;
        let (text, signature) = assertion.rsplit_once('.').ok_or("invalid assertion")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "invalid assertion")?;
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &signed.public_key);
        key.verify(text.as_bytes(), &signature).map_err(|_| "invalid assertion")?;
        let (header, claims) = text.split_once('.').ok_or("invalid assertion")?;
        let json = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
                .ok_or("invalid assertion")
        };
        let (header, claims) = (json(header)?, json(claims)?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let until = claims["exp"].as_u64().unwrap_or_default();
        match () {
            () if header["alg"] != "RS256" => Err("algorithm not supported"),
            () if claims["iss"] != self.client_id.as_str() => Err("invalid client credentials"),
            () if claims["sub"] != signed.username.as_str() => Err("user hasn't approved this consumer"),
            () if claims["aud"] != signed.audience.as_str() => Err("audience is invalid"),
            () if until <= now || until > now + MAX_SECONDS => Err("expired authorization code"),
            () => Ok(()),
        }
    }
}
