//! A proxy before the emulator. It counts the requests that write, and lets only so many of them through.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

/// A gate; it closes for good when it is dropped.
pub struct Gate {
    pub url: String,
    counts: Arc<Counts>,
    _stop: oneshot::Sender<()>,
}

struct Counts {
    writes: AtomicU64,
    left: AtomicI64,
    behind: String,
    client: reqwest::Client,
}

impl Gate {
    /// A gate before this address, open.
    pub fn before(endpoint: &str) -> Self {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counts = Arc::new(Counts {
            writes: AtomicU64::new(0),
            left: AtomicI64::new(i64::MAX),
            behind: endpoint.trim_end_matches('/').to_owned(),
            client: reqwest::Client::builder().build().unwrap(),
        });
        let (stop, stopped) = oneshot::channel();
        let shared = counts.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { url, counts, _stop: stop }
    }

    /// From now on only so many writes pass; the others are denied.
    pub fn allow(&self, writes: i64) {
        self.counts.left.store(writes, Ordering::SeqCst);
    }

    /// From now on everything passes.
    pub fn open(&self) {
        self.allow(i64::MAX);
    }

    /// Writes that were asked for since the last question, those that were denied included.
    pub fn writes(&self) -> u64 {
        self.counts.writes.swap(0, Ordering::SeqCst)
    }
}

async fn accept(listener: tokio::net::TcpListener, counts: Arc<Counts>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let counts = counts.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| forward(request, counts.clone()));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn forward(request: Request<Incoming>, counts: Arc<Counts>) -> Result<Response<Full<Bytes>>, Infallible> {
    if is_write(&request) {
        counts.writes.fetch_add(1, Ordering::SeqCst);
        if counts.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            let denied = r#"{"__type":"AccessDeniedException","message":"The gate is shut"}"#;
            let answer = Response::builder()
                .status(403)
                .header("x-amzn-errortype", "AccessDeniedException")
                .header("content-type", "application/json");
            return Ok(answer.body(Full::from(denied)).unwrap());
        }
    }
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let url = format!("{}{}", counts.behind, head.uri.path_and_query().unwrap());
    let mut sent = counts.client.request(head.method, url).body(body);
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != "host" && *name != "content-length") {
        sent = sent.header(name, value);
    }
    let answer = sent.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer
        .headers()
        .iter()
        .filter(|(name, _)| *name != "transfer-encoding" && *name != "connection" && *name != "content-length")
    {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.bytes().await.unwrap())).unwrap())
}

/// DynamoDB names what it does in a header, the scheduler in the method.
fn is_write(request: &Request<Incoming>) -> bool {
    let target = request.headers().get("x-amz-target").and_then(|t| t.to_str().ok()).unwrap_or_default();
    let written = ["PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"]
        .iter()
        .any(|verb| target.ends_with(verb));
    written || request.uri().path().starts_with("/schedules/") && request.method() != "GET"
}
