//! The double does what it says, seen through plain sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;

/// One request on a connection of its own; the whole answer as text.
fn send(double: &Double, body: &str) -> String {
    let mut socket = TcpStream::connect(double.address).unwrap();
    write!(
        socket,
        "POST /x?y=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn body(operation: &str, keys: &[u32]) -> String {
    let records: Vec<_> = keys
        .iter()
        .map(|k| serde_json::json!({"id": format!("{operation}-{k}"), "key": k, "fields": {"n": k}}))
        .collect();
    serde_json::json!({"sync": "s", "operation": operation, "records": records}).to_string()
}

#[test]
fn it_keeps_the_last_version_and_every_delivery() {
    let double = Double::start();
    assert!(send(&double, &body("upsert", &[1, 2])).starts_with("HTTP/1.1 200"));
    send(&double, &body("upsert", &[2]));
    send(&double, &body("delete", &[1]));
    assert_eq!(double.records().into_iter().collect::<Vec<_>>(), [("2".to_owned(), serde_json::json!({"n": 2}))]);
    assert_eq!((double.deliveries().len(), double.duplicates(), double.count()), (4, 1, 3));
    let first = &double.requests()[0];
    assert_eq!((first.method.as_str(), first.path.as_str(), first.header("host")), ("POST", "/x?y=1", Some("h")));
    double.assert_records(&double.records());
}

#[test]
fn it_fails_as_told() {
    let double = Double::start();
    double.answer_next(1, Behaviour::Reset);
    double.answer_next(1, Behaviour::HalfBody);
    double.answer_next(1, Behaviour::fail_keys([2], "bad"));
    double.answer_next(1, Behaviour::refuse_keys([2]));
    assert_eq!(send(&double, &body("upsert", &[1])), "");
    assert!(double.records().is_empty());
    let half = send(&double, &body("upsert", &[3]));
    assert!(half.contains("content-length: 1000") && half.ends_with("{\"results\":["), "{half}");
    assert!(send(&double, &body("upsert", &[1, 2])).contains("the record is bad"));
    assert!(send(&double, &body("upsert", &[1, 2])).starts_with("HTTP/1.1 400"));
    assert_eq!(double.records().into_keys().collect::<Vec<_>>(), ["1", "3"]);
    double.answer_every(2, Behaviour::status(500));
    let codes: Vec<_> = (0..4).map(|_| send(&double, "").contains(" 500 ")).collect();
    assert_eq!(codes, [false, true, false, true]);
    double.recover();
    assert!(send(&double, "").starts_with("HTTP/1.1 200"));
}

#[test]
fn it_counts_what_is_beyond_its_quota() {
    let double = Double::start();
    double.quota(Quota::new(2, Duration::from_secs(3600), RetryAfter::Date(Duration::from_secs(60))));
    let answers: Vec<_> = (0..3).map(|_| send(&double, "")).collect();
    assert!(answers[2].starts_with("HTTP/1.1 429") && answers[2].contains(" GMT\r\n"), "{}", answers[2]);
    assert_eq!(double.violations(), 1);
    double.recover();
    assert!(send(&double, "").starts_with("HTTP/1.1 200"));
}

#[test]
fn counting_keeps_nothing_and_stopping_stops() {
    let double = Double::count_only();
    assert!(send(&double, &body("upsert", &[1])).ends_with("{}"));
    assert_eq!((double.count(), double.requests().len(), double.bytes()), (1, 0, body("upsert", &[1]).len() as u64));
    let address = double.address;
    double.shutdown();
    assert!(TcpStream::connect(address).is_err());
}
