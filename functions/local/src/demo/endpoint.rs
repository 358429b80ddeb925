//! The HTTP endpoint of the demo: keeps records in memory as a CRM would, and says of each what became of it.
//! It lives in the demo's process, on a free loopback port, and ends with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use domain::fault::{Code, Fault};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// The endpoint takes nobody with an address in this domain.
pub const BLOCKED_DOMAIN: &str = "blocked.example";

/// The fields of each record, by key.
pub type EndpointRecords = BTreeMap<i64, Map<String, Value>>;

pub struct Endpoint {
    address: SocketAddr,
    records: Arc<Mutex<EndpointRecords>>,
    task: JoinHandle<()>,
}

/// What a request carries: the webhook's usual body.
#[derive(Deserialize)]
struct EndpointBody {
    records: Vec<EndpointRecord>,
}

#[derive(Deserialize)]
struct EndpointRecord {
    id: String,
    key: i64,
    fields: Map<String, Value>,
}

impl Endpoint {
    /// Starts on a free port of this machine.
    pub async fn start() -> Result<Self, Fault> {
        let failed = |e: std::io::Error| {
            Fault::new(Code::Internal, format!("The demo's HTTP endpoint cannot listen on 127.0.0.1: {e}."))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let records = Arc::new(Mutex::new(EndpointRecords::new()));
        let task = tokio::spawn(accept(listener, Arc::clone(&records)));
        Ok(Self { address, records, task })
    }

    /// Where records are sent.
    pub fn url(&self) -> String {
        format!("http://{}/contacts", self.address)
    }

    pub fn records(&self) -> EndpointRecords {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves until it is aborted, and its connections with it.
async fn accept(listener: TcpListener, records: Arc<Mutex<EndpointRecords>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let records = Arc::clone(&records);
                connections.spawn(async move {
                    let service = service_fn(|request| respond(request, Arc::clone(&records)));
                    // A connection that breaks off is the client's to notice.
                    let _ = hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    records: Arc<Mutex<EndpointRecords>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let bytes = request.into_body().collect().await?.to_bytes();
    let (status, answer) = match serde_json::from_slice::<EndpointBody>(&bytes) {
        Ok(body) => {
            let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
            let results: Vec<Value> = body.records.into_iter().map(|sent| take(&mut records, sent)).collect();
            (200, json!({ "results": results }))
        }
        Err(e) => (400, json!({ "error": { "code": "unreadable", "message": e.to_string() } })),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

/// Keeps a record, or refuses it for good. Fields that are not sent stay as they are.
fn take(records: &mut EndpointRecords, sent: EndpointRecord) -> Value {
    let email = sent.fields.get("email").and_then(Value::as_str).unwrap_or_default();
    if email.rsplit_once('@').is_some_and(|(_, domain)| domain == BLOCKED_DOMAIN) {
        let message = format!("addresses in {BLOCKED_DOMAIN} are not taken");
        return json!({ "id": sent.id, "status": "rejected", "error": { "code": "blocked_domain", "message": message } });
    }
    let status = if records.contains_key(&sent.key) { "updated" } else { "created" };
    records.entry(sent.key).or_default().extend(sent.fields);
    json!({ "id": sent.id, "status": status })
}
