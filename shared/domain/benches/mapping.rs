//! Times the mapping and the checksum of one record: 12 columns, 430 bytes, copies and one trimmed,
//! lowercased e-mail address. Sorting and digests are timed elsewhere.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use domain::destination_schema::DestinationSchema;
use domain::mapping::Mapper;
use domain::row::{Column, RowBatch};
use domain::sync::Sync;
use domain::value::{Type, Value};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const COLUMNS: [(&str, Type); 12] = [
    ("id", Type::Int),
    ("email", Type::Text),
    ("first_name", Type::Text),
    ("last_name", Type::Text),
    ("company", Type::Text),
    ("address", Type::Text),
    ("notes", Type::Text),
    ("lifetime_value", Type::Decimal),
    ("score", Type::Float),
    ("active", Type::Bool),
    ("born", Type::Date),
    ("updated_at", Type::Timestamp),
];

fn sync() -> Sync {
    let mapping: Vec<_> = COLUMNS
        .iter()
        .map(|(name, _)| match *name {
            "email" => serde_json::json!({ "from": "email", "to": "email", "identifier": true, "transform": ["trim", "lowercase"] }),
            name => serde_json::json!({ "from": name, "to": name }),
        })
        .collect();
    let sync = serde_json::json!({
        "name": "bench", "mode": "upsert", "mapping": mapping,
        "model": { "warehouse": "w", "sql": "select 1", "key": ["id"] },
        "destination": { "connection": "d" },
    });
    serde_json::from_value(sync).unwrap_or_else(|e| unreachable!("the sync is well formed: {e}"))
}

fn batch() -> RowBatch {
    let mut batch = RowBatch::new(COLUMNS.len());
    for i in 0..1000i64 {
        let email = format!("someone.with.a.name.{i:06}@example.com");
        batch.push(Value::Int(i));
        batch.push(Value::Text(&email));
        batch.push(Value::Text("Maximiliana"));
        batch.push(Value::Text("Featherstonehaugh"));
        batch.push(Value::Text("Example Trading and Shipping Company Limited"));
        batch.push(Value::Text("221b Baker Street, Marylebone, London NW1 6XE, United Kingdom"));
        batch.push(Value::Text(
            "Asked for a call back next week about the renewal; prefers the morning. Has two open invoices and one ticket about the export to spreadsheets.",
        ));
        batch.push(Value::Decimal("12345.67"));
        batch.push(Value::Float(0.75));
        batch.push(Value::Bool(true));
        batch.push(Value::Date(9_000));
        batch.push(Value::Timestamp(1_709_210_096_000_007 + i));
    }
    batch
}

fn map_and_checksum(c: &mut Criterion) {
    let columns: Vec<_> = COLUMNS.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind }).collect();
    let (mapper, findings) = Mapper::compile(&sync(), &columns, &DestinationSchema::default());
    let Some(mut mapper) = mapper else { unreachable!("the mapping compiles: {findings:?}") };
    let seed = mapper.layout().seed();
    let batch = batch();
    let mut out = Vec::with_capacity(1024);
    let mut group = c.benchmark_group("mapping");
    group.throughput(Throughput::Elements(batch.len() as u64));
    group.bench_function("map 1000 records", |b| {
        b.iter(|| {
            for row in batch.rows() {
                out.clear();
                let _ = black_box(mapper.map(black_box(&row), &mut out));
            }
        });
    });
    group.bench_function("map and checksum 1000 records", |b| {
        b.iter(|| {
            let mut sum = 0u64;
            for row in batch.rows() {
                out.clear();
                if mapper.map(black_box(&row), &mut out).is_ok() {
                    sum ^= xxh3_64_with_seed(&out, seed);
                }
            }
            black_box(sum)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default();
    targets = map_and_checksum
}
criterion_main!(benches);
