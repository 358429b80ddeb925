//! Bad days of the queue on SQS, of secrets and of topics on AWS: refused requests, requests done in part, deliveries
//! that come twice, in another order, too late or while the first is still worked on. Against the emulator, with a
//! proxy that refuses.
#![allow(clippy::unwrap_used)]

#[path = "queue/deliveries.rs"]
mod deliveries;
#[path = "queue/secrets.rs"]
mod secrets;
#[path = "queue/sends.rs"]
mod sends;
#[path = "queue/silence.rs"]
mod silence;
#[path = "queue/topics.rs"]
mod topics;

use std::time::Duration;

use aws::Clients;
use aws::queue::SqsQueue;
use domain::batch::{BatchHeader, BatchRecord, Message};
use domain::cells::{self, Cells};
use domain::key::KeyHash;
use domain::layout::{Field, Layout};
use domain::mode::Op;
use domain::ports::{BatchQueue as _, Delivery};
use domain::value::{Type, Value};
use support::aws::{MESSAGE_BYTES, bucket, endpoint, queue};
use support::proxy::Proxy;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A queue behind a proxy.
async fn harmed(visibility: Duration) -> (SqsQueue, Proxy) {
    let proxy = Proxy::start(endpoint()).await;
    let clients = Clients::emulator(&proxy.url).await;
    (SqsQueue::new(&clients, &queue(visibility).await, &bucket().await, MESSAGE_BYTES), proxy)
}

/// A batch of records with these texts.
fn message(number: u32, names: &[&str]) -> Message {
    let mut body = Vec::new();
    for (id, name) in names.iter().enumerate() {
        let (mut key, mut fields) = (Vec::new(), Vec::new());
        cells::push(&mut key, Value::Int(id as i64));
        cells::push(&mut fields, Value::Int(id as i64));
        cells::push(&mut fields, Value::Text(name));
        let hash = KeyHash::of(&[number.to_le_bytes().as_slice(), &key].concat());
        let (key, fields) = (Cells(&key), Cells(&fields));
        BatchRecord { hash, checksum: 1, revision: 0, had_failure: false, record_id: None, key, fields }
            .push_to(&mut body);
    }
    let field = |name: &str, identifier| Field { name: name.into(), kind: Type::Any, identifier };
    let header = BatchHeader {
        sync: "crm".into(),
        sync_version: "v1".into(),
        run: "r1".into(),
        generation: 3,
        number,
        op: Op::Upsert,
        records: names.len() as u32,
        bucket_bits: 0,
        sample_below: 0,
        layout: Layout::new(vec![field("id", true), field("name", false)]),
    };
    Message { header, body: body.into() }
}

/// Receives one message, which must come.
async fn one(queue: &SqsQueue) -> Delivery {
    let mut received = queue.receive(1, LONG).await.unwrap();
    assert_eq!(received.len(), 1);
    received.remove(0)
}
