//! Every pair of types: what passes, what is refused, and what the types alone decide.

use super::*;
use crate::mapping::coerce::{Fit, fit};
use Value::*;

/// 2026-01-02T03:04:05Z, and midnight of that day.
const AT: i64 = 1_767_323_045_000_000;
const MIDNIGHT: i64 = 1_767_312_000_000_000;
const ID: [u8; 16] = *b"0123456789abcdef";
const ID_TEXT: &str = "30313233-3435-3637-3839-616263646566";

const ALL: [(Type, Value<'static>); 12] = [
    (Type::Bool, Bool(true)),
    (Type::Int, Int(7)),
    (Type::Float, Float(0.5)),
    (Type::Decimal, Decimal("7.5")),
    (Type::Text, Text("x")),
    (Type::Bytes, Bytes(b"x")),
    (Type::Date, Date(1)),
    (Type::Time, Time(1)),
    (Type::DateTime, DateTime(1)),
    (Type::Timestamp, Timestamp(1)),
    (Type::Json, Json("{}")),
    (Type::Uuid, Uuid(ID)),
];

#[test]
fn lossless_values_pass() {
    for (given, to, expected) in [
        (Int(1), Type::Bool, Bool(true)),
        (Int(0), Type::Bool, Bool(false)),
        (Int(-7), Type::Decimal, Decimal("-7")),
        (Int(i64::MIN), Type::Decimal, Decimal("-9223372036854775808")),
        (Int(-7), Type::Text, Text("-7")),
        (Int(7), Type::Json, Json("7")),
        (Int(1 << 53), Type::Float, Float(9_007_199_254_740_992.0)),
        (Int(-(1 << 53)), Type::Float, Float(-9_007_199_254_740_992.0)),
        (Decimal("7.00"), Type::Int, Int(7)),
        (Decimal("-9223372036854775808"), Type::Int, Int(i64::MIN)),
        (Decimal("0.1"), Type::Float, Float(0.1)),
        (Decimal("100000000000000000000000"), Type::Float, Float(1e23)),
        (Decimal("7.50"), Type::Text, Text("7.5")),
        (Decimal("7.5"), Type::Json, Json("7.5")),
        (Float(7.0), Type::Int, Int(7)),
        (Float(-0.0), Type::Int, Int(0)),
        (Float(0.1), Type::Decimal, Decimal("0.1")),
        (Float(2.5e-7), Type::Decimal, Decimal("0.00000025")),
        (Float(1e21), Type::Decimal, Decimal("1000000000000000000000")),
        (Float(1e21), Type::Text, Text("1e21")),
        (Float(0.5), Type::Json, Json("0.5")),
        (Bool(true), Type::Text, Text("true")),
        (Bool(false), Type::Json, Json("false")),
        (Text("-7"), Type::Int, Int(-7)),
        (Text("007"), Type::Int, Int(7)),
        (Text("1e5"), Type::Float, Float(1e5)),
        (Text("0.10"), Type::Float, Float(0.1)),
        (Text("+7.50"), Type::Decimal, Decimal("7.5")),
        (Text("true"), Type::Bool, Bool(true)),
        (Text("FALSE"), Type::Bool, Bool(false)),
        (Text("t"), Type::Bool, Bool(true)),
        (Text("f"), Type::Bool, Bool(false)),
        (Text("1"), Type::Bool, Bool(true)),
        (Text("0"), Type::Bool, Bool(false)),
        (Text("1970-01-02"), Type::Date, Date(1)),
        (Text("03:04"), Type::Time, Time(11_040_000_000)),
        (Text("2026-01-02 03:04:05"), Type::DateTime, DateTime(AT)),
        (Text("2026-01-02 03:04:05Z"), Type::DateTime, DateTime(AT)),
        (Text("2026-01-02T03:04:05+00"), Type::Timestamp, Timestamp(AT)),
        (Text("2026-01-02 08:34:05+0530"), Type::Timestamp, Timestamp(AT)),
        (Text(ID_TEXT), Type::Uuid, Uuid(ID)),
        (Text("[1]"), Type::Json, Json("[1]")),
        (Bytes(&[255]), Type::Json, Json("\"/w==\"")),
        (Date(20_455), Type::DateTime, DateTime(MIDNIGHT)),
        (Date(20_455), Type::Timestamp, Timestamp(MIDNIGHT)),
        (Date(20_455), Type::Text, Text("2026-01-02")),
        (Date(-1), Type::Json, Json("\"1969-12-31\"")),
        (Time(1), Type::Text, Text("00:00:00.000001")),
        (Time(0), Type::Json, Json("\"00:00:00\"")),
        (DateTime(AT), Type::Text, Text("2026-01-02T03:04:05")),
        (DateTime(AT), Type::Json, Json("\"2026-01-02T03:04:05\"")),
        (DateTime(MIDNIGHT), Type::Date, Date(20_455)),
        (Timestamp(AT), Type::DateTime, DateTime(AT)),
        (Timestamp(MIDNIGHT), Type::Date, Date(20_455)),
        (Timestamp(-86_400_000_000), Type::Date, Date(-1)),
        (Timestamp(AT), Type::Text, Text("2026-01-02T03:04:05Z")),
        (Timestamp(AT), Type::Json, Json("\"2026-01-02T03:04:05Z\"")),
        (Json("{\"a\":1}"), Type::Text, Text("{\"a\":1}")),
        (Uuid(ID), Type::Text, Text(ID_TEXT)),
        (Uuid(ID), Type::Json, Json("\"30313233-3435-3637-3839-616263646566\"")),
    ] {
        let kind = ALL.iter().find(|(_, v)| v.type_name() == given.type_name()).unwrap().0;
        Case::of(kind).to(to).gives(given, expected);
        Case::of(Type::Any).to(to).gives(given, expected);
        assert_ne!(fit(kind, to), Fit::Never, "{kind} to {to}");
    }
}

#[test]
fn lossy_values_are_refused_with_the_reason() {
    let whole = "must be a whole number";
    let zoned = "must be a date and time with a zone, such as 2026-01-02T03:04:05Z";
    let clock = "has a time of day that a date would lose: cast it to date in SQL";
    for (given, to, rule) in [
        (Int(2), Type::Bool, "must be 0 or 1 to become a bool"),
        (Int((1 << 53) + 1), Type::Float, "must be a number of at most 2^53 to become a float"),
        (Int(i64::MIN), Type::Float, "must be a number of at most 2^53 to become a float"),
        (Float(0.5), Type::Int, whole),
        (Float(9_007_199_254_740_992.0), Type::Int, "must be a whole number below 2^53 to become an int"),
        (Decimal("7.5"), Type::Int, whole),
        (Decimal("9223372036854775808"), Type::Int, "must be a whole number of at most 64 bits"),
        (Decimal("0.12345678901234567890123"), Type::Float, "has more digits than a float keeps"),
        (Decimal("9007199254740993"), Type::Float, "has more digits than a float keeps"),
        (Text("7 "), Type::Int, whole),
        (Text("7.0"), Type::Int, whole),
        (Text(""), Type::Int, whole),
        (Text("9223372036854775808"), Type::Int, "must be a whole number of at most 64 bits"),
        (Text("NaN"), Type::Float, "must be a number with no more digits than a float keeps"),
        (Text("1e999"), Type::Float, "must be a number with no more digits than a float keeps"),
        (Text("1e5"), Type::Decimal, "must be a decimal number"),
        (Text("yes"), Type::Bool, "must be true or false"),
        (Text(""), Type::Bool, "must be true or false"),
        (Text("02/01/2026"), Type::Date, "must be a date such as 2026-01-02"),
        (Text("2026-01-02 03:04:05"), Type::Date, "must be a date such as 2026-01-02"),
        (Text("25:00"), Type::Time, "must be a time of day such as 03:04:05"),
        (Text("2026-01-02"), Type::DateTime, "must be a date and time such as 2026-01-02T03:04:05"),
        (Text("2026-01-02 03:04:05"), Type::Timestamp, zoned),
        (Text("2026-01-02"), Type::Timestamp, zoned),
        (Text("x"), Type::Uuid, "must be a UUID"),
        (Text("x"), Type::Json, "must be JSON"),
        (Timestamp(AT), Type::Date, clock),
        (DateTime(AT), Type::Date, clock),
    ] {
        let got = crate::mapping::ValueRefusal::new("", &given).got;
        Case::of(Type::Any).to(to).refuses(given, rule, &got);
    }
}

#[test]
fn types_that_never_fit_are_found_before_a_run() {
    let mut never = 0;
    for (from, value) in ALL {
        for (to, _) in ALL {
            if fit(from, to) == Fit::Never {
                never += 1;
                let found = Case::of(from).to(to).findings();
                assert!(found.contains(&format!("column `c` is {from} and field `f` takes {to}")), "{found}");
                // The same value in a column whose type is not known is refused by itself.
                let invalid = Case::of(Type::Any).to(to).map(value).unwrap_err();
                assert!(invalid.got.starts_with(value.type_name()), "{invalid:?}");
            } else {
                assert_eq!(Case::of(from).to(to).findings(), "", "{from} to {to}");
            }
        }
    }
    assert_eq!(never, 90);
}

#[test]
fn pairs_that_always_fit_keep_every_sample() {
    for (from, value) in ALL {
        for (to, _) in ALL {
            if fit(from, to) == Fit::Always {
                assert!(Case::of(from).to(to).map(value).is_ok(), "{from} to {to}");
            }
        }
        Case::of(from).gives(value, value);
        Case::of(Type::Any).gives(value, value);
    }
}

#[test]
fn the_fix_fits_the_pair() {
    for (from, to, fix) in [
        (Type::Timestamp, Type::Bool, "cast it to bool in the model's SQL, or map it to a field that takes timestamp"),
        (Type::DateTime, Type::Timestamp, "`c at time zone 'UTC'`"),
        (Type::Bool, Type::Int, "`case when c then 1 else 0 end`"),
        (Type::Bytes, Type::Text, "`encode(c, 'base64')`"),
        (Type::Json, Type::Int, "take the value out of the document"),
    ] {
        let found = Case::of(from).to(to).findings();
        assert!(found.contains(fix), "{found}");
    }
}

#[test]
fn a_value_that_belies_its_column_is_coerced_too() {
    Case::of(Type::Int).to(Type::Int).gives(Text("7"), Int(7));
    Case::of(Type::Int).to(Type::Int).refuses(Text("x"), "must be a whole number", "text of 1 character");
    Case::of(Type::Date).to(Type::Date).refuses(Int(7), "cannot become date: cast it in SQL", "int");
}
