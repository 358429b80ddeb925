//! Whether a run used far more of the warehouse than usual: a model that lost its filter, a table that lost its
//! partitions.

use crate::run::Run;
use crate::usage::WarehouseUsage;

/// A run is compared with so many before it, at most …
pub const MAX_RUNS: usize = 10;
/// … and with none while there are fewer than this.
const MIN_RUNS: usize = 3;
/// Bytes below which no run is costly: the least that BigQuery and Athena bill for a query.
/// <https://cloud.google.com/bigquery/pricing>, <https://aws.amazon.com/athena/pricing/>
const MIN_BYTES: u64 = 10_000_000;
/// Milliseconds below which no run is costly: the least that Snowflake bills for a warehouse that starts.
/// <https://docs.snowflake.com/en/user-guide/cost-understanding-compute>
const MIN_MILLIS: u64 = 60_000;

/// What runs like this one used before it, each number by its median; empty where too few have said it. A full read is
/// compared with full reads only, an incremental one with its like. `runs`: the newest first.
pub fn usual(run: &Run, runs: &[Run]) -> WarehouseUsage {
    let before: Vec<&WarehouseUsage> = runs
        .iter()
        .filter(|old| old.id < run.id && old.full == run.full && !old.usage.is_empty())
        .map(|old| &old.usage)
        .take(MAX_RUNS)
        .collect();
    WarehouseUsage {
        scanned_bytes: median(before.iter().filter_map(|usage| usage.scanned_bytes)),
        statement_millis: median(before.iter().filter_map(|usage| usage.statement_millis)),
    }
}

fn median(numbers: impl Iterator<Item = u64>) -> Option<u64> {
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    (numbers.len() >= MIN_RUNS).then(|| numbers[numbers.len() / 2])
}

/// What is costly about `used`, in a sentence: more than `times` the usual, of bytes or of time.
pub fn costly(used: &WarehouseUsage, usual: &WarehouseUsage, times: f64) -> Option<String> {
    let more = |used: Option<u64>, usual: Option<u64>, least: u64| {
        let (used, usual) = (used?, usual?);
        (used >= least && used as f64 > times * usual as f64).then_some(usual)
    };
    let bytes = more(used.scanned_bytes, usual.scanned_bytes, MIN_BYTES).map(WarehouseUsage::bytes);
    let time = more(used.statement_millis, usual.statement_millis, MIN_MILLIS).map(WarehouseUsage::millis);
    let usual = bytes.or(time)?;
    Some(format!(
        "The warehouse did far more than usual for this run: {}, where {} is the median of the runs before; at most {times} times that is expected.",
        used.in_words(),
        usual.in_words()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(n: u64, full: bool, usage: WarehouseUsage) -> Run {
        let json = serde_json::json!({
            "id": format!("r{n:03}"), "sync": "crm", "sync_version": "v", "generation": n, "trigger": "manual", "status": "complete", "started": n,
            "ended": n, "progress": n, "full": full, "counts": crate::change::Counts::default(), "plan_hash": "p", "batches": 1, "tally": {},
            "tripped": [], "invalid": [], "fault": null, "on_success": crate::run::OnSuccess::default(), "usage": usage,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_run_is_compared_with_the_median_of_its_like() {
        let bytes = |mega: u64| WarehouseUsage::bytes(mega * 1_000_000);
        let mut runs: Vec<Run> =
            [100, 110, 5000, 90].iter().zip(1..).map(|(mega, n)| run(n, true, bytes(*mega))).collect();
        // Incremental reads, and a run that read nothing, say nothing of what a full read uses.
        runs.push(run(5, false, bytes(1)));
        runs.push(run(6, true, WarehouseUsage::default()));
        let newest = run(9, true, bytes(400));
        runs.push(newest.clone());
        runs.reverse();
        assert_eq!(usual(&newest, &runs), bytes(110));
        assert!(
            costly(&newest.usage, &usual(&newest, &runs), 3.0).unwrap().contains("400.0 MB scanned, where 110.0 MB")
        );
        assert_eq!(costly(&newest.usage, &usual(&newest, &runs), 4.0), None);
        // Two runs are no rule, and the run itself is none of them.
        assert_eq!(usual(&newest, &runs[..4]), WarehouseUsage::default());
    }

    #[test]
    fn what_costs_next_to_nothing_is_never_costly() {
        let costs = |used, usual| costly(&used, &usual, 3.0).is_some();
        assert!(!costs(WarehouseUsage::bytes(9_000_000), WarehouseUsage::bytes(1000)));
        assert!(costs(WarehouseUsage::bytes(10_000_000), WarehouseUsage::bytes(1000)));
        assert!(!costs(WarehouseUsage::millis(59_999), WarehouseUsage::millis(100)));
        assert!(costs(WarehouseUsage::millis(60_000), WarehouseUsage::millis(100)));
        assert!(!costs(WarehouseUsage::millis(60_000), WarehouseUsage::bytes(1)));
    }
}
