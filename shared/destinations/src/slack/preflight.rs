//! What can be known of Slack before a message is sent. Of an incoming webhook that is its address only: it cannot be
//! asked anything without posting.

use domain::fault::{Code, Fault};
use domain::finding::Finding;
use serde_json::json;

use super::client::{Client, Posted, SlackReply};

/// Asks whether the token is good, and what the bot knows of the channel. A channel by `#name` cannot be looked up: its
/// first message shows.
pub(super) async fn look(client: &Client, about: &str) -> Result<Vec<Finding>, Fault> {
    let findings = client.look_at(about).await?;
    let Some(channel) = client.channel().filter(|_| !findings.iter().any(Finding::is_error)) else {
        return Ok(findings);
    };
    match client.call("auth.test", json!({})).await? {
        Posted { said: SlackReply::Ok(_), .. } => {}
        Posted { said: SlackReply::Failed(code, _), reply } if code != "ratelimited" && reply.status != 429 => {
            return Err(Fault::new(
                Code::DestinationUnauthorized,
                format!("{about}: Slack refuses the token: {code}."),
            ));
        }
        // Too fast, or an answer that is none: that is for the messages to find out.
        _ => return Ok(findings),
    }
    if channel.starts_with('#') {
        return Ok(findings);
    }
    Ok(findings.into_iter().chain(channel_finding(client, channel, about).await?).collect())
}

async fn channel_finding(client: &Client, channel: &str, about: &str) -> Result<Option<Finding>, Fault> {
    let answer = client.call("conversations.info", json!({ "channel": channel })).await?;
    let known = match answer.said {
        SlackReply::Ok(_) => serde_json::from_slice::<serde_json::Value>(&answer.reply.body).unwrap_or_default(),
        SlackReply::Failed(code, _) if code == "channel_not_found" => {
            let fix = "name a channel that there is, and invite the bot to it if it is private";
            return Ok(Some(Finding::error(
                about,
                format!("there is no channel `{channel}` that the bot can see"),
                fix,
            )));
        }
        // Without the scope to look at channels nobody can say.
        _ => return Ok(None),
    };
    let is = |what: &str| known.pointer(&format!("/channel/{what}")).and_then(serde_json::Value::as_bool);
    if is("is_archived") == Some(true) {
        return Ok(Some(Finding::error(
            about,
            format!("the channel `{channel}` is archived"),
            "name another channel, or bring it back",
        )));
    }
    if is("is_member") == Some(false) {
        let fix = "invite the bot to the channel, or give it the scope `chat:write.public`";
        return Ok(Some(Finding::warning(about, format!("the bot is not a member of the channel `{channel}`"), fix)));
    }
    Ok(None)
}
