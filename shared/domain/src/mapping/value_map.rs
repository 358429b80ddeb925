//! `values:` of a mapping line: what people call something, turned into what the destination calls it.

use std::collections::BTreeMap;

use super::coerce::coerce;
use crate::value::{Type, Value};

/// What `values` maps `value` to, by its text.
pub(super) fn look_up<'v>(
    values: &'v BTreeMap<String, String>,
    value: &Value<'_>,
    buffer: &mut String,
) -> Option<&'v str> {
    let found = match value {
        Value::Text(text) => values.get(*text),
        Value::Bytes(_) => None,
        _ => match coerce(*value, Type::Text, buffer) {
            Ok(Value::Text(text)) => values.get(text),
            _ => None,
        },
    };
    found.map(String::as_str)
}
