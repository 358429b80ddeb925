//! The serving part that every double has: HTTP/1.1 on a free loopback port, in a thread of its own, so that it answers
//! whatever the runtime of its user does. What to answer is the [`DoubleService`]'s business.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A request, read whole.
#[derive(Debug, Clone)]
pub struct DoubleRequest {
    /// When it was whole.
    pub at: Instant,
    pub method: String,
    /// Its path as sent, without the query.
    pub path: String,
    /// Its query as sent, without `?`; empty when there is none.
    pub query: String,
    /// Its headers in order; names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl DoubleRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, if it is that.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as `application/x-www-form-urlencoded`, or the query where there is no body.
    pub fn form(&self) -> Vec<(String, String)> {
        let bytes = if self.body.is_empty() { self.query.as_bytes() } else { &self.body };
        url::form_urlencoded::parse(bytes).into_owned().collect()
    }

    /// The segments of the path, percent-decoded, empty ones left out.
    pub fn segments(&self) -> Vec<String> {
        let decoded = |text: &str| {
            url::form_urlencoded::parse(format!("x={}", text.replace('+', "%2B")).as_bytes())
                .next()
                .map(|(_, value)| value.into_owned())
        };
        self.path.split('/').filter(|part| !part.is_empty()).filter_map(decoded).collect()
    }
}

#[derive(Debug, Clone, Default)]
pub struct DoubleReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Wait this long before it is sent.
    pub delay: Duration,
    /// Close the connection instead of sending it.
    pub cut: bool,
}

impl DoubleReply {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self { status, body: Bytes::from(body.to_string()), ..Self::default() }
            .with("content-type", "application/json;charset=utf-8")
    }

    /// Text of this media type.
    pub fn text(status: u16, media_type: &str, body: impl Into<String>) -> Self {
        Self { status, body: Bytes::from(body.into()), ..Self::default() }.with("content-type", media_type)
    }

    /// The connection is closed without an answer.
    pub fn cut() -> Self {
        Self { cut: true, ..Self::default() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

pub trait DoubleService: Send + Sync + 'static {
    /// The answer to a request. Called for one request after the other in a single thread: it must not block.
    fn answer(&self, request: &DoubleRequest) -> DoubleReply;
}

/// A running server. Everything stops, and open connections are cut, when it is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(service: Arc<dyn DoubleService>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("double".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = accept(listener, service) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves until it is dropped, and its connections with it.
async fn accept(listener: tokio::net::TcpListener, service: Arc<dyn DoubleService>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let _ = socket.set_nodelay(true);
                let service = Arc::clone(&service);
                connections.spawn(async move {
                    let respond = service_fn(|request| respond(request, Arc::clone(&service)));
                    // A connection that breaks off is the client's to notice.
                    let _ = hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), respond).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn respond(
    request: hyper::Request<Incoming>,
    service: Arc<dyn DoubleService>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let request = DoubleRequest {
        at: Instant::now(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body,
    };
    let reply = service.answer(&request);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    if reply.cut {
        return Err(io::Error::other("told to close the connection"));
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(reply.body)).map_err(io::Error::other)
}
