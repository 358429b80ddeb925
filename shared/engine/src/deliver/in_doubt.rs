//! The note of a claim: which records are in doubt, should their writer never be heard of again (see
//! [`domain::in_doubt`]).

use domain::batch::{BatchHeader, BatchRecord};
use domain::in_doubt::InDoubt;
use domain::mode::{Mode, Op};

/// Which records a later run must not trust the state about, should this writer never be heard of again.
pub(super) fn notes_of(mode: Mode, header: &BatchHeader, records: &[BatchRecord<'_>]) -> Vec<u8> {
    let mut note = Vec::with_capacity(records.len() * 5);
    for record in records {
        if mode == Mode::Mirror && header.op != Op::Delete {
            InDoubt::Record(record.hash, record.revision, header.layout.identifier_cells(record.fields))
                .push_to(&mut note);
        } else {
            InDoubt::Prefix(record.hash.prefix()).push_to(&mut note);
        }
    }
    note
}
