//! Where a run's batches lie: 64 to an item, numbers that follow each other in different ones.
//!
//! Writers are at work on neighbouring numbers, so an item holds few open claims at a time and stays within one write
//! unit. An item's cells are counted where they lie; the run's progress only has to remember which items are full, and
//! can say that without anybody counting twice.

use super::packed::{has_in_doubt, is_done};
use crate::state::item::{Item, get_bytes};

/// Cells to a page.
const CELLS: u32 = 64;
/// Pages that are filled side by side.
const LANES: u32 = 64;
const BLOCK: u32 = CELLS * LANES;

/// The page of a batch.
pub(in crate::state) fn page_of(number: u32) -> u32 {
    number / BLOCK * LANES + number % LANES
}

/// The attribute of a batch's cell in its page.
pub(in crate::state) fn cell_name(number: u32) -> String {
    format!("{:x}", number % BLOCK / LANES)
}

/// Batches of a page in a run of `total` batches.
pub(in crate::state) fn batches_in(page: u32, total: u32) -> u32 {
    let (block, lane) = (page / LANES, page % LANES);
    let within = total.saturating_sub(block * BLOCK).min(BLOCK);
    within.saturating_sub(lane).div_ceil(LANES)
}

/// The cells of a page: the number of each batch, and its cell.
pub(in crate::state) fn cells(page: u32, item: &Item) -> impl Iterator<Item = (u32, &[u8])> {
    let cell = move |at: u32| {
        let number = page / LANES * BLOCK + at * LANES + page % LANES;
        Some((number, get_bytes(item, &cell_name(number))?))
    };
    (0..CELLS).filter_map(cell)
}

/// Batches of a page that are done.
pub(in crate::state) fn done_in(page: u32, item: &Item) -> u32 {
    cells(page, item).filter(|(_, cell)| is_done(cell)).count() as u32
}

/// True when a batch of the page left records in doubt.
pub(in crate::state) fn doubtful(page: u32, item: &Item) -> bool {
    cells(page, item).any(|(_, cell)| has_in_doubt(cell))
}

/// True when nothing can be added to what is done in a page.
pub(in crate::state) fn is_full(page: u32, done: u32, total: Option<u32>) -> bool {
    done >= total.map_or(CELLS, |total| batches_in(page, total))
}

/// Batches in these full pages.
pub(in crate::state) fn done_in_full(pages: &[u32], total: Option<u32>) -> u32 {
    pages.iter().map(|page| total.map_or(CELLS, |total| batches_in(*page, total))).sum()
}

/// The cells of pages whose batches are open, or done with records in doubt.
pub(in crate::state) fn noted_cells(pages: &[(u32, Item)]) -> impl Iterator<Item = (u32, &[u8])> {
    pages.iter().flat_map(|(page, item)| cells(*page, item)).filter(|(_, cell)| has_in_doubt(cell) || !is_done(cell))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_batch_has_a_place_of_its_own() {
        for total in [0, 1, 63, 64, 65, 4095, 4096, 4097, 10_000] {
            let mut pages: BTreeMap<u32, Vec<String>> = BTreeMap::new();
            (0..total).for_each(|number| pages.entry(page_of(number)).or_default().push(cell_name(number)));
            for (page, names) in &mut pages {
                assert_eq!(names.len() as u32, batches_in(*page, total), "page {page} of {total}");
                names.sort();
                names.dedup();
                assert_eq!(names.len() as u32, batches_in(*page, total));
            }
            let others = (0..1000).filter(|page| !pages.contains_key(page));
            assert!(
                others.into_iter().all(|page| batches_in(page, total) == 0),
                "no other page has batches of {total}"
            );
            assert_eq!(done_in_full(&pages.into_keys().collect::<Vec<_>>(), Some(total)), total);
        }
    }

    #[test]
    fn a_page_knows_its_batches() {
        let item: Item =
            [5, 69, 4101].map(|number| (cell_name(number), crate::state::item::bytes(vec![number as u8 % 2]))).into();
        assert_eq!(page_of(5), page_of(69));
        assert_ne!(page_of(5), page_of(4101));
        assert_eq!(cells(page_of(5), &item).map(|(number, _)| number).collect::<Vec<_>>(), [5, 69]);
        assert_eq!(done_in(page_of(5), &item), 2);
        assert!(is_full(0, 64, None) && !is_full(0, 63, None) && is_full(0, 1, Some(64)) && !is_full(0, 1, Some(65)));
    }
}
