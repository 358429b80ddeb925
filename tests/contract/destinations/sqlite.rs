//! What only SQLite does: which error lands on which record, strict tables, locking, collations.

use domain::equality::Equality;
use domain::mode::{Mode, Op};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::PreflightRequest;
use domain::value::{Type, Value};
use serde_json::json;

use super::fixtures::{opened, sqlite};
use super::{accepted, write};

fn rejected(outcome: &Outcome) -> (&str, &str) {
    match outcome {
        Outcome::Rejected { code, detail } => (code, detail),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_kind_of_error_lands_on_its_record() {
    let fixture = sqlite(
        "create table parent (id integer primary key);
         create table t (id integer primary key, i int, nn text not null default '', u text unique on conflict replace,
           p int references parent, c int constraint positive check (c > 0), v text) strict;
         create trigger refuse before insert on t when new.v = 'trig' begin select raise(abort, 'no'); end;
         insert into t (id, u) values (1000, 'taken')",
        json!({}),
    )
    .await;
    let names = ["id", "i", "nn", "u", "p", "c", "v"];
    let fields: Vec<_> = names.iter().map(|name| (*name, Type::Any, *name == "id")).collect();
    let cases: &[(&str, Value<'_>, &str)] = &[
        ("i", Value::Text("secret"), "datatype_mismatch"),
        ("nn", Value::Null, "not_null_violation"),
        ("u", Value::Text("taken"), "unique_violation"),
        ("p", Value::Int(5), "foreign_key_violation"),
        ("c", Value::Int(-1), "check_violation"),
        ("v", Value::Text("trig"), "raise_exception"),
        ("i", Value::Decimal("123456789012345678901"), "numeric_value_out_of_range"),
    ];
    let good = |id: i64| {
        vec![Value::Int(id), Value::Null, Value::Text("good"), Value::Null, Value::Null, Value::Null, Value::Null]
    };
    let mut records = Vec::new();
    for (at, (field, value, _)) in cases.iter().enumerate() {
        let id = 2 * at as i64;
        let mut bad = good(id + 1);
        bad[names.iter().position(|name| name == field).unwrap()] = *value;
        records.extend([good(id), bad]);
    }
    for op in [Op::Upsert, Op::Append] {
        let outcomes = write(&*fixture.destination, op, &fields, &records).await.unwrap();
        for ((_, _, code), pair) in cases.iter().zip(outcomes.chunks(2)) {
            assert!(accepted(&pair[0], Effect::Created), "{op} beside {code}: {:?}", pair[0]);
            assert_eq!(rejected(&pair[1]).0, *code, "{op}");
            assert!(!rejected(&pair[1]).1.contains("secret"));
        }
        let left = fixture
            .sqlite()
            .query_row("select count(*) from t where id = 1000", [], |row| row.get::<_, i64>(0))
            .unwrap();
        assert_eq!(left, 1, "the table's own `on conflict replace` does not destroy a row");
        fixture.sqlite().execute("delete from t where id < 1000", []).unwrap();
    }
}

#[tokio::test]
async fn a_locked_database_is_unavailable_and_then_not() {
    let fixture = sqlite("create table t (id integer primary key, email text, n int)", json!({})).await;
    let fields = [("id", Type::Int, true)];
    let other = fixture.sqlite();
    other.execute_batch("begin immediate").unwrap();
    let written = write(&*fixture.destination, Op::Upsert, &fields, &[vec![Value::Int(1)]]).await;
    assert!(matches!(written, Err(WriteError::Unavailable { .. })), "{written:?}");
    other.execute_batch("rollback").unwrap();
    assert!(accepted(
        &write(&*fixture.destination, Op::Upsert, &fields, &[vec![Value::Int(1)]]).await.unwrap()[0],
        Effect::Created
    ));
}

#[tokio::test]
async fn identifiers_compare_as_their_index_compares_them() {
    let fixture = sqlite(
        "create table t (email text, name text collate nocase); create unique index by_email on t (email collate nocase); insert into t values ('Ada', 'ada')",
        json!({}),
    )
    .await;
    let fields = [("email", Type::Text, true), ("name", Type::Text, false)];
    let need = [("email".to_owned(), true), ("name".to_owned(), false)];
    let schema = fixture.destination.preflight(PreflightRequest { mode: Mode::Mirror, fields: &need }).await.unwrap();
    assert!(schema.equality("email") == Equality::IgnoresAsciiCase && schema.findings.is_empty(), "{schema:?}");
    let record = |email: &'static str, name: &'static str| vec![Value::Text(email), Value::Text(name)];
    let outcomes =
        write(&*fixture.destination, Op::Upsert, &fields, &[record("ADA", "Ada"), record("b", "1"), record("B", "2")])
            .await
            .unwrap();
    assert!(accepted(&outcomes[0], Effect::Updated), "{outcomes:?}");
    assert_eq!((rejected(&outcomes[1]).0, rejected(&outcomes[2]).0), ("duplicate_identifier", "duplicate_identifier"));
    let name: String = fixture.sqlite().query_row("select name from t", [], |row| row.get(0)).unwrap();
    assert_eq!(name, "Ada", "a change of case is a change");
}

#[tokio::test]
async fn an_append_that_meets_its_own_rows_does_as_it_is_told() {
    let table = "create table t (id integer primary key, email text, n int); insert into t (id) values (1)";
    let records = [vec![Value::Int(1)], vec![Value::Int(2)]];
    let outcomes =
        write(&*sqlite(table, json!({})).await.destination, Op::Append, &[("id", Type::Int, true)], &records)
            .await
            .unwrap();
    assert_eq!(rejected(&outcomes[0]).0, "unique_violation");
    let fixture = sqlite(table, json!({ "on_conflict": "skip" })).await;
    let outcomes = write(&*fixture.destination, Op::Append, &[("id", Type::Int, true)], &records).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Skipped { reason: "exists".into() });
    assert!(accepted(&outcomes[1], Effect::Created));
}

#[tokio::test]
async fn preflight_tells_what_the_table_is_like() {
    let fixture = sqlite(
        "create table t (a text not null, b real default 1, c text, g text as (a || c)); create unique index some on t (a) where c is null;
         create view w as select * from t; create table customers (id integer primary key)",
        json!({}),
    )
    .await;
    let fields = [("a".to_owned(), true)];
    let schema = fixture.destination.preflight(PreflightRequest { mode: Mode::Upsert, fields: &fields }).await.unwrap();
    assert_eq!(
        schema.findings.iter().map(|f| f.fix.as_str()).collect::<Vec<_>>(),
        [r#"create unique index "t_by_a" on "t" ("a");"#]
    );
    let known = schema.fields.unwrap();
    let flags: Vec<_> = known.iter().map(|f| (f.name.as_str(), f.kind, f.required, f.read_only)).collect();
    let text = Some(Type::Text);
    assert_eq!(
        flags,
        [
            ("a", text, true, false),
            ("b", Some(Type::Float), false, false),
            ("c", text, false, false),
            ("g", text, false, true)
        ]
    );
    let path = fixture.sqlite().path().unwrap().to_owned();
    for (object, part) in [("w", "a view"), ("custmers", "did you mean `customers`?")] {
        let other = opened("sqlite", std::path::Path::new("/"), &json!({ "path": path }), object, json!({})).await;
        let findings =
            other.preflight(PreflightRequest { mode: Mode::Append, fields: &fields }).await.unwrap().findings;
        assert!(findings.len() == 1 && findings[0].to_string().contains(part), "{findings:?}");
    }
}
