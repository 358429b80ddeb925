//! The serving part that every double has: HTTP/1.1, and HTTP/2 for who begins with it, on a free loopback port, in a thread of
//! its own, so that it answers whatever the runtime of its user does. What to answer is the [`DoubleService`]'s business.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::Response;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use crate::exchange::{DoubleReply, DoubleRequest};
use crate::recording::Recording;

pub trait DoubleService: Send + Sync + 'static {
    /// What it is a double of: the name of the file that its exchanges are recorded into.
    fn name(&self) -> &'static str;

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
    let recording = Recording::of(service.name());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let _ = socket.set_nodelay(true);
                let (service, recording) = (Arc::clone(&service), recording.clone());
                connections.spawn(async move {
                    let respond = service_fn(|request| respond(request, Arc::clone(&service), recording.clone()));
                    // A connection that breaks off is the client's to notice.
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http1().timer(TokioTimer::new());
                    builder.http2().timer(TokioTimer::new());
                    let _ = builder.serve_connection(TokioIo::new(socket), respond).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn respond(
    request: hyper::Request<Incoming>,
    service: Arc<dyn DoubleService>,
    recording: Recording,
) -> io::Result<Response<impl Body<Data = Bytes, Error = Box<dyn std::error::Error + Send + Sync>>>> {
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
    recording.note(&request, &reply);
    if !reply.delay.is_zero() {
        tokio::time::sleep(reply.delay).await;
    }
    if reply.cut {
        return Err(io::Error::other("told to close the connection"));
    }
    let mut response = Response::builder().status(reply.status);
    let whole = reply.body.len();
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = match reply.cut_after.filter(|bytes| *bytes < whole) {
        None if reply.trailers.is_empty() => Either::Left(Full::new(reply.body).map_err(|never| match never {})),
        None => {
            let trailers: HeaderMap = reply
                .trailers
                .iter()
                .filter_map(|(name, value)| {
                    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                    Some((name, HeaderValue::from_str(value).ok()?))
                })
                .collect();
            let pieces = vec![Ok(Frame::data(reply.body)), Ok(Frame::trailers(trailers))];
            Either::Right(StreamBody::new(futures_util::stream::iter(pieces)))
        }
        Some(bytes) => {
            // All of it is promised, and the connection breaks before that.
            response = response.header("content-length", whole);
            let pieces = vec![Ok(Frame::data(reply.body.slice(..bytes))), Err(io::Error::other("told to break off"))];
            Either::Right(StreamBody::new(futures_util::stream::iter(pieces)))
        }
    };
    response.body(body).map_err(io::Error::other)
}
