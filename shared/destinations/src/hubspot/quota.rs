//! The account's quota as HubSpot tells it: headers of every answer, the body of a 429. Pure but for the lock that lets
//! writers share what one of them read.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::clock::{Millis, Span};
use domain::config::RateLimit;
use domain::retry_after::retry_after;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use clients::http::HttpReply;

/// The lowest tier's limit, until an answer says otherwise.
const LOWEST: RateLimit = RateLimit { requests: 100, per: Span::seconds(10) };
/// The share of the limit that is used: requests arrive a little sooner or later than they were sent, and the window
/// rolls.
const USED_PERCENT: u64 = 98;
/// The pause after a 429 that names none.
const PAUSE: Duration = Duration::from_secs(10);

/// What is known of the quota.
#[derive(Debug)]
pub(super) struct HubSpotQuota {
    configured: Option<RateLimit>,
    zone: TimeZone,
    seen: Mutex<QuotaHeaders>,
}

#[derive(Debug, Clone, Copy, Default)]
struct QuotaHeaders {
    rate: Option<RateLimit>,
    /// Nothing is left before this.
    spent_until: Millis,
}

impl HubSpotQuota {
    /// A quota of which nothing is known yet but what the connection says.
    pub(super) fn new(configured: Option<RateLimit>, zone: TimeZone) -> Self {
        Self { configured, zone, seen: Mutex::default() }
    }

    /// The rate to keep.
    pub(super) fn rate(&self) -> RateLimit {
        let told = self.seen().rate;
        match (self.configured, told) {
            (Some(own), Some(told)) => slower(own, told),
            (Some(own), None) => own,
            (None, told) => told.unwrap_or(used(LOWEST)),
        }
    }

    /// How long nothing may be sent, if that is known.
    pub(super) fn pause(&self, now: Millis) -> Option<Duration> {
        let until = self.seen().spent_until;
        (until > now).then(|| until.since(now))
    }

    /// Notes what the headers of an answer say.
    pub(super) fn note(&self, reply: &HttpReply, now: Millis) {
        let number = |name: &str| reply.header(name)?.trim().parse::<u64>().ok();
        let interval =
            number("x-hubspot-ratelimit-interval-milliseconds").filter(|ms| *ms > 0).map(Duration::from_millis);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(max), Some(interval)) =
            (number("x-hubspot-ratelimit-max").and_then(|max| u32::try_from(max).ok()), interval)
        {
            seen.rate = Some(used(RateLimit { requests: max.max(1), per: Span(interval) }));
        }
        if let (Some(0), Some(interval)) = (number("x-hubspot-ratelimit-remaining"), interval) {
            // Others use the quota too: let the window move on a little, instead of being refused.
            seen.spent_until = seen.spent_until.max(now.plus(interval / 10));
        }
        if number("x-hubspot-ratelimit-daily-remaining") == Some(0) {
            seen.spent_until = seen.spent_until.max(midnight(now, &self.zone));
        }
    }

    /// How long to wait after a 429: what it says itself, else until the policy that it names allows more.
    pub(super) fn throttled(&self, reply: &HttpReply, body: &Value, now: Millis) -> Duration {
        let policy = body.get("policyName").and_then(Value::as_str).unwrap_or_default();
        if policy.eq_ignore_ascii_case("daily") {
            let until = midnight(now, &self.zone);
            tracing::warn!(%until, "HubSpot's daily limit of requests is used up");
            return self.spend(until, now);
        }
        let named = reply.header("retry-after").and_then(|header| retry_after(header, now));
        let interval = || {
            reply.header("x-hubspot-ratelimit-interval-milliseconds")?.trim().parse().ok().map(Duration::from_millis)
        };
        self.spend(now.plus(named.or_else(interval).unwrap_or(PAUSE)), now)
    }

    /// Nothing is left until then.
    fn spend(&self, until: Millis, now: Millis) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.spent_until = seen.spent_until.max(until);
        until.since(now)
    }

    fn seen(&self) -> QuotaHeaders {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The share of a limit that is used.
fn used(limit: RateLimit) -> RateLimit {
    let requests = u64::from(limit.requests) * USED_PERCENT / 100;
    RateLimit { requests: u32::try_from(requests).unwrap_or(limit.requests).max(1), ..limit }
}

fn slower(a: RateLimit, b: RateLimit) -> RateLimit {
    let spacing = |rate: RateLimit| rate.per.0.as_secs_f64() / f64::from(rate.requests.max(1));
    if spacing(a) >= spacing(b) { a } else { b }
}

/// The next midnight of the zone.
fn midnight(now: Millis, zone: &TimeZone) -> Millis {
    let day = Duration::from_secs(24 * 3600);
    let next = Timestamp::from_millisecond(now.0)
        .ok()
        .and_then(|at| at.to_zoned(zone.clone()).tomorrow().ok()?.start_of_day().ok());
    next.map_or(now.plus(day), |at| Millis(at.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clients::http::{HeaderMap, HeaderName, HeaderValue, Url};
    use serde_json::json;

    const NOW: Millis = Millis(1_767_323_045_000);

    fn reply(headers: &[(&str, &str)]) -> HttpReply {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.to_lowercase().as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        HttpReply {
            at: domain::clock::Millis(0),
            url: Url::parse("https://h.test").unwrap(),
            status: 200,
            headers,
            body: Vec::new(),
        }
    }

    fn quota(rate: Option<RateLimit>, zone: &str) -> HubSpotQuota {
        HubSpotQuota::new(rate, TimeZone::get(zone).unwrap())
    }

    #[test]
    fn the_rate_is_a_little_less_than_the_limit() {
        let quota = quota(None, "UTC");
        assert_eq!(quota.rate(), RateLimit { requests: 98, per: Span::seconds(10) });
        for (max, interval, expected) in [
            ("190", "10000", (186, 10_000)),
            ("110", "10000", (107, 10_000)),
            ("4", "1000", (3, 1000)),
            ("1", "1000", (1, 1000)),
        ] {
            quota.note(
                &reply(&[("X-HubSpot-RateLimit-Max", max), ("X-HubSpot-RateLimit-Interval-Milliseconds", interval)]),
                NOW,
            );
            assert_eq!((quota.rate().requests, quota.rate().per.0.as_millis()), expected, "{max}");
        }
        quota.note(&reply(&[("X-HubSpot-RateLimit-Max", "many")]), NOW);
        assert_eq!(quota.rate().requests, 1, "what cannot be read changes nothing");
        assert_eq!(quota.pause(NOW), None);
    }

    #[test]
    fn the_lower_of_two_rates_holds() {
        let own = RateLimit { requests: 5, per: Span::seconds(1) };
        let quota = quota(Some(own), "UTC");
        assert_eq!(quota.rate(), own);
        let of = |max: &str| {
            quota.note(
                &reply(&[("X-HubSpot-RateLimit-Max", max), ("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")]),
                NOW,
            );
            quota.rate()
        };
        assert_eq!(of("190"), own);
        assert_eq!(of("20"), RateLimit { requests: 19, per: Span::seconds(10) });
    }

    #[test]
    fn nothing_left_is_a_pause() {
        let quota = quota(None, "US/Eastern");
        quota.note(
            &reply(&[("X-HubSpot-RateLimit-Remaining", "0"), ("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")]),
            NOW,
        );
        assert_eq!(quota.pause(NOW), Some(Duration::from_secs(1)));
        assert_eq!(quota.pause(NOW.plus(Duration::from_secs(1))), None);
        quota.note(&reply(&[("X-HubSpot-RateLimit-Daily-Remaining", "0")]), NOW);
        // It is 22:04:05 there.
        assert_eq!(quota.pause(NOW), Some(Duration::from_secs(3600 + 55 * 60 + 55)));
    }

    #[test]
    fn a_429_says_how_long_in_one_of_three_ways() {
        let quota = quota(None, "UTC");
        let secondly = json!({ "policyName": "TEN_SECONDLY_ROLLING" });
        let of = |headers: &[(&str, &str)], body: &Value| quota.throttled(&reply(headers), body, NOW);
        assert_eq!(
            of(&[("Retry-After", "3"), ("X-HubSpot-RateLimit-Interval-Milliseconds", "10000")], &secondly),
            Duration::from_secs(3)
        );
        assert_eq!(of(&[("X-HubSpot-RateLimit-Interval-Milliseconds", "4000")], &secondly), Duration::from_secs(4));
        assert_eq!(of(&[], &Value::Null), PAUSE);
        assert_eq!(
            of(&[("Retry-After", "3")], &json!({ "policyName": "DAILY" })),
            Duration::from_secs(86_400 - 3 * 3600 - 4 * 60 - 5)
        );
        assert!(quota.pause(NOW) > Some(PAUSE), "the other writers know it too");
    }
}
