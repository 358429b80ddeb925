//! As whom AWS is asked: the keys of a connection's settings, else those of the process; and requests signed with them.

use clients::DatabasePlace;
use clients::http::{HeaderMap, HeaderName, HeaderValue, Http, HttpRequest, Method, Url};
use domain::config::{Secret, SecretSource, Setting};
use domain::fault::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws_sign::{SignedParts, amz_date, authorization};
use crate::settings::{self, AwsCredentials};

/// Credentials of an AWS identity.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsKeys {
    pub access_key_id: Setting,
    /// By reference.
    pub secret_access_key: Secret,
    /// By reference: where the credentials are temporary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
}

/// An access key, its secret, and the token of a session.
type AwsKeyPair = (String, String, Option<String>);

/// As whom a connection asks, and where. Prints nothing.
#[derive(Clone)]
pub(crate) struct AwsIdentity {
    place: DatabasePlace,
    /// That of the settings, where they have one.
    region: Option<String>,
    /// Those of the settings, where they have any.
    keys: Option<AwsKeyPair>,
}

/// A request that is to be signed.
pub(crate) struct UnsignedRequest<'a> {
    pub(crate) service: &'a str,
    pub(crate) method: Method,
    /// The parameters of its query are in order of their names.
    pub(crate) url: Url,
    /// In lower case; all are signed.
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: Vec<u8>,
}

impl AwsIdentity {
    /// From settings, references resolved.
    pub(crate) async fn resolve(
        place: &DatabasePlace,
        region: Option<&Setting>,
        keys: Option<&AwsKeys>,
        secrets: &dyn SecretSource,
    ) -> Result<Self, Fault> {
        let region = match region {
            Some(region) => Some(region.resolve(secrets).await?),
            None => None,
        };
        let keys = match keys {
            Some(_) if region.is_none() => {
                return Err(place.invalid("`credentials` need a `region`: add it, such as eu-west-1."));
            }
            Some(keys) => {
                let session = match &keys.session_token {
                    Some(token) => Some(token.resolve(secrets).await?),
                    None => None,
                };
                let secret = keys.secret_access_key.resolve(secrets).await?;
                Some((keys.access_key_id.resolve(secrets).await?, secret, session))
            }
            None => None,
        };
        Ok(Self { place: place.clone(), region, keys })
    }

    /// The region that is asked.
    pub(crate) fn region(&self) -> Result<String, Fault> {
        let known = || settings::aws_credentials().ok().map(|known| known.region);
        self.region.clone().or_else(known).ok_or_else(|| {
            self.place
                .invalid("`region` is missing, and AWS_REGION is not set.")
                .with_next("add `region`, such as eu-west-1")
        })
    }

    /// What requests are signed with.
    fn credentials(&self) -> Result<AwsCredentials, Fault> {
        if let (Some((access_key, secret_key, session)), Some(region)) = (&self.keys, &self.region) {
            let (access_key, secret_key) = (access_key.clone(), secret_key.clone());
            return Ok(AwsCredentials { access_key, secret_key, session: session.clone(), region: region.clone() });
        }
        let read = settings::aws_credentials().map_err(|missing| {
            self.place
                .invalid(format!("AWS is asked as an identity of AWS, and {missing} is not set."))
                .with_next("on this machine: eval \"$(aws configure export-credentials --format env)\"; the functions on AWS have a role")
        })?;
        Ok(AwsCredentials { region: self.region.clone().unwrap_or(read.region), ..read })
    }

    /// The request, signed now.
    pub(crate) fn sign(&self, http: &Http, request: UnsignedRequest<'_>) -> Result<HttpRequest, Fault> {
        let UnsignedRequest { service, method, url, headers, body } = request;
        let (credentials, date) = (self.credentials()?, amz_date(http.now()));
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let mut signed: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        signed.extend([("host", host.as_str()), ("x-amz-date", date.as_str())]);
        signed.extend(credentials.session.as_deref().map(|session| ("x-amz-security-token", session)));
        signed.sort_unstable();
        let parts = SignedParts {
            method: method.as_str(),
            service,
            path: url.path(),
            query: url.query().unwrap_or_default(),
            headers: &signed,
            body: &body,
            date: &date,
        };
        let authorization = authorization(&credentials, &parts);
        let mut sent = HeaderMap::new();
        for (name, value) in signed.iter().chain([&("authorization", authorization.as_str())]) {
            let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) else {
                return Err(self.place.invalid("the AWS credentials hold a character that cannot be sent."));
            };
            value.set_sensitive(name == "authorization" || name == "x-amz-security-token");
            sent.insert(name, value);
        }
        http.redactor().add([credentials.secret_key.as_str()].into_iter().chain(credentials.session.as_deref()));
        Ok(HttpRequest { method, url, headers: sent, body })
    }
}

/// The fault of credentials that AWS refuses; `None` where it refuses something else.
pub(crate) fn refused_credentials(place: &DatabasePlace, name: &str, said: &str) -> Option<Fault> {
    let names = [
        "UnrecognizedClientException",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
        // As S3 has them.
        "ExpiredToken",
        "InvalidToken",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "RequestTimeTooSkewed",
    ];
    names.contains(&name).then(|| {
        place
            .denied(format!("AWS refuses the credentials: {}.", said.trim_end_matches('.')))
            .with_next("renew the AWS credentials of this process, and check its clock")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clients::http::HttpSettings;
    use domain::clock::Millis;
    use domain::ports::Clock;

    use super::*;

    /// 2026-01-02T03:04:05Z.
    #[derive(Debug)]
    struct StoppedClock;

    impl Clock for StoppedClock {
        fn now(&self) -> Millis {
            Millis(1_767_323_045_000)
        }
    }

    /// The signatures are what botocore 1.43 signs the same requests with.
    #[test]
    fn requests_are_signed_as_amazons_own_client_signs_them() {
        let http = Http::new(HttpSettings { clock: Arc::new(StoppedClock), ..HttpSettings::default() }).unwrap();
        let identity = AwsIdentity {
            place: DatabasePlace::warehouse("lake"),
            region: Some("eu-west-1".into()),
            keys: Some(("AKIDEXAMPLE".into(), "planted-secret-key".into(), Some("planted-session".into()))),
        };
        let hash = crate::aws_sign::body_hash(b"");
        for (url, headers, signature) in [
            (
                "results/a%20b%2Bc/%C3%BC.parquet",
                vec![("range", "bytes=-65536".to_owned())],
                "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token, \
                 Signature=83c7abf0ca2f07e72489095bb785199576bfa89b2e00f2dc8878881c9f754a42",
            ),
            (
                "?encoding-type=url&list-type=2&prefix=results%2Fa%20b%2F",
                Vec::new(),
                "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, \
                 Signature=c7b57cadfa1e8b879d965de899f10406224070fdea6e3c5f19fdfc6cff3598c5",
            ),
        ] {
            let url = Url::parse(&format!("https://lake.s3.eu-west-1.amazonaws.com/{url}")).unwrap();
            let headers = headers.into_iter().chain([("x-amz-content-sha256", hash.clone())]).collect();
            let request = UnsignedRequest { service: "s3", method: Method::GET, url, headers, body: Vec::new() };
            let signed = identity.sign(&http, request).unwrap();
            let authorization = &signed.headers["authorization"];
            assert_eq!(
                authorization.to_str().unwrap(),
                format!("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/s3/aws4_request, {signature}")
            );
            assert!(authorization.is_sensitive());
        }
    }
}
