//! What only PostgreSQL does: which error lands on which record, types there and back, what preflight sees.

use domain::cells::{self, Cells};
use domain::destination_schema::DestinationSchema;
use domain::equality::Equality;
use domain::mode::{Mode, Op};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::PreflightRequest;
use domain::value::{Type, Value};
use serde_json::json;

use super::fixtures::{Fixture, opened, postgres};
use super::{accepted, layout_of, write};

async fn preflight(fixture: &Fixture, mode: Mode, fields: &[(&str, bool)]) -> DestinationSchema {
    let fields: Vec<_> = fields.iter().map(|(name, identifier)| ((*name).to_owned(), *identifier)).collect();
    fixture.destination.preflight(PreflightRequest { mode, fields: &fields }).await.unwrap()
}

fn rejected(outcome: &Outcome) -> (&str, &str) {
    match outcome {
        Outcome::Rejected { code, detail } => (code, detail),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn every_kind_of_error_lands_on_its_record() {
    let fixture = postgres(
        "create table parent (id int primary key); create type tier as enum ('lead', 'customer');
         create table t (id int primary key, v varchar(5), i int2, nn text not null default '', u text constraint only_once unique,
           p int references parent deferrable initially deferred, c int constraint positive check (c > 0), e tier, j jsonb, d date, b numeric(4,2));
         create function refuse() returns trigger language plpgsql as $$ begin if new.v = 'trig' then raise exception 'no: %', new.v; end if; return new; end $$;
         create trigger refuse before insert on t for each row execute function refuse();
         insert into t (id, u) values (1000, 'taken')",
        json!({}),
    )
    .await;
    let fields = [
        ("id", Type::Int, true),
        ("v", Type::Text, false),
        ("i", Type::Int, false),
        ("nn", Type::Text, false),
        ("u", Type::Text, false),
        ("p", Type::Int, false),
        ("c", Type::Int, false),
        ("e", Type::Text, false),
        ("j", Type::Json, false),
        ("d", Type::Text, false),
        ("b", Type::Decimal, false),
    ];
    let cases: &[(&str, Value<'_>, &str, &str)] = &[
        ("v", Value::Text("secret-long"), "string_data_right_truncation", "`v`"),
        ("i", Value::Int(70_000), "numeric_value_out_of_range", "`i`"),
        ("nn", Value::Null, "not_null_violation", "`nn`"),
        ("u", Value::Text("taken"), "unique_violation", "only_once"),
        ("p", Value::Int(5), "foreign_key_violation", "t_p_fkey"),
        ("c", Value::Int(-1), "check_violation", "positive"),
        ("e", Value::Text("secret"), "invalid_text_representation", "`e`"),
        ("v", Value::Text("\0"), "character_not_in_repertoire", ""),
        ("j", Value::Json("{\"secret\":\"\\u0000\"}"), "untranslatable_character", "`j`"),
        ("d", Value::Text("secret"), "invalid_datetime_format", "`d`"),
        ("d", Value::Text("2024-02-30"), "datetime_field_overflow", "`d`"),
        ("b", Value::Decimal("123.45"), "numeric_value_out_of_range", "`b`"),
        ("v", Value::Text("trig"), "raise_exception", "trigger"),
    ];
    let good = |id: i64| {
        let mut record = vec![Value::Null; fields.len()];
        (record[0], record[3]) = (Value::Int(id), Value::Text("good"));
        record
    };
    // A good record before and after each bad one.
    let mut records = Vec::new();
    for (at, (field, value, ..)) in cases.iter().enumerate() {
        let id = 2 * at as i64;
        let mut bad = good(id + 1);
        bad[fields.iter().position(|(name, ..)| name == field).unwrap()] = *value;
        records.extend([good(id), bad]);
    }
    for op in [Op::Upsert, Op::Append] {
        let outcomes = write(&*fixture.destination, op, &fields, &records).await.unwrap();
        for ((_, _, code, part), pair) in cases.iter().zip(outcomes.chunks(2)) {
            assert!(accepted(&pair[0], Effect::Created), "{op} beside {code}: {:?}", pair[0]);
            let (got, detail) = rejected(&pair[1]);
            assert_eq!(got, *code, "{op}: {detail}");
            assert!(detail.contains(part) && !detail.contains("secret"), "{code}: {detail}");
        }
        fixture.database().client.execute("delete from t where id < 1000", &[]).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn an_upsert_without_a_required_column_says_so() {
    let fixture = postgres(
        "create table t (id int primary key, must text not null, n int); insert into t values (1, 'x', 1)",
        json!({}),
    )
    .await;
    let fields = [("id", Type::Int, true), ("n", Type::Int, false)];
    let schema = preflight(&fixture, Mode::Upsert, &[("id", true), ("n", false)]).await;
    assert!(schema.fields.unwrap().iter().any(|f| f.name == "must" && f.required && f.not_null));
    let record = [vec![Value::Int(1), Value::Int(2)]];
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &record).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).0, "not_null_violation");
    assert!(rejected(&outcomes[0]).1.contains("map it"), "{outcomes:?}");
    let schema = preflight(&fixture, Mode::Update, &[("id", true), ("n", false)]).await;
    assert!(schema.fields.unwrap().iter().all(|f| !f.required), "an update needs nothing");
    assert!(accepted(&write(&*fixture.destination, Op::Update, &fields, &record).await.unwrap()[0], Effect::Updated));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_closed_connection_is_replaced() {
    let fixture = postgres("create table t (id bigint primary key, email text, n bigint)", json!({})).await;
    let fields = [("id", Type::Int, true)];
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    for id in 1..=3 {
        assert!(accepted(
            &write(&*fixture.destination, Op::Upsert, &fields, &[vec![Value::Int(id)]]).await.unwrap()[0],
            Effect::Created
        ));
        fixture.database().client.query(kill, &[]).await.unwrap();
    }
    // Closed in the middle of a statement that waits for a lock: the batch comes to nothing, the next one works.
    let client = &fixture.database().client;
    client.batch_execute("begin; lock table t").await.unwrap();
    // pg_locks and not pg_stat_activity, of which a transaction sees one moment only.
    let kill_waiting = "select pg_terminate_backend(pid) from pg_locks where relation = 't'::regclass and not granted";
    let waiting = async { while client.query(kill_waiting, &[]).await.unwrap().is_empty() {} };
    let record = [vec![Value::Int(9)]];
    let (written, ()) = tokio::join!(write(&*fixture.destination, Op::Upsert, &fields, &record), waiting);
    assert!(matches!(written, Err(WriteError::Unavailable { .. })), "{written:?}");
    client.batch_execute("rollback").await.unwrap();
    assert!(accepted(&write(&*fixture.destination, Op::Upsert, &fields, &record).await.unwrap()[0], Effect::Created));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn identifiers_compare_as_the_database_compares_them() {
    let fixture =
        postgres("create extension citext; create table t (email citext primary key, name citext); insert into t values ('Ada@x.com', 'ada')", json!({})).await;
    assert_eq!(
        preflight(&fixture, Mode::Upsert, &[("email", true), ("name", false)]).await.equality("email"),
        Equality::IgnoresCase
    );
    let fields = [("email", Type::Text, true), ("name", Type::Text, false)];
    let record = |email: &'static str, name: &'static str| vec![Value::Text(email), Value::Text(name)];
    let outcomes =
        write(&*fixture.destination, Op::Upsert, &fields, &[record("b@x.com", "b"), record("ADA@X.COM", "Ada")])
            .await
            .unwrap();
    assert!(accepted(&outcomes[0], Effect::Created) && accepted(&outcomes[1], Effect::Updated), "{outcomes:?}");
    let name: String = fixture
        .database()
        .client
        .query_one("select name::text from t where email = 'ada@x.com'", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(name, "Ada", "a change of case is a change");
    let outcomes = write(
        &*fixture.destination,
        Op::Upsert,
        &fields,
        &[record("c@x.com", "1"), record("d@x.com", "d"), record("C@x.com", "2")],
    )
    .await
    .unwrap();
    assert_eq!((rejected(&outcomes[0]).0, rejected(&outcomes[2]).0), ("duplicate_identifier", "duplicate_identifier"));
    assert!(accepted(&outcomes[1], Effect::Created));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn an_append_that_meets_its_own_rows_does_as_it_is_told() {
    let table = "create table t (id bigint primary key, email text, n bigint); insert into t values (1)";
    let fields = [("id", Type::Int, true)];
    let records = [vec![Value::Int(1)], vec![Value::Int(2)]];
    let outcomes = write(&*postgres(table, json!({})).await.destination, Op::Append, &fields, &records).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).0, "unique_violation");
    assert!(accepted(&outcomes[1], Effect::Created));
    let fixture = postgres(table, json!({ "on_conflict": "skip", "batch_size": 7 })).await;
    assert_eq!(fixture.destination.limits().batch_records, 7);
    let outcomes = write(&*fixture.destination, Op::Append, &fields, &records).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Skipped { reason: "exists".into() });
    assert!(accepted(&outcomes[1], Effect::Created));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn values_of_every_type_come_back() {
    let fixture = postgres(
        "create table t (id uuid primary key, a int[], b bytea, c boolean, d date, f float8, j jsonb, n numeric, o json, t text[], ts timestamp, tz timestamptz, z time)",
        json!({}),
    )
    .await;
    let fields = [
        ("id", Type::Uuid, true),
        ("a", Type::Json, false),
        ("b", Type::Bytes, false),
        ("c", Type::Bool, false),
        ("d", Type::Date, false),
        ("f", Type::Float, false),
        ("j", Type::Json, false),
        ("n", Type::Decimal, false),
        ("o", Type::Json, false),
        ("t", Type::Json, false),
        ("ts", Type::DateTime, false),
        ("tz", Type::Timestamp, false),
        ("z", Type::Time, false),
    ];
    let full = vec![
        Value::Uuid([7; 16]),
        Value::Json("[1,null,3]"),
        Value::Bytes(&[0, 255, 92]),
        Value::Bool(true),
        Value::Date(-719_529),
        Value::Float(1.5e-7),
        Value::Json(r#"{"a":[1,2.50],"b":"x y"}"#),
        Value::Decimal("12345678901234567890.0123456789"),
        Value::Json(r#"{"z":1,"a":2}"#),
        Value::Json(r#"["a","b,{}\"c",null]"#),
        Value::DateTime(-1),
        Value::Timestamp(1_709_210_096_000_007),
        Value::Time(86_399_999_999),
    ];
    let mut empty = vec![Value::Null; fields.len()];
    empty[0] = Value::Uuid([8; 16]);
    let records = [full, empty];
    for effect in [Effect::Created, Effect::Updated] {
        let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &records).await.unwrap();
        assert!(outcomes.iter().all(|o| accepted(o, effect)), "{outcomes:?}");
    }
    let identifiers: Vec<Vec<u8>> = [[8; 16], [9; 16], [7; 16]]
        .iter()
        .map(|id| {
            let mut cell = Vec::new();
            cells::push(&mut cell, Value::Uuid(*id));
            cell
        })
        .collect();
    let layout = layout_of(&fields);
    let read = fixture.destination.read(&layout, &identifiers).await.unwrap().unwrap();
    let in_order = |record: &[Value<'static>]| -> Vec<Value<'static>> {
        layout.fields().iter().map(|f| record[fields.iter().position(|(name, ..)| *name == f.name).unwrap()]).collect()
    };
    assert_eq!(Cells(read[0].as_ref().unwrap()).values().collect::<Vec<_>>(), in_order(&records[1]));
    assert_eq!(read[1], None);
    assert_eq!(Cells(read[2].as_ref().unwrap()).values().collect::<Vec<_>>(), in_order(&records[0]));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn preflight_tells_what_the_table_is_like() {
    let fixture = postgres(
        "create type tier as enum ('lead', 'customer'); create domain short as varchar(3) not null;
         create table t (id int generated always as identity primary key, code text, v varchar(9), n numeric(6,2), s int2, e tier, dom short,
           g int generated always as (1) stored, r int4range, a text[]);
         create unique index on t (code) where code <> ''; create view w as select * from t; create table sales (id int)",
        json!({}),
    )
    .await;
    let schema = preflight(&fixture, Mode::Upsert, &[("code", true), ("v", false), ("r", false)]).await;
    let fields = schema.fields.unwrap();
    let field = |name: &str| fields.iter().find(|f| f.name == name).unwrap();
    assert!(field("id").read_only && field("g").read_only && !field("v").read_only);
    assert_eq!(
        (field("v").max_length, field("n").precision, field("s").range),
        (Some(9), Some((6, 2)), Some((-32_768, 32_767)))
    );
    assert_eq!(field("e").one_of, Some(vec!["lead".into(), "customer".into()]));
    assert!(field("dom").required && field("dom").max_length == Some(3));
    assert_eq!((field("a").kind, field("e").kind), (Some(Type::Json), Some(Type::Text)));
    let said: Vec<_> = schema.findings.iter().map(|f| (f.about.as_str(), f.fix.as_str())).collect();
    assert_eq!(
        said,
        [
            ("object public.t", r#"create unique index on "public"."t" ("code");"#),
            ("field r", "leave the field out of the mapping")
        ]
    );
    let update = preflight(&fixture, Mode::Update, &[("id", true), ("v", false)]).await;
    assert_eq!(update.findings, []);
    assert!(!update.fields.unwrap().iter().any(|f| f.name == "id" && f.read_only), "to find by it is not to write it");
    let config = fixture.database().connection_config();
    for (object, part) in [("public.w", "a view"), ("public.slaes", "no such table"), ("slaes", "no such table")] {
        let other = opened("postgres", std::path::Path::new("."), &config, object, json!({})).await;
        let findings = other
            .preflight(PreflightRequest { mode: Mode::Append, fields: &[("id".into(), false)] })
            .await
            .unwrap()
            .findings;
        assert!(findings.len() == 1 && findings[0].what.contains(part), "{findings:?}");
        assert!(part != "no such table" || findings[0].fix.contains("sales"), "{findings:?}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn lacking_privileges_are_named() {
    let fixture = postgres("create table t (id int primary key, n int)", json!({})).await;
    let role = format!("role_{}", fixture.database().name);
    fixture
        .database()
        .client
        .batch_execute(&format!("create role {role} login; grant select, insert on t to {role}"))
        .await
        .unwrap();
    let mut config = fixture.database().connection_config();
    config["user"] = json!(role);
    let limited = opened("postgres", std::path::Path::new("."), &config, "t", json!({})).await;
    let fields = [("id".to_owned(), true), ("n".to_owned(), false)];
    let findings = limited.preflight(PreflightRequest { mode: Mode::Mirror, fields: &fields }).await.unwrap().findings;
    assert_eq!(
        findings.iter().map(|f| f.fix.clone()).collect::<Vec<_>>(),
        [format!("grant update, delete on \"public\".\"t\" to \"{role}\";")]
    );
    assert_eq!(limited.preflight(PreflightRequest { mode: Mode::Append, fields: &fields }).await.unwrap().findings, []);
    let written = write(
        &*limited,
        Op::Upsert,
        &[("id", Type::Int, true), ("n", Type::Int, false)],
        &[vec![Value::Int(1), Value::Int(1)]],
    )
    .await;
    assert!(matches!(written, Err(WriteError::Misconfigured { .. })), "{written:?}");
    drop(limited);
    fixture.database().client.batch_execute(&format!("drop owned by {role}; drop role {role}")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_row_that_a_trigger_swallows_is_told() {
    let fixture = postgres(
        "create table t (id int primary key, n int);
         create function swallow() returns trigger language plpgsql as $$ begin if new.n = 0 then return null; end if; return new; end $$;
         create trigger swallow before insert on t for each row execute function swallow()",
        json!({}),
    )
    .await;
    let fields = [("id", Type::Int, true), ("n", Type::Int, false)];
    for (op, id) in [(Op::Upsert, 1), (Op::Append, 11)] {
        let records = [vec![Value::Int(id), Value::Int(1)], vec![Value::Int(id + 1), Value::Int(0)]];
        let outcomes = write(&*fixture.destination, op, &fields, &records).await.unwrap();
        assert!(accepted(&outcomes[0], Effect::Created), "{outcomes:?}");
        match op {
            // It is looked for under its identifier.
            Op::Upsert => assert_eq!(rejected(&outcomes[1]).0, "changed_by_trigger"),
            _ => assert_eq!(outcomes[1], Outcome::unmentioned(), "{op}"),
        }
    }
}
