//! Values as literals in SQL, for the condition around a model.

use clients::mysql_literal::{bytes, quoted};
use domain::cells;
use domain::value::Value;

/// The literal of a cursor's cell; the error is a sentence.
pub(super) fn of_cell(column: &str, cell: &[u8]) -> Result<String, String> {
    let value = cells::value(cell);
    let text = value.to_text();
    let plain = || text.replace('T', " ").replace('Z', "");
    Ok(match value {
        Value::Bool(v) => u8::from(v).to_string(),
        Value::Int(_) | Value::Decimal(_) => text.into_owned(),
        Value::Float(_) => format!("{text}e0"),
        Value::Text(v) => quoted(v),
        Value::Bytes(v) => bytes(v),
        Value::Date(_) => format!("date '{text}'"),
        Value::Time(_) => format!("time '{text}'"),
        // The session is in UTC, so a moment is written as its own date and time.
        Value::DateTime(_) | Value::Timestamp(_) => format!("timestamp '{}'", plain()),
        Value::Missing | Value::Null | Value::Json(_) | Value::Uuid(_) | Value::Unreadable(_) => {
            return Err(format!("the cursor `{column}` cannot continue from a value of type {}.", value.type_name()));
        }
    })
}
