//! When a sync runs, as the sync file says it: by hand, every so often, at times, or on the event of another system.
//! Values and translation only; [`event`] decides whether an event is meant, [`cron`] speaks the scheduler's dialect,
//! [`due`] knows when the next run is to start.

mod cron;
mod due;
mod event;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::Span;
use crate::finding::Finding;

pub use due::Due;
pub use event::{EventPattern, OneOf};

/// When a sync runs: `manual`, `{ every: 15 minutes }`, `{ cron: "0 9 * * 1-5", timezone: Europe/London }` or
/// `{ on: { source: dbt, detail_type: run finished } }`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Only when someone says so.
    #[default]
    Manual,
    /// Every so often.
    #[serde(untagged)]
    Every(Every),
    /// At these times.
    #[serde(untagged)]
    Cron(Cron),
    /// When another system says so.
    #[serde(untagged)]
    On(On),
}

/// An interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Every {
    /// The interval: whole minutes.
    pub every: Span,
    /// Start at any moment within so much time after the interval is over, so that many syncs do not start at once:
    /// 1 minute to 24 hours. Default: start when it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flexible: Option<Span>,
}

/// A cron expression of five fields, in a time zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    /// Minute, hour, day of month, month, day of week.
    pub cron: String,
    /// An IANA time zone. Default UTC.
    #[serde(default = "utc")]
    pub timezone: String,
    /// Start at any moment within so much time after that: 1 minute to 24 hours. Default: start at that minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flexible: Option<Span>,
}

/// The event of another system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct On {
    /// What an event must have to start a run.
    pub on: EventPattern,
}

fn utc() -> String {
    "UTC".into()
}

const FORMS: &str = "`manual`, `{ every: 15 minutes }`, `{ cron: \"0 9 * * 1-5\", timezone: Europe/London }` or `{ on: { source: dbt, detail_type: run finished } }`";

// By hand, because an untagged enum would swallow what is wrong inside it.
impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Schedule;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(FORMS)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Schedule, E> {
                if text == "manual" {
                    Ok(Schedule::Manual)
                } else {
                    Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Schedule, A::Error> {
                use serde::de::Error as _;
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct ScheduleFields {
                    every: Option<Span>,
                    cron: Option<String>,
                    timezone: Option<String>,
                    flexible: Option<Span>,
                    on: Option<EventPattern>,
                }
                let f = ScheduleFields::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                match (f.every, f.cron, f.timezone, f.flexible, f.on) {
                    (Some(every), None, None, flexible, None) => Ok(Schedule::Every(Every { every, flexible })),
                    (None, Some(cron), timezone, flexible, None) => {
                        Ok(Schedule::Cron(Cron { cron, timezone: timezone.unwrap_or_else(utc), flexible }))
                    }
                    (None, None, None, None, Some(on)) => Ok(Schedule::On(On { on })),
                    _ => Err(A::Error::custom(
                        "a schedule has either `every`, or `cron` with an optional `timezone`, or `on`; `flexible` goes with the first two",
                    )),
                }
            }
        }
        d.deserialize_any(Visitor)
    }
}

/// A schedule in the words of EventBridge Scheduler.
/// <https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// `rate(15 minutes)` or `cron(0 9 ? * 2-6 *)`.
    pub expression: String,
    /// The time zone of a cron expression.
    pub timezone: String,
    /// The flexible time window in minutes, 1 to 1,440.
    pub window_minutes: Option<u16>,
}

/// Longest flexible time window.
const WINDOW_MOST: u64 = 1_440;

impl Schedule {
    /// What the scheduler is to be told; `None` when nothing starts by the clock. The finding says what is wrong, or,
    /// as a warning, what is right and the scheduler cannot do.
    pub fn timed(&self) -> Result<Option<Timed>, Finding> {
        match self {
            Schedule::Manual | Schedule::On(_) => Ok(None),
            Schedule::Every(every) => {
                let expression = rate(every.every)?;
                let window_minutes = window(every.flexible)?;
                if window_minutes.is_some_and(|window| u64::from(window) * 60 >= every.every.0.as_secs()) {
                    return Err(Finding::error(
                        "schedule.flexible",
                        "the window is not shorter than the interval",
                        "make `flexible` shorter than `every`",
                    ));
                }
                Ok(Some(Timed { expression, timezone: utc(), window_minutes }))
            }
            Schedule::Cron(cron) => {
                let expression = cron::translate(&cron.cron)?;
                cron.zone()?;
                Ok(Some(Timed { expression, timezone: cron.timezone.clone(), window_minutes: window(cron.flexible)? }))
            }
        }
    }

    /// What is wrong with it.
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Schedule::On(on) => on.on.findings(),
            _ => self.timed().err().into_iter().collect(),
        }
    }

    /// In a few words: `every 15m`, `0 9 * * 1-5 Europe/London`, `on an event of dbt`, `manual`.
    pub fn in_words(&self) -> String {
        match self {
            Schedule::Manual => "manual".into(),
            Schedule::Every(every) => format!("every {}", every.every),
            Schedule::Cron(cron) => format!("{} {}", cron.cron, cron.timezone),
            Schedule::On(on) => format!("on an event of {}", on.on.source),
        }
    }
}

impl Cron {
    fn zone(&self) -> Result<jiff::tz::TimeZone, Finding> {
        let unknown = |_| {
            Finding::error(
                "schedule.timezone",
                format!("`{}` is not a time zone", self.timezone),
                "use an IANA name such as `Europe/London`",
            )
        };
        jiff::tz::TimeZone::get(&self.timezone).map_err(unknown)
    }
}

/// `rate(…)` in the largest unit that is whole. The scheduler knows no interval below a minute and no seconds.
fn rate(every: Span) -> Result<String, Finding> {
    let seconds = every.0.as_secs();
    if every.0.subsec_nanos() != 0 || seconds == 0 || !seconds.is_multiple_of(60) {
        let what = format!("the scheduler on AWS counts whole minutes, and `{every}` is not");
        return Err(Finding::warning("schedule.every", what, "use one minute or more, without seconds: `5 minutes`"));
    }
    let (count, unit) = match seconds {
        s if s % 86_400 == 0 => (s / 86_400, "day"),
        s if s % 3_600 == 0 => (s / 3_600, "hour"),
        s => (s / 60, "minute"),
    };
    Ok(format!("rate({count} {unit}{})", if count == 1 { "" } else { "s" }))
}

fn window(flexible: Option<Span>) -> Result<Option<u16>, Finding> {
    let Some(span) = flexible else { return Ok(None) };
    let (seconds, whole) = (span.0.as_secs(), span.0.subsec_nanos() == 0);
    match u16::try_from(seconds / 60) {
        Ok(minutes) if whole && seconds.is_multiple_of(60) && (1..=WINDOW_MOST).contains(&u64::from(minutes)) => {
            Ok(Some(minutes))
        }
        _ => Err(Finding::error(
            "schedule.flexible",
            format!("`{span}` is not a window"),
            "use whole minutes, from 1 minute to 24 hours",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Result<Schedule, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn schedules_read_in_all_forms_and_come_back_as_written() {
        let all = [
            (serde_json::json!("manual"), Schedule::Manual),
            (serde_json::json!({"every": "15m"}), Schedule::Every(Every { every: Span::seconds(900), flexible: None })),
            (
                serde_json::json!({"every": "1h", "flexible": "5m"}),
                Schedule::Every(Every { every: Span::seconds(3600), flexible: Some(Span::seconds(300)) }),
            ),
            (
                serde_json::json!({"cron": "0 9 * * 1-5", "timezone": "Europe/London"}),
                Schedule::Cron(Cron { cron: "0 9 * * 1-5".into(), timezone: "Europe/London".into(), flexible: None }),
            ),
        ];
        for (json, schedule) in all {
            assert_eq!(read(json.clone()).unwrap(), schedule);
            assert_eq!(serde_json::to_value(&schedule).unwrap(), json);
        }
        let on = serde_json::json!({"on": {"source": "dbt", "detail_type": ["run finished", "build finished"], "detail": {"job": "nightly"}}});
        assert_eq!(serde_json::to_value(read(on.clone()).unwrap()).unwrap(), on);
        assert!(
            matches!(read(serde_json::json!({"cron": "0 9 * * *"})).unwrap(), Schedule::Cron(c) if c.timezone == "UTC")
        );
    }

    #[test]
    fn mixed_forms_are_refused() {
        for json in [
            serde_json::json!("hourly"),
            serde_json::json!({"every": "1h", "cron": "0 9 * * *"}),
            serde_json::json!({"every": "1h", "timezone": "UTC"}),
            serde_json::json!({"on": {"source": "dbt"}, "flexible": "5m"}),
            serde_json::json!({"on": {"sorce": "dbt"}}),
            serde_json::json!({"on": {"detail_type": "x"}}),
            serde_json::json!({}),
        ] {
            assert!(read(json.clone()).is_err(), "{json}");
        }
    }

    #[test]
    fn intervals_are_told_in_the_largest_whole_unit() {
        for (every, expression) in [
            ("1 minute", "rate(1 minute)"),
            ("15 minutes", "rate(15 minutes)"),
            ("90 minutes", "rate(90 minutes)"),
            ("1h", "rate(1 hour)"),
            ("2 days", "rate(2 days)"),
        ] {
            let timed = read(serde_json::json!({ "every": every })).unwrap().timed().unwrap().unwrap();
            assert_eq!(
                (timed.expression.as_str(), timed.timezone.as_str(), timed.window_minutes),
                (expression, "UTC", None)
            );
        }
        for every in ["30s", "90s", "0s", "60500ms"] {
            let finding = read(serde_json::json!({ "every": every })).unwrap().timed().unwrap_err();
            assert!(!finding.is_error() && finding.what.contains("whole minutes"), "{every}: {finding}");
        }
    }

    #[test]
    fn windows_and_time_zones_are_checked() {
        let timed = |json| read(json).unwrap().timed();
        let cron = timed(serde_json::json!({"cron": "30 6 * * *", "timezone": "Asia/Tokyo", "flexible": "1 day"}))
            .unwrap()
            .unwrap();
        assert_eq!((cron.timezone.as_str(), cron.window_minutes), ("Asia/Tokyo", Some(1440)));
        for (json, about) in [
            (serde_json::json!({"every": "1h", "flexible": "1h"}), "schedule.flexible"),
            (serde_json::json!({"every": "2 days", "flexible": "25h"}), "schedule.flexible"),
            (serde_json::json!({"every": "1h", "flexible": "90s"}), "schedule.flexible"),
            (serde_json::json!({"every": "1h", "flexible": "0s"}), "schedule.flexible"),
            (serde_json::json!({"cron": "0 9 * * *", "timezone": "Mars/Base"}), "schedule.timezone"),
            (serde_json::json!({"cron": "hourly"}), "schedule.cron"),
        ] {
            let finding = timed(json.clone()).unwrap_err();
            assert!(finding.is_error() && finding.about == about, "{json}: {finding}");
        }
        assert_eq!(timed(serde_json::json!("manual")), Ok(None));
        assert_eq!(timed(serde_json::json!({"on": {"source": "dbt"}})), Ok(None));
    }
}
