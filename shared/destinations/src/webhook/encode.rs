//! A batch as the bytes of a request body. Written straight into one buffer: this is the hot part of writing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::batch::{BatchRecord, WriteBatch};
use domain::layout::Layout;
use domain::value::render::json_string;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::config::{BodyShape, BodyTemplate};

/// A body, ready to be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestShape {
    Records,
    Array,
    Lines,
    Object,
    Custom(Vec<BodyPiece>),
}

/// A piece of a custom body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BodyPiece {
    Text(Vec<u8>),
    Records,
    Fields,
    Id,
    Operation,
    Sync,
}

impl RequestShape {
    /// The shape that a sync's options ask for. The error is a sentence.
    pub(super) fn new(body: &BodyTemplate) -> Result<Self, String> {
        Ok(match body {
            BodyTemplate::Shape(BodyShape::Records) => RequestShape::Records,
            BodyTemplate::Shape(BodyShape::Array) => RequestShape::Array,
            BodyTemplate::Shape(BodyShape::Lines) => RequestShape::Lines,
            BodyTemplate::Shape(BodyShape::Object) => RequestShape::Object,
            BodyTemplate::Custom(map) => {
                let mut pieces = Vec::new();
                cut(&Value::Object(map.clone()), &mut pieces)?;
                if !pieces.iter().any(|p| matches!(p, BodyPiece::Records | BodyPiece::Fields)) {
                    return Err(
                        "the body holds neither `\"$records\"` nor `\"$fields\"`, so no record would be sent".into()
                    );
                }
                RequestShape::Custom(pieces)
            }
        })
    }

    /// True when it holds one record only.
    pub(super) fn is_single(&self) -> bool {
        matches!(self, RequestShape::Object)
            || matches!(self, RequestShape::Custom(pieces) if pieces.contains(&BodyPiece::Fields))
    }

    /// True when each record carries its stable id.
    pub(super) fn carries_ids(&self) -> bool {
        matches!(self, RequestShape::Records)
            || matches!(self, RequestShape::Custom(pieces) if pieces.contains(&BodyPiece::Records))
    }

    /// True when it says what is to be done with the records.
    pub(super) fn tells_operation(&self) -> bool {
        matches!(self, RequestShape::Records)
            || matches!(self, RequestShape::Custom(pieces) if pieces.contains(&BodyPiece::Operation))
    }

    /// The media type of the body.
    pub(super) fn content_type(&self) -> &'static str {
        if matches!(self, RequestShape::Lines) { "application/x-ndjson" } else { "application/json" }
    }
}

/// Cuts a custom body into its pieces.
fn cut(value: &Value, out: &mut Vec<BodyPiece>) -> Result<(), String> {
    match value {
        Value::Object(map) => {
            text(out, b"{");
            for (at, (name, value)) in map.iter().enumerate() {
                text(out, if at > 0 { b"," } else { b"" });
                text(out, Value::from(name.as_str()).to_string().as_bytes());
                text(out, b":");
                cut(value, out)?;
            }
            text(out, b"}");
        }
        Value::Array(all) => {
            text(out, b"[");
            for (at, value) in all.iter().enumerate() {
                text(out, if at > 0 { b"," } else { b"" });
                cut(value, out)?;
            }
            text(out, b"]");
        }
        Value::String(word) if word.starts_with('$') => out.push(match word.as_str() {
            "$records" => BodyPiece::Records,
            "$fields" => BodyPiece::Fields,
            "$id" => BodyPiece::Id,
            "$operation" => BodyPiece::Operation,
            "$sync" => BodyPiece::Sync,
            other => {
                return Err(format!(
                    "`{other}` is not a placeholder; there are $records, $fields, $id, $operation and $sync"
                ));
            }
        }),
        other => text(out, other.to_string().as_bytes()),
    }
    Ok(())
}

fn text(out: &mut Vec<BodyPiece>, bytes: &[u8]) {
    match out.last_mut() {
        Some(BodyPiece::Text(last)) => last.extend_from_slice(bytes),
        _ => out.push(BodyPiece::Text(bytes.to_vec())),
    }
}

/// The name of a request: the record's stable id, or a hash of all of them. The same on every attempt.
pub(super) fn request_id(ids: &[String]) -> String {
    if let [only] = ids {
        return only.clone();
    }
    let mut hash = Sha256::new();
    // Stable ids are all of one length, so that no two lists run together to the same bytes.
    ids.iter().for_each(|id| hash.update(id.as_bytes()));
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..16])
}

/// The body of a request that carries `batch`; `ids` are the stable ids of its records, `id` is the webhook-id.
pub(super) fn body(shape: &RequestShape, batch: &WriteBatch<'_>, ids: &[String], id: &str) -> Vec<u8> {
    // Field names and punctuation roughly double the cells of small records.
    let cells: usize = batch.records.iter().map(|r| 2 * r.fields.bytes().len() + r.key.bytes().len() + 64).sum();
    let mut out = Vec::with_capacity(cells + 128);
    match shape {
        RequestShape::Records => {
            out.extend_from_slice(b"{\"sync\":");
            json_string(&mut out, batch.sync);
            out.extend_from_slice(b",\"operation\":");
            operation(batch, &mut out);
            out.extend_from_slice(b",\"records\":");
            records(batch, ids, &mut out);
            out.push(b'}');
        }
        RequestShape::Array => {
            list(batch.records, &mut out, |_, record, out| batch.layout.write_json(record.fields, out))
        }
        RequestShape::Lines => batch.records.iter().for_each(|record| line(batch.layout, record, &mut out)),
        RequestShape::Object => one(batch, &mut out),
        RequestShape::Custom(pieces) => {
            for piece in pieces {
                match piece {
                    BodyPiece::Text(text) => out.extend_from_slice(text),
                    BodyPiece::Records => records(batch, ids, &mut out),
                    BodyPiece::Fields => one(batch, &mut out),
                    BodyPiece::Id => json_string(&mut out, id),
                    BodyPiece::Operation => operation(batch, &mut out),
                    BodyPiece::Sync => json_string(&mut out, batch.sync),
                }
            }
        }
    }
    out
}

fn operation(batch: &WriteBatch<'_>, out: &mut Vec<u8>) {
    json_string(out, &batch.op.to_string());
}

fn one(batch: &WriteBatch<'_>, out: &mut Vec<u8>) {
    if let Some(record) = batch.records.first() {
        batch.layout.write_json(record.fields, out);
    }
}

fn records(batch: &WriteBatch<'_>, ids: &[String], out: &mut Vec<u8>) {
    list(batch.records, out, |at, record, out| {
        out.extend_from_slice(b"{\"id\":");
        json_string(out, ids.get(at).map_or("", String::as_str));
        out.extend_from_slice(b",\"key\":");
        key(record, out);
        out.extend_from_slice(b",\"fields\":");
        batch.layout.write_json(record.fields, out);
        out.push(b'}');
    });
}

/// The key: one column as its value, several as an array.
fn key(record: &BatchRecord<'_>, out: &mut Vec<u8>) {
    let mut values = record.key.values();
    match (values.next(), values.next()) {
        (Some(only), None) => only.write_json(out),
        _ => {
            out.push(b'[');
            for (at, value) in record.key.values().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                value.write_json(out);
            }
            out.push(b']');
        }
    }
}

fn list(records: &[BatchRecord<'_>], out: &mut Vec<u8>, mut write: impl FnMut(usize, &BatchRecord<'_>, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, record) in records.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(at, record, out);
    }
    out.push(b']');
}

fn line(layout: &Layout, record: &BatchRecord<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    layout.write_json(record.fields, out);
    // A JSON document of the warehouse may be laid out over several lines. Within a JSON text a line break is
    // nothing but white space.
    out[start..].iter_mut().filter(|b| matches!(b, b'\n' | b'\r')).for_each(|b| *b = b' ');
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::fixture::Fixture;
    use domain::mode::Op;
    use serde_json::json;

    fn shape(body: serde_json::Value) -> RequestShape {
        RequestShape::new(&serde_json::from_value(body).unwrap()).unwrap()
    }

    fn encoded(body_option: serde_json::Value, records: usize, op: Op) -> String {
        let fixture = Fixture::new(records);
        let (list, ids) = (fixture.records(), fixture.ids());
        let batch = WriteBatch { sync: "crm", op, layout: &fixture.layout, records: &list };
        String::from_utf8(body(&shape(body_option), &batch, &ids, &request_id(&ids))).unwrap()
    }

    #[test]
    fn every_shape_is_what_the_options_say() {
        let ids = Fixture::new(2).ids();
        let fields =
            [json!({"doc": {"a": 1}, "id": 0, "name": "n\"0"}), json!({"doc": {"a": 1}, "id": 1, "name": "n\"1"})];
        let records =
            json!([{"id": ids[0], "key": 0, "fields": fields[0]}, {"id": ids[1], "key": 1, "fields": fields[1]}]);
        for (body, count, op, expected) in [
            (json!("records"), 2, Op::Upsert, json!({"sync": "crm", "operation": "upsert", "records": records})),
            (json!("records"), 2, Op::Delete, json!({"sync": "crm", "operation": "delete", "records": records})),
            (json!("array"), 2, Op::Append, json!(fields)),
            (json!("object"), 1, Op::Upsert, fields[0].clone()),
            (
                json!({"data": "$fields", "meta": ["$sync", "$id", 1.5, null, true]}),
                1,
                Op::Upsert,
                json!({"data": fields[0], "meta": ["crm", ids[0], 1.5, null, true]}),
            ),
            (
                json!({"op": "$operation", "a": {"b": "$records"}}),
                2,
                Op::Upsert,
                json!({"op": "upsert", "a": {"b": records}}),
            ),
        ] {
            let text = encoded(body.clone(), count, op);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn lines_hold_one_record_each_whatever_a_document_looks_like() {
        let text = encoded(json!("lines"), 3, Op::Upsert);
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2]["doc"], json!({"a": 1}));
        assert!(text.ends_with('\n') && !text.contains('\r'));
    }

    #[test]
    fn a_key_of_several_columns_is_an_array() {
        let mut fixture = Fixture::new(1);
        fixture.widen_keys();
        let (list, ids) = (fixture.records(), fixture.ids());
        let batch = WriteBatch { sync: "crm", op: Op::Upsert, layout: &fixture.layout, records: &list };
        let json: serde_json::Value = serde_json::from_slice(&body(&RequestShape::Records, &batch, &ids, "x")).unwrap();
        assert_eq!(json["records"][0]["key"], json!([0, "eu"]));
    }

    #[test]
    fn the_request_id_follows_the_records() {
        let ids = Fixture::new(3).ids();
        assert_eq!(request_id(&ids[..1]), ids[0]);
        assert_eq!(request_id(&ids), request_id(&Fixture::new(3).ids()));
        assert_ne!(request_id(&ids), request_id(&ids[..2]));
        assert!(!request_id(&ids).contains('.'), "a point separates the parts of what is signed");
    }

    #[test]
    fn a_body_that_sends_nothing_is_refused() {
        for (body, part) in
            [(json!({"a": 1}), "no record"), (json!({"a": "$fields", "b": "$who"}), "`$who` is not a placeholder")]
        {
            let error = RequestShape::new(&serde_json::from_value(body).unwrap()).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(
            shape(json!({"a": "$fields"})).is_single()
                && shape(json!("object")).is_single()
                && !shape(json!({"a": "$records"})).is_single()
        );
    }
}
