//! Values as literals in SQL, for the condition around a model.

use domain::cells;
use domain::value::Value;

/// A quoted text; a backslash escapes in BigQuery's texts.
/// <https://cloud.google.com/bigquery/docs/reference/standard-sql/lexical#string_and_bytes_literals>
pub(super) fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\r', "\\r");
    format!("'{escaped}'")
}

/// A name in back quotes.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// The literal of a cursor's cell; the error is a sentence.
pub(super) fn of_cell(column: &str, cell: &[u8]) -> Result<String, String> {
    let value = cells::value(cell);
    let text = value.to_text();
    Ok(match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(_) => text.into_owned(),
        Value::Decimal(_) => format!("bignumeric '{text}'"),
        Value::Float(_) => format!("cast('{text}' as float64)"),
        Value::Text(v) => quoted(v),
        Value::Bytes(v) => format!("from_hex('{}')", v.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        Value::Date(_) => format!("date '{text}'"),
        Value::Time(_) => format!("time '{text}'"),
        Value::DateTime(_) => format!("datetime '{text}'"),
        Value::Timestamp(_) => format!("timestamp '{text}'"),
        Value::Missing | Value::Null | Value::Json(_) | Value::Uuid(_) | Value::Unreadable(_) => {
            return Err(format!("the cursor `{column}` cannot continue from a value of type {}.", value.type_name()));
        }
    })
}
