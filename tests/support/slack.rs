//! Slack as its documentation describes it: channels with members, one bot, incoming webhooks, a limit of messages to a
//! channel, and the ways in which it fails. It keeps what was posted, so that a test sees what people would see.
//!
//! Status 200 says nothing: whether a call of the API worked is in `ok`. It knows `chat.postMessage`, `auth.test` and
//! `conversations.info` below `/api/`, and webhooks below `/services/`.

#![allow(clippy::expect_used, reason = "a double that cannot start is a test that cannot run")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use doubles::server::{DoubleReply, DoubleRequest, DoubleService, Server};
use serde_json::{Value, json};

pub const TOKEN: &str = "planted-bot-token";
/// The path of the one incoming webhook; it posts to [`GENERAL`].
pub const HOOK: &str = "services/planted/hook";
/// A channel the bot is a member of.
pub const GENERAL: &str = "C0GENERAL";
/// A channel that is archived.
pub const ARCHIVED: &str = "C0ARCHIVED";
/// A channel that the bot is no member of.
pub const FOREIGN: &str = "C0FOREIGN";

/// What goes wrong with the next post.
#[derive(Debug, Clone)]
pub enum ScriptedFailure {
    /// The call fails with this code, and nothing is posted.
    Error(&'static str),
    /// The call fails with this code after the message was posted.
    ErrorAfter(&'static str),
    /// 429 with `Retry-After` in seconds; nothing is posted.
    TooFast(u32),
    /// This status and body; nothing is posted.
    Status(u16, &'static str),
    /// The message is posted and the connection dropped.
    PostThenDrop,
    /// The message is posted and the answer comes after this time.
    PostThenHang(Duration),
    /// The connection is dropped before anything is read off the request's meaning.
    Drop,
}

/// A message as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    pub channel: String,
    pub text: String,
    /// The blocks; null without.
    pub blocks: Value,
}

#[derive(Default)]
struct State {
    messages: Vec<Posted>,
    posts: usize,
    failures: VecDeque<ScriptedFailure>,
    refused_text: Option<(&'static str, &'static str)>,
    scopes: Vec<&'static str>,
    revoked: bool,
    interval: Option<Duration>,
    last: BTreeMap<String, Instant>,
    violations: usize,
}

/// A running double. Everything stops when it is dropped.
pub struct SlackDouble {
    server: Server,
    workspace: Arc<Workspace>,
}

#[derive(Default)]
struct Workspace(Mutex<State>);

impl Workspace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlackDouble {
    /// Starts on a free port of 127.0.0.1, without a limit of messages.
    pub fn start() -> Self {
        let state = State { scopes: vec!["chat:write", "channels:read"], ..State::default() };
        let workspace = Arc::new(Workspace(Mutex::new(state)));
        let server = Server::start(Arc::clone(&workspace) as Arc<dyn DoubleService>).expect("a server");
        Self { server, workspace }
    }

    /// Where its API is.
    pub fn api(&self) -> String {
        format!("{}/api", self.server.url())
    }

    /// The address of its incoming webhook.
    pub fn hook(&self) -> String {
        format!("{}/{HOOK}", self.server.url())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.workspace.state()
    }

    /// What was posted, in order.
    pub fn messages(&self) -> Vec<Posted> {
        self.state().messages.clone()
    }

    /// Requests to post so far, whatever became of them.
    pub fn posts(&self) -> usize {
        self.state().posts
    }

    /// The next posts go wrong like this.
    pub fn failure(&self, failures: impl IntoIterator<Item = ScriptedFailure>) {
        self.state().failures.extend(failures);
    }

    /// Messages that hold this text are refused with this code.
    pub fn refuse_text(&self, part: &'static str, code: &'static str) {
        self.state().refused_text = Some((part, code));
    }

    pub fn scopes(&self, scopes: &[&'static str]) {
        self.state().scopes = scopes.to_vec();
    }

    /// The token is good no more.
    pub fn revoke(&self) {
        self.state().revoked = true;
    }

    /// A message to a channel sooner than this after the last one is refused, and counted.
    pub fn limit(&self, interval: Duration) {
        self.state().interval = Some(interval);
    }

    /// Messages that came too soon so far.
    pub fn violations(&self) -> usize {
        self.state().violations
    }
}

impl DoubleService for Workspace {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn answer(&self, request: &DoubleRequest) -> DoubleReply {
        let authorized = request.header("authorization") == Some(format!("Bearer {TOKEN}").as_str());
        let body = request.body.as_ref();
        let mut state = self.state();
        match request.path.trim_start_matches('/') {
            HOOK => post(&mut state, GENERAL, body, true),
            "api/chat.postMessage" => {
                let channel = read(body)["channel"].as_str().unwrap_or_default().to_owned();
                match refused_caller(&state, authorized, "chat:write").or_else(|| refused_channel(&channel)) {
                    Some(code) => {
                        state.posts += 1;
                        failed(code)
                    }
                    None => post(&mut state, &channel, body, false),
                }
            }
            "api/auth.test" => refused_caller(&state, authorized, "")
                .map_or_else(|| ok(json!({ "user_id": "U0BOT", "team_id": "T0TEAM" })), failed),
            "api/conversations.info" => info(&state, authorized, body),
            _ => plain(404, "no_service"),
        }
    }
}

fn refused_caller(state: &State, authorized: bool, scope: &str) -> Option<&'static str> {
    match authorized {
        false => Some("invalid_auth"),
        true if state.revoked => Some("token_revoked"),
        true if !scope.is_empty() && !state.scopes.contains(&scope) => Some("missing_scope"),
        true => None,
    }
}

fn refused_channel(channel: &str) -> Option<&'static str> {
    match channel {
        GENERAL | "#general" => None,
        ARCHIVED => Some("is_archived"),
        FOREIGN => Some("not_in_channel"),
        _ => Some("channel_not_found"),
    }
}

/// A message to a channel.
fn post(state: &mut State, channel: &str, body: &[u8], hook: bool) -> DoubleReply {
    state.posts += 1;
    let now = Instant::now();
    if let (Some(interval), Some(last)) = (state.interval, state.last.get(channel))
        && now.duration_since(*last) < interval
    {
        state.violations += 1;
        return too_fast(1);
    }
    let fail = |code: &'static str| if hook { plain(400, code) } else { failed(code) };
    let failure = state.failures.pop_front();
    match failure {
        Some(ScriptedFailure::Error(code)) => return fail(code),
        Some(ScriptedFailure::TooFast(after)) => return too_fast(after),
        Some(ScriptedFailure::Status(status, body)) => return plain(status, body),
        Some(ScriptedFailure::Drop) => return DoubleReply::cut(),
        _ => {}
    }
    let json = read(body);
    let text = json["text"].as_str().unwrap_or_default().to_owned();
    let refused = match state.refused_text {
        _ if text.trim().is_empty() && json["blocks"].is_null() => Some("no_text"),
        _ if text.chars().count() > 40_000 => Some("msg_too_long"),
        _ if json["blocks"].as_array().is_some_and(|b| b.len() > 50 || b.iter().any(|b| b["type"].is_null())) => {
            Some("invalid_blocks")
        }
        Some((part, code)) if text.contains(part) => Some(code),
        _ => None,
    };
    if let Some(code) = refused {
        return fail(code);
    }
    state.messages.push(Posted { channel: channel.to_owned(), text, blocks: json["blocks"].clone() });
    state.last.insert(channel.to_owned(), now);
    let done = if hook {
        plain(200, "ok")
    } else {
        ok(json!({ "channel": channel, "ts": format!("1700000000.{:06}", state.messages.len()) }))
    };
    match failure {
        Some(ScriptedFailure::ErrorAfter(code)) => fail(code),
        Some(ScriptedFailure::PostThenDrop) => DoubleReply::cut(),
        Some(ScriptedFailure::PostThenHang(time)) => DoubleReply { delay: time, ..done },
        _ => done,
    }
}

/// Methods that read take a form, not JSON.
fn info(state: &State, authorized: bool, body: &[u8]) -> DoubleReply {
    if let Some(code) = refused_caller(state, authorized, "channels:read") {
        return failed(code);
    }
    let form = String::from_utf8_lossy(body).into_owned();
    let channel = form.strip_prefix("channel=").unwrap_or_default();
    match channel {
        GENERAL | ARCHIVED | FOREIGN => ok(
            json!({ "channel": { "id": channel, "is_archived": channel == ARCHIVED, "is_member": channel != FOREIGN } }),
        ),
        _ => failed("channel_not_found"),
    }
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

fn ok(mut json: Value) -> DoubleReply {
    json["ok"] = true.into();
    DoubleReply::json(200, &json)
}

fn failed(code: &str) -> DoubleReply {
    DoubleReply::json(200, &json!({ "ok": false, "error": code }))
}

fn too_fast(after: u32) -> DoubleReply {
    DoubleReply::json(429, &json!({ "ok": false, "error": "ratelimited" })).with("retry-after", after)
}

fn plain(status: u16, text: &str) -> DoubleReply {
    DoubleReply::text(status, "text/plain", text)
}
