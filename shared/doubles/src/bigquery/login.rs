//! The token endpoints: assertions of service accounts, exchanges of workload identities, acting as a service account.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::project::BigQueryProject;
use crate::exchange::{DoubleReply, DoubleRequest};

impl BigQueryProject {
    /// `POST /token`
    pub(super) fn token(&mut self, request: &DoubleRequest) -> DoubleReply {
        let form = request.form();
        let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        if value("grant_type") != grant || self.verify(value("assertion")).is_none() {
            let why = json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." });
            return DoubleReply::json(400, &why);
        }
        let token = self.mint();
        DoubleReply::json(200, &json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" }))
    }

    /// `POST /sts`
    pub(super) fn exchange(&mut self, request: &DoubleRequest) -> DoubleReply {
        let form = request.form();
        let value = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).unwrap_or_default();
        let refused =
            |why: &str| DoubleReply::json(400, &json!({ "error": "invalid_grant", "error_description": why }));
        let decoded = url::form_urlencoded::parse(format!("x={}", value("subject_token")).as_bytes())
            .next()
            .and_then(|(_, text)| serde_json::from_str::<Value>(&text).ok());
        let Some(subject) = decoded else { return refused("The subject token is no request.") };
        if value("subject_token_type") != "urn:ietf:params:aws:token-type:aws4_request" {
            return refused("The subject token is of an unknown type.");
        }
        if self.federation.as_ref().is_none_or(|(audience, _)| audience != value("audience")) {
            return refused("The audience is not that of a provider.");
        }
        self.subject = Some(subject);
        let token = self.mint();
        self.tokens.remove(&token);
        DoubleReply::json(
            200,
            &json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token" }),
        )
    }

    /// `POST /v1/projects/-/serviceAccounts/ADDRESS:generateAccessToken`
    pub(super) fn act_as(&mut self, account: &str) -> DoubleReply {
        if self.federation.as_ref().is_none_or(|(_, known)| known != account) {
            let error = json!({ "error": { "code": 403, "status": "PERMISSION_DENIED", "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)." } });
            return DoubleReply::json(403, &error);
        }
        let token = self.mint();
        DoubleReply::json(200, &json!({ "accessToken": token, "expireTime": "2099-01-01T00:00:00Z" }))
    }

    fn mint(&mut self) -> String {
        self.minted += 1;
        let token = format!("minted-{}", self.minted);
        self.tokens.insert(token.clone());
        token
    }

    fn verify(&self, assertion: &str) -> Option<()> {
        let (text, signature) = assertion.rsplit_once('.')?;
        let (_, claims) = text.split_once('.')?;
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let key = self.accounts.get(claims["iss"].as_str()?)?;
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
        let (issued, ends) = (claims["iat"].as_i64()?, claims["exp"].as_i64()?);
        let fits = claims["aud"].as_str()?.ends_with("/token")
            && claims["scope"].as_str()?.starts_with("https://www.googleapis.com/auth/")
            && (issued - now).abs() < 300
            && ends > now
            && ends - issued <= 3600;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let known = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
        (fits && known.verify(text.as_bytes(), &signature).is_ok()).then_some(())
    }
}
