//! Dead letters in the table: `d`, the letter as JSON, by the hash of its record, and an item of no content that puts
//! it in the order of time.
//!
//! The place in the order is written first and removed last, so no letter is without one. A place whose letter is gone
//! or has moved is passed over, and removed by DynamoDB when its time is up.

use std::collections::HashMap;

use domain::bucket::UNKNOWN_OUTCOME;
use domain::dead_letter::DeadLetter;
use domain::fault::Fault;
use domain::key::KeyHash;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::DynamoState;
use super::item::{Item, get_text, item_with_ttl, text};
use super::table::{CONCURRENT, Range};
use crate::keys::{self, Key, SK};

/// Days until DynamoDB removes a letter.
const DAYS: u64 = 180;
/// The same for a letter that only a person can answer: a hundred years.
const DAYS_OF_UNKNOWN: u64 = 36_500;
/// A letter larger than this, in bytes, is kept without its record: an item has at most 400 KB.
const MAX_LETTER_BYTES: usize = 390 * 1024;
/// Places looked at in one go while letters are listed.
const PLACES: usize = 100;

impl DynamoState {
    pub(super) async fn write_letters(&self, letters: Vec<DeadLetter>) -> Result<(), Fault> {
        stream::iter(letters).map(|letter| self.write_letter(letter)).buffer_unordered(CONCURRENT).try_collect().await
    }

    async fn write_letter(&self, mut letter: DeadLetter) -> Result<(), Fault> {
        let encode = |letter: &DeadLetter| {
            serde_json::to_string(letter).map_err(|_| self.table.corrupt(format!("A dead letter of `{}`", letter.sync)))
        };
        let mut data = encode(&letter)?;
        if data.len() > MAX_LETTER_BYTES {
            letter.record = serde_json::Value::Null;
            letter.detail.push_str(" (The record itself is too large to be kept here.)");
            data = encode(&letter)?;
        }
        let hash = letter.hash.to_string();
        let place = keys::dead_letter_order_key(&letter.sync, letter.at.0, &hash);
        // A record whose fate nobody knows waits for a person, however long: so does its letter.
        let days = if letter.code == UNKNOWN_OUTCOME { DAYS_OF_UNKNOWN } else { DAYS };
        self.table.batch_put(vec![item_with_ttl(&place, days)]).await?;
        let mut item = item_with_ttl(&keys::dead_letter(&letter.sync, &hash), days);
        item.insert("d".into(), text(data));
        let old = self.table.put(item).await?;
        match self.place_of(&old) {
            Some(before) if before != place => self.table.delete(&before).await.map(drop),
            _ => Ok(()),
        }
    }

    fn place_of(&self, item: &Item) -> Option<Key> {
        let letter: DeadLetter = serde_json::from_str(get_text(item, "d")?).ok()?;
        Some(keys::dead_letter_order_key(&letter.sync, letter.at.0, &letter.hash.to_string()))
    }

    pub(super) async fn newest_letters(&self, sync: &str, most: usize) -> Result<Vec<DeadLetter>, Fault> {
        let partition = keys::letter_order(sync);
        let (mut found, mut after) = (Vec::new(), String::from("!"));
        while found.len() < most {
            // No character of a place is below `!` or above `~`: from behind the last place on.
            let places = self.table.query(&partition, Range::Between(&after, "~"), true, PLACES).await?;
            let places: Vec<&str> = places.iter().filter_map(|item| get_text(item, SK)).collect();
            let Some(last) = places.last() else { break };
            let hashes: Vec<&str> =
                places.iter().filter_map(|place| place.split_once('#').map(|(_, hash)| hash)).collect();
            let mut named: Vec<Key> = hashes.iter().map(|hash| keys::dead_letter(sync, hash)).collect();
            named.sort_by(|a, b| a.sk.cmp(&b.sk));
            named.dedup();
            let mut letters = HashMap::new();
            for item in self.table.batch_get(&named).await? {
                let letter = get_text(&item, "d").and_then(|data| serde_json::from_str::<DeadLetter>(data).ok());
                let letter = letter.ok_or_else(|| self.table.corrupt(format!("A dead letter of `{sync}`")))?;
                letters.insert(keys::dead_letter_order_key(sync, letter.at.0, &letter.hash.to_string()).sk, letter);
            }
            found.extend(places.iter().filter_map(|place| letters.remove(*place)));
            after = format!("{last}!");
        }
        found.truncate(most);
        Ok(found)
    }

    pub(super) async fn delete_letters(&self, sync: &str, hashes: &[KeyHash]) -> Result<(), Fault> {
        let letters: Vec<Key> = hashes.iter().map(|hash| keys::dead_letter(sync, &hash.to_string())).collect();
        stream::iter(letters).map(|letter| self.delete_letter(letter)).buffer_unordered(CONCURRENT).try_collect().await
    }

    async fn delete_letter(&self, letter: Key) -> Result<(), Fault> {
        let old = self.table.delete(&letter).await?;
        match self.place_of(&old) {
            Some(place) => self.table.delete(&place).await.map(drop),
            None => Ok(()),
        }
    }
}
