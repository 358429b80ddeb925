//! Talking to Slack: one place for messages of records and for alerts. Posts a body, reads the answer, says nothing of
//! what it means for a record.

use std::sync::Arc;
use std::time::Duration;

use domain::config::SecretSource;
use domain::config::{Secret, Setting};
use domain::fault::{Code, Fault};
use domain::finding::Finding;
use domain::ports::Clock;
use serde_json::{Map, Value, json};

use clients::http::detail::{self, RecordingSecrets};
use clients::http::tls::Certificates;
use clients::http::{HeaderMap, HeaderValue, Http, HttpReply, HttpRequest, HttpSettings, Method, SendError, Url};

/// Where the API is.
const API: &str = "https://slack.com/api";

/// What a client is made of: either a token and a channel, or the address of a webhook.
#[derive(Debug, Clone)]
pub struct SlackSettings<'a> {
    pub token: Option<&'a Secret>,
    /// The address of an incoming webhook.
    pub webhook_url: Option<&'a Secret>,
    /// With a token: the channel.
    pub channel: Option<&'a str>,
    /// With a token: where the API is, if elsewhere than usual.
    pub api_url: Option<&'a Setting>,
    /// The longest time for a request.
    pub timeout: Duration,
    /// Addresses that are not public may be connected to.
    pub allow_private: bool,
    /// Certificates that are trusted besides the system's.
    pub ca: Option<&'a Setting>,
    /// A certificate to show.
    pub client_certificate: Option<&'a Secret>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// A channel of Slack that can be posted to.
#[derive(Debug)]
pub struct Client {
    http: Http,
    place: SlackTarget,
}

/// How it is reached. Prints neither address nor token.
pub(super) enum SlackTarget {
    Bot { api: Url, authorization: HeaderValue, channel: String },
    Hook(Url),
}

impl std::fmt::Debug for SlackTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SlackTarget::Bot { channel, .. } => write!(f, "Bot({channel})"),
            SlackTarget::Hook(_) => f.write_str("Hook"),
        }
    }
}

/// What Slack answered: with a code when it is a failure.
#[derive(Debug)]
pub struct Posted {
    pub reply: HttpReply,
    pub said: SlackReply,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlackReply {
    /// It was done; the message's id, where there is one.
    Ok(Option<String>),
    /// It was not: the error's code, and more where there is more.
    Failed(String, String),
    /// Nothing that can be read.
    Unreadable,
}

impl Client {
    /// Opens it. Does not connect yet.
    pub async fn open(about: &str, settings: SlackSettings<'_>, secrets: &dyn SecretSource) -> Result<Self, Fault> {
        let invalid = |what: &str| Fault::new(Code::ConnectionInvalid, format!("{about}: {what}."));
        let secrets = RecordingSecrets::new(secrets);
        let place = match (settings.token, settings.webhook_url) {
            (Some(token), None) => {
                let written = match settings.api_url {
                    Some(url) => url.resolve(&secrets).await?,
                    None => API.to_owned(),
                };
                let api = address(&written)
                    .ok_or_else(|| invalid("`api_url` is not an address that begins with https:// or http://"))?;
                let mut authorization =
                    HeaderValue::from_bytes(format!("Bearer {}", token.resolve(&secrets).await?).as_bytes())
                        .map_err(|_| invalid("the token holds a control character, perhaps a line break at its end"))?;
                authorization.set_sensitive(true);
                SlackTarget::Bot { api, authorization, channel: settings.channel.unwrap_or_default().to_owned() }
            }
            (None, Some(hook)) => {
                let written = hook.resolve(&secrets).await?;
                SlackTarget::Hook(
                    address(written.trim()).ok_or_else(|| {
                        invalid("`webhook_url` is not an address that begins with https:// or http://")
                    })?,
                )
            }
            _ => return Err(invalid("it needs either `token` or `webhook_url`")),
        };
        let tls = Certificates::read(about, settings.ca, settings.client_certificate, &secrets).await?;
        let settings = HttpSettings {
            timeout: settings.timeout,
            allow_private: settings.allow_private,
            redactor: secrets.redactor(),
            tls,
            clock: settings.clock,
        };
        Ok(Self { http: Http::new(settings)?, place })
    }

    /// Posts a message to the channel: once, whatever comes of it.
    pub async fn post(&self, mut body: Map<String, Value>) -> Result<Posted, SendError> {
        match &self.place {
            SlackTarget::Bot { channel, .. } => {
                body.insert("channel".into(), json!(channel));
                self.call("chat.postMessage", Value::Object(body)).await
            }
            SlackTarget::Hook(url) => {
                let reply = self
                    .send(url.clone(), HeaderMap::new(), "application/json", Value::Object(body).to_string())
                    .await?;
                let said = self.said_by_hook(&reply);
                Ok(Posted { reply, said })
            }
        }
    }

    /// Calls a method of the API with the token.
    pub(super) async fn call(&self, method: &str, body: Value) -> Result<Posted, SendError> {
        let SlackTarget::Bot { api, authorization, .. } = &self.place else {
            return Err(SendError::Address { detail: "a webhook has no API".into() });
        };
        let mut url = api.clone();
        url.set_path(&format!("{}/{method}", api.path().trim_end_matches('/')));
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.clone());
        // Methods that only read take no JSON.
        let (kind, body) = match body {
            Value::Object(body) if method != "chat.postMessage" => {
                let form = body.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
                (
                    "application/x-www-form-urlencoded",
                    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish(),
                )
            }
            body => ("application/json; charset=utf-8", body.to_string()),
        };
        let reply = self.send(url, headers, kind, body).await?;
        let said = self.said_by_api(&reply);
        Ok(Posted { reply, said })
    }

    async fn send(
        &self,
        url: Url,
        mut headers: HeaderMap,
        kind: &'static str,
        body: String,
    ) -> Result<HttpReply, SendError> {
        headers.insert("content-type", HeaderValue::from_static(kind));
        self.http.send(HttpRequest { method: Method::POST, url, headers, body: body.into_bytes() }).await
    }

    /// The API says in the body how it went, with status 200 either way.
    fn said_by_api(&self, reply: &HttpReply) -> SlackReply {
        let Ok(json) = serde_json::from_slice::<Value>(&reply.body) else { return SlackReply::Unreadable };
        match (json["ok"].as_bool(), json["error"].as_str()) {
            (Some(true), _) => {
                let id =
                    json["channel"].as_str().zip(json["ts"].as_str()).map(|(channel, ts)| format!("{channel}:{ts}"));
                SlackReply::Ok(id)
            }
            (Some(false), error) => SlackReply::Failed(self.code(error.unwrap_or_default()), self.more(&json)),
            (None, _) => SlackReply::Unreadable,
        }
    }

    /// A webhook says `ok` or a code, as plain text; one of a workflow, or of a service that is like Slack, says so in
    /// JSON.
    fn said_by_hook(&self, reply: &HttpReply) -> SlackReply {
        let text = String::from_utf8_lossy(&reply.body[..reply.body.len().min(200)]).trim().to_owned();
        let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let word = ["ok", "success"].iter().find_map(|name| json[*name].as_bool());
        match (reply.status, word) {
            (200..=299, Some(true)) => SlackReply::Ok(None),
            (_, Some(false)) => {
                SlackReply::Failed(self.code(json["error"].as_str().unwrap_or_default()), self.more(&json))
            }
            // A service that answers with nothing has nothing against it.
            (200..=299, None) if text.is_empty() || text.eq_ignore_ascii_case("ok") => SlackReply::Ok(None),
            (200..=299, None) => SlackReply::Unreadable,
            _ => SlackReply::Failed(self.code(&text), String::new()),
        }
    }

    fn code(&self, said: &str) -> String {
        let said = self.http.redactor().hide(said);
        if detail::is_code(&said) { said } else { "error".into() }
    }

    /// What the API says beside the code: which scope is missing, what is wrong with a block.
    fn more(&self, json: &Value) -> String {
        let messages = json.pointer("/response_metadata/messages").and_then(Value::as_array);
        let mut parts: Vec<&str> = messages.into_iter().flatten().filter_map(Value::as_str).collect();
        parts.extend(json["needed"].as_str());
        self.http.redactor().shorten(&parts.join("; "))
    }

    /// Which channel of which workspace this is, without a secret; empty where nobody tells.
    pub(super) async fn place(&self) -> String {
        match &self.place {
            SlackTarget::Bot { channel, .. } => {
                let told = self.call("auth.test", json!({})).await.ok();
                let json = told
                    .and_then(|posted| serde_json::from_slice::<Value>(&posted.reply.body).ok())
                    .unwrap_or_default();
                json["team_id"]
                    .as_str()
                    .map_or_else(String::new, |team| format!("{channel} of the Slack workspace {team}"))
            }
            // /services/WORKSPACE/WEBHOOK/SECRET: the last part is what nobody may know.
            SlackTarget::Hook(url) => {
                let mut path: Vec<&str> = url.path().trim_matches('/').split('/').collect();
                path.pop();
                format!("the webhook {}/{}", url.origin().ascii_serialization(), path.join("/"))
            }
        }
    }

    /// The channel as the bot knows it; none for a webhook.
    pub(super) fn channel(&self) -> Option<&str> {
        match &self.place {
            SlackTarget::Bot { channel, .. } => Some(channel),
            SlackTarget::Hook(_) => None,
        }
    }

    /// What can be said of its address before anything is sent.
    pub(super) async fn look_at(&self, about: &str) -> Result<Vec<Finding>, SendError> {
        let (SlackTarget::Bot { api: url, .. } | SlackTarget::Hook(url)) = &self.place;
        self.http.look_at(url, about).await
    }
}

fn address(written: &str) -> Option<Url> {
    Url::parse(written).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.host_str().is_some())
}

/// The text with Slack's own marks escaped: it can neither mention anybody nor be a link.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
