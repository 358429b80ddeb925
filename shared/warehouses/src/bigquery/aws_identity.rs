//! Who this process is at AWS, proved to Google: a request to AWS that is signed and not sent (Signature Version 4).
//! <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>

use domain::clock::Millis;
use serde_json::json;

use crate::aws_sign::{SignedParts, amz_date, authorization};
use crate::settings::AwsCredentials;

const QUERY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// The subject token: the request as JSON, percent-encoded.
pub(super) fn subject_token(credentials: &AwsCredentials, audience: &str, now: Millis) -> String {
    let host = format!("sts.{}.amazonaws.com", credentials.region);
    let date = amz_date(now);
    let mut headers = vec![("host", host.as_str()), ("x-amz-date", date.as_str())];
    if let Some(session) = &credentials.session {
        headers.push(("x-amz-security-token", session));
    }
    headers.push(("x-goog-cloud-target-resource", audience));
    let parts = SignedParts {
        method: "POST",
        service: "sts",
        path: "/",
        query: QUERY,
        headers: &headers,
        body: b"",
        date: &date,
    };
    let authorization = authorization(credentials, &parts);
    headers.insert(0, ("Authorization", &authorization));
    let headers: Vec<_> = headers.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let request = json!({ "url": format!("https://{host}?{QUERY}"), "method": "POST", "headers": headers });
    url::form_urlencoded::byte_serialize(request.to_string().as_bytes()).collect()
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
