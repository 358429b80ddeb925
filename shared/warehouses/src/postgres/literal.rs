//! Values as literals in SQL, for the condition around a model.

use domain::cells;
use domain::value::Value;

/// The first point in time that has a plain spelling: 0001-01-01, in days and in microseconds since 1970-01-01.
const FIRST_DAY: i32 = -719_162;
const FIRST_MICRO: i64 = -719_162 * 86_400_000_000;

/// A quoted text. A backslash is doubled in the form that does not depend on the server's settings.
pub(crate) fn quoted(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// The literal of a cursor's cell; the error is a sentence. A text has no type of its own here, so that it takes the
/// column's: text, an enum, an address.
pub(crate) fn of_cell(column: &str, cell: &[u8]) -> Result<String, String> {
    let value = cells::value(cell);
    let text = value.to_text();
    Ok(match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(_) => format!("'{text}'::bigint"),
        Value::Float(_) => format!("'{text}'::double precision"),
        Value::Decimal(_) => format!("'{text}'::numeric"),
        Value::Text(v) => quoted(v),
        Value::Bytes(v) => format!("'\\x{}'::bytea", v.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        // Before the year 1 the spelling differs; reading from further back only reads more than needed.
        Value::Date(v) if v < FIRST_DAY => "date '-infinity'".into(),
        Value::DateTime(v) if v < FIRST_MICRO => "timestamp '-infinity'".into(),
        Value::Timestamp(v) if v < FIRST_MICRO => "timestamptz '-infinity'".into(),
        Value::Date(_) => format!("date '{text}'"),
        Value::Time(_) => format!("time '{text}'"),
        Value::DateTime(_) => format!("timestamp '{text}'"),
        Value::Timestamp(_) => format!("timestamptz '{text}'"),
        Value::Uuid(_) => format!("uuid '{text}'"),
        Value::Missing | Value::Null | Value::Json(_) | Value::Unreadable(_) => {
            return Err(format!("the cursor `{column}` cannot continue from a value of type {}.", value.type_name()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_have_their_type() {
        for (value, expected) in [
            (Value::Int(i64::MIN), "'-9223372036854775808'::bigint"),
            (Value::Text("o'ne"), "'o''ne'"),
            (Value::Text("a\\'"), "E'a\\\\'''"),
            (Value::Date(0), "date '1970-01-01'"),
            (Value::Date(FIRST_DAY), "date '0001-01-01'"),
            (Value::Date(FIRST_DAY - 1), "date '-infinity'"),
            (Value::DateTime(1), "timestamp '1970-01-01T00:00:00.000001'"),
            (Value::Timestamp(0), "timestamptz '1970-01-01T00:00:00Z'"),
            (Value::Decimal("1.5"), "'1.5'::numeric"),
            (Value::Bytes(&[1, 255]), "'\\x01ff'::bytea"),
        ] {
            let mut cell = Vec::new();
            cells::push(&mut cell, value);
            assert_eq!(of_cell("c", &cell).as_deref(), Ok(expected));
        }
        let mut cell = Vec::new();
        cells::push(&mut cell, Value::Json("{}"));
        assert!(of_cell("c", &cell).unwrap_err().contains("`c`"));
    }
}
