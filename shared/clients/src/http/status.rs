//! What an HTTP status means for the batch that was sent. Not here: what a body says ([`super::detail`], and
//! each destination for its own results).

use std::time::Duration;

use domain::clock::Millis;
use domain::outcome::WriteError;
use domain::retry_after::retry_after;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HttpReply;

/// Statuses that mean something else here than they do elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Statuses {
    /// The records are accepted.
    pub success: Vec<u16>,
    /// The request is to be sent again, after a pause.
    pub retry: Vec<u16>,
    /// The records are refused, and will be refused again unchanged.
    pub permanent: Vec<u16>,
}

/// What a status means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusMeaning {
    /// Accepted, as far as the status goes.
    Ok,
    /// Too fast; pause for this long, where it said so.
    Throttled(Option<Duration>),
    /// An error that passes; not before this much time, where it said so.
    Unavailable(Option<Duration>),
    /// The credentials are refused.
    Unauthorized,
    /// The address or the settings are wrong for every record.
    Misconfigured,
    /// The records, or one of them, are refused for good.
    Refused,
}

/// The verdict on a status with its `Retry-After` header, if there is one.
pub fn classify_status(status: u16, after: Option<&str>, now: Millis, own: &Statuses) -> StatusMeaning {
    let after = after.and_then(|header| retry_after(header, now));
    if own.success.contains(&status) {
        return StatusMeaning::Ok;
    }
    if own.permanent.contains(&status) {
        return StatusMeaning::Refused;
    }
    if own.retry.contains(&status) && status != 429 {
        return StatusMeaning::Unavailable(after);
    }
    match status {
        200..=299 => StatusMeaning::Ok,
        401 | 403 => StatusMeaning::Unauthorized,
        402 | 404 | 405 | 407 | 410 | 421 => StatusMeaning::Misconfigured,
        408 | 423 | 425 | 500..=599 => StatusMeaning::Unavailable(after),
        429 => StatusMeaning::Throttled(after),
        400..=499 => StatusMeaning::Refused,
        _ => StatusMeaning::Misconfigured,
    }
}

impl StatusMeaning {
    /// The error of the batch; `None` when the status is good. `code` names a refusal, `detail` is what the
    /// destination said.
    pub fn error(self, reply: &HttpReply, code: String, detail: String) -> Option<WriteError> {
        let said = || {
            if detail.is_empty() {
                format!("it answers {}", reply.status)
            } else {
                format!("it answers {}: {detail}", reply.status)
            }
        };
        Some(match self {
            StatusMeaning::Ok => return None,
            StatusMeaning::Throttled(after) => WriteError::Throttled { after },
            StatusMeaning::Unavailable(after) => WriteError::Unavailable { after, detail: said() },
            StatusMeaning::Unauthorized => WriteError::Unauthorized { detail: said() },
            StatusMeaning::Misconfigured if (300..400).contains(&reply.status) => {
                WriteError::Misconfigured { detail: redirected(reply) }
            }
            StatusMeaning::Misconfigured => WriteError::Misconfigured { detail: said() },
            StatusMeaning::Refused => WriteError::Refused { code, detail: said() },
        })
    }
}

/// The sentence about a redirect. Only the host is told: a path may hold a secret.
fn redirected(reply: &HttpReply) -> String {
    let to = reply
        .header("location")
        .and_then(|location| reply.url.join(location).ok())
        .and_then(|url| url.host_str().map(str::to_owned));
    match to {
        Some(host) => format!(
            "it answers {} and points to {host}; redirects are not followed, so name the final address in `url`",
            reply.status
        ),
        None => format!("it answers {} and redirects are not followed; name the final address in `url`", reply.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, after: Option<&str>) -> StatusMeaning {
        classify_status(status, after, Millis(1_445_412_480_000), &Statuses::default())
    }

    #[test]
    fn every_status_has_its_verdict() {
        for (statuses, expected) in [
            (&[200, 201, 202, 204, 207][..], StatusMeaning::Ok),
            (
                &[300, 301, 302, 303, 304, 307, 308, 402, 404, 405, 407, 410, 421, 101, 600],
                StatusMeaning::Misconfigured,
            ),
            (&[400, 406, 409, 411, 413, 414, 415, 417, 418, 422, 431, 451], StatusMeaning::Refused),
            (&[401, 403], StatusMeaning::Unauthorized),
            (&[408, 423, 425, 500, 501, 502, 503, 504, 507, 520, 599], StatusMeaning::Unavailable(None)),
            (&[429], StatusMeaning::Throttled(None)),
        ] {
            statuses.iter().for_each(|s| assert_eq!(verdict(*s, None), expected, "{s}"));
        }
    }

    #[test]
    fn retry_after_is_honoured_in_every_form() {
        // Now is Wed, 21 Oct 2015 07:28:00 GMT.
        for (header, expected) in [
            ("120", Some(Duration::from_secs(120))),
            ("1.5", Some(Duration::from_millis(1500))),
            ("0", Some(Duration::ZERO)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(Duration::from_secs(30))),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(verdict(429, Some(header)), StatusMeaning::Throttled(expected), "{header}");
            for status in [502, 503, 504] {
                assert_eq!(verdict(status, Some(header)), StatusMeaning::Unavailable(expected), "{status} {header}");
            }
        }
    }

    #[test]
    fn a_destination_may_have_its_own_meanings() {
        let own = Statuses { success: vec![409], retry: vec![404, 429], permanent: vec![500] };
        let of = |status| classify_status(status, Some("2"), Millis(0), &own);
        assert_eq!(of(409), StatusMeaning::Ok);
        assert_eq!(of(404), StatusMeaning::Unavailable(Some(Duration::from_secs(2))));
        assert_eq!(
            of(429),
            StatusMeaning::Throttled(Some(Duration::from_secs(2))),
            "too many requests stays what it is"
        );
        assert_eq!(of(500), StatusMeaning::Refused);
        assert_eq!(of(400), StatusMeaning::Refused);
    }
}
