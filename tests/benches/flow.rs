//! The whole flow against a bare loop, measured in the same run on the same machine.
//!
//! `cargo bench -p sluicegate-tests --bench flow -- [--rows N] [--only NAME]`. Every measured thing runs in a process
//! of its own, so that CPU seconds and peak memory are its own. PostgreSQL is measured when SLUICEGATE_TEST_POSTGRES
//! names a server (`./tests/run --bench` starts one).

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a bench that cannot measure ends, and prints its figures"
)]

mod child;
mod data;
mod usage;

use std::path::Path;
use std::process::Command;

use support::double::Double;

use crate::usage::Measured;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|a| a == "--child") {
        let measured = child::run(&arguments[at + 1..]);
        println!("{}", serde_json::to_string(&measured).expect("numbers serialise"));
        return;
    }
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let rows: u64 = value("--rows").map_or(1_000_000, |n| n.parse().expect("--rows takes a number"));
    let only = value("--only").map(String::as_str);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wanted = |name: &str| only.is_none_or(|o| o == name);
    println!("{rows} rows of 12 columns; ratio = whole run / bare loop, in wall-clock time\n");
    println!("| what | rows | seconds | rows/s | CPU s | peak MB | requests | ratio |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    if wanted("sqlite") || wanted("http") {
        data::sqlite(&folder.path().join("warehouse.db"), rows);
    }
    if wanted("http") {
        http(folder.path(), rows);
    }
    if wanted("sqlite") {
        idle("sqlite", folder.path(), rows);
    }
    if wanted("postgres") {
        match std::env::var("SLUICEGATE_TEST_POSTGRES") {
            Ok(url) => {
                data::postgres(&url, rows);
                idle("postgres", folder.path(), rows);
            }
            Err(_) => println!(
                "\nPostgreSQL was left out: SLUICEGATE_TEST_POSTGRES is not set (`./tests/run --bench` starts a server)."
            ),
        }
    }
}

/// A first run over HTTP, and a bare reqwest loop that posts the very bodies the run sent.
fn http(folder: &Path, rows: u64) {
    let bodies = folder.join("bodies");
    let capture = data::Capture::start(&bodies);
    data::project(folder, "sqlite", &capture.url());
    measure(folder, "run", "http-captured");
    drop(capture);
    let server = Double::count_only();
    let bare = (0..3)
        .map(|_| measure(folder, "post", &server.url()))
        .min_by(|a, b| a.seconds.total_cmp(&b.seconds))
        .expect("three runs");
    print("HTTP: bare reqwest loop", rows, &bare, None);
    let mut best: Option<Measured> = None;
    for _ in 0..3 {
        std::fs::remove_dir_all(folder.join(".sluice")).expect("the state of the run before");
        data::project(folder, "sqlite", &server.url());
        let run = measure(folder, "run", "http");
        if best.as_ref().is_none_or(|b| run.seconds < b.seconds) {
            best = Some(run);
        }
    }
    print("HTTP: first run", rows, &best.expect("three runs"), Some(&bare));
}

/// Runs over an unchanged table, and only reading it.
fn idle(source: &str, folder: &Path, rows: u64) {
    let server = Double::count_only();
    let _ = std::fs::remove_dir_all(folder.join(".sluice"));
    data::project(folder, source, &server.url());
    // The first run delivers, the second notes the digests: from the third on nothing is left to do.
    measure(folder, "run", "first");
    measure(folder, "run", "second");
    let pairs: Vec<_> = (0..5).map(|_| (measure(folder, "read", source), measure(folder, "run", "idle"))).collect();
    let bare = pairs.iter().map(|p| &p.0).min_by(|a, b| a.seconds.total_cmp(&b.seconds)).expect("five pairs");
    let run = pairs.iter().map(|p| &p.1).min_by(|a, b| a.seconds.total_cmp(&b.seconds)).expect("five pairs");
    assert_eq!(run.requests, 0, "an idle run sends nothing");
    print(&format!("{source}: only reading"), rows, bare, None);
    print(&format!("{source}: idle run"), rows, run, Some(bare));
}

/// Runs one thing in a process of its own.
fn measure(folder: &Path, what: &str, argument: &str) -> Measured {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--child", what])
        .arg(folder)
        .arg(argument)
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("the child runs");
    assert!(output.status.success(), "{what} failed: {}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("the child prints its numbers")
}

fn print(what: &str, rows: u64, m: &Measured, bare: Option<&Measured>) {
    let ratio = bare.map_or_else(String::new, |b| format!("{:.2}", m.seconds / b.seconds));
    let rate = rows as f64 / m.seconds;
    println!(
        "| {what} | {rows} | {:.2} | {rate:.0} | {:.2} | {} | {} | {ratio} |",
        m.seconds, m.cpu_seconds, m.peak_mb, m.requests
    );
}
