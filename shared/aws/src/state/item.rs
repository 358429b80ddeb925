//! An item of the table and its attributes: made and read here, so that no other file spells an `AttributeValue`.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use crate::keys::{Key, PK, SK, TTL};

/// An item: its attributes by name.
pub(super) type Item = HashMap<String, AttributeValue>;

/// An item with nothing but its key.
pub(super) fn key_item(key: &Key) -> Item {
    Item::from([(PK.to_owned(), text(&key.pk)), (SK.to_owned(), text(&key.sk))])
}

/// An item with nothing but its key and the time at which DynamoDB removes it.
pub(super) fn item_with_ttl(key: &Key, days: u64) -> Item {
    let mut item = key_item(key);
    item.insert(TTL.to_owned(), expires(days));
    item
}

/// The time so many days from now, as DynamoDB's time to live.
pub(super) fn expires(days: u64) -> AttributeValue {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    number(now.as_secs() + days * 86_400)
}

/// A number that tells one call from every other.
pub(super) fn token() -> AttributeValue {
    AttributeValue::B(fastrand::u64(..).to_le_bytes().to_vec().into())
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(value.into().into())
}

pub(super) fn get_text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(super) fn get_bytes<'a>(item: &'a Item, name: &str) -> Option<&'a [u8]> {
    item.get(name)?.as_b().ok().map(|bytes| bytes.as_ref())
}

pub(super) fn get_number<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}
