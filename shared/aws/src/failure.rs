//! What a call of AWS failed with, as values that a sentence can be made of. It decides nothing and keeps only what
//! is safe to show: the error's code, and AWS's words where they are about names and permissions.

use std::fmt;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

/// Most characters of AWS's own words.
const WORDS: usize = 400;
/// AWS's words are shown for codes that end or begin like this: they name the principal, the action and the
/// resource. Words of other errors may repeat what was sent.
const SAFE: [&str; 8] = [
    "AccessDenied",
    "AuthorizationError",
    "KMS",
    "Kms",
    "UnrecognizedClient",
    "ExpiredToken",
    "InvalidClientTokenId",
    "InvalidSignature",
];

/// Codes for credentials that AWS does not take.
const CREDENTIALS: [&str; 6] = [
    "UnrecognizedClient",
    "ExpiredToken",
    "InvalidClientTokenId",
    "InvalidSignature",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
];
/// What is said where nothing could be sent.
const NO_WAY: &str = "no usable credentials or endpoint";

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsFailureKind {
    /// No permission, or credentials that AWS does not take.
    Denied,
    /// The key that encrypts it cannot be used.
    Key,
    /// What was asked for is not there.
    Missing,
    /// Too much at once.
    Throttled,
    /// AWS could not be reached, or did not answer in time.
    Unreachable,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsFailure {
    /// What kind it is.
    pub kind: AwsFailureKind,
    /// AWS's code, such as `AccessDeniedException`; for a call that got no answer what happened.
    pub code: String,
    /// AWS's own words, where they are safe to show.
    pub words: Option<String>,
    /// An item would be larger than one can be.
    pub too_large: bool,
}

impl AwsFailure {
    /// True where a condition of the request did not hold.
    pub fn is_condition(&self) -> bool {
        self.code == "ConditionalCheckFailedException"
    }

    /// True where AWS does not take the credentials; false where they lack a permission.
    pub fn is_about_credentials(&self) -> bool {
        CREDENTIALS.iter().any(|part| self.code.contains(part))
    }

    /// Reads an error of the SDK.
    pub fn of<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Self {
        match error {
            SdkError::ServiceError(service) => {
                let mut failure = Self::said(service.err().code(), service.err().message());
                if failure.kind == AwsFailureKind::Other && !(400..500).contains(&service.raw().status().as_u16()) {
                    failure.kind = AwsFailureKind::Unreachable;
                }
                failure
            }
            SdkError::TimeoutError(_) => Self::silent("no answer in time"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::silent("no connection in time"),
            SdkError::DispatchFailure(failure) if failure.is_io() => Self::silent("no connection"),
            SdkError::DispatchFailure(_) => Self::of_kind(AwsFailureKind::Denied, NO_WAY),
            SdkError::ResponseError(_) => Self::silent("an answer that cannot be read"),
            _ => Self::of_kind(AwsFailureKind::Other, "a request that could not be built"),
        }
    }

    /// A failure by AWS's code and words: those of one entry of a batch, for example.
    pub fn said(code: Option<&str>, words: Option<&str>) -> Self {
        // The query protocol has a prefix before the code: `AWS.SimpleQueueService.NonExistentQueue`.
        let code = code.unwrap_or("an error without a code");
        let name = code.rsplit('.').next().unwrap_or(code);
        let is = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        // DynamoDB's only word for it is in the message.
        let told = |part: &str| words.is_some_and(|words| words.contains(part));
        let too_large = is(&["ItemCollectionSizeLimitExceeded"])
            || (is(&["ValidationException"]) && told("size") && told("exceeded"));
        let kind = if is(&["KMS", "Kms", "Decryption", "InvalidKeyId"]) && !is(&["Throttl"]) {
            AwsFailureKind::Key
        } else if is(&["AccessDenied", "AuthorizationError"]) || is(&CREDENTIALS) {
            AwsFailureKind::Denied
        } else if is(&["NotFound", "NonExistent", "DoesNotExist", "NoSuch"]) {
            AwsFailureKind::Missing
        } else if is(&["Throttl", "TooManyRequests", "SlowDown", "RequestLimitExceeded", "ThroughputExceeded"]) {
            AwsFailureKind::Throttled
        } else if is(&["InternalError", "InternalServer", "InternalFailure", "InternalService", "ServiceUnavailable"]) {
            AwsFailureKind::Unreachable
        } else {
            AwsFailureKind::Other
        };
        let safe = SAFE.iter().any(|part| name.contains(part));
        let words = words.filter(|words| safe && !words.is_empty()).map(|words| words.chars().take(WORDS).collect());
        Self { kind, code: name.chars().take(WORDS).collect(), words, too_large }
    }

    /// True where nothing could be sent: no credentials, no region, no endpoint.
    pub fn is_unsent(&self) -> bool {
        self.code == NO_WAY || self.code == "a request that could not be built"
    }

    fn silent(what: &str) -> Self {
        Self::of_kind(AwsFailureKind::Unreachable, what)
    }

    fn of_kind(kind: AwsFailureKind, what: &str) -> Self {
        Self { kind, code: what.into(), words: None, too_large: false }
    }
}

impl fmt::Display for AwsFailure {
    /// `AccessDeniedException: User … is not authorized to perform …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            Some(words) => write!(f, "{}: {}", self.code, words.trim_end_matches('.')),
            None => f.write_str(&self.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        for (code, kind) in [
            ("AccessDeniedException", AwsFailureKind::Denied),
            ("AccessDenied", AwsFailureKind::Denied),
            ("AuthorizationError", AwsFailureKind::Denied),
            ("KmsAccessDenied", AwsFailureKind::Key),
            ("KMSAccessDeniedException", AwsFailureKind::Key),
            ("DecryptionFailure", AwsFailureKind::Key),
            ("AWS.SimpleQueueService.NonExistentQueue", AwsFailureKind::Missing),
            ("QueueDoesNotExist", AwsFailureKind::Missing),
            ("ParameterNotFound", AwsFailureKind::Missing),
            ("ThrottlingException", AwsFailureKind::Throttled),
            ("KmsThrottled", AwsFailureKind::Throttled),
            ("InternalServiceError", AwsFailureKind::Unreachable),
            ("InvalidMessageContents", AwsFailureKind::Other),
        ] {
            assert_eq!(AwsFailure::said(Some(code), None).kind, kind, "{code}");
        }
    }

    #[test]
    fn only_words_about_permissions_are_kept() {
        let denied = AwsFailure::said(
            Some("AccessDeniedException"),
            Some("User u is not authorized to perform: sqs:SendMessage."),
        );
        assert_eq!(denied.to_string(), "AccessDeniedException: User u is not authorized to perform: sqs:SendMessage");
        let echo = AwsFailure::said(
            Some("InvalidParameterValue"),
            Some("Value planted-secret for parameter MessageBody is invalid"),
        );
        assert_eq!(echo.to_string(), "InvalidParameterValue");
    }
}
