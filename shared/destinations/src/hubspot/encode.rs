//! Values as HubSpot takes and keeps them: all of them are texts on the wire. Pure.

use domain::batch::BatchRecord;
use domain::cells::{self, Cells};
use domain::layout::Layout;
use domain::mapping::iso::{self, Moment};
use domain::value::{Type, Value, canonical_decimal, render};
use serde_json::{Map, Value as Json, json};

use super::properties::{EMAIL, HubSpotProperty, MAX_CHARACTERS, Properties, PropertyKind, RECORD_ID};

const DAY_MS: i64 = 86_400_000;

/// Why a record cannot be sent: a code and a sentence.
pub(super) type PropertyMisfit = (&'static str, String);

/// A value as the text that HubSpot takes for a property of this definition. Null clears, as does empty text.
pub(super) fn wire(value: Value<'_>, property: Option<&HubSpotProperty>) -> Result<String, PropertyMisfit> {
    let kind = property.map_or(PropertyKind::Text, |p| p.kind);
    Ok(match (value, property) {
        (Value::Null | Value::Missing, _) => String::new(),
        (Value::Date(days), _) if kind == PropertyKind::Date => (i64::from(days) * DAY_MS).to_string(),
        (Value::Timestamp(micros) | Value::DateTime(micros), _) => milliseconds(micros.div_euclid(1000)),
        (Value::Text(text), Some(property)) if kind == PropertyKind::Choice => property.option(text).to_owned(),
        (Value::Text(text) | Value::Json(text), Some(property)) if kind == PropertyKind::Choices => {
            choices(text, property)
        }
        (value, _) => {
            let text = value.to_text();
            if text.len() > MAX_CHARACTERS && text.chars().count() > MAX_CHARACTERS {
                return Err((
                    "too_long",
                    format!("a text has more than {MAX_CHARACTERS} characters, which is the most that HubSpot keeps"),
                ));
            }
            text.into_owned()
        }
    })
}

/// A point in time as ISO 8601 with as many digits as HubSpot keeps.
fn milliseconds(ms: i64) -> String {
    let text = render::datetime(ms.saturating_mul(1000));
    // Six digits, of which the last three are zeros, or none at all.
    let text = if ms.rem_euclid(1000) == 0 { text.as_str() } else { text.get(..text.len() - 3).unwrap_or(&text) };
    format!("{text}Z")
}

/// Several options: `a;b`, or a JSON array out of the warehouse. A leading `;` adds to those that are set.
fn choices(text: &str, property: &HubSpotProperty) -> String {
    let array = text.trim_start().starts_with('[').then(|| serde_json::from_str::<Vec<String>>(text).ok()).flatten();
    match array {
        Some(all) => all.iter().map(|one| property.option(one)).collect::<Vec<_>>().join(";"),
        None => text.split(';').map(|one| property.option(one.trim())).collect::<Vec<_>>().join(";"),
    }
}

/// The properties of a record that are to be sent. `skip` names fields that are none (links to other objects).
pub(super) fn properties(
    layout: &Layout,
    record: Cells<'_>,
    known: &Properties,
    skip: impl Fn(&str) -> bool,
) -> Result<Map<String, Json>, PropertyMisfit> {
    let mut out = Map::new();
    for (name, value) in layout.pairs(record) {
        if name == RECORD_ID || skip(name) {
            continue;
        }
        let text = wire(value, known.get(name)).map_err(|(code, what)| (code, format!("`{name}`: {what}")))?;
        out.insert(name.to_owned(), Json::String(text));
    }
    Ok(out)
}

/// What finds a record: the property's name and this record's value of it. `Err` for a record without one.
pub(super) fn identifier(
    layout: &Layout,
    record: &BatchRecord<'_>,
    known: &Properties,
) -> Result<String, PropertyMisfit> {
    let found = layout.identifiers().next().and_then(|(at, field)| Some((field, record.fields.get(at)?)));
    let Some((field, value)) = found else { return Err(("identifier_missing", "the record has no identifier".into())) };
    let text = wire(value, known.get(&field.name))?;
    if text.is_empty() {
        Err(("identifier_missing", format!("`{}` is empty, and it identifies the record", field.name)))
    } else {
        Ok(text)
    }
}

/// The identifier's text as HubSpot compares it.
pub(super) fn folded(property: &str, text: &str) -> String {
    if property == EMAIL { text.trim().to_lowercase() } else { text.to_owned() }
}

/// An input of a batch request: `id` and `idProperty` where they are given, and the trace id that its results carry.
pub(super) fn input(trace: usize, id: Option<&str>, id_property: Option<&str>, properties: Map<String, Json>) -> Json {
    let mut out = Map::new();
    if let Some(id) = id {
        out.insert("id".into(), id.into());
    }
    if let Some(name) = id_property {
        out.insert("idProperty".into(), name.into());
    }
    out.insert("properties".into(), Json::Object(properties));
    out.insert("objectWriteTraceId".into(), trace.to_string().into());
    Json::Object(out)
}

/// A property as HubSpot gave it back, as a cell of the type that the layout has for it.
pub(super) fn push_read(out: &mut Vec<u8>, text: Option<&str>, kind: Type, property: Option<&HubSpotProperty>) {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return cells::push(out, Value::Null) };
    let sorted;
    let value = match kind {
        Type::Bool => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Type::Int => text.parse().ok().map(Value::Int),
        Type::Float => text.parse().ok().map(Value::Float),
        Type::Decimal => canonical_decimal(text).is_some().then_some(Value::Decimal(text)),
        Type::Date => iso::date(text)
            .or_else(|| i32::try_from(text.parse::<i64>().ok()?.div_euclid(DAY_MS)).ok())
            .map(Value::Date),
        Type::Timestamp | Type::DateTime => {
            let micros = match iso::moment(text) {
                Some(Moment::Timestamp(micros) | Moment::DateTime(micros)) => Some(micros),
                _ => text.parse::<i64>().ok().map(|ms| ms.saturating_mul(1000)),
            };
            micros
                .map(|micros| if kind == Type::Timestamp { Value::Timestamp(micros) } else { Value::DateTime(micros) })
        }
        Type::Text if property.is_some_and(|p| p.kind == PropertyKind::Choices) => {
            sorted = in_order(text);
            Some(Value::Text(&sorted))
        }
        _ => Some(Value::Text(text)),
    };
    // What is not of its type is shown as it is.
    cells::push(out, value.unwrap_or(Value::Text(text)));
}

/// Options in one order: HubSpot keeps them as a set.
fn in_order(text: &str) -> String {
    let mut all: Vec<&str> = text.split(';').filter(|one| !one.is_empty()).collect();
    all.sort_unstable();
    all.join(";")
}

/// A record as HubSpot keeps it. Fields for which `skip` holds are not kept at all.
pub(super) fn stored(layout: &Layout, record: Cells<'_>, known: &Properties, skip: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(record.bytes().len());
    for (field, value) in layout.fields().iter().zip(record.values()) {
        let property = known.get(&field.name);
        match value {
            Value::Missing => cells::push(&mut out, Value::Missing),
            _ if skip(&field.name) => cells::push(&mut out, Value::Missing),
            Value::Null => cells::push(&mut out, Value::Null),
            Value::Text(text) if field.name == EMAIL => {
                push_read(&mut out, Some(&text.trim().to_lowercase()), field.kind, property)
            }
            value => match wire(value, property) {
                Ok(text) => push_read(&mut out, Some(&text), field.kind, property),
                Err(_) => cells::push(&mut out, value),
            },
        }
    }
    out
}

/// The body of a `batch/read`.
pub(super) fn read_body(ids: &[String], id_property: Option<&str>, properties: &[&str]) -> Json {
    let inputs: Vec<Json> = ids.iter().map(|id| json!({ "id": id })).collect();
    let mut body = json!({ "properties": properties, "inputs": inputs });
    if let (Some(name), Some(body)) = (id_property, body.as_object_mut()) {
        body.insert("idProperty".into(), name.into());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::layout::Field;

    fn property(kind: &str, field: &str) -> HubSpotProperty {
        let options = json!([{ "value": "a", "label": "First" }, { "value": "b", "label": "Second" }]);
        HubSpotProperty::read(&json!({ "name": "p", "type": kind, "fieldType": field, "options": options })).unwrap()
    }

    #[test]
    fn values_are_written_as_hubspot_takes_them() {
        let long = "é".repeat(MAX_CHARACTERS);
        for (kind, field, value, expected) in [
            ("string", "text", Value::Null, ""),
            ("string", "text", Value::Text(""), ""),
            ("string", "text", Value::Text(" é🌊 "), " é🌊 "),
            ("string", "text", Value::Text(&long), &long),
            ("number", "number", Value::Decimal("-1234567.5"), "-1234567.5"),
            ("number", "number", Value::Int(7), "7"),
            ("bool", "booleancheckbox", Value::Bool(true), "true"),
            ("bool", "booleancheckbox", Value::Bool(false), "false"),
            ("date", "date", Value::Date(20_455), "1767312000000"),
            ("date", "date", Value::Date(-1), "-86400000"),
            ("datetime", "date", Value::Timestamp(1_767_323_045_678_901), "2026-01-02T03:04:05.678Z"),
            ("datetime", "date", Value::Timestamp(1_767_323_045_000_000), "2026-01-02T03:04:05Z"),
            ("datetime", "date", Value::Timestamp(-1), "1969-12-31T23:59:59.999Z"),
            ("enumeration", "select", Value::Text("First"), "a"),
            ("enumeration", "select", Value::Text("b"), "b"),
            ("enumeration", "select", Value::Text("c"), "c"),
            ("enumeration", "checkbox", Value::Text("Second; a"), "b;a"),
            ("enumeration", "checkbox", Value::Text(";First"), ";a"),
            ("enumeration", "checkbox", Value::Json("[\"First\",\"b\"]"), "a;b"),
            ("enumeration", "checkbox", Value::Text("[]"), ""),
        ] {
            assert_eq!(wire(value, Some(&property(kind, field))).unwrap(), expected, "{kind} {value:?}");
        }
        let (code, _) = wire(Value::Text(&"x".repeat(MAX_CHARACTERS + 1)), None).unwrap_err();
        assert_eq!(code, "too_long");
    }

    #[test]
    fn what_is_kept_reads_back_equal() {
        let field = |name: &str, kind| Field { name: name.into(), kind, identifier: false };
        let layout = Layout::new(vec![
            field("at", Type::Timestamp),
            field("day", Type::Date),
            field("email", Type::Text),
            field("many", Type::Text),
            field("n", Type::Decimal),
            field("none", Type::Text),
            field("one", Type::Text),
        ]);
        let named = |name: &str, kind: &str, field: &str| {
            let options = json!([{ "value": "a", "label": "First" }, { "value": "b", "label": "Second" }]);
            json!({ "name": name, "type": kind, "fieldType": field, "options": options })
        };
        let list = json!({ "results": [named("at", "datetime", "date"), named("day", "date", "date"), named("email", "string", "text"),
            named("many", "enumeration", "checkbox"), named("n", "number", "number"), named("one", "enumeration", "select")] });
        let known = Properties::read(&list).unwrap();
        let mut here = Vec::new();
        let sent = [
            Value::Timestamp(1_767_323_045_678_901),
            Value::Date(20_455),
            Value::Text(" Ada@H.test"),
            Value::Text("Second;First"),
            Value::Decimal("1.5"),
            Value::Text(""),
            Value::Text("Second"),
        ];
        sent.iter().for_each(|v| cells::push(&mut here, *v));
        let mut there = Vec::new();
        for (field, text) in
            layout.fields().iter().zip(["2026-01-02T03:04:05.678Z", "2026-01-02", "ada@h.test", "a;b", "1.50", "", "b"])
        {
            push_read(&mut there, Some(text), field.kind, known.get(&field.name));
        }
        assert_eq!(stored(&layout, Cells(&here), &known, |_| false), there);
        let first = Cells(&stored(&layout, Cells(&here), &known, |name| name == "at"))
            .get(0)
            .is_some_and(|v| v == Value::Missing);
        assert!(first, "a link is not kept with the record");
    }

    #[test]
    fn an_input_carries_what_its_operation_needs() {
        let properties = || Map::from_iter([("n".to_owned(), Json::from("1"))]);
        assert_eq!(
            input(7, Some("k"), Some("crm_id"), properties()),
            json!({ "id": "k", "idProperty": "crm_id", "properties": { "n": "1" }, "objectWriteTraceId": "7" })
        );
        assert_eq!(
            input(0, None, None, properties()),
            json!({ "properties": { "n": "1" }, "objectWriteTraceId": "0" })
        );
        let body = read_body(&["a".into()], None, &["email"]);
        assert_eq!(body, json!({ "properties": ["email"], "inputs": [{ "id": "a" }] }));
    }
}
