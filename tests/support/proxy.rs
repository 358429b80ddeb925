//! A proxy before the AWS emulator that does harm when told to: refuses, leaves part of a request undone, loses an
//! answer after the request took effect. It counts, and everything else goes through.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a double that cannot start is a test that cannot run")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use serde_json::{Value, json};

/// What to do to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Harm {
    /// Answer with this status, error code and message; the emulator never hears of it.
    Refuse(u16, &'static str, &'static str),
    /// Leave this entry of a batch out, and answer that it failed: its place, the code, whether the sender is to blame.
    FailEntry(usize, &'static str, bool),
    /// Leave this entry of a batch out, and do not mention it.
    LoseEntry(usize),
    /// Let it take effect, and answer 500.
    LoseAnswer,
    /// Let the first half of a batch of items take effect, and hand back the rest.
    Half,
    /// Hand back all of a batch of items.
    Nothing,
}

/// The proxy; it ends with the test's runtime.
#[derive(Clone)]
pub struct Proxy {
    pub url: String,
    plans: Arc<Mutex<VecDeque<(&'static str, Harm)>>>,
    seen: Arc<Mutex<Vec<(String, usize)>>>,
}

impl Proxy {
    /// Before the emulator at `upstream`.
    pub async fn start(upstream: String) -> Self {
        // A bare client needs its cryptography installed, although nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let proxy = Self { url, plans: Arc::default(), seen: Arc::default() };
        let (serving, client) = (proxy.clone(), reqwest::Client::new());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (proxy, client, upstream) = (serving.clone(), client.clone(), upstream.clone());
                let service = hyper::service::service_fn(move |request| {
                    let (proxy, client, upstream) = (proxy.clone(), client.clone(), upstream.clone());
                    async move { Ok::<_, hyper::Error>(proxy.answer(request, &client, &upstream).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(hyper_util::rt::TokioIo::new(socket), service),
                );
            }
        });
        proxy
    }

    /// The next `times` requests of this action meet this harm.
    pub fn plan(&self, action: &'static str, harm: Harm, times: usize) {
        self.plans.lock().unwrap().extend(std::iter::repeat_n((action, harm), times));
    }

    /// True when no harm is left to be done.
    pub fn all_done(&self) -> bool {
        self.plans.lock().unwrap().is_empty()
    }

    /// How often this action was asked for.
    pub fn requests(&self, action: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(seen, _)| seen == action).count()
    }

    /// Requests as SQS bills them: one for each 64 KB that go or come.
    /// <https://aws.amazon.com/sqs/pricing/>
    pub fn billed(&self) -> usize {
        self.seen.lock().unwrap().iter().map(|(_, bytes)| bytes.div_ceil(65_536).max(1)).sum()
    }

    fn next(&self, action: &str) -> Option<Harm> {
        let mut plans = self.plans.lock().unwrap();
        let at = plans.iter().position(|(planned, _)| *planned == action)?;
        plans.remove(at).map(|(_, harm)| harm)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        client: &reqwest::Client,
        upstream: &str,
    ) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.expect("a whole request").to_bytes();
        let operation = parts.headers.get("x-amz-target").and_then(|name| name.to_str().ok()).unwrap_or_default();
        // SNS speaks another protocol than the others: the action is a field of the form, errors are XML.
        let form = std::str::from_utf8(&body)
            .ok()
            .filter(|_| operation.is_empty())
            .and_then(|form| form.split('&').find_map(|f| f.strip_prefix("Action=")));
        let (xml, action) =
            (form.is_some(), form.unwrap_or_else(|| operation.rsplit('.').next().unwrap_or_default()).to_owned());
        let sent = body.len();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let forward = async |body: Bytes| {
            let mut forwarded = client.request(parts.method.clone(), format!("{upstream}{path}")).body(body);
            for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
                forwarded = forwarded.header(name, value);
            }
            let answer = forwarded.send().await.expect("the emulator answers");
            (answer.status().as_u16(), answer.bytes().await.expect("a whole answer"))
        };
        let (status, answer) = match self.next(&action) {
            None => forward(body).await,
            Some(Harm::Refuse(status, code, message)) if xml => {
                let error = format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
                );
                (status, error.into())
            }
            Some(Harm::Refuse(status, code, message)) => {
                (status, json!({ "__type": format!("com.amazonaws#{code}"), "message": message }).to_string().into())
            }
            Some(Harm::FailEntry(at, code, sender_fault)) => {
                let (rest, id) = without(&body, at);
                let mut answer = json!({ "Successful": [], "Failed": [] });
                if rest["Entries"].as_array().is_some_and(|entries| !entries.is_empty()) {
                    answer = serde_json::from_slice(&forward(rest.to_string().into()).await.1).expect("JSON");
                }
                answer["Failed"] =
                    json!([{ "Id": id, "Code": code, "Message": "as told", "SenderFault": sender_fault }]);
                (200, answer.to_string().into())
            }
            Some(Harm::LoseEntry(at)) => forward(without(&body, at).0.to_string().into()).await,
            Some(Harm::LoseAnswer) => {
                let (status, answer) = forward(body).await;
                assert_eq!(status, 200, "an answer that is lost was one of success: {answer:?}");
                (500, Bytes::from_static(br#"{"__type":"com.amazonaws#InternalServerError","message":"as told"}"#))
            }
            Some(harm @ (Harm::Half | Harm::Nothing)) => {
                let (kept, left) = divide(&serde_json::from_slice(&body).unwrap(), harm == Harm::Half);
                let (status, answer) = if harm == Harm::Half {
                    forward(Bytes::from(kept.to_string())).await
                } else {
                    (200, Bytes::from_static(b"{}"))
                };
                let mut answer: Value = serde_json::from_slice(&answer).unwrap();
                answer[if action == "BatchGetItem" { "UnprocessedKeys" } else { "UnprocessedItems" }] = left;
                (status, Bytes::from(answer.to_string()))
            }
        };
        self.seen.lock().unwrap().push((action, sent.max(answer.len())));
        Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.0")
            .body(Full::new(answer))
            .expect("an answer")
    }
}

/// A batch request without the entry at this place, and the id of that.
fn without(body: &[u8], at: usize) -> (Value, Value) {
    let mut request: Value = serde_json::from_slice(body).expect("JSON");
    let entries = request["Entries"].as_array_mut().expect("a batch request");
    let entry = entries.remove(at.min(entries.len() - 1));
    (request, entry["Id"].clone())
}

/// A batch request with the first half of its entries, and the `RequestItems` of those left out.
fn divide(request: &Value, half: bool) -> (Value, Value) {
    let (mut kept, mut left) = (request.clone(), request["RequestItems"].clone());
    for (table, asked) in kept["RequestItems"].as_object_mut().unwrap() {
        let (kept, left) = match asked.get_mut("Keys") {
            Some(keys) => (keys, &mut left[table]["Keys"]),
            None => (asked, &mut left[table]),
        };
        let all = kept.as_array_mut().unwrap();
        let rest = all.split_off(if half { all.len().div_ceil(2) } else { 0 });
        *left = rest.into();
    }
    let none = |left: &Value| {
        left.as_object()
            .unwrap()
            .values()
            .all(|asked| asked.get("Keys").unwrap_or(asked).as_array().unwrap().is_empty())
    };
    let left = if none(&left) { json!({}) } else { left };
    (kept, left)
}
