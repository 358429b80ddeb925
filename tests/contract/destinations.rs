//! What every destination must do. The suite walks the registry: a destination without a fixture fails it.
//! What only SQL does is in `mysql`, `postgres` and `sqlite`, below.

#![allow(clippy::unwrap_used, reason = "in a test, whatever does not work out fails it")]

mod fixtures;
mod mysql;
mod postgres;
mod sqlite;

use domain::batch::{BatchRecord, WriteBatch};
use domain::cells::{self, Cells};
use domain::key::KeyHash;
use domain::layout::{Field, Layout};
use domain::mode::{Mode, Op};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::{Destination, PreflightRequest};
use domain::value::{Type, Value};

use fixtures::{Fixture, Held, open};

/// The fields of the suite's object: an identifier, a text, a whole number.
fn fields(fixture: &Fixture) -> [(&'static str, Type, bool); 3] {
    let [id, email, n] = fixture.names;
    [(id, Type::Int, true), (email, Type::Text, false), (n, Type::Int, false)]
}

fn layout_of(fields: &[(&str, Type, bool)]) -> Layout {
    Layout::new(
        fields
            .iter()
            .map(|(name, kind, identifier)| Field { name: (*name).into(), kind: *kind, identifier: *identifier })
            .collect(),
    )
}

/// Writes records given as values in the order of `fields`, which need not be the layout's.
async fn write(
    destination: &dyn Destination,
    op: Op,
    fields: &[(&str, Type, bool)],
    records: &[Vec<Value<'_>>],
) -> Result<Vec<Outcome>, WriteError> {
    let layout = layout_of(fields);
    let bytes: Vec<Vec<u8>> = records
        .iter()
        .map(|values| {
            let mut out = Vec::new();
            for field in layout.fields() {
                let at = fields.iter().position(|(name, ..)| *name == field.name).unwrap();
                cells::push(&mut out, values[at]);
            }
            out
        })
        .collect();
    let keys: Vec<Vec<u8>> = bytes.iter().map(|fields| layout.identifier_cells(Cells(fields))).collect();
    let records: Vec<_> = bytes
        .iter()
        .zip(&keys)
        .map(|(fields, key)| {
            let (hash, fields) = (KeyHash::of(fields), Cells(fields));
            BatchRecord { hash, checksum: 1, revision: 1, had_failure: false, record_id: None, key: Cells(key), fields }
        })
        .collect();
    let outcomes = destination.write(&WriteBatch { sync: "contract", op, layout: &layout, records: &records }).await?;
    assert_eq!(outcomes.len(), records.len(), "one outcome for every record");
    Ok(outcomes)
}

/// Writes records of the suite's object.
async fn send(fixture: &Fixture, op: Op, records: &[(i64, Value<'_>, Value<'_>)]) -> Vec<Outcome> {
    let fields = fields(fixture);
    let records: Vec<Vec<Value<'_>>> = records.iter().map(|(id, email, n)| vec![Value::Int(*id), *email, *n]).collect();
    let mut outcomes = Vec::new();
    for batch in records.chunks(fixture.destination.limits().batch_records) {
        outcomes.extend(write(&*fixture.destination, op, &fields, batch).await.unwrap());
    }
    outcomes
}

async fn delete(fixture: &Fixture, ids: &[i64]) -> Vec<Outcome> {
    let records: Vec<Vec<Value<'_>>> = ids.iter().map(|id| vec![Value::Int(*id)]).collect();
    write(&*fixture.destination, Op::Delete, &fields(fixture)[..1], &records).await.unwrap()
}

fn is_rejected(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected { .. })
}

fn accepted(outcome: &Outcome, effect: Effect) -> bool {
    matches!(outcome, Outcome::Accepted { effect: got, .. } if *got == effect || *got == Effect::Unknown)
}

fn held(id: i64, email: Option<&str>, n: Option<i64>) -> Held {
    (id, email.map(str::to_owned), n)
}

#[test]
fn every_refused_mode_has_a_reason() {
    for entry in destinations::REGISTRY {
        let refused: Vec<_> = Mode::ALL.into_iter().filter_map(|mode| (entry.modes)(mode).err()).collect();
        assert!(refused.len() < Mode::ALL.len(), "{} honours no mode", entry.name);
        assert!(refused.iter().all(|reason| reason.len() > 10), "{}: {refused:?}", entry.name);
    }
}

async fn every_case(name: &str) {
    preflight_is_clean_and_knows_its_fields(&open(name).await).await;
    what_can_be_read_says_so(&open(name).await);
    upsert_creates_then_updates(&open(name).await).await;
    a_missing_field_stays_and_null_clears(&open(name).await).await;
    update_never_inserts(&open(name).await).await;
    append_inserts(&open(name).await).await;
    delete_is_done_once_and_again(&open(name).await).await;
    a_bad_record_is_the_one_rejected(&open(name).await).await;
    a_full_batch_and_odd_text_arrive(&open(name).await).await;
}

/// Destinations whose fixture needs a server.
const WITH_A_SERVER: [&str; 2] = ["mysql", "postgres"];

#[tokio::test]
async fn each_does_what_every_destination_does() {
    for entry in destinations::REGISTRY.iter().filter(|entry| !WITH_A_SERVER.contains(&entry.name)) {
        every_case(entry.name).await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL and MariaDB: ./tests/run"]
async fn those_with_a_server_do_so_too() {
    for name in WITH_A_SERVER {
        every_case(name).await;
    }
}

/// Two rows take each other's value of one unique column; what their records leave out of another stays.
async fn a_swap_keeps_what_is_left_out(fixture: &Fixture) {
    let fields = [("id", Type::Int, true), ("email", Type::Text, false), ("n", Type::Int, false)];
    let record = |id: i64, email: Value<'static>, n: i64| vec![Value::Int(id), email, Value::Int(n)];
    let first = [
        record(1, Value::Text("a"), 1),
        record(2, Value::Text("b"), 2),
        record(3, Value::Text("c"), 3),
        record(4, Value::Text("d"), 4),
    ];
    write(&*fixture.destination, Op::Upsert, &fields, &first).await.unwrap();
    // One pair leaves the texts out, the other has them swapped.
    let swap = [
        record(1, Value::Missing, 2),
        record(2, Value::Missing, 1),
        record(3, Value::Text("d"), 4),
        record(4, Value::Text("c"), 3),
    ];
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &swap).await.unwrap();
    assert!(outcomes.iter().all(|outcome| accepted(outcome, Effect::Updated)), "{outcomes:?}");
    let now = [
        held(1, Some("a"), Some(2)),
        held(2, Some("b"), Some(1)),
        held(3, Some("d"), Some(4)),
        held(4, Some("c"), Some(3)),
    ];
    assert_eq!(fixture.held().await, now);
}

const UNIQUE: &str = "create table t (id bigint primary key, email varchar(50) unique, n bigint unique)";

#[tokio::test]
async fn a_swap_in_sqlite_keeps_what_is_left_out() {
    a_swap_keeps_what_is_left_out(&fixtures::sqlite(UNIQUE, serde_json::json!({})).await).await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL and MariaDB: ./tests/run"]
async fn a_swap_in_a_server_keeps_what_is_left_out() {
    a_swap_keeps_what_is_left_out(&fixtures::postgres(UNIQUE, serde_json::json!({})).await).await;
    a_swap_keeps_what_is_left_out(&fixtures::mysql(&[UNIQUE], serde_json::json!({})).await).await;
}

fn what_can_be_read_says_so(fixture: &Fixture) {
    assert_eq!(fixture.destination.reads_back(), fixture.can_be_read, "else no record is ever read back");
}

async fn preflight_is_clean_and_knows_its_fields(fixture: &Fixture) {
    let fields = fields(fixture).map(|(name, _, identifier)| (name.to_owned(), identifier));
    for mode in Mode::ALL.into_iter().filter(|m| fixture.honours(*m)) {
        let schema = fixture.destination.preflight(PreflightRequest { mode, fields: &fields }).await.unwrap();
        assert_eq!(schema.findings, [], "{mode}");
        // Which mapped field there is not is the mapping's finding; what there is, the destination's to say.
        if let Some(known) = schema.fields {
            assert!(fields.iter().all(|(name, _)| known.iter().any(|f| f.name == *name)), "{known:?}");
            assert!(known.iter().all(|f| f.name != "nope"));
        }
    }
}

async fn upsert_creates_then_updates(fixture: &Fixture) {
    if !fixture.honours(Mode::Upsert) {
        return;
    }
    let first = [(1, Value::Text("a"), Value::Int(1)), (2, Value::Text("b"), Value::Int(2))];
    assert!(send(fixture, Op::Upsert, &first).await.iter().all(|o| accepted(o, Effect::Created)));
    let second = [
        (3, Value::Text("c"), Value::Int(3)),
        (2, Value::Text("B"), Value::Int(2)),
        (1, Value::Text("a"), Value::Int(1)),
    ];
    let outcomes = send(fixture, Op::Upsert, &second).await;
    let effects = [Effect::Created, Effect::Updated, Effect::Updated];
    assert!(outcomes.iter().zip(effects).all(|(o, e)| accepted(o, e)), "in the batch's order: {outcomes:?}");
    let now = vec![held(1, Some("a"), Some(1)), held(2, Some("B"), Some(2)), held(3, Some("c"), Some(3))];
    assert_eq!(fixture.held().await, now);
    assert!(
        send(fixture, Op::Upsert, &second).await.iter().all(|o| accepted(o, Effect::Updated)),
        "again changes nothing"
    );
    assert_eq!(fixture.held().await, now);
    if let Some(read) = read_back(fixture, &[1, 9]).await {
        assert_eq!(
            read,
            [
                Some(
                    vec![Value::Text("a"), Value::Int(1), Value::Int(1)]
                        .into_iter()
                        .map(|v| format!("{v:?}"))
                        .collect()
                ),
                None
            ]
        );
    }
}

/// The records of these ids as the destination reads them back, printed, in the layout's order.
async fn read_back(fixture: &Fixture, ids: &[i64]) -> Option<Vec<Option<Vec<String>>>> {
    read_in(fixture, &layout_of(&fields(fixture)), ids).await
}

/// The same in another layout.
async fn read_in(fixture: &Fixture, layout: &Layout, ids: &[i64]) -> Option<Vec<Option<Vec<String>>>> {
    let identifiers: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| {
            let mut cell = Vec::new();
            cells::push(&mut cell, Value::Int(*id));
            cell
        })
        .collect();
    let read = fixture.destination.read(layout, &identifiers).await.unwrap();
    assert_eq!(read.is_some(), fixture.can_be_read);
    Some(
        read?
            .into_iter()
            .map(|record| record.map(|cells| Cells(&cells).values().map(|v| format!("{v:?}")).collect()))
            .collect(),
    )
}

async fn a_missing_field_stays_and_null_clears(fixture: &Fixture) {
    if !fixture.honours(Mode::Upsert) {
        return;
    }
    send(fixture, Op::Upsert, &[(1, Value::Text("a"), Value::Int(1)), (2, Value::Text("b"), Value::Int(2))]).await;
    let outcomes = send(
        fixture,
        Op::Upsert,
        &[(1, Value::Missing, Value::Int(5)), (2, Value::Text("c"), Value::Null), (3, Value::Missing, Value::Missing)],
    )
    .await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Accepted { .. })), "{outcomes:?}");
    assert_eq!(fixture.held().await, [held(1, Some("a"), Some(5)), held(2, Some("c"), None), held(3, None, None)]);
}

async fn update_never_inserts(fixture: &Fixture) {
    if !fixture.honours(Mode::Update) {
        return;
    }
    send(fixture, Op::Upsert, &[(1, Value::Text("a"), Value::Int(1))]).await;
    let outcomes =
        send(fixture, Op::Update, &[(7, Value::Text("x"), Value::Int(7)), (1, Value::Text("z"), Value::Missing)]).await;
    assert_eq!(outcomes[0], Outcome::Skipped { reason: "not_found".into() });
    assert!(accepted(&outcomes[1], Effect::Updated));
    assert!(
        accepted(&send(fixture, Op::Update, &[(1, Value::Text("z"), Value::Int(1))]).await[0], Effect::Updated),
        "equal is accepted"
    );
    assert_eq!(fixture.held().await, [held(1, Some("z"), Some(1))]);
}

async fn append_inserts(fixture: &Fixture) {
    if !fixture.honours(Mode::Append) {
        return;
    }
    let outcomes =
        send(fixture, Op::Append, &[(1, Value::Text("a"), Value::Null), (2, Value::Missing, Value::Int(2))]).await;
    assert!(outcomes.iter().all(|o| accepted(o, Effect::Created)), "{outcomes:?}");
    assert_eq!(fixture.held().await, [held(1, Some("a"), None), held(2, None, Some(2))]);
}

async fn delete_is_done_once_and_again(fixture: &Fixture) {
    if !fixture.honours(Mode::Mirror) {
        return;
    }
    send(fixture, Op::Upsert, &[(1, Value::Text("a"), Value::Int(1)), (2, Value::Text("b"), Value::Int(2))]).await;
    for _ in 0..2 {
        assert!(delete(fixture, &[1, 9]).await.iter().all(|o| accepted(o, Effect::Deleted)));
        assert_eq!(fixture.held().await, [held(2, Some("b"), Some(2))]);
        // As the engine asks for what it deleted: by the identifier alone.
        let there = read_in(fixture, &layout_of(&fields(fixture)[..1]), &[1, 2]).await;
        assert_eq!(
            there.map(|there| there.iter().map(Option::is_some).collect()),
            fixture.can_be_read.then(|| vec![false, true])
        );
    }
}

async fn a_bad_record_is_the_one_rejected(fixture: &Fixture) {
    let good: Vec<_> = (1..=20).map(|id| (id, Value::Text("good"), Value::Int(id))).collect();
    let mut records = good.clone();
    records[12].2 = Value::Int(fixture.bad_n);
    let outcomes = send(fixture, fixture.write_op(), &records).await;
    let rejected: Vec<usize> = outcomes.iter().enumerate().filter(|(_, o)| is_rejected(o)).map(|(at, _)| at).collect();
    assert_eq!(rejected, [12], "{outcomes:?}");
    assert!(outcomes.iter().filter(|o| !is_rejected(o)).all(|o| accepted(o, Effect::Created)));
    assert_eq!(
        fixture.held().await.iter().map(|(id, ..)| *id).collect::<Vec<_>>(),
        (1..=20).filter(|id| *id != 13).collect::<Vec<_>>()
    );
}

async fn a_full_batch_and_odd_text_arrive(fixture: &Fixture) {
    let odd =
        ["é🌊ü", "it's \"quoted\" \\ {a,b} $1 ?", "'); drop table t; --", "", "  spaces  ", "line\nbreak\ttab", "NULL"];
    let count = i64::try_from(fixture.destination.limits().batch_records.max(odd.len())).unwrap();
    let text = |id: i64| odd[usize::try_from(id).unwrap() % odd.len()];
    let records: Vec<_> = (0..count).map(|id| (id, Value::Text(text(id)), Value::Int(id))).collect();
    let outcomes = send(fixture, fixture.write_op(), &records).await;
    assert!(outcomes.iter().all(|o| accepted(o, Effect::Created)));
    // Some destinations cannot tell an empty text from none.
    let clears = fixture.empty_clears || !fixture.honours(Mode::Upsert);
    let kept = |id: i64| (fixture.stores)(text(id)).filter(|text| !(clears && text.is_empty()));
    assert_eq!(fixture.held().await, (0..count).map(|id| held(id, kept(id).as_deref(), Some(id))).collect::<Vec<_>>());
}
