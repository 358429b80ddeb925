//! Who may ask: signed tokens, programmatic access tokens, OAuth.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::account::SnowflakeAccount;
use super::wire::refused;
use crate::exchange::{DoubleReply, DoubleRequest};

/// A signed token may live so long, and be off by so much.
const LIFE: i64 = 3600;
const TOLERANCE: i64 = 60;

impl SnowflakeAccount {
    pub(super) fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX) + self.clock_ahead
    }

    /// The refusal of a request whose token is no good.
    pub(super) fn check_login(&self, request: &DoubleRequest) -> Option<DoubleReply> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        match request.header("x-snowflake-authorization-token-type") {
            Some("KEYPAIR_JWT") => match self.verify(token) {
                Some(()) => None,
                None => Some(refused(401, "390144", "JWT token is invalid. [0ce9eb56-821d-4ca9-a774-04ae89a0cf5a]")),
            },
            Some("PROGRAMMATIC_ACCESS_TOKEN") if self.tokens.contains(token) => None,
            Some("PROGRAMMATIC_ACCESS_TOKEN") => Some(refused(401, "390395", "Programmatic access token is invalid.")),
            // Where it is not said, a token is one of OAuth.
            Some("OAUTH") | None if self.oauth_tokens.contains(token) => None,
            Some("OAUTH") | None => Some(refused(401, "390303", "Invalid OAuth access token.")),
            Some(_) => Some(refused(400, "391902", "Unsupported authorization token type.")),
        }
    }

    fn verify(&self, token: &str) -> Option<()> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (header, claims) = (json(header)?, json(claims)?);
        let subject = claims["sub"].as_str()?;
        let (account, user) = subject.split_once('.')?;
        let key = self.users.get(user)?;
        let issuer = format!("{subject}.SHA256:{}", fingerprint(key));
        let (issued, ends) = (claims["iat"].as_i64()?, claims["exp"].as_i64()?);
        let now = self.now();
        let fits = header["alg"] == "RS256"
            && account == self.name
            && claims["iss"] == issuer.as_str()
            && issued <= now + TOLERANCE
            && ends > now - TOLERANCE
            && ends - issued <= LIFE;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let known = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        (fits && known.verify(text.as_bytes(), &signature).is_ok()).then_some(())
    }

    /// The token endpoint.
    pub(super) fn mint(&mut self, request: &DoubleRequest) -> DoubleReply {
        let form = request.form();
        let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
        let wrong = |error: &str| {
            DoubleReply::json(
                400,
                &json!({ "error": error, "error_description": "The request could not be processed." }),
            )
        };
        let Some((id, secret, refresh)) = &self.oauth_client else { return wrong("invalid_client") };
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let ok = match value("grant_type") {
            "refresh_token" => {
                request.header("authorization") == Some(&basic) && refresh.as_deref() == Some(value("refresh_token"))
            }
            "client_credentials" => value("client_id") == id && value("client_secret") == secret,
            _ => return wrong("unsupported_grant_type"),
        };
        if !ok {
            return wrong("invalid_grant");
        }
        self.minted += 1;
        let token = format!("minted-{}", self.minted);
        self.oauth_tokens.insert(token.clone());
        DoubleReply::json(200, &json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 }))
    }
}

/// The fingerprint as `DESC USER` shows it, of a `SubjectPublicKeyInfo` that is built anew.
fn fingerprint(key: &[u8]) -> String {
    let sized = |tag: u8, content: Vec<u8>| {
        let mut out = vec![tag];
        match content.len() {
            short if short < 128 => out.push(short as u8),
            long if long < 256 => out.extend([0x81, long as u8]),
            long => out.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        out.extend(content);
        out
    };
    let mut algorithm = sized(6, vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]);
    algorithm.extend([5, 0]);
    let mut info = sized(0x30, algorithm);
    info.extend(sized(3, [&[0], key].concat()));
    STANDARD.encode(digest(&SHA256, &sized(0x30, info)))
}
