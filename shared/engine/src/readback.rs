//! Reads accepted records back and compares them with what was sent; deleted ones must not be there. The writer does it for
//! those of its own batch that are in the run's sample, once they are committed. Nothing depends on what it finds; it is counted and told.

use domain::batch::{BatchHeader, BatchRecord};
use domain::cells::Cells;
use domain::key::display_key;
use domain::mode::Op;
use domain::ports::Destination;
use domain::readback::ReadBack;

use crate::Context;
use crate::explain::differing;

/// Looks the accepted records of `sample` up and adds what that comes to to `found`. Whatever keeps it from reading is
/// logged, and the records count as not looked up.
pub(crate) async fn read_back(context: &Context, destination: &dyn Destination, header: &BatchHeader, sample: &[&BatchRecord<'_>], found: &mut ReadBack) {
    let layout = &header.layout;
    let readable = layout.identifiers().next().is_some() && destination.reads_back();
    if sample.is_empty() || !readable {
        return;
    }
    // Reading is a request as any other. What has to wait for longer than a writer waits is not worth it.
    if !matches!(context.slots.take(1, &context.stop, context.settings.patience).await, Ok(None)) {
        return;
    }
    let identifiers: Vec<Vec<u8>> = sample.iter().map(|record| layout.identifier_cells(record.fields)).collect();
    let there = match destination.read(layout, &identifiers).await {
        Ok(Some(there)) if there.len() == sample.len() => there,
        Ok(_) => return,
        Err(fault) => {
            tracing::warn!(sync = header.sync, run = header.run, code = %fault.code, "accepted records could not be read back: {}", fault.what);
            return;
        }
    };
    for (record, there) in sample.iter().zip(there) {
        if header.op == Op::Delete {
            found.note_deleted(|| display_key(record.key), there.is_some());
            continue;
        }
        let here = destination.as_stored(layout, record.fields);
        let fields = there.map(|there| differing(layout, Cells(&here), Cells(&there)).map(|(field, ..)| field.name.clone()).collect());
        found.note(|| display_key(record.key), fields);
    }
}
