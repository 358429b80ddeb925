//! A proxy before the emulator's DynamoDB that does harm when told to: refuses, leaves part of a request undone, loses an
//! answer after the request took effect. Everything else goes through.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use serde_json::{Value, json};

/// What to do to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Harm {
    /// Answer with this status and error code; the emulator never hears of it.
    Refuse(u16, &'static str),
    /// Let it take effect, and answer 500.
    LoseAnswer,
    /// Let the first half of the batch take effect, and hand back the rest.
    Half,
    /// Hand back all of the batch.
    Nothing,
}

/// The proxy; ends with the test's runtime.
#[derive(Clone)]
pub struct Proxy {
    /// Its address.
    pub url: String,
    plans: Arc<Mutex<VecDeque<(&'static str, Harm)>>>,
    seen: Arc<Mutex<Vec<(String, usize)>>>,
}

impl Proxy {
    /// Before the emulator at `target`.
    pub async fn start(target: String) -> Self {
        // A bare client needs its cryptography installed, although nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self { url, plans: Arc::default(), seen: Arc::default() };
        let (serving, client) = (proxy.clone(), reqwest::Client::new());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (proxy, client, target) = (serving.clone(), client.clone(), target.clone());
                let service = hyper::service::service_fn(move |request| {
                    let (proxy, client, target) = (proxy.clone(), client.clone(), target.clone());
                    async move { Ok::<_, hyper::Error>(proxy.answer(request, &client, &target).await) }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(socket), service));
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

    /// How often this action was asked for, and the largest request of it in bytes.
    pub fn requests(&self, action: &str) -> (usize, usize) {
        let seen = self.seen.lock().unwrap();
        let of_action = || seen.iter().filter(|(seen, _)| seen == action).map(|(_, size)| *size);
        (of_action().count(), of_action().max().unwrap_or(0))
    }

    fn next(&self, action: &str) -> Option<Harm> {
        let mut plans = self.plans.lock().unwrap();
        let at = plans.iter().position(|(planned, _)| *planned == action)?;
        plans.remove(at).map(|(_, harm)| harm)
    }

    async fn answer(&self, request: Request<Incoming>, client: &reqwest::Client, target: &str) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let operation = parts.headers.get("x-amz-target").and_then(|name| name.to_str().ok()).unwrap_or_default();
        let action = operation.rsplit('.').next().unwrap_or_default().to_owned();
        self.seen.lock().unwrap().push((action.clone(), body.len()));
        let forward = async |body: Bytes| {
            let mut forwarded = client.post(target).body(body);
            for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
                forwarded = forwarded.header(name, value);
            }
            let answer = forwarded.send().await.unwrap();
            (answer.status().as_u16(), answer.bytes().await.unwrap())
        };
        let (status, body) = match self.next(&action) {
            None => forward(body).await,
            Some(Harm::Refuse(status, code)) => (status, Bytes::from(json!({ "__type": format!("com.amazonaws#{code}"), "message": "as told" }).to_string())),
            Some(Harm::LoseAnswer) => {
                let (status, answer) = forward(body).await;
                assert_eq!(status, 200, "an answer that is lost was one of success: {answer:?}");
                (500, Bytes::from_static(br#"{"__type":"com.amazonaws#InternalServerError","message":"as told"}"#))
            }
            Some(harm) => {
                let (kept, left) = divide(&serde_json::from_slice(&body).unwrap(), harm == Harm::Half);
                let (status, answer) = if harm == Harm::Half { forward(Bytes::from(kept.to_string())).await } else { (200, Bytes::from_static(b"{}")) };
                let mut answer: Value = serde_json::from_slice(&answer).unwrap();
                answer[if action == "BatchGetItem" { "UnprocessedKeys" } else { "UnprocessedItems" }] = left;
                (status, Bytes::from(answer.to_string()))
            }
        };
        Response::builder().status(status).header("content-type", "application/x-amz-json-1.0").body(Full::new(body)).unwrap()
    }
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
    let none = |left: &Value| left.as_object().unwrap().values().all(|asked| asked.get("Keys").unwrap_or(asked).as_array().unwrap().is_empty());
    let left = if none(&left) { json!({}) } else { left };
    (kept, left)
}
