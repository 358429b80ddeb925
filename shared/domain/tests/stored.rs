//! What an earlier build wrote down, of 29 November 2026, is still read: heads, runs, dead letters and messages outlive
//! an update.

use domain::batch::BatchHeader;
use domain::dead_letter::DeadLetter;
use domain::head::Head;
use domain::mode::Mode;
use domain::run::{Run, Status};

#[test]
fn a_head_is_read() {
    let head: Head = serde_json::from_str(include_str!("stored/head.json")).unwrap();
    assert_eq!((head.generation, head.bucket_bits, head.records, head.known), (4, 7, 9978, 9984));
    let meaning = head.meaning.unwrap();
    assert_eq!((meaning.mode, meaning.identifiers.len()), (Mode::Upsert, 1));
}

#[test]
fn a_run_is_read() {
    let run: Run = serde_json::from_str(include_str!("stored/run.json")).unwrap();
    assert_eq!((run.status, run.tally.created, run.tally.rejected, run.counts.invalid), (Status::Partial, 9984, 7, 9));
    assert_eq!(run.tally.reasons["blocked_domain"].count, 7);
    assert!(run.refused.held == 0 && run.fault.is_none());
}

#[test]
fn a_dead_letter_is_read() {
    let letter: DeadLetter = serde_json::from_str(include_str!("stored/dead_letter.json")).unwrap();
    assert_eq!((letter.key.as_str(), letter.code.as_str(), letter.attempts), ("613", "blocked_domain", 1));
}

#[test]
fn a_message_on_its_way_is_read() {
    let header: BatchHeader = serde_json::from_str(include_str!("stored/header.json")).unwrap();
    assert_eq!((header.number, header.records, header.sample_below), (3, 100, 4096));
}
