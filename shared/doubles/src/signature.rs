//! Whether a request to a double of AWS is signed with a secret key, by Signature Version 4.

use ring::{digest, hmac};

use crate::exchange::DoubleRequest;

/// True when the signature is that of this request to `service`. `secret` belongs to the access key that it names.
pub(crate) fn is_signed(request: &DoubleRequest, service: &str, access: &str, secret: &str) -> bool {
    check(request, service, access, secret).unwrap_or(false)
}

fn check(request: &DoubleRequest, wanted: &str, access: &str, secret: &str) -> Option<bool> {
    let rest = request.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let part = |name: &str| rest.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (credential, names, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
    let (key_id, scope) = credential.split_once('/')?;
    let scope_parts: Vec<&str> = scope.split('/').collect();
    let [day, region, service, "aws4_request"] = scope_parts[..] else { return None };
    // The canonical query is in order of its parameters, however it was sent.
    let mut parameters: Vec<&str> = request.query.split('&').filter(|parameter| !parameter.is_empty()).collect();
    parameters.sort_unstable();
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, parameters.join("&"));
    for name in names.split(';') {
        canonical.push_str(&format!("{name}:{}\n", request.header(name)?.trim()));
    }
    let body_hash = hex(digest::digest(&digest::SHA256, &request.body).as_ref());
    // S3 wants the hash in a header that is signed, too.
    let told = request.header("x-amz-content-sha256");
    if told.map_or(wanted == "s3", |told| told != body_hash || !names.split(';').any(|n| n == "x-amz-content-sha256")) {
        return Some(false);
    }
    canonical.push_str(&format!("\n{names}\n{body_hash}"));
    let date = request.header("x-amz-date")?;
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
    let sign =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = sign(format!("AWS4{secret}").as_bytes(), day);
    let key = sign(&sign(&sign(&key, region), service), "aws4_request");
    Some(key_id == access && service == wanted && date.starts_with(day) && hex(&sign(&key, &text)) == signature)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
