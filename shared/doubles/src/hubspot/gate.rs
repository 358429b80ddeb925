//! What stands before every request: the token, the quota (per interval and per day), and faults that a test asks for.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{DoubleReply, DoubleRequest};

/// The service key that the double takes.
pub const TOKEN: &str = "pat-na1-planted-secret";
/// The refresh token that the double takes.
pub const REFRESH_TOKEN: &str = "planted-refresh-token";

/// A request as the double saw it.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    /// When it was whole.
    pub at: Instant,
    pub method: String,
    pub path: String,
    /// The path's last segment, which names what is done; `properties` and `schemas` for those.
    pub operation: String,
    pub inputs: usize,
    /// Its body, null when it is no JSON.
    pub body: Value,
    /// The status it was answered with; 0 when the connection was cut.
    pub status: u16,
}

/// Something that goes wrong.
#[derive(Debug, Clone)]
pub enum InjectedFault {
    /// This status with HubSpot's error body; nothing is done.
    Status(u16),
    /// This status with this `Retry-After`; nothing is done.
    RetryAfter(u16, u64),
    /// 200 with neither results nor errors, as for a request without inputs; nothing is done.
    EmptyResults,
    /// An HTML page of a proxy, 502; nothing is done.
    Html,
    /// The connection is closed; nothing is done.
    Cut,
    /// Everything is done, and the connection is closed instead of the answer.
    CutAfter,
    /// Everything is done and answered, and the last result is left out.
    LastResultMissing,
}

/// Requests in a time.
#[derive(Debug, Clone)]
pub struct QuotaWindow {
    /// In a rolling interval.
    pub max: usize,
    pub interval: Duration,
    /// In a day, and how many are left of them. `None`: an OAuth app, which has no daily limit.
    pub daily: Option<(u64, u64)>,
    /// A 429 says how long to wait, in seconds. The documentation does not promise it.
    pub retry_after: Option<u64>,
    taken: VecDeque<Instant>,
}

impl QuotaWindow {
    /// So many requests in a rolling interval.
    pub fn new(max: usize, interval: Duration) -> Self {
        Self { max, interval, daily: Some((250_000, 250_000)), retry_after: None, taken: VecDeque::new() }
    }
}

#[derive(Debug)]
pub struct Gate {
    pub quota: QuotaWindow,
    /// Access tokens that are taken.
    pub tokens: BTreeSet<String>,
    /// The life of a minted token, as it is told.
    pub token_life: u64,
    /// Tokens minted so far.
    pub minted: u64,
    /// The app lacks the scope for what it does.
    pub scope_missing: bool,
    next: VecDeque<InjectedFault>,
    every: Option<(usize, usize, Vec<InjectedFault>)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            quota: QuotaWindow::new(100, Duration::from_secs(10)),
            tokens: BTreeSet::from([TOKEN.to_owned()]),
            token_life: 1800,
            minted: 0,
            scope_missing: false,
            next: VecDeque::new(),
            every: None,
        }
    }
}

impl Gate {
    /// The next batch requests fail like this, `times` of them.
    pub fn fail_next(&mut self, times: usize, fault: InjectedFault) {
        self.next.extend(std::iter::repeat_n(fault, times));
    }

    /// Every `nth` batch request fails, by these faults in turn.
    pub fn fail_every(&mut self, nth: usize, faults: Vec<InjectedFault>) {
        self.every = Some((nth.max(1), 0, faults));
    }

    /// Nothing fails any more.
    pub fn recover(&mut self) {
        self.next.clear();
        self.every = None;
        self.scope_missing = false;
    }

    /// The fault that a batch request meets.
    pub(super) fn fault(&mut self) -> Option<InjectedFault> {
        if let Some(next) = self.next.pop_front() {
            return Some(next);
        }
        let (nth, count, faults) = self.every.as_mut()?;
        *count += 1;
        (*count % *nth == 0 && !faults.is_empty()).then(|| faults[(*count / *nth - 1) % faults.len()].clone())
    }

    /// The answer to a request that may not go on: credentials, then quota.
    pub(super) fn refuse(&mut self, request: &DoubleRequest) -> Option<DoubleReply> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match token {
            Some(token) if self.tokens.contains(token) => {}
            Some(_) => {
                return Some(error(
                    401,
                    "EXPIRED_AUTHENTICATION",
                    "The OAuth token used to make this call expired or was revoked.",
                ));
            }
            None => return Some(error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")),
        }
        let quota = &mut self.quota;
        while quota.taken.front().is_some_and(|at| request.at.duration_since(*at) >= quota.interval) {
            quota.taken.pop_front();
        }
        let daily = quota.daily.is_some_and(|(_, left)| left == 0);
        if daily || quota.taken.len() >= quota.max {
            let (policy, what) =
                if daily { ("DAILY", "daily") } else { ("TEN_SECONDLY_ROLLING", "ten_secondly_rolling") };
            let body = json!({ "status": "error", "message": format!("You have reached your {what} limit."), "errorType": "RATE_LIMIT",
                "correlationId": "00000000-0000-0000-0000-000000000000", "policyName": policy });
            let reply = DoubleReply::json(429, &body);
            return Some(match quota.retry_after {
                Some(seconds) => reply.with("retry-after", seconds),
                None => reply,
            });
        }
        quota.taken.push_back(request.at);
        if let Some((_, left)) = &mut quota.daily {
            *left -= 1;
        }
        self.scope_missing.then(|| {
            error(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call.")
        })
    }

    /// The headers that every answer has.
    pub(super) fn headers(&self, reply: DoubleReply) -> DoubleReply {
        let quota = &self.quota;
        let reply = reply
            .with("x-hubspot-ratelimit-max", quota.max)
            .with("x-hubspot-ratelimit-remaining", quota.max.saturating_sub(quota.taken.len()))
            .with("x-hubspot-ratelimit-interval-milliseconds", quota.interval.as_millis());
        match quota.daily {
            Some((daily, left)) => {
                reply.with("x-hubspot-ratelimit-daily", daily).with("x-hubspot-ratelimit-daily-remaining", left)
            }
            None => reply,
        }
    }

    /// Mints an access token for a refresh token.
    pub(super) fn mint(&mut self, request: &DoubleRequest) -> DoubleReply {
        let form = request.form();
        let field =
            |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).unwrap_or_default();
        if field("grant_type") != "refresh_token"
            || field("refresh_token") != REFRESH_TOKEN
            || field("client_id").is_empty()
            || field("client_secret").is_empty()
        {
            return DoubleReply::json(
                400,
                &json!({ "status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token" }),
            );
        }
        self.minted += 1;
        let token = format!("minted-access-token-{}", self.minted);
        self.tokens.insert(token.clone());
        DoubleReply::json(
            200,
            &json!({ "token_type": "bearer", "access_token": token, "refresh_token": REFRESH_TOKEN, "expires_in": self.token_life }),
        )
    }
}

/// HubSpot's error body with a status.
pub(super) fn error(status: u16, category: &str, message: &str) -> DoubleReply {
    let body = json!({ "status": "error", "message": message, "correlationId": "00000000-0000-0000-0000-000000000000", "category": category });
    DoubleReply::json(status, &body)
}
