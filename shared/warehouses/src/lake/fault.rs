//! What the errors of S3 mean to a person.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>

use clients::DatabasePlace;
use clients::http::detail::Redactor;
use domain::fault::Fault;

use super::location::S3Location;
use super::xml;
use crate::aws_login::refused_credentials;

/// How the sentence of an object that is not there ends.
pub(super) const GONE: &str = " is not there.";

/// What S3 was asked for: the action of IAM that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum S3Access {
    Get,
    List,
    Delete,
}

impl S3Access {
    fn action(self) -> &'static str {
        match self {
            S3Access::Get => "s3:GetObject",
            S3Access::List => "s3:ListBucket",
            S3Access::Delete => "s3:DeleteObject",
        }
    }
}

/// What S3 answered in place of what it was asked for.
pub(super) struct S3Refusal<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    /// Where the bucket lies, where the answer says so.
    pub(super) region: Option<&'a str>,
}

/// The fault of an answer; one that says S3 is unreachable passes.
pub(super) fn fault(
    place: &DatabasePlace,
    redactor: &Redactor,
    at: &S3Location,
    access: S3Access,
    refusal: &S3Refusal<'_>,
) -> Fault {
    let body = String::from_utf8_lossy(refusal.body);
    let code = xml::text(&body, "Code").unwrap_or_default();
    let said = redactor.shorten(&xml::text(&body, "Message").unwrap_or_default());
    let said = said.trim_end_matches('.');
    if let Some(fault) = refused_credentials(place, &code, said) {
        return fault;
    }
    let S3Location { bucket, .. } = at;
    let passing = ["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"];
    match (code.as_str(), refusal.status) {
        (code, status) if status >= 500 || status == 429 || passing.contains(&code) => {
            place.unreachable(format!("S3 answers {status} ({code}) to {at}: {said}."))
        }
        (
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "TemporaryRedirect"
            | "IllegalLocationConstraintException",
            _,
        )
        | (_, 301 | 307) => {
            let region = refusal.region.map(str::to_owned).or_else(|| xml::text(&body, "Region"));
            let region = region.map_or_else(|| "another region".to_owned(), |region| format!("the region {region}"));
            place
                .invalid(format!("the bucket {bucket} lies in {region}."))
                .with_next("use a bucket in the region of the connection")
        }
        ("NoSuchBucket", _) => place
            .invalid(format!("there is no bucket {bucket}."))
            .with_next("check the s3:// address of the connection"),
        ("NoSuchKey", _) | (_, 404) => place.unreachable(format!("{at}{GONE}")).with_next(
            "does a lifecycle rule or another process delete there? The address of the connection should be its own",
        ),
        ("KMS.DisabledException" | "KMS.NotFoundException", _) => {
            place.denied(format!("{at} is encrypted with a key that cannot be used: {said}."))
        }
        (_, 403) if said.contains("kms:") => place
            .denied(format!("S3 refuses to read {at}: {said}."))
            .with_next("allow the role kms:Decrypt on the key of the bucket"),
        (_, 401 | 403) => {
            let target = match access {
                S3Access::List => format!("arn:aws:s3:::{bucket}"),
                S3Access::Get | S3Access::Delete => at.arn(),
            };
            place
                .denied(format!("S3 refuses access to {at}: {said}."))
                .with_next(format!("allow the role {} on {target}", access.action()))
        }
        (code, status) => place.invalid(format!("S3 refuses the request for {at} ({status} {code}): {said}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fault::Code;

    #[test]
    fn every_error_has_its_words() {
        let place = DatabasePlace::warehouse("lake");
        let at = S3Location::parse("s3://lake/results/x").unwrap();
        let error =
            |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m.</Message></Error>");
        for (status, code, access, expected, part) in [
            (403, "AccessDenied", S3Access::Get, Code::WarehouseDenied, "s3:GetObject on arn:aws:s3:::lake/results/x*"),
            (403, "AccessDenied", S3Access::List, Code::WarehouseDenied, "s3:ListBucket on arn:aws:s3:::lake"),
            (403, "AccessDenied", S3Access::Delete, Code::WarehouseDenied, "s3:DeleteObject"),
            (400, "ExpiredToken", S3Access::Get, Code::WarehouseDenied, "renew"),
            (403, "SignatureDoesNotMatch", S3Access::Get, Code::WarehouseDenied, "renew"),
            (404, "NoSuchBucket", S3Access::Get, Code::ConnectionInvalid, "no bucket lake"),
            (404, "NoSuchKey", S3Access::Get, Code::WarehouseUnreachable, "is not there"),
            (503, "SlowDown", S3Access::Get, Code::WarehouseUnreachable, "503 (SlowDown)"),
            (301, "PermanentRedirect", S3Access::Get, Code::ConnectionInvalid, "the region eu-west-3"),
            (400, "InvalidArgument", S3Access::Get, Code::ConnectionInvalid, "refuses the request"),
        ] {
            let body = error(code);
            let region = (status == 301).then_some("eu-west-3");
            let refusal = S3Refusal { status, body: body.as_bytes(), region };
            let fault = fault(&place, &Redactor::default(), &at, access, &refusal);
            assert_eq!(fault.code, expected, "{fault}");
            assert!(fault.to_string().contains(part), "{fault}");
        }
    }
}
