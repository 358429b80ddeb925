//! Reads accepted records back and compares them with what was sent; deleted ones must not be there. The writer does it
//! for those of its own batch that are in the run's sample, once they are committed. Nothing depends on what it finds;
//! it is counted and told.

use domain::batch::{BatchHeader, BatchRecord};
use domain::cells::Cells;
use domain::key::display_key;
use domain::layout::Layout;
use domain::mode::Op;
use domain::ports::Destination;
use domain::readback::{ReadbackResult, differing};

use crate::Context;

/// Looks the accepted records of `sample` up and adds what that comes to to `found`. Whatever keeps it from reading is
/// logged, and the records count as not looked up.
pub(crate) async fn read_back(
    context: &Context,
    destination: &dyn Destination,
    header: &BatchHeader,
    sample: &[&BatchRecord<'_>],
    found: &mut ReadbackResult,
) {
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
    let compared: Vec<Option<Vec<String>>> = sample
        .iter()
        .zip(there)
        .map(|(record, there)| {
            let here = destination.as_stored(layout, record.fields);
            there.map(|there| {
                differing(layout, Cells(&here), Cells(&there)).map(|(field, ..)| field.name.clone()).collect()
            })
        })
        .collect();
    let spelt: Vec<Option<Vec<bool>>> = if header.op == Op::Delete {
        vec![None; sample.len()]
    } else {
        agreeing(destination, layout, sample, &compared).await
    };
    for ((record, fields), agrees) in sample.iter().zip(compared).zip(spelt) {
        if header.op == Op::Delete {
            found.note_deleted(|| display_key(record.key), fields.is_some());
            continue;
        }
        let same = |name: &String| {
            agrees.as_ref().is_some_and(|agrees| {
                layout.fields().iter().zip(agrees).any(|(field, same)| field.name == *name && *same)
            })
        };
        found.note(
            || display_key(record.key),
            fields.map(|names| names.into_iter().filter(|name| !same(name)).collect()),
        );
    }
}

/// Of records that seem to differ, which fields are the same to the destination: it spells some values in its own way.
async fn agreeing(
    destination: &dyn Destination,
    layout: &Layout,
    sample: &[&BatchRecord<'_>],
    compared: &[Option<Vec<String>>],
) -> Vec<Option<Vec<bool>>> {
    let mut out = vec![None; sample.len()];
    let differ: Vec<usize> =
        (0..sample.len()).filter(|at| compared[*at].as_ref().is_some_and(|fields| !fields.is_empty())).collect();
    if differ.is_empty() {
        return out;
    }
    let records: Vec<Vec<u8>> = differ.iter().map(|at| sample[*at].fields.bytes().to_vec()).collect();
    if let Ok(Some(agrees)) = destination.agrees(layout, &records).await {
        differ.into_iter().zip(agrees).for_each(|(at, agrees)| out[at] = Some(agrees));
    }
    out
}
