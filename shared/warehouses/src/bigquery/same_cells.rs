//! Tests: every type of BigQuery, as the REST API writes it and as the Storage Read API does, is one cell.

use std::sync::Arc;

use arrow_array::types::{Int32Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array,
    Int64Array, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer, i256};
use arrow_schema::{DataType, Field, Fields};
use domain::row::RowBatch;
use domain::value::Value;
use serde_json::{Value as Json, json};

use super::arrow_cells::{StorageColumn, StorageScratch, push_rows};
use super::cells::{self, PageScratch};
use super::schema::ResultField;

fn by_rest(field: &ResultField, v: &Json) -> Vec<u8> {
    let mut cell = Vec::new();
    domain::cells::push(&mut cell, cells::value(field, v, &mut PageScratch::default()));
    cell
}

fn by_storage(field: &ResultField, array: &ArrayRef) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([("c", Arc::clone(array))]).unwrap();
    let mut out = RowBatch::new(1);
    push_rows(&batch, &[StorageColumn::new(field)], 0, &mut out, &mut StorageScratch::default());
    out.rows().next().unwrap().cell(0).to_vec()
}

/// Both ways give the same cell, and it is no refusal unless one is expected. Null is one too.
fn same(field: Json, v: &Json, array: &ArrayRef, readable: bool) {
    let field: ResultField = serde_json::from_value(field).unwrap();
    let (rest, storage) = (by_rest(&field, v), by_storage(&field, array));
    assert_eq!(domain::cells::value(&storage), domain::cells::value(&rest), "{field:?} {v}");
    assert_eq!(storage, rest, "{field:?} {v}");
    assert_eq!(!matches!(domain::cells::value(&rest), Value::Unreadable(_)), readable, "{field:?} {v}");
    let null = new_null_array(array.data_type(), 1);
    assert_eq!(by_storage(&field, &null), by_rest(&field, &Json::Null), "{field:?}: null");
}

fn scalar(kind: &str) -> Json {
    json!({ "name": "c", "type": kind, "mode": "NULLABLE" })
}

fn text(text: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![text]))
}

fn numeric(value: i128, precision: u8, scale: i8) -> ArrayRef {
    Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap())
}

fn bignumeric(digits: &str) -> ArrayRef {
    let value = i256::from_string(digits).unwrap();
    Arc::new(Decimal256Array::from(vec![value]).with_precision_and_scale(76, 38).unwrap())
}

fn record(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    Arc::new(StructArray::try_from(fields).unwrap())
}

fn list(items: ArrayRef) -> ArrayRef {
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    Arc::new(ListArray::new(field, offsets, items, None))
}

fn day(days: Option<i32>) -> ArrayRef {
    Arc::new(Date32Array::from(vec![days]))
}

fn wall(micros: Option<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![micros]))
}

fn instant(micros: Option<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"))
}

fn float(value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value]))
}

#[test]
fn every_scalar_is_one_cell_by_both_apis() {
    let interval = |months, days, nanoseconds| -> ArrayRef {
        let held = IntervalMonthDayNano { months, days, nanoseconds };
        Arc::new(PrimitiveArray::<IntervalMonthDayNanoType>::from(vec![held]))
    };
    let int = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    for (kind, v, array) in [
        ("BOOLEAN", "true", Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
        ("BOOLEAN", "false", Arc::new(BooleanArray::from(vec![false]))),
        ("INTEGER", "-9223372036854775808", int(i64::MIN)),
        ("INTEGER", "9223372036854775807", int(i64::MAX)),
        ("FLOAT", "0.1", float(0.1)),
        ("FLOAT", "-1.0E300", float(-1e300)),
        ("FLOAT", "-0.0", float(-0.0)),
        ("NUMERIC", "0.1", numeric(100_000_000, 38, 9)),
        ("NUMERIC", "-99999999999999999999999999999.999999999", numeric(-(10i128.pow(38) - 1), 38, 9)),
        ("NUMERIC", "0", numeric(0, 38, 9)),
        ("NUMERIC", "-0.000000001", numeric(-1, 38, 9)),
        ("NUMERIC", "12.5", numeric(1250, 10, 2)),
        ("BIGNUMERIC", "1.5", bignumeric("150000000000000000000000000000000000000")),
        ("BIGNUMERIC", "-0.00000000000000000000000000000000000001", bignumeric("-1")),
        ("STRING", "Zoë 🌊 ' \\ \"", text("Zoë 🌊 ' \\ \"")),
        ("STRING", "", text("")),
        ("BYTES", "AP8=", Arc::new(BinaryArray::from(vec![&[0u8, 255][..]]))),
        ("BYTES", "", Arc::new(BinaryArray::from(vec![&[][..]]))),
        ("DATE", "2024-02-29", day(Some(19_782))),
        ("DATE", "0001-01-01", day(Some(-719_162))),
        ("TIME", "12:34:56.000007", Arc::new(Time64MicrosecondArray::from(vec![45_296_000_007]))),
        ("TIME", "00:00:00", Arc::new(Time64MicrosecondArray::from(vec![0]))),
        ("DATETIME", "2024-02-29T12:34:56.000007", wall(Some(1_709_210_096_000_007))),
        ("DATETIME", "0001-01-01T00:00:00", wall(Some(-62_135_596_800_000_000))),
        ("TIMESTAMP", "-1", instant(Some(-1))),
        ("TIMESTAMP", "253402300799999999", instant(Some(253_402_300_799_999_999))),
        ("JSON", "{\"a\":[1,null]}", text("{\"a\":[1,null]}")),
        ("GEOGRAPHY", "POINT(1.5 -2)", text("POINT(1.5 -2)")),
        ("INTERVAL", "1-2 3 4:5:6.500", interval(14, 3, 14_706_500_000_000)),
        ("INTERVAL", "-1-2 0 -0:0:0.000001", interval(-14, 0, -1000)),
        ("RANGE", "[2024-02-29, UNBOUNDED)", record(vec![("start", day(Some(19_782))), ("end", day(None))])),
        (
            "RANGE",
            "[UNBOUNDED, 2024-02-29T12:34:56.000007)",
            record(vec![("start", wall(None)), ("end", wall(Some(1_709_210_096_000_007)))]),
        ),
        ("RANGE", "[-1, 1500000)", record(vec![("start", instant(Some(-1))), ("end", instant(Some(1_500_000)))])),
    ] {
        same(scalar(kind), &json!(v), &array, true);
        // The same within a record, and in a list within it.
        let named = json!({ "name": "r", "type": "RECORD", "fields": [
            { "name": "x\"", "type": kind }, { "name": "many", "type": kind, "mode": "REPEATED" }] });
        let within = record(vec![("x\"", Arc::clone(&array)), ("many", list(Arc::clone(&array)))]);
        same(named, &json!({ "f": [{ "v": v }, { "v": [{ "v": v }] }] }), &within, true);
        let repeated = json!({ "name": "c", "type": kind, "mode": "REPEATED" });
        same(repeated, &json!([{ "v": v }]), &list(array), true);
    }
}

#[test]
fn what_json_has_not_is_refused_alike() {
    for (v, value) in [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)] {
        same(scalar("FLOAT"), &json!(v), &float(value), false);
        let repeated = json!({ "name": "c", "type": "FLOAT", "mode": "REPEATED" });
        same(repeated, &json!([{ "v": v }]), &list(float(value)), false);
    }
}

#[test]
fn records_and_lists_nest_alike() {
    let fields = json!({ "name": "order", "type": "RECORD", "mode": "REPEATED", "fields": [
        { "name": "id", "type": "INTEGER" },
        { "name": "tags", "type": "STRING", "mode": "REPEATED" },
        { "name": "to", "type": "RECORD", "fields": [{ "name": "city", "type": "STRING" }] },
    ] });
    let v = json!([
        { "v": { "f": [{ "v": "1" }, { "v": [{ "v": "a" }, { "v": "b" }] }, { "v": { "f": [{ "v": "Köln" }] } }] } },
        { "v": { "f": [{ "v": null }, { "v": [] }, { "v": null }] } },
    ]);
    let tags = ListArray::new(
        Arc::new(Field::new("item", DataType::Utf8, true)),
        OffsetBuffer::from_lengths([2, 0]),
        Arc::new(StringArray::from(vec!["a", "b"])),
        Some(NullBuffer::from(vec![true, false])),
    );
    let city: ArrayRef = Arc::new(StringArray::from(vec![Some("Köln"), None]));
    let city_fields: Fields = vec![Field::new("city", DataType::Utf8, true)].into();
    let to = StructArray::new(city_fields, vec![city], Some(NullBuffer::from(vec![true, false])));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let orders = record(vec![("id", ids), ("tags", Arc::new(tags)), ("to", Arc::new(to))]);
    same(fields, &v, &list(orders), true);
    let empty: ArrayRef =
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(Vec::<Option<i32>>::new())]));
    same(json!({ "name": "c", "type": "INTEGER", "mode": "REPEATED" }), &json!([]), &empty, true);
}
