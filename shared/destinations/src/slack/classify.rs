//! What an answer of Slack means for the one record of its request.

use std::time::Duration;

use domain::bucket::UNKNOWN_OUTCOME;
use domain::outcome::{Effect, Outcome, WriteError};

use super::client::{Posted, SlackReply};
use clients::http::SendError;
use clients::http::status::{StatusMeaning, Statuses, classify_status};

/// The token or what it may do is wrong: for every message.
const UNAUTHORIZED: [&str; 14] = [
    "access_denied",
    "account_inactive",
    "ekm_access_denied",
    "invalid_auth",
    "invalid_token",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "org_login_required",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
];
/// The channel is wrong: for every message.
const MISCONFIGURED: [&str; 9] = [
    "action_prohibited",
    "channel_is_archived",
    "channel_not_found",
    "is_archived",
    "no_service",
    "not_in_channel",
    "restricted_action",
    "team_not_found",
    "unknown_method",
];
/// Nothing was posted, and it may be later.
const LATER: [&str; 2] = ["request_timeout", "service_unavailable"];
/// Slack failed on its own side: it may have posted the message before.
const UNSURE: [&str; 2] = ["fatal_error", "internal_error"];

/// The outcome of a message that was answered. `send_again`: also when nobody knows whether it arrived.
pub(super) fn outcome(posted: Posted, send_again: bool) -> Result<Outcome, WriteError> {
    let Posted { reply, said } = posted;
    let verdict = classify_status(reply.status, reply.header("retry-after"), reply.clock(), &Statuses::default());
    if let StatusMeaning::Throttled(after) = verdict {
        return Err(WriteError::Throttled { after });
    }
    match said {
        SlackReply::Ok(record_id) => Ok(Outcome::Accepted { effect: Effect::Created, record_id }),
        SlackReply::Failed(code, more) => {
            let is = |list: &[&str]| list.contains(&code.as_str());
            let detail =
                if more.is_empty() { format!("Slack says {code}") } else { format!("Slack says {code}: {more}") };
            if is(&["ratelimited", "rate_limited"]) {
                let after = reply
                    .header("retry-after")
                    .and_then(|header| domain::retry_after::retry_after(header, reply.clock()));
                return Err(WriteError::Throttled { after });
            }
            if is(&UNAUTHORIZED) {
                return Err(WriteError::Unauthorized { detail });
            }
            if is(&MISCONFIGURED) {
                return Err(WriteError::Misconfigured { detail });
            }
            if is(&LATER) || reply.status == 503 {
                let after = reply
                    .header("retry-after")
                    .and_then(|header| domain::retry_after::retry_after(header, reply.clock()));
                return Err(WriteError::Unavailable { after, detail });
            }
            if is(&UNSURE) || reply.status >= 500 {
                return unsure(detail, send_again);
            }
            match verdict {
                StatusMeaning::Ok | StatusMeaning::Refused => Ok(Outcome::Rejected { code, detail }),
                other => other.error(&reply, code, detail).map_or_else(|| Ok(Outcome::unmentioned()), Err),
            }
        }
        SlackReply::Unreadable => match verdict {
            // It was taken, or not: an answer that is none says neither.
            StatusMeaning::Ok => unsure("the answer cannot be read".into(), send_again),
            StatusMeaning::Unavailable(after) if reply.status == 503 => {
                Err(WriteError::Unavailable { after, detail: format!("it answers {} without a reason", reply.status) })
            }
            StatusMeaning::Unavailable(_) => {
                unsure(format!("it answers {} without a reason", reply.status), send_again)
            }
            other => {
                let code = format!("http_{}", reply.status);
                other.error(&reply, code, String::new()).map_or_else(|| Ok(Outcome::unmentioned()), Err)
            }
        },
    }
}

/// The outcome of a message without an answer: one that went out is not sent again, one that did not is.
pub(super) fn unsent(error: SendError, send_again: bool) -> Result<Outcome, WriteError> {
    match &error {
        SendError::Timeout { detail } | SendError::Broken { detail } => unsure(detail.clone(), send_again),
        // No name, no connection, a refused address or certificate: nothing was sent.
        _ => Err(error.into()),
    }
}

fn unsure(detail: String, send_again: bool) -> Result<Outcome, WriteError> {
    if send_again {
        return Err(WriteError::Unavailable { after: None::<Duration>, detail });
    }
    let detail = format!(
        "nobody knows whether the message was posted ({detail}); look into the channel before you send it again"
    );
    Ok(Outcome::rejected(UNKNOWN_OUTCOME, detail))
}
