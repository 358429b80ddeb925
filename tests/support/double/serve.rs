//! The double's server: hyper on one thread.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::behaviour::Behaviour;
use super::store::{Delivered, Recorded, Shared, State, records};

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// Time for what was written to reach the other side before the connection is cut.
const FLUSH: Duration = Duration::from_millis(20);

/// Serves until told to stop (or until the other end of `stopped` is gone).
pub(super) fn run(listener: TcpListener, shared: Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        tokio::select! {
            () = accept(listener, shared) => {}
            _ = stopped => {}
        }
    });
    // Dropping the runtime drops every connection.
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let _ = socket.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| handle(request, shared.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}

async fn handle(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answer, io::Error> {
    let (head, mut body) = request.into_parts();
    if shared.count_only {
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.map_err(io::Error::other)?.data_ref().map_or(0, |data| data.len() as u64);
        }
        count(&shared, bytes);
        return Ok(text(200, &[], "{}".into()));
    }
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    count(&shared, body.len() as u64);
    let records = records(&body);
    let headers =
        head.headers.iter().map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    let path = head.uri.path_and_query().map_or("/".to_owned(), ToString::to_string);
    let recorded = Recorded { at: Instant::now(), method: head.method.to_string(), path, headers, body };
    let (decision, delay) = {
        let mut state = shared.state();
        let at = recorded.at;
        state.requests.push(recorded);
        let over = state.quota.as_mut().and_then(|quota| quota.take(at));
        state.violations += usize::from(over.is_some());
        let refused =
            state.required.as_ref().is_some_and(|(name, value)| header(state.requests.last(), name) != Some(value));
        let behaviour = over.or_else(|| refused.then(|| Behaviour::status(401))).unwrap_or_else(|| state.script.next());
        (decide(&behaviour, records, &mut state), state.script.delay)
    };
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match decision {
        Decision::Answer(answer) => Ok(answer),
        Decision::Late(after, answer) => {
            tokio::time::sleep(after).await;
            Ok(answer)
        }
        Decision::Cut => Err(io::Error::other("told to close the connection")),
    }
}

fn header<'a>(request: Option<&'a Recorded>, name: &str) -> Option<&'a String> {
    request?.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn count(shared: &Shared, bytes: u64) {
    shared.bytes.fetch_add(bytes, Ordering::Relaxed);
    shared.requests.fetch_add(1, Ordering::Relaxed);
}

/// What to do with the connection.
enum Decision {
    Answer(Answer),
    Late(Duration, Answer),
    Cut,
}

fn decide(behaviour: &Behaviour, records: Vec<Delivered>, state: &mut State) -> Decision {
    let good = |records: &[Delivered]| records.iter().map(|r| result(&r.id, "ok")).collect::<Vec<_>>();
    Decision::Answer(match behaviour {
        Behaviour::Ok => {
            let answer = results(good(&records));
            state.take(records);
            answer
        }
        Behaviour::Status(code, headers, body) => {
            if (200..300).contains(code) {
                state.take(records);
            }
            text(*code, headers, body.clone())
        }
        Behaviour::Html(code) => text(
            *code,
            &[("content-type".into(), "text/html".into())],
            "<!doctype html><html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>"
                .into(),
        ),
        Behaviour::Reset => return Decision::Cut,
        Behaviour::ResetAfter => {
            state.take(records);
            return Decision::Cut;
        }
        Behaviour::HalfBody => {
            state.take(records);
            half()
        }
        Behaviour::Hang(time) => {
            let answer = results(good(&records));
            state.take(records);
            return Decision::Late(*time, answer);
        }
        Behaviour::Results(list) => take_some(list.clone(), records, state),
        Behaviour::ResultsOf(make) => take_some(make(&records), records, state),
        Behaviour::FailKeys(keys, status) => {
            let list =
                records.iter().map(|r| result(&r.id, if keys.contains(&r.key) { status } else { "ok" })).collect();
            take_some(list, records, state)
        }
        Behaviour::RefuseKeys(status, keys) if records.iter().any(|r| keys.contains(&r.key)) => {
            text(*status, &[], json!({"code": "bad_record", "message": "a record is not valid"}).to_string())
        }
        Behaviour::RefuseKeys(..) => {
            let answer = results(good(&records));
            state.take(records);
            answer
        }
        Behaviour::TooFewResults => {
            let mut list = good(&records);
            list.pop();
            state.take(records);
            results(list)
        }
        Behaviour::TooManyResults => {
            let mut list = good(&records);
            list.push(result("nobody-sent-this", "ok"));
            state.take(records);
            results(list)
        }
    })
}

/// Takes the records whose result, by position, is `ok`.
fn take_some(list: Vec<Value>, records: Vec<Delivered>, state: &mut State) -> Answer {
    let taken: Vec<_> =
        records.into_iter().zip(&list).filter(|(_, r)| r["status"] == "ok").map(|(record, _)| record).collect();
    state.take(taken);
    results(list)
}

fn result(id: &str, status: &str) -> Value {
    if status == "ok" {
        json!({"id": id, "status": "ok"})
    } else {
        json!({"id": id, "status": status, "error": format!("the record is {status}")})
    }
}

fn results(list: Vec<Value>) -> Answer {
    text(200, &[("content-type".into(), "application/json".into())], json!({ "results": list }).to_string())
}

fn text(code: u16, headers: &[(String, String)], body: String) -> Answer {
    let mut answer = Response::builder().status(code);
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed_unsync();
    answer.body(body).expect("a valid status and valid headers")
}

/// An answer that declares 1000 bytes, sends some and ends the connection.
fn half() -> Answer {
    let frames = stream::unfold(0, |step| async move {
        match step {
            0 => Some((Ok(Frame::data(Bytes::from_static(b"{\"results\":["))), 1)),
            1 => {
                tokio::time::sleep(FLUSH).await;
                Some((Err(io::Error::other("told to stop halfway")), 2))
            }
            _ => None,
        }
    });
    let body = StreamBody::new(frames).boxed_unsync();
    Response::builder().status(200).header("content-length", "1000").body(body).expect("a valid answer")
}
