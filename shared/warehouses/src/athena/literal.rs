//! Values as literals in SQL, for the condition around a model.
//! <https://docs.aws.amazon.com/athena/latest/ug/data-types.html>

use domain::cells;
use domain::value::Value;

/// A quoted text: nothing but the quote itself is escaped.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The literal of a cursor's cell; the error is a sentence.
pub(super) fn of_cell(column: &str, cell: &[u8]) -> Result<String, String> {
    let value = cells::value(cell);
    let text = value.to_text();
    Ok(match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(_) => text.into_owned(),
        Value::Decimal(_) => format!("decimal '{text}'"),
        Value::Float(_) => format!("cast('{text}' as double)"),
        Value::Text(v) => quoted(v),
        Value::Date(_) => format!("date '{text}'"),
        Value::Time(_) => format!("time '{text}'"),
        Value::DateTime(_) => format!("timestamp '{}'", text.replace('T', " ")),
        Value::Timestamp(_) => format!("timestamp '{} UTC'", text.replace('T', " ").trim_end_matches('Z')),
        Value::Missing | Value::Null | Value::Bytes(_) | Value::Json(_) | Value::Uuid(_) | Value::Unreadable(_) => {
            return Err(format!("the cursor `{column}` cannot continue from a value of type {}.", value.type_name()));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_literals() {
        for (value, expected) in [
            (Value::Int(-1), "-1"),
            (Value::Decimal("12345678901234567890.5"), "decimal '12345678901234567890.5'"),
            (Value::Text("it's \\"), "'it''s \\'"),
            (Value::Date(0), "date '1970-01-01'"),
            (Value::DateTime(1_500_000), "timestamp '1970-01-01 00:00:01.500000'"),
            (Value::Timestamp(1), "timestamp '1970-01-01 00:00:00.000001 UTC'"),
        ] {
            let mut cell = Vec::new();
            cells::push(&mut cell, value);
            assert_eq!(of_cell("c", &cell).unwrap(), expected);
        }
    }
}
