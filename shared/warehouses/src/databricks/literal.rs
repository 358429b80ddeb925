//! Values as literals in SQL, for the condition around a model.

use domain::cells;
use domain::value::Value;

/// A quoted text; a backslash escapes in texts of Databricks.
/// <https://docs.databricks.com/sql/language-manual/data-types/string-type>
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A name in back quotes.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The literal of a cursor's cell; the error is a sentence.
pub(super) fn of_cell(column: &str, cell: &[u8]) -> Result<String, String> {
    let value = cells::value(cell);
    let text = value.to_text();
    Ok(match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(_) => text.into_owned(),
        Value::Decimal(_) => format!("{text}BD"),
        Value::Float(_) => format!("cast('{text}' as double)"),
        Value::Text(v) => quoted(v),
        Value::Bytes(v) => format!("X'{}'", v.iter().map(|b| format!("{b:02X}")).collect::<String>()),
        Value::Date(_) => format!("date '{text}'"),
        Value::DateTime(_) => format!("timestamp_ntz '{text}'"),
        Value::Timestamp(_) => format!("timestamp '{text}'"),
        Value::Missing | Value::Null | Value::Time(_) | Value::Json(_) | Value::Uuid(_) | Value::Unreadable(_) => {
            return Err(format!("the cursor `{column}` cannot continue from a value of type {}.", value.type_name()));
        }
    })
}
