//! Whether a request is signed with the workgroup's secret key, by Signature Version 4.

use ring::{digest, hmac};

use crate::exchange::DoubleRequest;

/// True when the signature is that of this request. `secret` belongs to the access key that it names.
pub(super) fn is_signed(request: &DoubleRequest, access: &str, secret: &str) -> bool {
    check(request, access, secret).unwrap_or(false)
}

fn check(request: &DoubleRequest, access: &str, secret: &str) -> Option<bool> {
    let rest = request.header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let part = |name: &str| rest.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (credential, names, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
    let (key_id, scope) = credential.split_once('/')?;
    let scope_parts: Vec<&str> = scope.split('/').collect();
    let [day, region, service, "aws4_request"] = scope_parts[..] else { return None };
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for name in names.split(';') {
        canonical.push_str(&format!("{name}:{}\n", request.header(name)?.trim()));
    }
    canonical.push_str(&format!("\n{names}\n{}", hex(digest::digest(&digest::SHA256, &request.body).as_ref())));
    let date = request.header("x-amz-date")?;
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
    let sign =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = sign(format!("AWS4{secret}").as_bytes(), day);
    let key = sign(&sign(&sign(&key, region), service), "aws4_request");
    Some(
        key_id == access && service == "redshift-data" && date.starts_with(day) && hex(&sign(&key, &text)) == signature,
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
