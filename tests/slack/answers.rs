//! Every answer of Slack, and what it comes to.

use std::time::Duration;

use domain::mode::Mode;
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::PreflightRequest;
use serde_json::json;
use support::slack::{ARCHIVED, FOREIGN, GENERAL, ScriptedFailure, SlackDouble};

use crate::rig::{bot, bot_with, hook, post};

#[tokio::test]
async fn a_message_is_posted_and_its_id_kept() {
    let slack = SlackDouble::start();
    let options = json!({ "text": "<!here> {{id}}", "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": "*{{id}}*" } }] });
    let to = bot(&slack, GENERAL, options).await;
    let outcome = post(to.as_ref(), "a <b> & c").await.unwrap();
    assert!(
        matches!(&outcome, Outcome::Accepted { effect: Effect::Created, record_id: Some(id) } if id.starts_with("C0GENERAL:17")),
        "{outcome:?}"
    );
    let [message] = &slack.messages()[..] else { panic!("one message") };
    assert_eq!((message.channel.as_str(), message.text.as_str()), (GENERAL, "<!here> a &lt;b&gt; &amp; c"));
    assert_eq!(message.blocks[0]["text"]["text"], "*a &lt;b&gt; &amp; c*");
    assert!(matches!(post(hook(&slack).await.as_ref(), "b").await, Ok(Outcome::Accepted { .. })));
    assert_eq!(slack.messages()[1].text, "new: b");
}

#[tokio::test]
async fn a_failure_with_a_good_status_is_a_failure() {
    let slack = SlackDouble::start();
    for code in ["msg_too_long", "no_text", "invalid_blocks", "too_many_attachments", "a_code_of_tomorrow"] {
        slack.failure([ScriptedFailure::Error(code)]);
        let outcome = post(bot(&slack, GENERAL, json!({})).await.as_ref(), "a").await.unwrap();
        assert!(matches!(&outcome, Outcome::Rejected { code: got, .. } if got == code), "{outcome:?}");
    }
    for code in ["no_text", "invalid_payload"] {
        slack.failure([ScriptedFailure::Error(code)]);
        let outcome = post(hook(&slack).await.as_ref(), "a").await.unwrap();
        assert!(matches!(&outcome, Outcome::Rejected { code: got, .. } if got == code), "{outcome:?}");
    }
    assert!(slack.messages().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_the_channel_or_the_token_stops_the_run() {
    let slack = SlackDouble::start();
    for (channel, code) in [("C0NOWHERE", "channel_not_found"), (ARCHIVED, "is_archived"), (FOREIGN, "not_in_channel")]
    {
        let error = post(bot(&slack, channel, json!({})).await.as_ref(), "a").await.unwrap_err();
        assert!(matches!(&error, WriteError::Misconfigured { detail } if detail.contains(code)), "{error}");
    }
    let error = post(bot_with(&slack, GENERAL, json!({}), "WRONG", "5s").await.as_ref(), "a").await.unwrap_err();
    assert!(matches!(&error, WriteError::Unauthorized { detail } if detail.contains("invalid_auth")), "{error}");
    for code in ["account_inactive", "token_expired"] {
        slack.failure([ScriptedFailure::Error(code)]);
        let error = post(bot(&slack, GENERAL, json!({})).await.as_ref(), "a").await.unwrap_err();
        assert!(matches!(&error, WriteError::Unauthorized { detail } if detail.contains(code)), "{error}");
    }
    slack.failure([ScriptedFailure::Error("restricted_action")]);
    let error = post(bot(&slack, GENERAL, json!({})).await.as_ref(), "a").await.unwrap_err();
    assert!(matches!(&error, WriteError::Misconfigured { detail } if detail.contains("restricted_action")), "{error}");
    slack.scopes(&[]);
    let error = post(bot(&slack, GENERAL, json!({})).await.as_ref(), "a").await.unwrap_err();
    assert!(matches!(&error, WriteError::Unauthorized { detail } if detail.contains("missing_scope")), "{error}");
    slack.revoke();
    let error = post(bot(&slack, GENERAL, json!({})).await.as_ref(), "a").await.unwrap_err();
    assert!(matches!(&error, WriteError::Unauthorized { detail } if detail.contains("token_revoked")), "{error}");
    for (status, body) in [(404, "no_service"), (410, "channel_is_archived")] {
        slack.failure([ScriptedFailure::Status(status, body)]);
        let error = post(hook(&slack).await.as_ref(), "a").await.unwrap_err();
        assert!(matches!(&error, WriteError::Misconfigured { detail } if detail.contains(body)), "{error}");
    }
    slack.failure([ScriptedFailure::Status(403, "action_prohibited")]);
    assert!(matches!(
        post(hook(&slack).await.as_ref(), "a").await,
        Err(WriteError::Misconfigured { .. } | WriteError::Unauthorized { .. })
    ));
    assert!(slack.messages().is_empty());
}

#[tokio::test]
async fn too_fast_is_a_pause_of_the_time_that_slack_names() {
    let slack = SlackDouble::start();
    slack.failure([ScriptedFailure::TooFast(7), ScriptedFailure::TooFast(9), ScriptedFailure::Error("ratelimited")]);
    let (bot, hook) = (bot(&slack, GENERAL, json!({})).await, hook(&slack).await);
    assert_eq!(post(bot.as_ref(), "a").await, Err(WriteError::Throttled { after: Some(Duration::from_secs(7)) }));
    assert_eq!(post(hook.as_ref(), "a").await, Err(WriteError::Throttled { after: Some(Duration::from_secs(9)) }));
    assert_eq!(post(bot.as_ref(), "a").await, Err(WriteError::Throttled { after: None }));
    assert!(slack.messages().is_empty());
}

#[tokio::test]
async fn what_was_not_posted_is_tried_again() {
    let slack = SlackDouble::start();
    let bot = bot(&slack, GENERAL, json!({})).await;
    for failure in [
        ScriptedFailure::Error("service_unavailable"),
        ScriptedFailure::Error("request_timeout"),
        ScriptedFailure::Status(503, ""),
    ] {
        slack.failure([failure.clone()]);
        let error = post(bot.as_ref(), "a").await.unwrap_err();
        assert!(matches!(error, WriteError::Unavailable { .. }), "{failure:?}: {error}");
    }
    // One that has no connection from before.
    let fresh = crate::rig::bot(&slack, GENERAL, json!({})).await;
    drop(slack);
    let error = post(fresh.as_ref(), "a").await.unwrap_err();
    assert!(matches!(&error, WriteError::Unavailable { detail, .. } if detail.contains("no connection")), "{error}");
}

#[tokio::test]
async fn what_may_have_been_posted_is_not_sent_again() {
    let slack = SlackDouble::start();
    let quick = bot_with(&slack, GENERAL, json!({}), "TOKEN", "300ms").await;
    for failure in [
        ScriptedFailure::PostThenDrop,
        ScriptedFailure::PostThenHang(Duration::from_secs(60)),
        ScriptedFailure::ErrorAfter("fatal_error"),
        ScriptedFailure::ErrorAfter("internal_error"),
        ScriptedFailure::Drop,
        ScriptedFailure::Status(200, "<html>"),
        ScriptedFailure::Status(500, ""),
        ScriptedFailure::Status(502, "Bad gateway"),
    ] {
        slack.failure([failure.clone()]);
        let outcome = post(quick.as_ref(), "a").await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Rejected { code, .. } if code == "unknown_outcome"),
            "{failure:?}: {outcome:?}"
        );
    }
    let willing = bot_with(&slack, GENERAL, json!({ "when_unsure": "send_again" }), "TOKEN", "300ms").await;
    slack.failure([ScriptedFailure::PostThenDrop]);
    assert!(
        matches!(post(willing.as_ref(), "a").await, Err(WriteError::Unavailable { .. })),
        "for those who prefer twice to never"
    );
    slack.failure([ScriptedFailure::PostThenDrop]);
    let outcome = post(hook(&slack).await.as_ref(), "a").await.unwrap();
    assert!(matches!(&outcome, Outcome::Rejected { code, .. } if code == "unknown_outcome"), "{outcome:?}");
}

#[tokio::test]
async fn preflight_looks_at_the_token_and_the_channel() {
    let slack = SlackDouble::start();
    let need = PreflightRequest { mode: Mode::Append, fields: &[("id".to_owned(), true)] };
    for (channel, expected) in [
        (GENERAL, ""),
        ("#general", ""),
        ("C0NOWHERE", "there is no channel"),
        (ARCHIVED, "is archived"),
        (FOREIGN, "not a member"),
    ] {
        let found = bot(&slack, channel, json!({})).await.preflight(need).await.unwrap().findings;
        let text: String = found.iter().map(ToString::to_string).collect();
        assert!(if expected.is_empty() { found.is_empty() } else { text.contains(expected) }, "{channel}: {text}");
    }
    slack.scopes(&["chat:write"]);
    assert!(
        bot(&slack, ARCHIVED, json!({})).await.preflight(need).await.unwrap().findings.is_empty(),
        "without the scope nobody can say"
    );
    assert!(hook(&slack).await.preflight(need).await.unwrap().findings.is_empty());
    let fault = bot_with(&slack, GENERAL, json!({}), "WRONG", "5s").await.preflight(need).await.unwrap_err();
    assert!(fault.what.contains("invalid_auth") && !fault.to_string().contains("planted"), "{fault}");
    assert_eq!(slack.posts(), 0, "nothing was posted");
}
