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
}

impl AwsFailure {
    /// Reads an error of the SDK.
    pub fn of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Self {
        match error {
            SdkError::ServiceError(service) => Self::said(service.err().code(), service.err().message()),
            SdkError::TimeoutError(_) => Self::silent("no answer in time"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Self::silent("no connection in time"),
            SdkError::DispatchFailure(failure) if failure.is_io() => Self::silent("no connection"),
            SdkError::DispatchFailure(_) => {
                Self { kind: AwsFailureKind::Denied, code: "no usable credentials or endpoint".into(), words: None }
            }
            SdkError::ResponseError(_) => Self::silent("an answer that cannot be read"),
            _ => Self { kind: AwsFailureKind::Other, code: "a request that could not be built".into(), words: None },
        }
    }

    /// A failure by AWS's code and words: those of one entry of a batch, for example.
    pub fn said(code: Option<&str>, words: Option<&str>) -> Self {
        // The query protocol has a prefix before the code: `AWS.SimpleQueueService.NonExistentQueue`.
        let code = code.unwrap_or("an error without a code");
        let name = code.rsplit('.').next().unwrap_or(code);
        let is = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let kind = if is(&["KMS", "Kms", "Decryption", "InvalidKeyId"]) && !is(&["Throttl"]) {
            AwsFailureKind::Key
        } else if is(&[
            "AccessDenied",
            "AuthorizationError",
            "UnrecognizedClient",
            "ExpiredToken",
            "InvalidClientTokenId",
            "InvalidSignature",
            "SignatureDoesNotMatch",
        ]) {
            AwsFailureKind::Denied
        } else if is(&["NotFound", "NonExistent", "DoesNotExist", "NoSuch"]) {
            AwsFailureKind::Missing
        } else if is(&["Throttl", "TooManyRequests", "SlowDown", "RequestLimitExceeded"]) {
            AwsFailureKind::Throttled
        } else if is(&["InternalError", "InternalServer", "InternalFailure", "InternalService", "ServiceUnavailable"]) {
            AwsFailureKind::Unreachable
        } else {
            AwsFailureKind::Other
        };
        let safe = SAFE.iter().any(|part| name.contains(part));
        let words = words.filter(|words| safe && !words.is_empty()).map(|words| words.chars().take(WORDS).collect());
        Self { kind, code: name.chars().take(WORDS).collect(), words }
    }

    fn silent(what: &str) -> Self {
        Self { kind: AwsFailureKind::Unreachable, code: what.into(), words: None }
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
