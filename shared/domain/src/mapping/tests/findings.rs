//! What compiling finds: each mistake with the line, the reason and the fix.

use serde_json::json;

use super::*;

#[track_caller]
fn found(parts: Json, fields: Option<Vec<DestinationField>>) -> Vec<Finding> {
    let columns = [
        column("id", Type::Int),
        column("email", Type::Text),
        column("first_name", Type::Text),
        column("photo", Type::Bytes),
    ];
    let schema = DestinationSchema { fields, ..DestinationSchema::default() };
    let (mapper, findings) = Mapper::compile(&sync(parts), &columns, &schema);
    assert_eq!(
        mapper.is_some(),
        !findings.iter().any(Finding::is_error),
        "there is a mapper exactly when there is no error"
    );
    findings
}

#[track_caller]
fn only(findings: Vec<Finding>, about: &str, what: &str, fix: &str) {
    assert_eq!(findings, [Finding::error(about, what, fix)]);
}

#[test]
fn a_column_that_is_not_there() {
    let findings = found(json!({ "mapping": [{ "from": "frist_name", "to": "firstname" }] }), None);
    let fix = "did you mean `first_name`? the model has: id, email, first_name, photo";
    only(findings, "mapping: frist_name → firstname", "the model has no column `frist_name`", fix);
    let findings = found(json!({ "mapping": [{ "from": "zzz", "to": "x" }] }), None);
    only(findings, "mapping: zzz → x", "the model has no column `zzz`", "the model has: id, email, first_name, photo");
}

#[test]
fn a_key_that_is_not_there() {
    let model = json!({ "warehouse": "w", "sql": "s", "key": ["id", "emial"] });
    let fix = "did you mean `email`? the model has: id, email, first_name, photo";
    only(found(json!({ "model": model }), None), "model.key", "the model has no column `emial`", fix);
}

#[test]
fn a_field_that_is_not_there_or_not_writable() {
    let created = DestinationField { read_only: true, ..field("created", None) };
    let fields = Some(vec![field("firstname", Some(Type::Text)), created]);
    let findings = found(json!({ "mapping": [{ "from": "first_name", "to": "fristname" }] }), fields.clone());
    let fix = "did you mean `firstname`? the destination has: firstname";
    only(findings, "mapping: first_name → fristname", "the destination has no field `fristname`", fix);
    let findings = found(json!({ "mapping": [{ "from": "id", "to": "created" }] }), fields);
    only(
        findings,
        "mapping: id → created",
        "field `created` cannot be written",
        "remove the line: the destination sets this field itself",
    );
}

#[test]
fn a_required_field_that_is_not_mapped() {
    let fields = Some(vec![field("a", None), DestinationField { required: true, ..field("name", None) }]);
    let what = "field `name` is required by the destination and not mapped";
    let fix = "add a line `{ from: column, to: name }`, or a constant, or use mode update";
    only(found(json!({ "mapping": [{ "from": "id", "to": "a" }] }), fields.clone()), "mapping", what, fix);
    assert_eq!(
        found(json!({ "mapping": [{ "from": "id", "to": "a" }], "mode": "update" }), fields),
        [],
        "an update creates no record"
    );
}

#[test]
fn a_null_that_the_field_does_not_take() {
    let fields = Some(vec![DestinationField { not_null: true, ..field("f", None) }]);
    let what = "field `f` does not take null, and `nulls: clear` would send it";
    let clear = json!({ "from": "email", "to": "f", "nulls": "clear" });
    only(
        found(json!({ "mapping": [clear] }), fields.clone()),
        "mapping: email → f",
        what,
        "use `nulls: ignore` or give a `default`",
    );
    for fine in
        [json!({ "from": "email", "to": "f" }), json!({ "from": "email", "to": "f", "nulls": "clear", "default": "x" })]
    {
        assert_eq!(found(json!({ "mapping": [fine] }), fields.clone()), []);
    }
}

#[test]
fn values_that_the_field_does_not_take() {
    let fields = Some(vec![DestinationField {
        one_of: Some(vec!["lead".into(), "customer".into()]),
        ..field("stage", Some(Type::Text))
    }]);
    let line = json!({ "from": "email", "to": "stage", "values": { "L": "lead", "C": "custmer" } });
    let what = "`values` maps `C` to `custmer`, which the destination does not take";
    only(
        found(json!({ "mapping": [line] }), fields),
        "mapping: email → stage",
        what,
        "did you mean `customer`? the field `stage` has: lead, customer",
    );
    let line = json!({ "from": "email", "to": "n", "values": { "a": "1", "b": "two" } });
    let what = "`values` maps `b` to `two`, which must be a whole number";
    only(
        found(json!({ "mapping": [line] }), Some(vec![field("n", Some(Type::Int))])),
        "mapping: email → n",
        what,
        "change what `values` gives, or map another field",
    );
    let bytes = found(json!({ "mapping": [{ "from": "photo", "to": "n", "values": { "a": "1" } }] }), None);
    only(
        bytes,
        "mapping: photo → n",
        "`values` compares text, and the column is bytes",
        "encode the column as text in the model's SQL",
    );
}

#[test]
fn transforms_that_cannot_work() {
    for (kind, transform, what) in [
        (
            Type::Bytes,
            json!("lowercase"),
            "`lowercase` does not take bytes (remove `lowercase`, or encode the column as text in the model's SQL)",
        ),
        (
            Type::Int,
            json!("trim"),
            "`trim` does not take int (remove `trim`, or cast the column to text in the model's SQL)",
        ),
        (Type::Json, json!({ "truncate": 3 }), "`truncate` does not take json"),
        (Type::Bytes, json!("sha256"), "`sha256` does not take bytes"),
        (Type::Date, json!({ "number": { "decimals": 1 } }), "`number` does not take date"),
        (Type::Int, json!({ "date": "%Y" }), "`date` does not take int"),
        (Type::Bool, json!({ "datetime": "%Y" }), "`datetime` does not take bool"),
        (Type::Bool, json!({ "e164": "GB" }), "`e164` does not take bool"),
        (Type::Text, json!({ "e164": "gb" }), "`gb` is not a country code (did you mean `GB`?)"),
        (
            Type::Text,
            json!({ "e164": "Britain" }),
            "`Britain` is not a country code (write the two letters of ISO 3166, such as `e164: GB`)",
        ),
        (
            Type::Text,
            json!({ "date": "YYYY-MM-DD" }),
            "`YYYY-MM-DD` names no part of a date (write it in strftime, such as `date: \"%Y-%m-%d\"`)",
        ),
        (Type::Text, json!({ "date": "%Y %H" }), "`date` cannot write `%Y %H`: "),
        (Type::Text, json!({ "datetime": "%Y %1" }), "`datetime` cannot write `%Y %1`: "),
        (Type::DateTime, json!({ "datetime": "%H:%M %z" }), "`datetime` cannot write `%H:%M %z`: "),
        (Type::Text, json!({ "truncate": 0 }), "`truncate: 0` leaves nothing"),
    ] {
        let found = Case::of(kind).line(json!({ "transform": [transform] })).findings();
        assert!(found.starts_with(&format!("mapping: c → f: {what}")), "{found}");
    }
    let hashed = Case::of(Type::Text).line(json!({ "transform": ["json", "lowercase"] })).findings();
    assert!(
        hashed.contains("`lowercase` does not take json"),
        "each step sees the type that the one before it makes: {hashed}"
    );
}

#[test]
fn types_are_compared_after_the_transforms() {
    let found = Case::of(Type::Text).line(json!({ "transform": ["json"] })).to(Type::Int).findings();
    let what = "column `c` is text, json after its transforms, and field `f` takes int (change the transforms, or cast the column to int in the model's SQL)";
    assert_eq!(found, format!("mapping: c → f: {what}"));
    assert_eq!(Case::of(Type::Date).line(json!({ "transform": [{ "date": "%Y" }] })).to(Type::Int).findings(), "");
}

#[test]
fn constants_and_defaults_that_do_not_fit() {
    for (line, to, expected) in [
        (
            json!({ "constant": "x" }),
            Type::Int,
            "the constant (text of 1 character) does not fit: it must be a whole number (give a constant that does)",
        ),
        (json!({ "constant": 7 }), Type::Date, "the constant (int) cannot become date (give a constant that does)"),
        (
            json!({ "default": 1.5 }),
            Type::Int,
            "the default (float) does not fit: it must be a whole number (give a default that does)",
        ),
        (
            json!({ "default": "b", "values": { "a": "b" } }),
            Type::Text,
            "the default (text of 1 character) is not among the mapped values",
        ),
    ] {
        let found = Case::of(Type::Any).line(line).to(to).findings();
        assert!(
            found.starts_with(&format!("mapping: c → f: {expected}"))
                || found.starts_with(&format!("mapping: constant → f: {expected}")),
            "{found}"
        );
    }
    let ruled = Case::of(Type::Text).line(json!({ "default": "none" })).rule(json!({ "format": "email" })).findings();
    assert!(ruled.contains("the default (text of 4 characters) does not fit: it must be an email address"), "{ruled}");
    let unknown = Case::of(Type::Int).line(json!({ "default": "n/a" })).findings();
    assert!(
        unknown.contains("it must be a whole number"),
        "a default has the column's type where the destination names none: {unknown}"
    );
}

#[test]
fn rules_that_cannot_hold() {
    for (kind, rule, sentence) in [
        (Type::Bool, json!({ "min": 1 }), "must be a number of at least 1"),
        (Type::Int, json!({ "format": "email" }), "must be an email address"),
        (Type::Timestamp, json!({ "format": "date" }), "must be a date such as 2026-01-02"),
        (Type::Bytes, json!({ "one_of": ["a"] }), "must be one of a"),
    ] {
        let found = Case::of(kind).rule(rule).findings();
        assert_eq!(
            found,
            format!(
                "mapping: c → f: the rule \"{sentence}\" cannot hold for {kind} (remove the rule, or bring the field to another type)"
            )
        );
    }
}

#[test]
fn lines_that_say_nothing_or_too_much() {
    let neither = found(json!({ "mapping": [{ "to": "f" }] }), None);
    only(
        neither,
        "mapping: constant → f",
        "the line has neither `from` nor `constant`",
        "name a column or give a constant",
    );
    let both = found(json!({ "mapping": [{ "from": "id", "constant": 1, "to": "f" }] }), None);
    only(both, "mapping: id → f", "the line has both `from` and `constant`", "keep one of them");
}

#[test]
fn every_mistake_is_found_at_once() {
    let findings = found(
        json!({ "mapping": [{ "from": "a1", "to": "x" }, { "from": "photo", "to": "y", "transform": ["trim"] }, { "from": "id", "to": "z" }] }),
        None,
    );
    let about: Vec<_> = findings.iter().map(|f| f.about.as_str()).collect();
    assert_eq!(about, ["mapping: a1 → x", "mapping: photo → y"]);
}

#[test]
fn an_identifier_in_two_spellings_is_warned_of() {
    let columns = [column("id", Type::Text)];
    let schema = DestinationSchema {
        fields: Some(vec![
            DestinationField { equality: crate::equality::Equality::IgnoresCase, ..field("email", None) },
            field("other", None),
        ]),
        ..DestinationSchema::default()
    };
    let of = |line: Json| Mapper::compile(&sync(json!({ "mapping": [line] })), &columns, &schema);
    let (mapper, findings) = of(json!({ "from": "id", "to": "email", "identifier": true }));
    assert!(mapper.is_some() && findings.len() == 1 && findings[0].fix.contains("lowercase"), "{findings:?}");
    assert_eq!(of(json!({ "from": "id", "to": "email", "identifier": true, "transform": ["lowercase"] })).1, []);
    assert_eq!(of(json!({ "from": "id", "to": "other" })).1, []);
}
