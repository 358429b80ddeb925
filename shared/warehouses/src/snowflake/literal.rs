//! Values as literals in SQL, for the condition around a model.

use domain::cells;
use domain::value::Value;

/// A quoted text; a backslash escapes in Snowflake's texts.
/// <https://docs.snowflake.com/en/sql-reference/data-types-text>
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
        Value::Float(_) => format!("'{text}'::float"),
        Value::Text(v) => quoted(v),
        Value::Bytes(v) => format!("to_binary('{}', 'HEX')", v.iter().map(|b| format!("{b:02X}")).collect::<String>()),
        Value::Date(_) => format!("'{text}'::date"),
        Value::Time(_) => format!("'{text}'::time"),
        Value::DateTime(_) => format!("'{text}'::timestamp_ntz"),
        Value::Timestamp(_) => format!("'{text}'::timestamp_tz"),
        Value::Missing | Value::Null | Value::Json(_) | Value::Uuid(_) | Value::Unreadable(_) => {
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
            (Value::Int(-7), "-7"),
            (Value::Decimal("1.5"), "1.5"),
            (Value::Text("o'n\\e"), "'o''n\\\\e'"),
            (Value::Date(1), "'1970-01-02'::date"),
            (Value::DateTime(1), "'1970-01-01T00:00:00.000001'::timestamp_ntz"),
            (Value::Timestamp(0), "'1970-01-01T00:00:00Z'::timestamp_tz"),
            (Value::Bytes(&[1, 255]), "to_binary('01FF', 'HEX')"),
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
