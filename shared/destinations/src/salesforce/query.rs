//! Asking for records: which record ids an identifier has, and what the fields of a record are.

use std::collections::HashMap;

use domain::cells;
use domain::layout::Layout;
use domain::outcome::WriteError;
use domain::value::{Type, Value as Cell};
use serde_json::Value;

use super::encode::{self, ID, Lookup};
use super::session::Session;
use clients::http::percent_encode;

/// Most values in one query.
const MAX_VALUES: usize = 200;
/// Most bytes of a query as it stands in the URL; the server takes 16 KB.
const MAX_BYTES: usize = 12_000;

/// What a query for one value came to.
pub(super) type RecordLookup = HashMap<String, Vec<Value>>;

/// Records found by a field, by the value they were asked for with. A value that is spelled differently there is the
/// same when only case differs and nothing else matches.
pub(super) struct RecordIds {
    exact: RecordLookup,
    folded: RecordLookup,
}

impl RecordIds {
    /// The records with this value.
    pub(super) fn of(&self, value: Cell<'_>) -> &[Value] {
        let key = encode::text(value);
        self.exact.get(&key).or_else(|| self.folded.get(&key.to_lowercase())).map_or(&[], Vec::as_slice)
    }

    /// The record ids with this value.
    pub(super) fn ids(&self, value: Cell<'_>) -> Vec<String> {
        self.of(value).iter().filter_map(|r| r.get(ID)?.as_str().map(str::to_owned)).collect()
    }
}

/// The records whose `field` has one of these values, with these columns.
pub(super) async fn find(
    session: &Session,
    object: &str,
    field: &str,
    columns: &[&str],
    values: &[Cell<'_>],
) -> Result<RecordIds, WriteError> {
    let mut records = RecordIds { exact: RecordLookup::new(), folded: RecordLookup::new() };
    let mut selected = vec![ID, field];
    selected.extend(columns.iter().filter(|c| **c != ID && **c != field));
    selected.dedup();
    let begin = format!("SELECT {} FROM {object} WHERE {field} IN (", selected.join(","));
    let mut rest: Vec<String> = values.iter().map(|v| literal(*v)).collect();
    rest.sort_unstable();
    rest.dedup();
    let mut rest = rest.as_slice();
    while !rest.is_empty() {
        let mut bytes = percent_encode(&begin).len();
        let fits = |literal: &&String| {
            bytes += percent_encode(literal).len() + 3;
            bytes <= MAX_BYTES
        };
        let count = rest.iter().take(MAX_VALUES).take_while(fits).count().max(1);
        let soql = format!("{begin}{})", rest[..count].join(","));
        collect(session, format!("/query?q={}", percent_encode(&soql)), field, &mut records).await?;
        rest = &rest[count..];
    }
    Ok(records)
}

async fn collect(session: &Session, path: String, field: &str, records: &mut RecordIds) -> Result<(), WriteError> {
    let unreadable =
        || WriteError::Unavailable { after: None, detail: "the answer to a query is not what a query answers".into() };
    let mut next = Some(path);
    while let Some(path) = next.take() {
        let reply = session.get(&path).await?;
        let json: Value = serde_json::from_slice(&reply.body).map_err(|_| unreadable())?;
        for record in json.get("records").and_then(Value::as_array).ok_or_else(unreadable)? {
            let Some(text) = record.get(field).map(as_text) else { continue };
            // A 15-character id is the beginning of its 18-character form.
            let spellings = if field == ID { vec![text.chars().take(15).collect(), text] } else { vec![text] };
            for text in spellings {
                if field != ID {
                    records.folded.entry(text.to_lowercase()).or_default().push(record.clone());
                }
                records.exact.entry(text).or_default().push(record.clone());
            }
        }
        // `/services/data/v67.0/query/01g…-2000`
        let more = json.get("nextRecordsUrl").and_then(Value::as_str);
        next = more.and_then(|url| url.find("/query/").map(|at| url[at..].to_owned()));
    }
    Ok(())
}

/// A value as SOQL writes it.
fn literal(value: Cell<'_>) -> String {
    match value {
        Cell::Int(_)
        | Cell::Float(_)
        | Cell::Decimal(_)
        | Cell::Bool(_)
        | Cell::Date(_)
        | Cell::DateTime(_)
        | Cell::Timestamp(_) => encode::text(value),
        other => {
            let mut out = String::from("'");
            for c in encode::text(other).chars() {
                match c {
                    '\'' | '\\' => out.extend(['\\', c]),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    c => out.push(c),
                }
            }
            out.push('\'');
            out
        }
    }
}

/// A value of a reply as text: whole numbers without a point.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.to_string(),
            // Display writes the shortest digits that read back as the same float, never an exponent.
            (None, Some(float)) => float.to_string(),
            (None, None) => number.to_string(),
        },
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The columns to read for a layout; `None` when one of them cannot be read (a parent of several types).
pub(super) fn columns(layout: &Layout) -> Option<Vec<&str>> {
    layout
        .fields()
        .iter()
        .map(|f| Lookup::of(&f.name).is_none_or(|l| l.parent.is_none()).then_some(f.name.as_str()))
        .collect()
}

/// A record of a reply as cells in the layout's order.
pub(super) fn record(layout: &Layout, record: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for field in layout.fields() {
        let value = field.name.split('.').try_fold(record, |at, part| at.get(part)).unwrap_or(&Value::Null);
        push(&mut out, value, field.kind);
    }
    out
}

fn push(out: &mut Vec<u8>, value: &Value, kind: Type) {
    if value.is_null() {
        return cells::push(out, Cell::Null);
    }
    let text = as_text(value);
    let unreadable = Cell::Unreadable("a value that cannot be read");
    let cell = match kind {
        Type::Bool => value.as_bool().map_or(unreadable, Cell::Bool),
        Type::Int => text.parse().map_or(unreadable, Cell::Int),
        Type::Float => text.parse().map_or(unreadable, Cell::Float),
        Type::Decimal => Cell::Decimal(&text),
        Type::Date => text.parse::<jiff::civil::Date>().map_or(unreadable, |d| Cell::Date(days(d))),
        Type::DateTime => moment(&text).map_or(unreadable, Cell::DateTime),
        Type::Timestamp => moment(&text).map_or(unreadable, Cell::Timestamp),
        _ => Cell::Text(&text),
    };
    cells::push(out, cell);
}

fn days(date: jiff::civil::Date) -> i32 {
    let seconds = date
        .to_datetime(jiff::civil::Time::midnight())
        .to_zoned(jiff::tz::TimeZone::UTC)
        .map(|z| z.timestamp().as_second());
    i32::try_from(seconds.unwrap_or_default().div_euclid(86_400)).unwrap_or_default()
}

/// Microseconds since 1970 of `2026-01-02T03:04:05.000+0000`.
fn moment(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::cells::Cells;
    use domain::layout::Field;
    use serde_json::json;

    #[test]
    fn literals_cannot_end_their_quotes() {
        for (value, expected) in [
            (Cell::Text("a'b\\c\nd"), r"'a\'b\\c\nd'"),
            (Cell::Int(7), "7"),
            (Cell::Decimal("1.5"), "1.5"),
            (Cell::Date(0), "1970-01-01"),
            (Cell::Timestamp(1_500_000), "1970-01-01T00:00:01.500Z"),
        ] {
            assert_eq!(literal(value), expected);
        }
    }

    #[test]
    fn values_come_back_as_the_layout_has_them() {
        let field = |name: &str, kind| Field { name: name.into(), kind, identifier: false };
        let kinds = [
            ("A", Type::Int),
            ("B", Type::Decimal),
            ("C", Type::Date),
            ("D", Type::Timestamp),
            ("E.F", Type::Text),
            ("G", Type::Bool),
            ("H", Type::Text),
        ];
        let layout = Layout::new(kinds.map(|(name, kind)| field(name, kind)).to_vec());
        let reply = json!({"A": 3.0, "B": 1.25, "C": "2026-01-02", "D": "2026-01-02T03:04:05.000+0000", "E": {"F": "x"}, "G": true, "H": null});
        let cells = record(&layout, &reply);
        let expected = [
            Cell::Int(3),
            Cell::Decimal("1.25"),
            Cell::Date(20_455),
            Cell::Timestamp(1_767_323_045_000_000),
            Cell::Text("x"),
            Cell::Bool(true),
            Cell::Null,
        ];
        assert_eq!(Cells(&cells).values().collect::<Vec<_>>(), expected);
    }
}
