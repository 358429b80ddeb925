//! Guards: when a plan must not be sent without someone looking at it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::change::Counts;
use crate::mode::Mode;
use crate::row::Column;
use crate::value::Type;

/// The guards of a sync. The defaults protect a newcomer; `null` turns one off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// Fewer records than this in a full read block the run; rows without a key are none. Default 1: an empty model
    /// deletes nothing.
    pub min_rows: Option<u64>,
    /// More deletes than this block the run.
    pub max_deletes: Option<u64>,
    /// More deletes than this percentage of the records accepted so far block the run. Default 5.
    pub max_delete_percent: Option<f64>,
    /// More updates than this block the run.
    pub max_changes: Option<u64>,
    /// More updates than this percentage of the records accepted so far block the run. Default 50.
    pub max_change_percent: Option<f64>,
    /// More new records than this block the run.
    pub max_added: Option<u64>,
    /// More new records than this percentage of the records accepted so far block the run. Default in mode append,
    /// where every new record is sent once and for all: 100; elsewhere off.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    pub max_added_percent: Option<Option<f64>>,
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
            max_added: None,
            max_added_percent: None,
            percent_from: 10,
            column_drift: true,
        }
    }
}

/// More new records than this percentage of what is known, in mode append.
const APPEND_PERCENT: f64 = 100.0;
/// A first run in mode append that sends more than this asks once.
pub const FIRST_APPEND: u64 = 10_000;

/// A value that is given, `null` included.
fn given<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::<f64>::deserialize(d).map(Some)
}

/// What the guards look at.
#[derive(Debug, Clone, Copy)]
pub struct GuardInput<'a> {
    /// The plan.
    pub counts: &'a Counts,
    /// Records that the destination had accepted before this run.
    pub known: u64,
    /// True when a run of this sync has delivered before: what is known is a whole, not what a broken first run left.
    pub delivered: bool,
    /// The sync's mode.
    pub mode: Mode,
    /// Keys that the model has, valid records and others.
    pub records: u64,
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
pub fn check(guards: &Guards, e: &GuardInput<'_>) -> Vec<Tripped> {
    let mut tripped = Vec::new();
    let mut trip = |guard: &str, why: String| tripped.push(Tripped { guard: guard.into(), why });
    if let Some(min) = guards.min_rows.filter(|min| e.full && e.records < *min) {
        match e.counts.rows {
            rows if rows > e.records => trip(
                "min_rows",
                format!("the model gave {rows} rows and {} of them have a key; at least {min} are expected", e.records),
            ),
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
            trip(
                &format!("max_{name}_percent"),
                format!("{count} of {} records ({share:.1} %) would be {what}; at most {most} % may be", e.known),
            );
        }
    };
    limit("deleted", "delete", e.counts.removed, guards.max_deletes, guards.max_delete_percent);
    limit("changed", "change", e.counts.changed, guards.max_changes, guards.max_change_percent);
    let added_percent = guards.max_added_percent.unwrap_or((e.mode == Mode::Append).then_some(APPEND_PERCENT));
    if let Some(most) = guards.max_added.filter(|most| e.counts.added > *most) {
        trip("max_added", format!("{} records would be added; at most {most} may be", e.counts.added));
    }
    let share = if e.known == 0 { 0.0 } else { e.counts.added as f64 * 100.0 / e.known as f64 };
    if let Some(most) =
        added_percent.filter(|most| e.delivered && e.counts.added > guards.percent_from && share > *most)
    {
        let known = e.known;
        trip(
            "max_added_percent",
            format!("{} records would be added to {known} ({share:.1} %); at most {most} % may be", e.counts.added),
        );
    }
    if e.mode == Mode::Append && e.known == 0 && e.counts.added > FIRST_APPEND && guards.max_added.is_none() {
        trip(
            "first_append",
            format!(
                "{} records would be sent for the first time, once and for all: mode append cannot take them back",
                e.counts.added
            ),
        );
    }
    if guards.column_drift {
        for now in e.columns {
            let before = e.last_columns.iter().find(|c| c.name == now.name);
            if let Some(before) = before.filter(|b| b.kind != now.kind && b.kind != Type::Any && now.kind != Type::Any)
            {
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
        let e = GuardInput {
            counts: &counts,
            known,
            delivered: true,
            mode: Mode::Upsert,
            records: counts.rows,
            full,
            columns: &[],
            last_columns: &[],
        };
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
    fn additions_are_guarded_where_they_cannot_be_taken_back() {
        let names = |guards: &Guards, mode, added, known| {
            let counts = Counts { rows: 50_000, added, ..Counts::default() };
            let e = GuardInput {
                counts: &counts,
                known,
                delivered: known > 0,
                mode,
                records: 50_000,
                full: true,
                columns: &[],
                last_columns: &[],
            };
            check(guards, &e).into_iter().map(|t| t.guard).collect::<Vec<_>>()
        };
        let of = |json| serde_json::from_value::<Guards>(json).unwrap();
        let default = of(serde_json::json!({}));
        assert_eq!(names(&default, Mode::Append, 101, 100), ["max_added_percent"]);
        assert!(
            names(&default, Mode::Append, 100, 100).is_empty() && names(&default, Mode::Upsert, 1000, 100).is_empty()
        );
        assert!(names(&default, Mode::Append, 10, 1).is_empty(), "small tables are not blocked by percentages");
        assert_eq!(names(&default, Mode::Append, FIRST_APPEND + 1, 0), ["first_append"]);
        assert!(names(&of(serde_json::json!({ "max_added_percent": null })), Mode::Append, 101, 100).is_empty());
        let counts = Counts { rows: 500, added: 450, ..Counts::default() };
        let broken_off = GuardInput {
            counts: &counts,
            known: 50,
            delivered: false,
            mode: Mode::Append,
            records: 500,
            full: true,
            columns: &[],
            last_columns: &[],
        };
        assert!(check(&default, &broken_off).is_empty(), "a first run that was broken off goes on");
        assert_eq!(
            names(&of(serde_json::json!({ "max_added_percent": 5, "max_added": 50 })), Mode::Upsert, 51, 100),
            ["max_added", "max_added_percent"]
        );
    }

    #[test]
    fn rows_without_a_key_are_no_records() {
        let counts = Counts { rows: 8, removed: 8, ..Counts::default() };
        let e = GuardInput {
            counts: &counts,
            known: 8,
            delivered: true,
            mode: Mode::Mirror,
            records: 0,
            full: true,
            columns: &[],
            last_columns: &[],
        };
        assert_eq!(check(&Guards::default(), &e)[0].guard, "min_rows");
    }

    #[test]
    fn counts_are_absolute_limits() {
        let g = Guards { max_deletes: Some(2), max_changes: Some(1), min_rows: None, ..Guards::default() };
        assert_eq!(
            names(&g, Counts { removed: 3, changed: 2, ..Counts::default() }, 1000, true),
            ["max_deletes", "max_changes"]
        );
    }

    #[test]
    fn a_column_of_another_type_is_drift() {
        let column = |kind| [Column { name: "ltv".into(), kind }];
        let counts = Counts { rows: 5, ..Counts::default() };
        let tripped = |before, now| {
            check(
                &Guards::default(),
                &GuardInput {
                    counts: &counts,
                    known: 5,
                    delivered: true,
                    mode: Mode::Upsert,
                    records: 5,
                    full: true,
                    columns: &column(now),
                    last_columns: &column(before),
                },
            )
        };
        assert_eq!(tripped(Type::Decimal, Type::Text)[0].why, "column `ltv` was decimal and is now text");
        assert!(tripped(Type::Any, Type::Text).is_empty() && tripped(Type::Text, Type::Text).is_empty());
    }
}
