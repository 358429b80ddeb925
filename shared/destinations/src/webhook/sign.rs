//! Signatures of Standard Webhooks: HMAC-SHA256 over id, timestamp and body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The bytes a secret may have.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs with one or more secrets. Prints without them.
#[derive(Clone)]
pub(super) struct Signer {
    keys: Vec<Hmac<Sha256>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} secrets)", self.keys.len())
    }
}

impl Signer {
    /// A signer with these secrets. The error is a sentence and repeats none of them.
    pub(super) fn new(secrets: &[String]) -> Result<Self, String> {
        if secrets.is_empty() {
            return Err("`sign` names no secret".into());
        }
        let keys = secrets
            .iter()
            .enumerate()
            .map(|(at, secret)| key(secret).map_err(|what| format!("signing secret {} {what}", at + 1)));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// The `webhook-signature` header: a signature for every secret.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures = self.keys.iter().map(|key| {
            let mut mac = key.clone();
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn key(secret: &str) -> Result<Hmac<Sha256>, String> {
    let encoded = secret.trim().strip_prefix("whsec_").ok_or("does not begin with `whsec_`")?;
    let bytes = STANDARD.decode(encoded).map_err(|_| "is not `whsec_` followed by base64")?;
    if !SECRET_BYTES.contains(&bytes.len()) {
        return Err(format!(
            "holds {} bytes; it must hold {} to {}",
            bytes.len(),
            SECRET_BYTES.start(),
            SECRET_BYTES.end()
        ));
    }
    Hmac::new_from_slice(&bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn secret(bytes: usize) -> String {
        format!("whsec_{}", STANDARD.encode(vec![7; bytes]))
    }

    #[test]
    fn the_published_example_comes_out() {
        let signer = Signer::new(&[PUBLISHED.to_owned()]).unwrap();
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_secret_signs() {
        let both = Signer::new(&[PUBLISHED.to_owned(), secret(32)]).unwrap().sign("id", 1, b"{}");
        let each = [PUBLISHED.to_owned(), secret(32)].map(|s| Signer::new(&[s]).unwrap().sign("id", 1, b"{}"));
        assert_eq!(both, each.join(" "));
    }

    #[test]
    fn a_malformed_secret_is_refused_and_not_repeated() {
        for (given, part) in [
            ("plain-secret".to_owned(), "whsec_"),
            ("whsec_!!!".to_owned(), "base64"),
            (secret(23), "holds 23 bytes"),
            (secret(65), "holds 65 bytes"),
        ] {
            let error = Signer::new(std::slice::from_ref(&given)).unwrap_err();
            assert!(error.contains(part) && !error.contains(&given), "{error}");
        }
        assert!(Signer::new(&[]).is_err());
        assert!(Signer::new(&[secret(24), secret(64)]).is_ok());
    }
}
