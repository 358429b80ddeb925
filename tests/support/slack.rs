//! Slack as its documentation describes it: channels with members, one bot, incoming webhooks, a limit of messages to a
//! channel, and the ways in which it fails. It keeps what was posted, so that a test sees what people would see.
//!
//! Status 200 says nothing: whether a call of the API worked is in `ok`. It knows `chat.postMessage`, `auth.test` and
//! `conversations.info` below `/api/`, and webhooks below `/services/`.

#![allow(clippy::expect_used, reason = "a double that cannot start is a test that cannot run")]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::oneshot;

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
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SlackDouble {
    /// Starts on a free port of 127.0.0.1, without a limit of messages.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { scopes: vec!["chat:write", "channels:read"], ..State::default() }));
        let (stop, stopped) = oneshot::channel();
        let serving = state.clone();
        let thread = std::thread::Builder::new()
            .name("slack".into())
            .spawn(move || run(listener, serving, stopped))
            .expect("a thread");
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Where its API is.
    pub fn api(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// The address of its incoming webhook.
    pub fn hook(&self) -> String {
        format!("http://{}/{HOOK}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Drop for SlackDouble {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(listener: std::net::TcpListener, state: Arc<Mutex<State>>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let accept = async {
            loop {
                let Ok((socket, _)) = listener.accept().await else { continue };
                let state = state.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| handle(request, state.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

type Answer = Response<Full<Bytes>>;

async fn handle(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Answer, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path().trim_start_matches('/').to_owned();
    let authorized =
        head.headers.get("authorization").is_some_and(|v| v.as_bytes() == format!("Bearer {TOKEN}").as_bytes());
    let (answer, wait) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        match path.as_str() {
            HOOK => post(&mut state, GENERAL, &body, true),
            "api/chat.postMessage" => {
                let channel = read(&body)["channel"].as_str().unwrap_or_default().to_owned();
                match refused_caller(&state, authorized, "chat:write").or_else(|| refused_channel(&channel)) {
                    Some(code) => {
                        state.posts += 1;
                        (Some(failed(code)), Duration::ZERO)
                    }
                    None => post(&mut state, &channel, &body, false),
                }
            }
            "api/auth.test" => (
                Some(
                    refused_caller(&state, authorized, "")
                        .map_or_else(|| ok(json!({ "user_id": "U0BOT", "team_id": "T0TEAM" })), failed),
                ),
                Duration::ZERO,
            ),
            "api/conversations.info" => (Some(info(&state, authorized, &body)), Duration::ZERO),
            _ => (Some(plain(404, "no_service")), Duration::ZERO),
        }
    };
    tokio::time::sleep(wait).await;
    answer.ok_or_else(|| io::Error::other("told to drop the connection"))
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

/// A message to a channel; no answer means that the connection is dropped.
fn post(state: &mut State, channel: &str, body: &[u8], hook: bool) -> (Option<Answer>, Duration) {
    state.posts += 1;
    let now = Instant::now();
    if let (Some(interval), Some(last)) = (state.interval, state.last.get(channel))
        && now.duration_since(*last) < interval
    {
        state.violations += 1;
        return (Some(too_fast(1)), Duration::ZERO);
    }
    let fail = |code: &'static str| if hook { plain(400, code) } else { failed(code) };
    let failure = state.failures.pop_front();
    match failure {
        Some(ScriptedFailure::Error(code)) => return (Some(fail(code)), Duration::ZERO),
        Some(ScriptedFailure::TooFast(after)) => return (Some(too_fast(after)), Duration::ZERO),
        Some(ScriptedFailure::Status(status, body)) => return (Some(plain(status, body)), Duration::ZERO),
        Some(ScriptedFailure::Drop) => return (None, Duration::ZERO),
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
        return (Some(fail(code)), Duration::ZERO);
    }
    state.messages.push(Posted { channel: channel.to_owned(), text, blocks: json["blocks"].clone() });
    state.last.insert(channel.to_owned(), now);
    let done = if hook {
        plain(200, "ok")
    } else {
        ok(json!({ "channel": channel, "ts": format!("1700000000.{:06}", state.messages.len()) }))
    };
    match failure {
        Some(ScriptedFailure::ErrorAfter(code)) => (Some(fail(code)), Duration::ZERO),
        Some(ScriptedFailure::PostThenDrop) => (None, Duration::ZERO),
        Some(ScriptedFailure::PostThenHang(time)) => (Some(done), time),
        _ => (Some(done), Duration::ZERO),
    }
}

/// Methods that read take a form, not JSON.
fn info(state: &State, authorized: bool, body: &[u8]) -> Answer {
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

fn ok(mut json: Value) -> Answer {
    json["ok"] = true.into();
    answer(200, "application/json", json.to_string(), None)
}

fn failed(code: &str) -> Answer {
    answer(200, "application/json", json!({ "ok": false, "error": code }).to_string(), None)
}

fn too_fast(after: u32) -> Answer {
    answer(429, "application/json", json!({ "ok": false, "error": "ratelimited" }).to_string(), Some(after))
}

fn plain(status: u16, text: &str) -> Answer {
    answer(status, "text/plain", text.to_owned(), None)
}

fn answer(status: u16, kind: &str, body: String, after: Option<u32>) -> Answer {
    let mut answer = Response::builder().status(status).header("content-type", kind);
    if let Some(after) = after {
        answer = answer.header("retry-after", after);
    }
    answer.body(Full::new(Bytes::from(body))).expect("a valid answer")
}
