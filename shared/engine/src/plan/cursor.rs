//! The cursor: where an incremental read goes on, and what it must not pass.
//!
//! A cursor never passes the time its read began: one row that is stamped ahead would blind it for all that are written
//! until then. Rows without a cursor value are read every time, and counted. Times in text are compared as the
//! warehouse does, as texts: they go on from the day of the last one, which sorts before every spelling of that day,
//! and are read in full while the column has two spellings.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::cells;
use domain::clock::Millis;
use domain::head::Head;
use domain::mapping::iso::{Moment, moment};
use domain::ports::RowFilter;
use domain::sync::{CursorSettings, Sync};
use domain::value::{Value, render};

/// Rows that were committed late are found for so long …
const LOOKBACK: Duration = Duration::from_secs(3600);
/// … and times without a zone, which an autumn night repeats, for so long.
const LOOKBACK_LOCAL: Duration = Duration::from_secs(2 * 3600);
const DAY: i64 = 86_400_000_000;

/// What a read saw of the cursor's column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorScan {
    /// When the read began, in microseconds.
    began: i64,
    /// The greatest value that is not beyond that, as a cell.
    most: Option<Vec<u8>>,
    /// Rows without a value.
    pub nulls: u64,
    /// Rows whose value lies in the future.
    pub future: u64,
    /// How the texts of times are spelt.
    spelling: Option<u8>,
    /// They are spelt in two ways.
    pub mixed: bool,
    /// A value was no time.
    pub no_time: bool,
}

impl CursorScan {
    /// A read that begins now. `before` is the cursor that it goes on from.
    pub fn new(now: Millis, before: Option<&[u8]>) -> Self {
        let mut seen = Self {
            began: now.0.saturating_mul(1000),
            most: None,
            nulls: 0,
            future: 0,
            spelling: None,
            mixed: false,
            no_time: false,
        };
        if let Some(Value::Text(text)) = before.map(cells::value) {
            seen.spelling = moment(text).map(|_| spelling(text));
        }
        seen
    }

    /// Looks at a row's value.
    pub fn see(&mut self, cell: &[u8]) {
        if cells::is_empty(cell) || cells::is_unreadable(cell) {
            self.nulls += 1;
            return;
        }
        let value = cells::value(cell);
        match at(value) {
            Some(at) if at > self.began => {
                self.future += 1;
                return;
            }
            Some(_) => {}
            None => self.no_time = true,
        }
        if let Value::Text(text) = value
            && moment(text).is_some()
        {
            self.mixed |= self.spelling.replace(spelling(text)).is_some_and(|before| before != spelling(text));
        }
        match &mut self.most {
            None => self.most = Some(cell.to_vec()),
            Some(most) if greater(value, cells::value(most)) => {
                most.clear();
                most.extend_from_slice(cell);
            }
            Some(_) => {}
        }
    }

    /// Where the next read may go on; `None` where it cannot.
    pub fn next(&self) -> Option<&[u8]> {
        if self.mixed { None } else { self.most.as_deref() }
    }

    /// What people should know, a sentence each.
    pub fn notes(&self, settings: &CursorSettings, notes: &mut Vec<String>) {
        let column = &settings.column;
        if self.nulls > 0 {
            notes.push(format!("{} rows have no `{column}`: an incremental read takes them in every time", self.nulls));
        }
        if self.future > 0 {
            notes.push(format!(
                "{} rows have a `{column}` in the future: the cursor stays at the newest one before this read, so that rows written meanwhile are seen",
                self.future
            ));
        }
        if self.mixed {
            notes.push(format!("`{column}` spells times in two ways, which do not sort together: every read is a full one until the model casts it to one"));
        }
        if self.no_time && settings.lookback.is_some() {
            notes.push(format!("`lookback` has no effect: `{column}` holds no times"));
        }
    }
}

/// The form of a text that holds a time: what is between date and time, and after them.
fn spelling(text: &str) -> u8 {
    let separator = text.as_bytes().get(10).copied().unwrap_or_default();
    let zone = match text.get(11..).unwrap_or_default() {
        rest if rest.ends_with(['Z', 'z']) => 1,
        rest if rest.contains(['+', '-']) => 2,
        _ => 0,
    };
    separator.wrapping_mul(4).wrapping_add(zone)
}

/// A value as a point in time, in microseconds; one without a zone as if it were UTC.
fn at(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Timestamp(at) | Value::DateTime(at) => Some(at),
        Value::Date(day) => Some(i64::from(day).saturating_mul(DAY)),
        Value::Text(text) => match moment(text)? {
            Moment::Timestamp(at) | Moment::DateTime(at) => Some(at),
            Moment::Date(day) => Some(i64::from(day).saturating_mul(DAY)),
        },
        _ => None,
    }
}

/// The cell that the head remembers.
pub fn remembered(head: &Head) -> Option<Vec<u8>> {
    STANDARD.decode(head.cursor.as_ref()?).ok()
}

/// A cursor's cell as the head keeps it.
pub fn encode(cell: &[u8]) -> String {
    STANDARD.encode(cell)
}

/// The condition of an incremental read; `None` when everything must be read.
pub fn incremental(sync: &Sync, head: &Head, now: Millis) -> Option<RowFilter> {
    let settings = sync.model.cursor.as_ref()?.settings();
    let last_full = head.last_full?;
    // A full read in the future was noted by a clock that was ahead.
    let checked = last_full <= now && now.since(last_full) < settings.full_check.0;
    let due = head.look_again.is_some_and(|at| at <= now);
    if head.sync_version != sync.version() || !checked || due || head.must_read_full.is_some() {
        return None;
    }
    let cell = remembered(head)?;
    let lookback = |default: Duration| {
        i64::try_from(settings.lookback.map_or(default, |span| span.0).as_micros()).unwrap_or(i64::MAX)
    };
    let mut from = Vec::new();
    match cells::value(&cell) {
        Value::Timestamp(at) => cells::push(&mut from, Value::Timestamp(at.saturating_sub(lookback(LOOKBACK)))),
        Value::DateTime(at) => cells::push(&mut from, Value::DateTime(at.saturating_sub(lookback(LOOKBACK_LOCAL)))),
        Value::Date(day) => cells::push(&mut from, Value::Date(day.saturating_sub(days(lookback(LOOKBACK))))),
        Value::Text(text) => match at(Value::Text(text)) {
            Some(at) => {
                let day = at.saturating_sub(lookback(LOOKBACK_LOCAL)).div_euclid(DAY);
                cells::push(&mut from, Value::Text(&render::date(i32::try_from(day).ok()?)));
            }
            None => cells::push(&mut from, Value::Text(text)),
        },
        value => cells::push(&mut from, value),
    }
    Some(RowFilter::From { column: settings.column, cell: from })
}

/// Whole days that cover so many microseconds.
fn days(micros: i64) -> i32 {
    i32::try_from(micros.saturating_add(DAY - 1) / DAY).unwrap_or(i32::MAX)
}

/// True when `a` is greater than `b`, as the warehouse orders a cursor column; values of different types are not
/// compared.
pub fn greater(a: Value<'_>, b: Value<'_>) -> bool {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a > b,
        (Value::Float(a), Value::Float(b)) => a > b,
        (Value::Text(a), Value::Text(b)) => a > b,
        (Value::Date(a), Value::Date(b)) => a > b,
        (Value::DateTime(a), Value::DateTime(b)) | (Value::Timestamp(a), Value::Timestamp(b)) => a > b,
        (Value::Decimal(a), Value::Decimal(b)) => decimal_greater(a, b),
        _ => false,
    }
}

/// Compares two decimals in their canonical spelling.
fn decimal_greater(a: &str, b: &str) -> bool {
    match (a.strip_prefix('-'), b.strip_prefix('-')) {
        (None, Some(_)) => true,
        (Some(_), None) => false,
        (Some(a), Some(b)) => magnitude(b) > magnitude(a),
        (None, None) => magnitude(a) > magnitude(b),
    }
}

fn magnitude(text: &str) -> (usize, &str, &str) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.len(), whole, fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(now: i64, values: &[Value<'_>]) -> CursorScan {
        let mut seen = CursorScan::new(Millis(now), None);
        for value in values {
            let mut cell = Vec::new();
            cells::push(&mut cell, *value);
            seen.see(&cell);
        }
        seen
    }

    #[test]
    fn cursors_compare_as_the_warehouse_orders_them() {
        for (small, great) in [("9", "10"), ("-10", "-9"), ("-1", "0"), ("1.05", "1.5"), ("1", "1.5")] {
            assert!(greater(Value::Decimal(great), Value::Decimal(small)), "{great} > {small}");
            assert!(!greater(Value::Decimal(small), Value::Decimal(great)), "{small} > {great}");
        }
        assert!(greater(Value::Timestamp(2), Value::Timestamp(1)) && !greater(Value::Int(1), Value::Text("0")));
    }

    #[test]
    fn a_cursor_does_not_pass_the_read_that_saw_it() {
        let past = seen(5, &[Value::Timestamp(4_000), Value::Timestamp(6_000), Value::Null]);
        assert_eq!((past.next().map(cells::value), past.future, past.nulls), (Some(Value::Timestamp(4_000)), 1, 1));
        let text = seen(1_767_323_045_000, &[Value::Text("2026-01-01 00:00:00"), Value::Text("2099-01-01 00:00:00")]);
        assert_eq!((text.next().map(cells::value), text.future), (Some(Value::Text("2026-01-01 00:00:00")), 1));
        let date = seen(86_400_000, &[Value::Date(1), Value::Date(2)]);
        assert_eq!(date.next().map(cells::value), Some(Value::Date(1)));
    }

    #[test]
    fn two_spellings_of_time_are_told_apart() {
        let now = 4_102_444_800_000;
        assert!(seen(now, &[Value::Text("2026-01-01 00:00:00"), Value::Text("2026-01-01T00:00:00Z")]).mixed);
        assert!(seen(now, &[Value::Text("2026-01-01"), Value::Text("2026-01-01 00:00")]).mixed);
        assert!(!seen(now, &[Value::Text("2026-01-01 00:00:00"), Value::Text("2026-01-01 00:00:00.5")]).mixed);
        assert!(!seen(now, &[Value::Text("b"), Value::Text("a")]).mixed);
    }
}
