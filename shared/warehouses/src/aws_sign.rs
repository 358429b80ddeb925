//! Requests to AWS, signed (Signature Version 4).
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use domain::clock::Millis;
use domain::value::render;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::settings::AwsCredentials;

/// What is signed.
pub(crate) struct SignedParts<'a> {
    pub(crate) method: &'a str,
    pub(crate) service: &'a str,
    /// As it is sent.
    pub(crate) path: &'a str,
    /// As it is sent, its parameters in order of their names.
    pub(crate) query: &'a str,
    /// In lower case and in order of their names; `host` and `x-amz-date` are among them.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
    /// As [`amz_date`] has it.
    pub(crate) date: &'a str,
}

/// The `Authorization` of a request.
pub(crate) fn authorization(credentials: &AwsCredentials, parts: &SignedParts<'_>) -> String {
    let SignedParts { method, service, path, query, headers, body, date } = parts;
    let scope = format!("{}/{}/{service}/aws4_request", &date[..8], credentials.region);
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let listed: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!("{method}\n{path}\n{query}\n{listed}\n{names}\n{}", body_hash(body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mut key = format!("AWS4{}", credentials.secret_key).into_bytes();
    for part in scope.split('/') {
        key = keyed(&key, part);
    }
    let signature = hex(&keyed(&key, &text));
    let id = &credentials.access_key;
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is good.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The hash of a body, as S3 wants it in a header, too.
pub(crate) fn body_hash(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `20260102T030405Z`
pub(crate) fn amz_date(now: Millis) -> String {
    let text = render::datetime(now.0.div_euclid(1000) * 1_000_000);
    text.chars().filter(|c| !matches!(c, '-' | ':')).chain(['Z']).collect()
}
