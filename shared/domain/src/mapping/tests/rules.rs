//! Every rule of the file and every limit of the destination.

use serde_json::json;

use super::*;
use crate::mapping::validate::{is_e164, is_email, is_url};
use Value::*;

#[test]
fn formats_are_strict() {
    for good in ["a@b.co", "first.last+tag@sub.example.com", "o'brien@example.museum", "x_1@a-b.io", "A@EXAMPLE.COM"] {
        assert!(is_email(good), "{good}");
    }
    let long = format!("{}@example.com", "a".repeat(65));
    for bad in [
        "",
        "a",
        "@b.co",
        "a@",
        "a@b",
        "a@b.c",
        "a@@b.co",
        "a@b@c.co",
        ".a@b.co",
        "a.@b.co",
        "a..b@c.co",
        "a b@c.co",
        " a@b.co",
        "a@b.co\n",
        "a@-b.co",
        "a@b-.co",
        "a@b..co",
        "a@b.co.",
        "a@1.2.3.44",
        "a@[127.0.0.1]",
        "\"a\"@b.co",
        "ä@b.co",
        &long,
    ] {
        assert!(!is_email(bad), "{bad}");
    }
    for good in [
        "https://example.com",
        "HTTP://example.com:8080/a?b=c#d",
        "https://user@example.com/",
        "https://[::1]/",
        "https://bücher.example/ä",
    ] {
        assert!(is_url(good), "{good}");
    }
    for bad in [
        "",
        "example.com",
        "ftp://example.com",
        "https://",
        "https:// example.com",
        "https://exa mple.com",
        "https://a.b/ c",
        "javascript:x",
        "https:/a",
    ] {
        assert!(!is_url(bad), "{bad}");
    }
    for (text, good) in [
        ("+441632960961", true),
        ("+1234567", true),
        ("+123456", false),
        ("441632960961", false),
        ("+0441632960", false),
        ("+1234567890123456", false),
        ("+44 1632", false),
    ] {
        assert_eq!(is_e164(text), good, "{text}");
    }
}

#[test]
fn every_rule_says_what_it_wants() {
    let url = "must be a URL that begins with https:// or http://";
    for (rule, good, bad, sentence) in [
        (json!({ "format": "email" }), Text("a@b.co"), Text("x"), "must be an email address"),
        (json!({ "format": "url" }), Text("https://a.b"), Text("a.b"), url),
        (json!({ "format": "uuid" }), Text("30313233-3435-3637-3839-616263646566"), Text("3031"), "must be a UUID"),
        (json!({ "format": "uuid" }), Uuid([7; 16]), Int(1), "must be a UUID"),
        (json!({ "format": "date" }), Text("2026-01-02"), Text("2026-13-02"), "must be a date such as 2026-01-02"),
        (json!({ "format": "date" }), Date(1), Timestamp(1), "must be a date such as 2026-01-02"),
        (
            json!({ "format": "datetime" }),
            Text("2026-01-02T03:04Z"),
            Text("2026-01-02"),
            "must be a date and time such as 2026-01-02T03:04:05Z",
        ),
        (
            json!({ "format": "datetime" }),
            Timestamp(1),
            Date(1),
            "must be a date and time such as 2026-01-02T03:04:05Z",
        ),
        (
            json!({ "format": "datetime" }),
            DateTime(1),
            Bool(true),
            "must be a date and time such as 2026-01-02T03:04:05Z",
        ),
        (
            json!({ "format": "e164" }),
            Text("+441632960961"),
            Text("01632 960961"),
            "must be a phone number such as +441632960961",
        ),
        (json!({ "min": 0 }), Int(0), Int(-1), "must be a number of at least 0"),
        (json!({ "min": 0.5 }), Decimal("0.5"), Decimal("0.49"), "must be a number of at least 0.5"),
        (json!({ "min": 0 }), Text("1.5"), Text("-1"), "must be a number of at least 0"),
        (json!({ "min": 0 }), Text("1e3"), Text("inf"), "must be a number of at least 0"),
        (json!({ "max": 9 }), Float(9.0), Float(9.5), "must be a number of at most 9"),
        (json!({ "max": 9 }), Text("9."), Text("nine"), "must be a number of at most 9"),
        (json!({ "max": 9 }), Int(-100), Bool(true), "must be a number of at most 9"),
        (json!({ "one_of": ["a", "b"] }), Text("b"), Text("B"), "must be one of a, b"),
        (json!({ "one_of": ["1", "true"] }), Int(1), Int(2), "must be one of 1, true"),
        (json!({ "max_length": 3 }), Text("é🌊ü"), Text("abcd"), "must be at most 3 characters"),
        (json!({ "max_length": 1 }), Int(1), Int(12), "must be at most 1 character"),
        (json!({ "required": true }), Int(0), Text(""), "must not be null or empty"),
    ] {
        let case = Case::of(Type::Any).rule(rule);
        case.gives(good, good);
        case.refuses(bad, sentence, &crate::mapping::ValueRefusal::new("", &bad).got);
    }
}

#[test]
fn rules_look_at_the_value_that_is_sent() {
    let case = Case::of(Type::Text)
        .line(json!({ "transform": ["trim", "lowercase"] }))
        .rule(json!({ "format": "email", "max_length": 6 }));
    case.gives(Text("  A@B.CO  "), Text("a@b.co"));
    case.refuses(Text("  AA@B.CO  "), "must be at most 6 characters", "text of 7 characters");
    Case::of(Type::Text).to(Type::Int).rule(json!({ "min": 10 })).refuses(
        Text("9"),
        "must be a number of at least 10",
        "int",
    );
}

#[test]
fn the_destination_s_limits_hold() {
    let none = DestinationField::default();
    let of = |field: DestinationField| Case::of(Type::Any).field(field);

    let short = of(DestinationField { kind: Some(Type::Text), max_length: Some(3), ..none.clone() });
    short.gives(Text("é🌊ü"), Text("é🌊ü"));
    short.gives(Int(123), Text("123"));
    short.refuses(Text("abcd"), "must be at most 3 characters", "text of 4 characters");
    let few = of(DestinationField { kind: Some(Type::Bytes), max_length: Some(3), ..none.clone() });
    few.gives(Bytes(b"abc"), Bytes(b"abc"));
    few.refuses(Bytes(b"abcd"), "must be at most 3 characters", "bytes");

    let small = of(DestinationField { kind: Some(Type::Int), range: Some((-32_768, 32_767)), ..none.clone() });
    small.gives(Int(-32_768), Int(-32_768));
    small.gives(Text("32767"), Int(32_767));
    small.refuses(Int(32_768), "does not fit the destination's integer range -32768 to 32767", "int");

    let numeric = of(DestinationField { kind: Some(Type::Decimal), precision: Some((5, 2)), ..none.clone() });
    numeric.gives(Decimal("-999.99"), Decimal("-999.99"));
    numeric.gives(Decimal("1.100"), Decimal("1.1"));
    numeric.gives(Int(999), Decimal("999"));
    let rule = "does not fit the destination's decimal of 3 digits before and 2 after the point";
    numeric.refuses(Decimal("1000"), rule, "decimal");
    numeric.refuses(Decimal("0.001"), rule, "decimal");
    let untyped = of(DestinationField { precision: Some((5, 2)), ..none.clone() });
    untyped.gives(Int(-999), Int(-999));
    untyped.refuses(Int(1000), rule, "int");
    untyped.refuses(Int(i64::MIN), rule, "int");

    let listed = of(DestinationField { one_of: Some(vec!["lead".into(), "customer".into()]), ..none });
    listed.gives(Text("lead"), Text("lead"));
    listed.refuses(Text("Lead"), "must be one of lead, customer", "text of 4 characters");
}

#[test]
fn a_long_list_is_not_repeated_in_full() {
    let allowed: Vec<_> = (0..20).map(|i| i.to_string()).collect();
    let rule = "must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more";
    Case::of(Type::Text).rule(json!({ "one_of": allowed })).refuses(Text("x"), rule, "text of 1 character");
}

#[test]
fn a_refusal_never_holds_the_value() {
    for case in [
        Case::of(Type::Any).to(Type::Int),
        Case::of(Type::Any).rule(json!({ "format": "email" })),
        Case::of(Type::Any).line(json!({ "values": { "a": "b" } })),
        Case::of(Type::Any).line(json!({ "transform": ["json"] })),
    ] {
        let invalid = case.map(Text("s3cr3t")).unwrap_err();
        assert!(!format!("{invalid:?}").contains("s3cr3t"), "{invalid:?}");
    }
}
