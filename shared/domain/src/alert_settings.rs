//! Who is told of a sync's problems, and of which: the `alerts` of a sync file and of connections.yaml. One type for
//! both, so that a sync says only what is different for it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::{Millis, Span};
use crate::config::{Secret, Setting};
use crate::finding::Finding;

/// Who is told of problems, and of which. In connections.yaml it is the default of every sync; each part that a sync
/// file gives takes the place of that part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Who is told. An empty list: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<Channel>>,
    /// Of which problems. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Vec<Problem>>,
    /// A run is partial enough to tell when more than this percentage of its records are rejected, exhausted, held
    /// after a rejection, or invalid. Default 1; 0: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_percent: Option<f64>,
    /// A rejected record may be held this long. Default 3 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Span>,
    /// How old the data may be that the destination has: since the last run that delivered began. Rejected, held and
    /// invalid records do not keep a run from having delivered. Default: any age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Span>,
    /// A run is costly when the warehouse scans, or works, more than so many times what it did for runs before (the
    /// median of those like it among the last ten). Default 5. Where the warehouse says what a run used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costly: Option<f64>,
}

/// Somebody to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Channel {
    /// A channel of Slack.
    Slack(SlackChannel),
    /// Any address that takes JSON.
    Webhook(WebhookChannel),
    /// A topic of SNS; told by the functions on AWS, not by the command.
    Sns(SnsChannel),
}

/// A channel of Slack, by an incoming webhook or by a bot.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlackChannel {
    /// The address of an incoming webhook; it knows its channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Secret>,
    /// The token of a bot, instead of a webhook.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// With a token: the channel, as `C0123456789` or `#name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// With a token: where the API is. Default `https://slack.com/api`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_url: Option<Setting>,
    /// Allow addresses that are not public.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
}

/// Any address that takes JSON: the alert by POST.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChannel {
    /// The address; may hold references.
    pub url: Setting,
    /// Headers; a secret in one must be a reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Setting>,
    /// Allow addresses that are not public.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
}

/// A topic of SNS.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SnsChannel {
    /// The topic's ARN. Default: the stack's own topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

impl Channel {
    /// A name that is the same as long as the settings are.
    pub fn name(&self) -> String {
        let kind = match self {
            Channel::Slack(_) => "slack",
            Channel::Webhook(_) => "webhook",
            Channel::Sns(_) => "sns",
        };
        // Plain data with text keys: it always serialises. References are not resolved in it.
        let json = serde_json::to_vec(self).unwrap_or_default();
        format!("{kind}-{:08x}", xxhash_rust::xxh3::xxh3_64(&json) as u32)
    }
}

/// A problem of a sync that people are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// A run was ended by a fault.
    Failed,
    /// A guard stopped a run.
    Blocked,
    /// A run ended before everything was delivered.
    Incomplete,
    /// Too large a share of records was not accepted.
    Partial,
    /// Rejected records are held for too long.
    Held,
    /// What the destination has is too old.
    Stale,
    /// Accepted records that were read back are not as they were sent.
    NotLanded,
    /// The warehouse did far more for a run than usual.
    Costly,
    /// No run has started although one was due; noticed by the watch of a stack on AWS.
    Overdue,
    /// A run makes no progress and no other takes over; noticed by the watch of a stack on AWS.
    Stalled,
}

impl Problem {
    /// All of them.
    pub const ALL: [Problem; 10] = [
        Problem::Failed,
        Problem::Blocked,
        Problem::Incomplete,
        Problem::Partial,
        Problem::Held,
        Problem::Stale,
        Problem::NotLanded,
        Problem::Costly,
        Problem::Overdue,
        Problem::Stalled,
    ];

    /// In a word or two, after "the sync is" or "the run".
    pub fn name(self) -> &'static str {
        match self {
            Problem::Failed => "failed",
            Problem::Blocked => "blocked",
            Problem::Incomplete => "incomplete",
            Problem::Partial => "partial",
            Problem::Held => "held",
            Problem::Stale => "stale",
            Problem::NotLanded => "not landed",
            Problem::Costly => "costly",
            Problem::Overdue => "overdue",
            Problem::Stalled => "stalled",
        }
    }
}

impl Alerts {
    /// True when it says nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// These over a default: what is not said here is as it is there.
    pub fn over(&self, default: &Alerts) -> Alerts {
        Alerts {
            to: self.to.clone().or_else(|| default.to.clone()),
            on: self.on.clone().or_else(|| default.on.clone()),
            partial_percent: self.partial_percent.or(default.partial_percent),
            held: self.held.or(default.held),
            freshness: self.freshness.or(default.freshness),
            costly: self.costly.or(default.costly),
        }
    }

    /// Who is told.
    pub fn channels(&self) -> &[Channel] {
        self.to.as_deref().unwrap_or_default()
    }

    /// True when people are told of this.
    pub fn tells(&self, problem: Problem) -> bool {
        self.on.as_ref().is_none_or(|on| on.contains(&problem))
    }

    /// The percentage above which a run is partial enough.
    pub fn partial_above(&self) -> f64 {
        self.partial_percent.unwrap_or(1.0)
    }

    /// How many times the usual a run may use of the warehouse.
    pub fn costly_above(&self) -> f64 {
        self.costly.unwrap_or(5.0)
    }

    /// How long a record may be held.
    pub fn held_at_most(&self) -> Span {
        self.held.unwrap_or(Span::seconds(3 * 86_400))
    }

    /// What is wrong with it; `about` says where it stands.
    pub fn findings(&self, about: &str) -> Vec<Finding> {
        let mut out = Vec::new();
        if let Some(percent) = self.partial_percent.filter(|p| !(0.0..=100.0).contains(p)) {
            out.push(Finding::error(
                format!("{about}.partial_percent"),
                format!("{percent} is not a percentage"),
                "use a number from 0 to 100",
            ));
        }
        if let Some(times) = self.costly.filter(|times| *times < 1.0) {
            out.push(Finding::error(
                format!("{about}.costly"),
                format!("{times} times the usual would make every run costly"),
                "use a number from 1 on: 5 is five times the usual",
            ));
        }
        for (at, channel) in self.channels().iter().enumerate() {
            let Channel::Slack(slack) = channel else { continue };
            let about = format!("{about}.to[{at}].slack");
            match (&slack.webhook_url, &slack.token, &slack.channel) {
                (Some(_), None, None) | (None, Some(_), Some(_)) => {}
                (None, Some(_), None) => {
                    out.push(Finding::error(about, "a bot needs to know the channel", "add `channel: C0123456789`"))
                }
                _ => out.push(Finding::error(
                    about,
                    "it has neither or both of a webhook and a bot",
                    "give `webhook_url`, or `token` and `channel`",
                )),
            }
        }
        out
    }
}

/// A problem that people know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownProblem {
    /// Which.
    pub problem: Problem,
    /// The fault's code, for a run that was ended by one: another fault is another problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// When the run began after which it was told first.
    pub since: Millis,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alerts(json: serde_json::Value) -> Alerts {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_sync_says_only_what_is_different_for_it() {
        let default = alerts(json!({ "to": [{ "sns": {} }], "partial_percent": 5, "freshness": "2 hours" }));
        let own = alerts(json!({ "partial_percent": 0, "on": ["failed"] }));
        let both = own.over(&default);
        assert_eq!((both.channels().len(), both.partial_above(), both.freshness), (1, 0.0, Some(Span::seconds(7200))));
        assert!(both.tells(Problem::Failed) && !both.tells(Problem::Held) && default.tells(Problem::Held));
        assert_eq!(alerts(json!({ "to": [] })).over(&default).channels(), []);
        assert!(Alerts::default().is_default() && Alerts::default().over(&default) == default);
        assert_eq!(serde_json::to_value(&own).unwrap(), json!({ "on": ["failed"], "partial_percent": 0.0 }));
    }

    #[test]
    fn a_channel_keeps_its_name_and_never_a_secret() {
        let of = |json| serde_json::from_value::<Channel>(json).unwrap();
        let one = of(json!({ "slack": { "webhook_url": "${env:HOOK}" } }));
        assert!(one.name().starts_with("slack-") && one.name() == one.name());
        assert_ne!(one.name(), of(json!({ "slack": { "webhook_url": "${env:OTHER}" } })).name());
        let refused = serde_json::from_value::<Channel>(json!({ "slack": { "webhook_url": "planted-secret" } }))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("must be a reference") && !refused.contains("planted"), "{refused}");
    }

    #[test]
    fn mistakes_are_named() {
        for (json, part) in [
            (json!({ "to": [{ "slack": {} }] }), "alerts.to[0].slack"),
            (json!({ "to": [{ "sns": {} }, { "slack": { "token": "${env:T}" } }] }), "alerts.to[1].slack: a bot needs"),
            (json!({ "to": [{ "slack": { "token": "${env:T}", "webhook_url": "${env:H}" } }] }), "neither or both"),
            (json!({ "partial_percent": -1 }), "is not a percentage"),
            (json!({ "costly": 0.5 }), "alerts.costly: 0.5 times the usual"),
        ] {
            let found = alerts(json).findings("alerts").iter().map(ToString::to_string).collect::<String>();
            assert!(found.contains(part), "`{part}` is not in: {found}");
        }
        assert!(
            alerts(json!({ "to": [{ "slack": { "token": "${env:T}", "channel": "C1" } }] }))
                .findings("alerts")
                .is_empty()
        );
    }
}
