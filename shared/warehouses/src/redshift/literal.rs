//! Values as literals in SQL, for the condition around a model.

use domain::cells;
use domain::value::Value;

/// A quoted text; a backslash escapes in texts of Redshift.
/// <https://docs.aws.amazon.com/redshift/latest/dg/r_Literals.html>
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The literal of a cursor's cell; the error is a sentence.
pub(super) fn of_cell(column: &str, cell: &[u8]) -> Result<String, String> {
    let value = cells::value(cell);
    let text = value.to_text();
    Ok(match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(_) | Value::Decimal(_) => text.into_owned(),
        Value::Float(_) => format!("'{text}'::double precision"),
        Value::Text(v) => quoted(v),
        Value::Date(_) => format!("'{text}'::date"),
        Value::Time(_) => format!("'{text}'::time"),
        Value::DateTime(_) => format!("'{}'::timestamp", text.replace('T', " ")),
        Value::Timestamp(_) => format!("'{text}'::timestamptz"),
        Value::Missing | Value::Null | Value::Bytes(_) | Value::Json(_) | Value::Uuid(_) | Value::Unreadable(_) => {
            return Err(format!("the cursor `{column}` cannot continue from a value of type {}.", value.type_name()));
        }
    })
}
