//! Every transform: what it makes of a value, what it refuses.

use serde_json::json;

use super::*;
use Value::*;

fn by(kind: Type, transform: serde_json::Value) -> Case {
    Case::of(kind).line(json!({ "transform": transform }))
}

/// 2026-01-02T03:04:05Z
const AT: i64 = 1_767_323_045_000_000;

#[test]
fn text_is_cleaned() {
    for (transform, given, expected) in [
        ("trim", " \t a b\u{a0}\n", "a b"),
        ("trim", "ab", "ab"),
        ("trim", "  ", ""),
        ("lowercase", "already", "already"),
        ("lowercase", "ALREADY not", "already not"),
        ("lowercase", "ÉTÉ ΣΑΣ", "été σας"),
        ("lowercase", "été", "été"),
        ("uppercase", "Straße", "STRASSE"),
        ("uppercase", "aB1", "AB1"),
        ("uppercase", "AB1", "AB1"),
    ] {
        by(Type::Text, json!([transform])).gives(Text(given), Text(expected));
        by(Type::Any, json!([transform])).gives(Text(given), Text(expected));
        by(Type::Any, json!([transform])).refuses(Int(1), "must be text", "int");
    }
}

#[test]
fn steps_run_in_order() {
    by(Type::Text, json!(["trim", "lowercase"])).gives(Text("  A@B.c "), Text("a@b.c"));
    by(Type::Text, json!([{ "truncate": 3 }, "trim"])).gives(Text("a  b"), Text("a"));
    by(Type::Text, json!(["trim", { "truncate": 3 }])).gives(Text("  a  b"), Text("a  "));
    by(Type::Text, json!(["lowercase", "uppercase", "lowercase"])).gives(Text("aB"), Text("ab"));
}

#[test]
fn hashes_are_lowercase_hexadecimal() {
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    by(Type::Text, json!(["sha256"])).gives(Text("abc"), Text(abc));
    by(Type::Text, json!(["trim", "lowercase", "sha256"])).gives(Text(" ABC "), Text(abc));
    let one = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
    by(Type::Int, json!(["sha256"])).gives(Int(1), Text(one));
    by(Type::Any, json!(["sha256"])).gives(Text("1"), Text(one));
    by(Type::Any, json!(["sha256"])).refuses(Bytes(b"1"), "must be text: hash bytes in SQL", "bytes");
}

#[test]
fn phone_numbers_get_their_country() {
    let gb = by(Type::Text, json!([{ "e164": "GB" }]));
    for given in ["020 7946 0958", "+44 20 7946 0958", "+44 (0)20 7946-0958", "0044 20 7946 0958"] {
        gb.gives(Text(given), Text("+442079460958"));
    }
    gb.gives(Text("+1 202 555 0143"), Text("+12025550143"));
    by(Type::Int, json!([{ "e164": "US" }])).gives(Int(2_025_550_143), Text("+12025550143"));
    gb.refuses(Text("12"), "must be a phone number", "text of 2 characters");
    gb.refuses(Text("not a number"), "must be a phone number", "text of 12 characters");
    gb.refuses(Text(""), "must be a phone number", "text of 0 characters");
    gb.refuses(Text("020 7946 0958 ext. 12"), "must be a phone number without an extension", "text of 21 characters");
    by(Type::Any, json!([{ "e164": "US" }])).refuses(Bool(true), "must be a phone number", "bool");
}

#[test]
fn dates_are_formatted() {
    let date = |kind| by(kind, json!([{ "date": "%d.%m.%Y" }]));
    date(Type::Date).gives(Date(20_455), Text("02.01.2026"));
    date(Type::Timestamp).gives(Timestamp(AT), Text("02.01.2026"));
    date(Type::Timestamp).gives(Timestamp(-1), Text("31.12.1969"));
    date(Type::DateTime).gives(DateTime(AT), Text("02.01.2026"));
    for text in ["2026-01-02", "2026-01-02 03:04:05", "2026-01-02T03:04:05.5Z", "2026-01-02 08:34:05+05:30"] {
        date(Type::Text).gives(Text(text), Text("02.01.2026"));
    }
    let rule = "must be a date of the years -9999 to 9999";
    date(Type::Text).refuses(Text("2 Jan"), rule, "text of 5 characters");
    date(Type::Any).refuses(Int(1), rule, "int");
    date(Type::Date).refuses(Date(i32::MAX), rule, "date");
}

#[test]
fn dates_with_times_are_formatted_in_utc() {
    let datetime = |kind| by(kind, json!([{ "datetime": "%Y-%m-%d %H:%M:%S" }]));
    datetime(Type::Timestamp).gives(Timestamp(AT), Text("2026-01-02 03:04:05"));
    datetime(Type::DateTime).gives(DateTime(AT), Text("2026-01-02 03:04:05"));
    datetime(Type::Date).gives(Date(20_455), Text("2026-01-02 00:00:00"));
    datetime(Type::Text).gives(Text("2026-01-02 08:34:05+05:30"), Text("2026-01-02 03:04:05"));
    datetime(Type::Text).gives(Text("2026-01-02T03:04:05"), Text("2026-01-02 03:04:05"));
    let zoned = |kind| by(kind, json!([{ "datetime": "%H:%M%:z %s" }]));
    zoned(Type::Timestamp).gives(Timestamp(AT), Text("03:04+00:00 1767323045"));
    zoned(Type::Text).refuses(
        Text("2026-01-02T03:04:05"),
        "must have a time zone, which the format asks for",
        "text of 19 characters",
    );
    let rule = "must be a date and time of the years -9999 to 9999";
    datetime(Type::Text).refuses(Text("soon"), rule, "text of 4 characters");
    datetime(Type::Timestamp).refuses(Timestamp(i64::MAX), rule, "timestamp");
}

#[test]
fn numbers_are_rounded_on_their_digits() {
    let number = |kind, decimals: u8| by(kind, json!([{ "number": { "decimals": decimals } }]));
    number(Type::Decimal, 2).gives(Decimal("2.675"), Decimal("2.68"));
    number(Type::Decimal, 2).gives(Decimal("-2.675"), Decimal("-2.68"));
    number(Type::Decimal, 2).gives(Decimal("12345678901234567890.125"), Decimal("12345678901234567890.13"));
    number(Type::Decimal, 0).gives(Decimal("99.5"), Decimal("100"));
    number(Type::Decimal, 2).gives(Decimal("-0.001"), Decimal("0"));
    number(Type::Float, 1).gives(Float(0.25), Decimal("0.3"));
    number(Type::Float, 3).gives(Float(2.5e-7), Decimal("0"));
    number(Type::Float, 0).gives(Float(1e21), Decimal("1000000000000000000000"));
    number(Type::Int, 2).gives(Int(7), Decimal("7"));
    number(Type::Text, 1).gives(Text("7.25"), Decimal("7.3"));
    number(Type::Text, 1).refuses(Text("7,25"), "must be a number", "text of 4 characters");
    number(Type::Any, 1).refuses(Bool(true), "must be a number", "bool");
}

#[test]
fn a_number_for_a_text_field_keeps_its_zeros() {
    let line = json!({ "transform": [{ "number": { "decimals": 2 } }] });
    Case::of(Type::Int).line(line.clone()).to(Type::Text).gives(Int(7), Text("7.00"));
    Case::of(Type::Int).line(line.clone()).to(Type::Int).gives(Int(7), Int(7));
    Case::of(Type::Decimal).line(line.clone()).to(Type::Float).gives(Decimal("1.999"), Float(2.0));
    Case::of(Type::Decimal).line(line).to(Type::Decimal).gives(Decimal("1.5"), Decimal("1.5"));
    by(Type::Decimal, json!([{ "number": { "decimals": 1 } }, { "truncate": 20 }])).gives(Decimal("3"), Text("3.0"));
}

#[test]
fn text_is_cut_between_characters() {
    let three = by(Type::Text, json!([{ "truncate": 3 }]));
    three.gives(Text("abc"), Text("abc"));
    three.gives(Text("abcd"), Text("abc"));
    three.gives(Text("é🌊üx"), Text("é🌊ü"));
    three.gives(Text("é🌊"), Text("é🌊"));
    three.gives(Text(""), Text(""));
}

#[test]
fn json_is_read_from_text_and_encoded_from_the_rest() {
    let any = by(Type::Any, json!(["json"]));
    any.gives(Text(" {\"a\": [1, null]} "), Json("{\"a\": [1, null]}"));
    any.gives(Text("\"x\""), Json("\"x\""));
    any.gives(Json("[1]"), Json("[1]"));
    any.gives(Int(-5), Json("-5"));
    any.gives(Bool(true), Json("true"));
    any.gives(Decimal("1.50"), Json("1.5"));
    any.gives(Date(0), Json("\"1970-01-01\""));
    any.gives(Bytes(&[255]), Json("\"/w==\""));
    for bad in ["", "{", "{'a': 1}", "1 2", "nope", "[1,]", "\"\u{1}\""] {
        any.refuses(Text(bad), "must be JSON", &super::super::ValueRefusal::new("", &Text(bad)).got);
    }
}

#[test]
fn values_are_mapped_by_their_text() {
    let tier = Case::of(Type::Text)
        .line(json!({ "values": { "Lead": "lead", "Customer": "customer" }, "transform": ["trim"] }));
    tier.gives(Text(" Lead "), Text("lead"));
    tier.refuses(Text("lead"), "is not among the mapped values", "text of 4 characters");
    tier.refuses(Text(""), "is not among the mapped values", "text of 0 characters");
    let code = Case::of(Type::Any)
        .line(json!({ "values": { "1": "one", "true": "yes", "1970-01-01": "epoch", "0.5": "half" } }));
    code.gives(Int(1), Text("one"));
    code.gives(Text("1"), Text("one"));
    code.gives(Bool(true), Text("yes"));
    code.gives(Date(0), Text("epoch"));
    code.gives(Decimal("0.50"), Text("half"));
    code.gives(Float(0.5), Text("half"));
    code.refuses(Int(2), "is not among the mapped values", "int");
    code.refuses(Bytes(b"1"), "is not among the mapped values", "bytes");
    let typed = Case::of(Type::Text).line(json!({ "values": { "y": "1", "n": "0" } }));
    typed.clone().to(Type::Int).gives(Text("y"), Int(1));
    typed.to(Type::Bool).gives(Text("n"), Bool(false));
}
