//! Cold start: the time from the start of a function's process to its first request for an event, against a local
//! double of the Lambda runtime API; and what there is to load, the size of the binary and of its zip.
//!
//! `cargo bench -p sluicegate-tests --bench cold_start -- [--folder target/lambda] [--starts N]`, after
//! `cargo lambda build --release -p extractor -p writer`. The functions have all their settings and an endpoint where
//! nobody listens: a cold start must call nobody.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that cannot measure ends, and prints its figures"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const STARTS: usize = 30;
/// A process that has not asked by then never will.
const PATIENCE: Duration = Duration::from_secs(30);
const SETTINGS: [(&str, &str); 12] = [
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "none"),
    ("AWS_SECRET_ACCESS_KEY", "none"),
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
    ("SLUICEGATE_STACK", "bench"),
    ("SLUICEGATE_TABLE", "bench"),
    ("SLUICEGATE_BUCKET", "bench"),
    ("SLUICEGATE_QUEUE_PREFIX", "bench-"),
    ("SLUICEGATE_QUEUE_URL", "http://127.0.0.1:9/0/bench"),
    ("SLUICEGATE_DLQ_URL", "http://127.0.0.1:9/0/bench-dlq"),
    ("SLUICEGATE_DESTINATION", "bench"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let folder =
        value("--folder").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lambda"), Into::into);
    let starts = value("--starts").map_or(STARTS, |n| n.parse().expect("--starts takes a number"));
    println!("| function | starts | median ms | slowest ms | binary MB | zipped MB | goal |");
    println!("|---|---:|---:|---:|---:|---:|---|");
    let mut missed = false;
    for function in ["extractor", "writer"] {
        let binary = folder.join(function).join("bootstrap");
        let Ok(size) = std::fs::metadata(&binary).map(|m| m.len()) else {
            println!("{} is missing: cargo lambda build --release -p extractor -p writer", binary.display());
            std::process::exit(1);
        };
        let mut times: Vec<Duration> = (0..starts).map(|_| start(&binary)).collect();
        times.sort_unstable();
        let (median, slowest) = (ms(times[starts / 2]), ms(times[starts - 1]));
        let (megabytes, zipped) = (size as f64 / 1e6, zipped(&binary) as f64 / 1e6);
        let met = median < 15.0 && zipped < 6.0;
        missed |= !met;
        let goal = if met { "15 ms, 6 MB: met" } else { "15 ms, 6 MB: **missed**" };
        println!("| {function} | {starts} | {median:.1} | {slowest:.1} | {megabytes:.1} | {zipped:.1} | {goal} |");
    }
    std::process::exit(i32::from(missed));
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Starts the function and waits until it asks for its first event.
fn start(binary: &Path) -> Duration {
    let api = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = api.local_addr().expect("an address").to_string();
    let asked = std::thread::spawn(move || {
        let (stream, _) = api.accept().expect("a request");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("a request line");
        assert!(line.starts_with("GET /2018-06-01/runtime/invocation/next"), "the first request is {line}");
        Instant::now()
    });
    let began = Instant::now();
    let mut command = Command::new(binary);
    command
        .env_clear()
        .envs(SETTINGS)
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
    command
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "s")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "g");
    let mut process =
        Ended(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("the function starts"));
    while !asked.is_finished() {
        if let Some(status) = process.0.try_wait().expect("its state") {
            println!("{} ended with {status} before it asked for an event", binary.display());
            std::process::exit(1);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    asked.join().expect("the double of the runtime API") - began
}

/// A process that does not outlive its measuring.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The size of the binary compressed as a zip does.
fn zipped(binary: &Path) -> u64 {
    let gzip = Command::new("gzip").args(["-9", "-c"]).arg(binary).output().expect("gzip");
    gzip.stdout.len() as u64
}
