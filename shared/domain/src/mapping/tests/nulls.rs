//! Nulls, defaults, constants, and values that nobody can read.

use serde_json::json;

use super::*;
use Value::*;

#[test]
fn a_null_is_ignored_cleared_or_replaced() {
    for (line, expected) in [
        (json!({}), Missing),
        (json!({ "nulls": "ignore" }), Missing),
        (json!({ "nulls": "clear" }), Null),
        (json!({ "default": "d" }), Text("d")),
        (json!({ "default": "d", "nulls": "ignore" }), Text("d")),
        (json!({ "default": "d", "nulls": "clear" }), Text("d")),
        (json!({ "transform": ["trim"] }), Missing),
        (json!({ "transform": ["trim"], "nulls": "clear" }), Null),
        (json!({ "default": " D ", "transform": ["trim", "lowercase"] }), Text("d")),
        (json!({ "default": "D", "values": { "D": "x" } }), Text("x")),
        (json!({ "values": { "D": "x" } }), Missing),
        (json!({ "identifier": true, "default": "d" }), Text("d")),
    ] {
        let case = Case::of(Type::Text).line(line);
        case.gives(Null, expected);
        case.gives(Missing, expected);
    }
}

#[test]
fn nulls_pass_every_rule_but_required() {
    let rule = json!({ "format": "email", "min": 1, "max": 2, "one_of": ["a"], "max_length": 1 });
    Case::of(Type::Text).rule(rule.clone()).gives(Null, Missing);
    Case::of(Type::Text).rule(rule).line(json!({ "nulls": "clear" })).gives(Null, Null);
    let required = Case::of(Type::Text).rule(json!({ "required": true }));
    required.refuses(Null, "must not be null or empty", "null");
    required.refuses(Text(""), "must not be null or empty", "text of 0 characters");
    required.gives(Text(" "), Text(" "));
    required.clone().line(json!({ "transform": ["trim"] })).refuses(
        Text(" "),
        "must not be null or empty",
        "text of 0 characters",
    );
    required.line(json!({ "default": "d" })).gives(Null, Text("d"));
}

#[test]
fn an_identifier_is_never_null_or_empty() {
    let id = Case::of(Type::Text).line(json!({ "identifier": true }));
    id.refuses(Null, "must not be null", "null");
    id.refuses(Missing, "must not be null", "null");
    id.refuses(Text(""), "must not be empty, because it identifies the record", "text of 0 characters");
    id.gives(Text("x"), Text("x"));
}

#[test]
fn append_refuses_a_null_that_a_new_record_needs() {
    let needed = Case::of(Type::Text).field(DestinationField { required: true, ..DestinationField::default() });
    needed.gives(Null, Missing);
    let append = Case { mode: Some("append"), ..needed };
    append.refuses(Null, "must not be null, because the destination needs it for a new record", "null");
}

#[test]
fn constants_and_defaults_have_the_field_s_type() {
    for (json, to, expected) in [
        (json!("2026-01-02"), Type::Date, Date(20_455)),
        (json!("7"), Type::Int, Int(7)),
        (json!(7), Type::Text, Text("7")),
        (json!(0.1), Type::Decimal, Decimal("0.1")),
        (json!(18_446_744_073_709_551_615u64), Type::Decimal, Decimal("18446744073709551615")),
        (json!(true), Type::Bool, Bool(true)),
        (json!({"b": 1, "a": [2]}), Type::Json, Json("{\"b\":1,\"a\":[2]}")),
        (json!([1, "x"]), Type::Text, Text("[1,\"x\"]")),
    ] {
        let constant = Case::default().line(json!({ "constant": json })).to(to);
        constant.gives(Null, expected);
        constant.gives(Unreadable("not looked at"), expected);
        let default = Case::of(to).line(json!({ "default": json })).to(to);
        default.gives(Null, expected);
    }
    Case::default().line(json!({ "constant": [1] })).gives(Null, Json("[1]"));
    Case::of(Type::Date).line(json!({ "default": "2026-01-02" })).gives(Null, Date(20_455));
}

#[test]
fn an_unreadable_value_harms_only_a_record_that_maps_it() {
    for line in [json!({}), json!({ "transform": ["trim"] }), json!({ "default": "d" }), json!({ "identifier": true })]
    {
        let case = Case::of(Type::Text).line(line);
        case.refuses(Unreadable("invalid UTF-8"), "cannot be read: invalid UTF-8", "unreadable");
        case.clone().to(Type::Text).refuses(Unreadable("invalid UTF-8"), "cannot be read: invalid UTF-8", "unreadable");
    }
    Case::of(Type::Float).to(Type::Float).refuses(Float(f64::NAN), "cannot be read: not a number (NaN)", "unreadable");
    Case::of(Type::Text).line(json!({ "from": "id" })).gives(Unreadable("not mapped"), Int(1));
}

#[test]
fn fields_come_in_the_layout_s_order_whatever_the_file_s() {
    let mapping = json!([
        { "from": "c", "to": "z" },
        { "from": "id", "to": "b", "identifier": true },
        { "constant": true, "to": "a" },
    ]);
    let columns = [column("id", Type::Int), column("c", Type::Text)];
    let destination = schema(vec![field("z", None), field("b", Some(Type::Text)), field("a", Some(Type::Any))]);
    let (mapper, findings) = Mapper::compile(&sync(json!({ "mapping": mapping })), &columns, &destination);
    assert_eq!(findings, []);
    let mut mapper = mapper.unwrap();
    let described: Vec<_> = mapper.layout().fields().iter().map(|f| (f.name.as_str(), f.kind, f.identifier)).collect();
    assert_eq!(described, [("a", Type::Bool, false), ("b", Type::Text, true), ("z", Type::Text, false)]);
    let mut batch = RowBatch::new(2);
    for value in [Int(7), Text("x"), Int(8), Null] {
        batch.push(value);
    }
    let mut out = Vec::new();
    for row in batch.rows() {
        mapper.map(&row, &mut out).unwrap();
    }
    let expected = [Bool(true), Text("7"), Text("x"), Bool(true), Text("8"), Missing];
    assert_eq!(Cells(&out).values().collect::<Vec<_>>(), expected);
}
