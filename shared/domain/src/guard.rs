//! Guards: when a plan must not be sent without someone looking at it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Counts;
use crate::row::Column;
use crate::value::Type;

/// The guards of a sync. The defaults protect a newcomer; `null` turns one off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// Fewer rows than this in a full read block the run. Default 1: an empty model deletes nothing.
    pub min_rows: Option<u64>,
    /// More deletes than this block the run.
    pub max_deletes: Option<u64>,
    /// More deletes than this percentage of the records accepted so far block the run. Default 5.
    pub max_delete_percent: Option<f64>,
    /// More updates than this block the run.
    pub max_changes: Option<u64>,
    /// More updates than this percentage of the records accepted so far block the run. Default 50.
    pub max_change_percent: Option<f64>,
    /// Up to so many records no percentage is asked for: in a small table one record is many percent. Default 10.
    pub percent_from: u64,
    /// Block the run when a mapped column's type has changed since the last run. Default true.
    pub column_drift: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            min_rows: Some(1),
            max_deletes: None,
            max_delete_percent: Some(5.0),
            max_changes: None,
            max_change_percent: Some(50.0),
            percent_from: 10,
            column_drift: true,
        }
    }
}

/// What the guards look at.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The plan.
    pub counts: &'a Counts,
    /// Records that the destination had accepted before this run.
    pub known: u64,
    /// True when the model was read in full (an incremental read may well be empty).
    pub full: bool,
    /// The mapped columns now.
    pub columns: &'a [Column],
    /// The columns at the last delivered run; empty before the first.
    pub last_columns: &'a [Column],
}

/// A guard that tripped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tripped {
    /// Its name in the sync file.
    pub guard: String,
    /// What it saw, as a sentence.
    pub why: String,
}

/// The guards that trip; none when the plan may be sent.
pub fn check(guards: &Guards, e: &Evidence<'_>) -> Vec<Tripped> {
    let mut tripped = Vec::new();
    let mut trip = |guard: &str, why: String| tripped.push(Tripped { guard: guard.into(), why });
    if let Some(min) = guards.min_rows.filter(|min| e.full && e.counts.rows < *min) {
        match e.counts.rows {
            0 => trip("min_rows", format!("the model gave no rows at all; at least {min} are expected")),
            rows => trip("min_rows", format!("the model gave {rows} rows; at least {min} are expected")),
        }
    }
    let mut limit = |what: &str, name: &str, count: u64, most: Option<u64>, percent: Option<f64>| {
        if let Some(most) = most.filter(|most| count > *most) {
            trip(&format!("max_{name}s"), format!("{count} records would be {what}; at most {most} may be"));
        }
        let share = if e.known == 0 { 0.0 } else { count as f64 * 100.0 / e.known as f64 };
        if let Some(most) = percent.filter(|most| count > guards.percent_from && share > *most) {
            trip(&format!("max_{name}_percent"), format!("{count} of {} records ({share:.1} %) would be {what}; at most {most} % may be", e.known));
        }
    };
    limit("deleted", "delete", e.counts.removed, guards.max_deletes, guards.max_delete_percent);
    limit("changed", "change", e.counts.changed, guards.max_changes, guards.max_change_percent);
    if guards.column_drift {
        for now in e.columns {
            let before = e.last_columns.iter().find(|c| c.name == now.name);
            if let Some(before) = before.filter(|b| b.kind != now.kind && b.kind != Type::Any && now.kind != Type::Any) {
                trip("column_drift", format!("column `{}` was {} and is now {}", now.name, before.kind, now.kind));
            }
        }
    }
    tripped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(guards: &Guards, counts: Counts, known: u64, full: bool) -> Vec<String> {
        let e = Evidence { counts: &counts, known, full, columns: &[], last_columns: &[] };
        check(guards, &e).into_iter().map(|t| t.guard).collect()
    }

    #[test]
    fn the_defaults_protect_a_newcomer() {
        let g = Guards::default();
        let counts = |rows, removed, changed| Counts { rows, removed, changed, ..Counts::default() };
        assert_eq!(names(&g, counts(0, 0, 0), 0, true), ["min_rows"]);
        assert_eq!(names(&g, counts(0, 1000, 0), 1000, true), ["min_rows", "max_delete_percent"]);
        assert!(names(&g, counts(0, 0, 0), 1000, false).is_empty(), "an incremental read may be empty");
        assert_eq!(names(&g, counts(900, 51, 0), 1000, true), ["max_delete_percent"]);
        assert!(names(&g, counts(900, 50, 500), 1000, true).is_empty());
        assert_eq!(names(&g, counts(1000, 0, 501), 1000, true), ["max_change_percent"]);
        assert!(names(&g, counts(9, 3, 3), 12, true).is_empty(), "small tables are not blocked by percentages");
    }

    #[test]
    fn counts_are_absolute_limits() {
        let g = Guards { max_deletes: Some(2), max_changes: Some(1), min_rows: None, ..Guards::default() };
        assert_eq!(names(&g, Counts { removed: 3, changed: 2, ..Counts::default() }, 1000, true), ["max_deletes", "max_changes"]);
    }

    #[test]
    fn a_column_of_another_type_is_drift() {
        let column = |kind| [Column { name: "ltv".into(), kind }];
        let counts = Counts { rows: 5, ..Counts::default() };
        let tripped =
            |before, now| check(&Guards::default(), &Evidence { counts: &counts, known: 5, full: true, columns: &column(now), last_columns: &column(before) });
        assert_eq!(tripped(Type::Decimal, Type::Text)[0].why, "column `ltv` was decimal and is now text");
        assert!(tripped(Type::Any, Type::Text).is_empty() && tripped(Type::Text, Type::Text).is_empty());
    }
}
