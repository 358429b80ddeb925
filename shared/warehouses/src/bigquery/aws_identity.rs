//! Who this process is at AWS, proved to Google: a request to AWS that is signed and not sent (Signature Version 4).
//! <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>

use domain::clock::Millis;
use domain::value::render;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::settings::AwsCredentials;

const QUERY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// The subject token: the request as JSON, percent-encoded.
pub(super) fn subject_token(credentials: &AwsCredentials, audience: &str, now: Millis) -> String {
    let AwsCredentials { access_key, session, region, .. } = credentials;
    let host = format!("sts.{region}.amazonaws.com");
    let date = amz_date(now);
    let mut headers = vec![("host", host.as_str()), ("x-amz-date", date.as_str())];
    if let Some(session) = session {
        headers.push(("x-amz-security-token", session));
    }
    headers.push(("x-goog-cloud-target-resource", audience));
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let scope = format!("{}/{region}/sts/aws4_request", &date[..8]);
    let signature = signature(credentials, &headers, &names, &date, &scope);
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}");
    headers.insert(0, ("Authorization", &authorization));
    let headers: Vec<_> = headers.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let request = json!({ "url": format!("https://{host}?{QUERY}"), "method": "POST", "headers": headers });
    url::form_urlencoded::byte_serialize(request.to_string().as_bytes()).collect()
}

fn signature(credentials: &AwsCredentials, headers: &[(&str, &str)], names: &str, date: &str, scope: &str) -> String {
    let listed: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!("POST\n/\n{QUERY}\n{listed}\n{names}\n{}", hex(&Sha256::digest(b"")));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let mut key = format!("AWS4{}", credentials.secret_key).into_bytes();
    for part in scope.split('/') {
        key = keyed(&key, part);
    }
    hex(&keyed(&key, &text))
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is good.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `20260102T030405Z`
fn amz_date(now: Millis) -> String {
    let text = render::datetime(now.0.div_euclid(1000) * 1_000_000);
    text.chars().filter(|c| !matches!(c, '-' | ':')).chain(['Z']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signature is what botocore 1.43 signs the same request with.
    #[test]
    fn the_request_is_signed_as_amazons_own_client_signs_it() {
        let credentials = AwsCredentials {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "planted-secret-key".into(),
            session: Some("planted-session".into()),
            region: "eu-west-1".into(),
        };
        let audience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/aws";
        let token = subject_token(&credentials, audience, Millis(1_767_323_045_000));
        let form = format!("x={token}");
        let (_, text) = url::form_urlencoded::parse(form.as_bytes()).next().unwrap();
        let request: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(request["url"], "https://sts.eu-west-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15");
        let authorization = request["headers"][0]["value"].as_str().unwrap();
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/sts/aws4_request, \
             SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource, \
             Signature=5bfdb44b2dc78594c0d3c8b1a5e75cfb6272162843e13f900b74b94a189b2255"
        );
    }
}
