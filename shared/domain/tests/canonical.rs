//! The canonical encoding, held against arbitrary values: what is pushed comes back in its canonical
//! form, and equal values have equal bytes.

use domain::cells::{self, Cells};
use domain::value::{Value, canonical_decimal};
use proptest::prelude::*;

/// A value that owns its text, so that a strategy can make it.
#[derive(Debug, Clone, PartialEq)]
enum Owned {
    Missing,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(String),
    Text(String),
    Bytes(Vec<u8>),
    Date(i32),
    Time(i64),
    DateTime(i64),
    Timestamp(i64),
    Json(String),
    Uuid([u8; 16]),
    Unreadable(String),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Owned::Missing => Value::Missing,
            Owned::Null => Value::Null,
            Owned::Bool(v) => Value::Bool(*v),
            Owned::Int(v) => Value::Int(*v),
            Owned::Float(v) => Value::Float(*v),
            Owned::Decimal(v) => Value::Decimal(v),
            Owned::Text(v) => Value::Text(v),
            Owned::Bytes(v) => Value::Bytes(v),
            Owned::Date(v) => Value::Date(*v),
            Owned::Time(v) => Value::Time(*v),
            Owned::DateTime(v) => Value::DateTime(*v),
            Owned::Timestamp(v) => Value::Timestamp(*v),
            Owned::Json(v) => Value::Json(v),
            Owned::Uuid(v) => Value::Uuid(*v),
            Owned::Unreadable(v) => Value::Unreadable(v),
        }
    }

    /// The same value as it is expected to come back.
    fn canonical(&self) -> Owned {
        match self {
            Owned::Float(v) if v.is_nan() => Owned::Unreadable("not a number (NaN)".into()),
            Owned::Float(v) if v.is_infinite() => Owned::Unreadable("an infinite number".into()),
            Owned::Float(v) if *v == 0.0 => Owned::Float(0.0),
            Owned::Decimal(v) => match canonical_decimal(v) {
                Some(v) => Owned::Decimal(v.into_owned()),
                None => Owned::Unreadable("not a decimal number".into()),
            },
            other => other.clone(),
        }
    }
}

fn any_value() -> impl Strategy<Value = Owned> {
    prop_oneof![
        Just(Owned::Missing),
        Just(Owned::Null),
        any::<bool>().prop_map(Owned::Bool),
        any::<i64>().prop_map(Owned::Int),
        any::<f64>().prop_map(Owned::Float),
        prop_oneof![Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Owned::Float),
        (any::<i64>(), "[0-9]{0,6}").prop_map(|(whole, fraction)| Owned::Decimal(format!("{whole}.{fraction}"))),
        prop::collection::vec(prop::sample::select(&['0', '1', '9', '-', '+', '.', 'e'][..]), 0..6)
            .prop_map(|c| Owned::Decimal(c.into_iter().collect())),
        any::<String>().prop_map(Owned::Text),
        any::<Vec<u8>>().prop_map(Owned::Bytes),
        any::<i32>().prop_map(Owned::Date),
        any::<i64>().prop_map(Owned::Time),
        any::<i64>().prop_map(Owned::DateTime),
        any::<i64>().prop_map(Owned::Timestamp),
        any::<String>().prop_map(Owned::Json),
        any::<[u8; 16]>().prop_map(Owned::Uuid),
        any::<String>().prop_map(Owned::Unreadable),
    ]
}

fn encode(values: &[Owned]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|v| cells::push(&mut out, v.value()));
    out
}

proptest! {
    #[test]
    fn values_come_back_in_their_canonical_form(values in prop::collection::vec(any_value(), 0..8)) {
        let bytes = encode(&values);
        let canonical: Vec<_> = values.iter().map(Owned::canonical).collect();
        let expected: Vec<_> = canonical.iter().map(Owned::value).collect();
        prop_assert_eq!(Cells(&bytes).values().collect::<Vec<_>>(), expected);
        prop_assert_eq!(Cells(&bytes).cells().count(), values.len());
        prop_assert_eq!(&encode(&canonical), &bytes, "the canonical form encodes to the same bytes");
    }

    #[test]
    fn bytes_are_equal_exactly_when_values_are(a in any_value(), b in any_value()) {
        let same = a.canonical() == b.canonical();
        prop_assert_eq!(encode(std::slice::from_ref(&a)) == encode(std::slice::from_ref(&b)), same);
    }

    #[test]
    fn spellings_of_a_decimal_share_their_bytes(whole in any::<i32>(), fraction in "[0-9]{0,5}", zeros in 0usize..4, plus in any::<bool>()) {
        let plain = format!("{whole}.{fraction}");
        let sign = if whole < 0 { "-" } else if plus { "+" } else { "" };
        let padded = format!("{sign}{}{}.{fraction}{}", "0".repeat(zeros), whole.unsigned_abs(), "0".repeat(zeros));
        prop_assert_eq!(encode(&[Owned::Decimal(plain)]), encode(&[Owned::Decimal(padded)]));
    }

    #[test]
    fn damaged_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        let values = Cells(&bytes).values().count();
        prop_assert!(values <= bytes.len());
    }
}
