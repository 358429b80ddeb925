//! The settings of the functions, typed, and the only place of this crate that reads the environment. Each is read
//! once, at cold start; a wrong value is a fault that names the variable and what it must look like.

use std::time::Duration;

use domain::clock::Span;
use domain::config::RateLimit;
use domain::fault::{Code, Fault};

/// The only folder that a function may write to; relative paths of connections begin here.
pub const WRITABLE_FOLDER: &str = "/tmp";

/// The largest message that SQS takes, with its attributes, in bytes (1 MiB since August 2025; 256 KiB before).
pub const LARGEST_MESSAGE: usize = 1024 * 1024;
/// The longest time a claim may last: the longest visibility time of SQS, in seconds.
const LONGEST_CLAIM: u64 = 12 * 3600;
/// The longest time that data may be late: ten years, in seconds.
const LONGEST_LATENESS: u64 = 10 * 366 * 86_400;

/// What every function is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonSettings {
    /// SLUICEGATE_STACK: the stack's name.
    pub stack: String,
    /// SLUICEGATE_TABLE: the table of the state.
    pub table: String,
    /// SLUICEGATE_BUCKET: the bucket of stored plans and of batches too large for a message.
    pub bucket: String,
    /// SLUICEGATE_MAX_MESSAGE_BYTES: most bytes of a message, attributes included. Default 262144.
    pub max_message_bytes: usize,
    /// SLUICEGATE_STALL_SECONDS: a run without progress for this long is taken over. Default 1800.
    pub stall: Duration,
    /// SLUICEGATE_CLAIM_SECONDS: how long a writer keeps a batch to itself. Default 900.
    pub claim: Duration,
    /// SLUICEGATE_SPOOL_MEMORY_MB: the spool stays in memory up to this size; here in bytes. Default 256 MiB.
    pub spool_memory: usize,
    /// SLUICEGATE_ALERT_TOPIC: the ARN of the SNS topic for alerts.
    pub alert_topic: Option<String>,
    /// SLUICEGATE_LOG: the filter of the log. Default `info`.
    pub log: String,
    /// AWS_LAMBDA_FUNCTION_NAME: this function's own name; empty outside Lambda.
    pub function: String,
}

/// What the extractor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtractorSettings {
    /// What every function is told.
    pub common: CommonSettings,
    /// SLUICEGATE_QUEUE_PREFIX: a destination's queue is named by this and the connection's name.
    pub queue_prefix: String,
    /// SLUICEGATE_REQUESTS_PER_MESSAGE: requests whose records one message holds, 1 to 5. Default 5.
    pub requests_per_message: usize,
    /// SLUICEGATE_FRESHNESS_SECONDS: how late the data of a sync may be by its schedule, where its own `alerts` do not
    /// say. 0 or not set: any time.
    pub lateness: Option<Duration>,
}

/// What a writer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterSettings {
    /// What every function is told.
    pub common: CommonSettings,
    pub queue_url: String,
    /// SLUICEGATE_DLQ_URL: the queue for messages that nobody can handle.
    pub dlq_url: String,
    /// SLUICEGATE_DESTINATION: the name of the connection it writes to.
    pub destination: String,
    /// SLUICEGATE_RATE: requests in a time that all its writers together may make, `100/10s`.
    pub rate: Option<RateLimit>,
}

impl CommonSettings {
    pub fn from_env() -> Result<Self, Fault> {
        Self::read(&variable)
    }

    /// The same from anywhere.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let of = Variables(variable);
        let stall = of.number("SLUICEGATE_STALL_SECONDS", 60, 7 * 86_400, 1800)?;
        let claim = of.number("SLUICEGATE_CLAIM_SECONDS", 1, LONGEST_CLAIM, 900)?;
        if stall < claim {
            let what = format!(
                "SLUICEGATE_STALL_SECONDS is {stall} and SLUICEGATE_CLAIM_SECONDS {claim}: a run would be taken over while a writer is at work."
            );
            return Err(Fault::new(Code::Internal, what).with_next("make the stall at least as long as the claim"));
        }
        Ok(Self {
            stack: of.needed("SLUICEGATE_STACK", "the stack's name")?,
            table: of.needed("SLUICEGATE_TABLE", "the name of the state's table")?,
            bucket: of.needed("SLUICEGATE_BUCKET", "the name of the stack's bucket")?,
            max_message_bytes: of.number("SLUICEGATE_MAX_MESSAGE_BYTES", 4096, LARGEST_MESSAGE as u64, 262_144)?
                as usize,
            stall: Duration::from_secs(stall),
            claim: Duration::from_secs(claim),
            spool_memory: of.number("SLUICEGATE_SPOOL_MEMORY_MB", 1, 10_240, 256)? as usize * 1024 * 1024,
            alert_topic: of.like("SLUICEGATE_ALERT_TOPIC", "the ARN of an SNS topic (`arn:aws:sns:…`)", is_topic)?,
            log: of
                .like("SLUICEGATE_LOG", "a filter such as `info` or `engine=debug,info`", is_filter)?
                .unwrap_or_else(|| "info".into()),
            function: of.get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
        })
    }
}

impl ExtractorSettings {
    pub fn from_env() -> Result<Self, Fault> {
        Self::read(&variable)
    }

    /// The same from anywhere.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let of = Variables(variable);
        let lateness = of.number("SLUICEGATE_FRESHNESS_SECONDS", 0, LONGEST_LATENESS, 0)?;
        Ok(Self {
            common: CommonSettings::read(variable)?,
            queue_prefix: of.needed("SLUICEGATE_QUEUE_PREFIX", "what the names of the queues begin with")?,
            lateness: (lateness > 0).then(|| Duration::from_secs(lateness)),
            requests_per_message: of.number("SLUICEGATE_REQUESTS_PER_MESSAGE", 1, 5, 5)? as usize,
        })
    }
}

impl WriterSettings {
    pub fn from_env() -> Result<Self, Fault> {
        Self::read(&variable)
    }

    /// The same from anywhere.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let of = Variables(variable);
        let url = |name| {
            of.like(name, "the URL of an SQS queue (`https://sqs.…`)", is_url)?
                .ok_or_else(|| missing(name, "the URL of an SQS queue"))
        };
        Ok(Self {
            common: CommonSettings::read(variable)?,
            queue_url: url("SLUICEGATE_QUEUE_URL")?,
            dlq_url: url("SLUICEGATE_DLQ_URL")?,
            destination: of.needed("SLUICEGATE_DESTINATION", "the name of the connection it writes to")?,
            rate: of.get("SLUICEGATE_RATE").map(|text| rate(&text)).transpose()?,
        })
    }
}

/// A variable of the environment; `None` when it is not set, empty or not UTF-8.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Variables by name, each with its check.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn needed(&self, name: &str, about: &str) -> Result<String, Fault> {
        self.get(name).ok_or_else(|| missing(name, about))
    }

    fn number(&self, name: &str, least: u64, most: u64, default: u64) -> Result<u64, Fault> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| wrong(name, &text, &format!("a whole number from {least} to {most}")))
    }

    fn like(&self, name: &str, about: &str, right: fn(&str) -> bool) -> Result<Option<String>, Fault> {
        match self.get(name) {
            Some(text) if !right(&text) => Err(wrong(name, &text, about)),
            value => Ok(value),
        }
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn is_topic(text: &str) -> bool {
    text.starts_with("arn:") && text.split(':').nth(2) == Some("sns")
}

fn is_filter(text: &str) -> bool {
    text.parse::<tracing_subscriber::filter::Targets>().is_ok()
}

fn rate(text: &str) -> Result<RateLimit, Fault> {
    let parsed = text.split_once('/').and_then(|(requests, per)| {
        let per = Span::parse(per).ok().filter(|per| !per.0.is_zero())?;
        Some(RateLimit { requests: requests.trim().parse().ok().filter(|requests| *requests > 0)?, per })
    });
    parsed.ok_or_else(|| wrong("SLUICEGATE_RATE", text, "requests in a time, such as `100/10s`"))
}

fn missing(name: &str, about: &str) -> Fault {
    Fault::new(
        Code::ConnectionInvalid,
        format!("The environment variable {name} of this function is not set: it must be {about}."),
    )
    .with_next(next())
}

fn wrong(name: &str, value: &str, about: &str) -> Fault {
    Fault::new(
        Code::ConnectionInvalid,
        format!("The environment variable {name} of this function is `{value}`: it must be {about}."),
    )
    .with_next(next())
}

fn next() -> &'static str {
    "Deploy the stack again: its template sets the variable. If it was changed by hand, set it back."
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 9] = [
        ("SLUICEGATE_STACK", "crm"),
        ("SLUICEGATE_TABLE", "crm-state"),
        ("SLUICEGATE_BUCKET", "crm-plans"),
        ("SLUICEGATE_QUEUE_PREFIX", "crm-"),
        ("SLUICEGATE_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/crm-hubspot"),
        ("SLUICEGATE_DLQ_URL", "https://sqs.eu-west-1.amazonaws.com/1/crm-hubspot-dlq"),
        ("SLUICEGATE_DESTINATION", "hubspot"),
        ("SLUICEGATE_RATE", "100/10s"),
        ("SLUICEGATE_LOG", "engine=debug,info"),
    ];

    /// The good ones, with one changed; an empty value is as good as none.
    fn with(name: &str, value: &str) -> Result<(ExtractorSettings, WriterSettings), Fault> {
        let (name, value) = (name.to_owned(), value.to_owned());
        let variable = move |asked: &str| match asked == name {
            true => Some(value.clone()),
            false => GOOD.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned()),
        };
        Ok((ExtractorSettings::read(&variable)?, WriterSettings::read(&variable)?))
    }

    #[test]
    fn settings_are_read_with_their_defaults() {
        let (extractor, writer) = with("X", "").unwrap();
        assert_eq!(
            (extractor.queue_prefix.as_str(), extractor.requests_per_message, extractor.lateness),
            ("crm-", 5, None)
        );
        assert_eq!(
            (writer.destination.as_str(), writer.rate),
            ("hubspot", Some(RateLimit { requests: 100, per: Span::seconds(10) }))
        );
        let common = writer.common;
        assert_eq!(
            (common.stack.as_str(), common.table.as_str(), common.bucket.as_str()),
            ("crm", "crm-state", "crm-plans")
        );
        assert_eq!((common.max_message_bytes, common.stall.as_secs(), common.claim.as_secs()), (262_144, 1800, 900));
        assert_eq!(
            (common.spool_memory, common.alert_topic, common.log.as_str()),
            (256 << 20, None, "engine=debug,info")
        );
    }

    #[test]
    fn a_value_that_is_set_counts() {
        assert_eq!(
            with("SLUICEGATE_MAX_MESSAGE_BYTES", "1048576").unwrap().0.common.max_message_bytes,
            LARGEST_MESSAGE
        );
        assert_eq!(with("SLUICEGATE_SPOOL_MEMORY_MB", "1").unwrap().0.common.spool_memory, 1 << 20);
        assert_eq!(with("SLUICEGATE_REQUESTS_PER_MESSAGE", "1").unwrap().0.requests_per_message, 1);
        assert_eq!(with("SLUICEGATE_RATE", "").unwrap().1.rate, None);
        for (seconds, lateness) in [("0", None), ("3600", Some(Duration::from_secs(3600)))] {
            assert_eq!(with("SLUICEGATE_FRESHNESS_SECONDS", seconds).unwrap().0.lateness, lateness);
        }
        assert_eq!(
            with("SLUICEGATE_ALERT_TOPIC", "arn:aws:sns:eu-west-1:1:alerts").unwrap().1.common.alert_topic.as_deref(),
            Some("arn:aws:sns:eu-west-1:1:alerts")
        );
    }

    #[test]
    fn a_wrong_value_names_the_variable_and_what_it_must_be() {
        for (name, value, about) in [
            ("SLUICEGATE_STACK", "", "the stack's name"),
            ("SLUICEGATE_TABLE", " ", "the state's table"),
            ("SLUICEGATE_QUEUE_PREFIX", "", "the names of the queues"),
            ("SLUICEGATE_QUEUE_URL", "", "the URL of an SQS queue"),
            ("SLUICEGATE_DLQ_URL", "crm-dlq", "`https://sqs.…`"),
            ("SLUICEGATE_MAX_MESSAGE_BYTES", "2000000", "from 4096 to 1048576"),
            ("SLUICEGATE_STALL_SECONDS", "soon", "a whole number"),
            ("SLUICEGATE_CLAIM_SECONDS", "0", "from 1 to 43200"),
            ("SLUICEGATE_SPOOL_MEMORY_MB", "-1", "from 1 to 10240"),
            ("SLUICEGATE_REQUESTS_PER_MESSAGE", "6", "from 1 to 5"),
            ("SLUICEGATE_FRESHNESS_SECONDS", "a day", "a whole number"),
            ("SLUICEGATE_ALERT_TOPIC", "arn:aws:sqs:eu-west-1:1:q", "SNS topic"),
            ("SLUICEGATE_RATE", "100", "`100/10s`"),
            ("SLUICEGATE_RATE", "0/10s", "`100/10s`"),
            ("SLUICEGATE_RATE", "5/0s", "`100/10s`"),
            ("SLUICEGATE_LOG", "engine=loud", "`engine=debug,info`"),
        ] {
            let fault = with(name, value).unwrap_err();
            assert_eq!(fault.code, Code::ConnectionInvalid);
            assert!(fault.what.contains(name) && fault.what.contains(about), "{fault}");
        }
    }
}
