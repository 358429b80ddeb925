//! Reading back: which accepted records of a run are looked up in the destination, deleted ones too, when a value
//! counts as landed, and the numbers of the report. Reading is the engine's.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cells::Cells;
use crate::finding::Finding;
use crate::layout::{Field, Layout};
use crate::value::Value;

/// How many accepted records are read back, unless the sync says otherwise.
const SAMPLE: u32 = 10;
/// The most that a sync may ask for.
const MAX_SAMPLE: u32 = 1000;
/// Records that differ are named up to this many.
pub const MAX_DIFFERING: usize = 10;

/// After a run, accepted records are read back and compared with what was sent; deleted ones must not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadbackSettings {
    /// How many accepted records of a run are read back, chosen by a stable share of keys. Default 10; 0: none.
    pub sample: u32,
}

impl Default for ReadbackSettings {
    fn default() -> Self {
        Self { sample: SAMPLE }
    }
}

impl ReadbackSettings {
    /// True when the sync file need not say it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it.
    pub fn findings(&self) -> Option<Finding> {
        let what = || format!("{} records to read back are more than a sample", self.sample);
        (self.sample > MAX_SAMPLE)
            .then(|| Finding::error("readback.sample", what(), format!("use a number from 0 to {MAX_SAMPLE}")))
    }

    /// The bound below which the turns of the sample are: of all `turns` the smallest, never more than the sample.
    pub fn below(&self, turns: impl Iterator<Item = u32>) -> u64 {
        let most = self.sample as usize;
        // One more than the sample: the first that is not in it is the bound.
        let mut smallest = std::collections::BinaryHeap::with_capacity(most + 2);
        for turn in turns {
            smallest.push(turn);
            if smallest.len() > most + 1 {
                smallest.pop();
            }
        }
        match smallest.peek() {
            Some(turn) if smallest.len() > most => u64::from(*turn),
            Some(_) if most > 0 => u64::from(u32::MAX) + 1,
            _ => 0,
        }
    }
}

/// What reading back came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadbackResult {
    /// Accepted records that were looked up.
    pub checked: u64,
    /// Those of them that the destination has as they were sent, or has no more when they were deleted.
    pub landed: u64,
    /// The first that it has not.
    pub differing: Vec<Differing>,
}

/// An accepted record that the destination does not have as it was sent, or has although it was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    /// Its key.
    pub key: String,
    /// The fields that differ; none when the record is not there at all, or was deleted.
    pub fields: Vec<String>,
    /// It was deleted and is still there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub still_there: bool,
}

impl ReadbackResult {
    /// True when nothing was looked up.
    pub fn is_empty(&self) -> bool {
        self.checked == 0
    }

    /// Notes a record whose fields `differing` differ; `None`: it is not there.
    pub fn note(&mut self, key: impl FnOnce() -> String, differing: Option<Vec<String>>) {
        self.checked += 1;
        match differing {
            Some(fields) if fields.is_empty() => self.landed += 1,
            _ if self.differing.len() == MAX_DIFFERING => {}
            fields => {
                self.differing.push(Differing { key: key(), fields: fields.unwrap_or_default(), still_there: false })
            }
        }
    }

    /// Notes a record that was deleted.
    pub fn note_deleted(&mut self, key: impl FnOnce() -> String, still_there: bool) {
        self.checked += 1;
        self.landed += u64::from(!still_there);
        if still_there && self.differing.len() < MAX_DIFFERING {
            self.differing.push(Differing { key: key(), fields: Vec::new(), still_there });
        }
    }

    /// Adds what another batch came to.
    pub fn add(&mut self, other: &ReadbackResult) {
        self.checked += other.checked;
        self.landed += other.landed;
        let room = MAX_DIFFERING.saturating_sub(self.differing.len());
        self.differing.extend(other.differing.iter().take(room).cloned());
    }
}

/// True when the destination holds `there` for a field that was sent as `sent`: the same, in the destination's own
/// spelling (a document laid out anew, a number of single precision, nothing as null or as an empty text).
pub fn landed(sent: Value<'_>, there: Value<'_>) -> bool {
    if sent == there || sent.to_text() == there.to_text() {
        return true;
    }
    match (sent, there) {
        (Value::Json(a), Value::Json(b) | Value::Text(b)) | (Value::Text(a), Value::Json(b)) => same_document(a, b),
        (Value::Float(_), _) | (_, Value::Float(_)) => match (number(sent), number(there)) {
            // What the destination holds is a number of single precision, and no other of them is nearer to what was
            // sent.
            (Some(a), Some(b)) => a == b || f64::from(b as f32) == b && a as f32 == b as f32,
            _ => false,
        },
        _ => false,
    }
}

fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Int(v) => Some(v as f64),
        Value::Float(v) => Some(v),
        Value::Decimal(v) => v.parse().ok(),
        _ => None,
    }
}

fn same_document(a: &str, b: &str) -> bool {
    let read = |text| serde_json::from_str::<serde_json::Value>(text);
    matches!((read(a), read(b)), (Ok(a), Ok(b)) if same_json(&a, &b))
}

fn same_json(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_json(a, b)))
        }
        _ => a == b,
    }
}

/// The fields that the destination does not have as they are in the record, with both values: first ours.
pub fn differing<'a>(
    layout: &'a Layout,
    record: Cells<'a>,
    there: Cells<'a>,
) -> impl Iterator<Item = (&'a Field, Value<'a>, Value<'a>)> {
    let fields = layout
        .fields()
        .iter()
        .zip(record.values().zip(there.values()))
        .map(|(field, (here, there))| (field, here, there));
    fields.filter(|(_, here, there)| !matches!(here, Value::Missing) && !landed(*here, *there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_stable_and_never_more_than_asked_for() {
        let of = |sample, turns: &[u32]| ReadbackSettings { sample }.below(turns.iter().copied());
        let turns = [70, 10, u32::MAX, 30, 50];
        for (sample, below, chosen) in
            [(0, 10, 0), (2, 50, 2), (4, u64::from(u32::MAX), 4), (5, 1 << 32, 5), (9, 1 << 32, 5)]
        {
            assert_eq!(of(sample, &turns), below, "{sample}");
            assert_eq!(turns.iter().filter(|t| u64::from(**t) < below).count(), chosen, "{sample}");
        }
        assert_eq!((of(3, &[]), of(0, &[])), (0, 0));
        assert_eq!(of(1, &[5, 5, 5]), 5, "three that stand at one place are none, not three");
    }

    #[test]
    fn what_the_destination_spells_otherwise_has_landed() {
        for (sent, there, expected) in [
            (Value::Text("a"), Value::Text("a"), true),
            (Value::Text("abc"), Value::Text("ab"), false),
            (Value::Null, Value::Text(""), true),
            (Value::Null, Value::Text("x"), false),
            (Value::Null, Value::Null, true),
            (Value::Json(r#"{"a":1,"b":[1.0,"x"]}"#), Value::Json(r#"{ "b": [1, "x"], "a": 1 }"#), true),
            (Value::Json(r#"{"a":1}"#), Value::Text(r#"{"a": 1}"#), true),
            (Value::Json(r#"{"a":1}"#), Value::Json(r#"{"a":2}"#), false),
            (Value::Json(r#"{"a":1}"#), Value::Json(r#"{"a":1,"b":1}"#), false),
            (Value::Float(0.1), Value::Float(f64::from(0.1f32)), true),
            (Value::Decimal("0.1"), Value::Float(0.1), true),
            (Value::Int(7), Value::Float(7.0), true),
            (Value::Float(1_000_000.5), Value::Float(1_000_000.0), false),
            (Value::Float(0.1), Value::Float(0.100_000_001_5), false),
            (Value::Int(7), Value::Text("7"), true),
            (Value::Int(7), Value::Int(8), false),
        ] {
            assert_eq!(landed(sent, there), expected, "{sent:?} {there:?}");
        }
    }

    #[test]
    fn results_add_up_and_are_bounded() {
        let mut all = ReadbackResult::default();
        assert!(all.is_empty());
        all.note(|| "1".into(), Some(vec![]));
        all.note(|| "2".into(), None);
        let mut sum = ReadbackResult::default();
        (0..20).for_each(|_| sum.add(&all));
        assert_eq!((sum.checked, sum.landed, sum.differing.len()), (40, 20, MAX_DIFFERING));
        assert_eq!(sum.differing[0], Differing { key: "2".into(), fields: vec![], still_there: false });
        let mut deleted = ReadbackResult::default();
        deleted.note_deleted(|| "3".into(), false);
        (0..20).for_each(|_| deleted.note_deleted(|| "4".into(), true));
        assert_eq!(
            (deleted.checked, deleted.landed, deleted.differing.len(), deleted.differing[0].still_there),
            (21, 1, MAX_DIFFERING, true)
        );
    }
}
