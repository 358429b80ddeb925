//! What only MySQL and MariaDB do: which error lands on which record, what strict mode lets through, other unique keys,
//! collations, types there and back, what preflight sees.

use domain::cells::{self, Cells};
use domain::destination_schema::DestinationSchema;
use domain::equality::Equality;
use domain::mode::{Mode, Op};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::PreflightRequest;
use domain::value::{Type, Value};
use mysql_async::prelude::Queryable as _;
use serde_json::json;

use super::fixtures::{Fixture, mysql, opened};
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

/// One row of one column of the fixture's database.
async fn one(fixture: &Fixture, sql: &str) -> Option<String> {
    fixture.mysql().connect().await.query_first::<Option<String>, _>(sql).await.unwrap().flatten()
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn every_kind_of_error_lands_on_its_record() {
    let fixture = mysql(
        &[
            "create table parent (id int primary key)",
            "create table t (id int primary key, v varchar(5), i smallint, nn varchar(20) not null default '', u varchar(20), p int, c int,
               e enum('lead', 'customer'), j json, d date, b decimal(4,2), l varchar(9) character set latin1,
               constraint once unique (u), constraint t_p foreign key (p) references parent (id), constraint positive check (c > 0))",
            "create trigger refuse before insert on t for each row
               begin if new.v = 'trig' then signal sqlstate '45000' set message_text = 'no: secret'; end if; end",
            "insert into t (id, u) values (1000, 'taken')",
        ],
        json!({}),
    )
    .await;
    let names = ["id", "v", "i", "nn", "u", "p", "c", "e", "j", "d", "b", "l"];
    let fields: Vec<_> = names.iter().map(|name| (*name, Type::Any, *name == "id")).collect();
    let cases: &[(&str, Value<'_>, &str, &str)] = &[
        ("v", Value::Text("secret-long"), "string_data_right_truncation", "`v`"),
        ("i", Value::Int(70_000), "numeric_value_out_of_range", "`i`"),
        ("i", Value::Text("secret"), "invalid_text_representation", "`i`"),
        ("i", Value::Float(1.5), "numeric_value_out_of_range", "`i`"),
        ("nn", Value::Null, "not_null_violation", "`nn`"),
        ("u", Value::Text("taken"), "unique_violation", "once"),
        ("p", Value::Int(5), "foreign_key_violation", "t_p"),
        ("c", Value::Int(-1), "check_violation", "positive"),
        ("e", Value::Text("secret"), "invalid_text_representation", "`e`"),
        ("e", Value::Int(1), "invalid_text_representation", "`e`"),
        ("j", Value::Text("{secret"), "check_violation", "`j`"),
        ("d", Value::Text("secret"), "invalid_datetime_format", "`d`"),
        ("d", Value::Text("2024-02-30"), "invalid_datetime_format", "`d`"),
        ("d", Value::Text("10:11:12"), "invalid_datetime_format", "`d`"),
        ("b", Value::Decimal("123.45"), "numeric_value_out_of_range", "`b`"),
        ("l", Value::Text("\u{1f30a}"), "invalid_text_representation", "`l`"),
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
        bad[names.iter().position(|name| name == field).unwrap()] = *value;
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
        fixture.mysql().execute(&["delete from t where id < 1000"]).await;
    }
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn another_unique_key_never_changes_another_row() {
    let fixture = mysql(
        &[
            "create table t (id int primary key, email varchar(50) unique, n int)",
            "insert into t values (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
        ],
        json!({}),
    )
    .await;
    let fields = [("id", Type::Int, true), ("email", Type::Text, false), ("n", Type::Int, false)];
    let record = |id: i64, email: &'static str, n: i64| vec![Value::Int(id), Value::Text(email), Value::Int(n)];
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &[record(9, "a", 9)]).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).0, "unique_violation");
    assert_eq!(one(&fixture, "select concat(id, email, n) from t where email = 'a'").await.unwrap(), "1a1");
    // Two rows that take each other's value, and one that takes a value another gives up.
    let swap = [record(1, "b", 1), record(2, "a", 2), record(4, "c", 4), record(3, "d", 3)];
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &swap).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Accepted { .. })), "{outcomes:?}");
    let all = one(&fixture, "select group_concat(id, email order by id) from t").await.unwrap();
    assert_eq!(all, "1b,2a,3d,4c");
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn a_row_with_these_values_is_not_written() {
    let fixture = mysql(
        &[
            "create table t (id int primary key, name varchar(50), at timestamp(6) default current_timestamp(6) on update current_timestamp(6))",
            "insert into t (id, name, at) values (1, 'ada', '2020-01-01')",
        ],
        json!({}),
    )
    .await;
    let fields = [("id", Type::Int, true), ("name", Type::Text, false)];
    let touched = async || one(&fixture, "select year(at) > 2020 from t").await.unwrap() == "1";
    for (name, op, changes) in [("ada", Op::Upsert, false), ("ada", Op::Update, false), ("Ada", Op::Upsert, true)] {
        let record = [vec![Value::Int(1), Value::Text(name)]];
        let outcomes = write(&*fixture.destination, op, &fields, &record).await.unwrap();
        assert!(accepted(&outcomes[0], Effect::Updated), "{outcomes:?}");
        assert_eq!(touched().await, changes, "a change of case is a change: {name}");
    }
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn identifiers_compare_as_the_database_compares_them() {
    let fixture = mysql(
        &[
            "create table t (email varchar(50) character set utf8mb4 collate utf8mb4_unicode_ci primary key, name varchar(50))",
            "insert into t values ('Ada@x.com', 'ada')",
        ],
        json!({}),
    )
    .await;
    let schema = preflight(&fixture, Mode::Mirror, &[("email", true), ("name", false)]).await;
    assert!(schema.equality("email") == Equality::Destination && schema.findings.is_empty(), "{schema:?}");
    let fields = [("email", Type::Text, true), ("name", Type::Text, false)];
    let record = |email: &'static str| vec![Value::Text(email), Value::Text("x")];
    let batch = [
        record("ADA@x.com"),
        record("é@x"),
        record("e@x"),
        record("a-b"),
        record("ab"),
        record("c"),
        record("c "),
        record("straße"),
        record("STRASSE"),
    ];
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &batch).await.unwrap();
    assert!(accepted(&outcomes[0], Effect::Updated), "{outcomes:?}");
    for twice in [1, 2, 5, 6, 7, 8] {
        assert_eq!(rejected(&outcomes[twice]).0, "duplicate_identifier", "{twice}");
    }
    assert!(accepted(&outcomes[3], Effect::Created) && accepted(&outcomes[4], Effect::Created), "{outcomes:?}");
    let layout = layout_of(&fields);
    let identifiers: Vec<Vec<u8>> = ["a-b", "ab", "AB", "\u{c9}", "e"]
        .iter()
        .map(|text| {
            let mut cell = Vec::new();
            cells::push(&mut cell, Value::Text(text));
            cell
        })
        .collect();
    let same = fixture.destination.same_identity(&layout, &identifiers).await.unwrap();
    assert_eq!(same, [0, 1, 1, 3, 3]);
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn a_row_is_found_under_its_identifier_or_refused() {
    let fixture = mysql(
        &[
            "create table t (id int auto_increment primary key, code varchar(9) unique)",
            "create trigger low before insert on t for each row set new.id = if(new.id = 7, 70, new.id)",
        ],
        json!({}),
    )
    .await;
    let fields = [("id", Type::Int, true), ("code", Type::Text, false)];
    let records = [vec![Value::Int(0), Value::Text("a")], vec![Value::Int(7), Value::Text("b")]];
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &records).await.unwrap();
    assert!(accepted(&outcomes[0], Effect::Created), "0 is no wish for a number: {outcomes:?}");
    assert_eq!(rejected(&outcomes[1]).0, "changed_by_trigger");
    assert_eq!(one(&fixture, "select id from t where code = 'a'").await.unwrap(), "0");
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &records[..1]).await.unwrap();
    assert!(accepted(&outcomes[0], Effect::Updated), "{outcomes:?}");
    // Bytes that the column fills up.
    let fixture = mysql(&["create table t (id binary(4) primary key, n int)"], json!({})).await;
    let fields = [("id", Type::Bytes, true), ("n", Type::Int, false)];
    for effect in [Effect::Created, Effect::Updated] {
        let outcomes =
            write(&*fixture.destination, Op::Upsert, &fields, &[vec![Value::Bytes(&[1]), Value::Int(1)]]).await;
        assert!(accepted(&outcomes.unwrap()[0], effect));
    }
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn an_append_that_meets_its_own_rows_does_as_it_is_told() {
    let table = ["create table t (id bigint primary key, v varchar(3))", "insert into t (id) values (1)"];
    let fields = [("id", Type::Int, true), ("v", Type::Text, false)];
    let records = [
        vec![Value::Int(1), Value::Null],
        vec![Value::Int(2), Value::Null],
        vec![Value::Int(3), Value::Text("much too long")],
    ];
    let outcomes = write(&*mysql(&table, json!({})).await.destination, Op::Append, &fields, &records).await.unwrap();
    assert_eq!(rejected(&outcomes[0]).0, "unique_violation");
    assert!(accepted(&outcomes[1], Effect::Created));
    let fixture = mysql(&table, json!({ "on_conflict": "skip", "batch_size": 7 })).await;
    assert_eq!(fixture.destination.limits().batch_records, 7);
    let outcomes = write(&*fixture.destination, Op::Append, &fields, &records).await.unwrap();
    assert_eq!(outcomes[0], Outcome::Skipped { reason: "exists".into() });
    assert!(accepted(&outcomes[1], Effect::Created));
    // `insert ignore` would cut it.
    assert_eq!(rejected(&outcomes[2]).0, "string_data_right_truncation");
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn values_of_every_type_come_back() {
    let fixture = mysql(
        &["create table t (id binary(16) primary key, b varbinary(9), bi bit(4), c tinyint(1), d date, dt datetime(6), f double, fs float, j json,
             n decimal(40,10), s set('a','b'), t text, tz timestamp(6) null, tm time(6), u bigint unsigned, uu uuid, y year)"],
        json!({}),
    )
    .await;
    let columns = [
        ("id", Type::Uuid, Value::Uuid([7; 16])),
        ("b", Type::Bytes, Value::Bytes(&[0, 255, 92, 39])),
        ("bi", Type::Int, Value::Int(5)),
        ("c", Type::Bool, Value::Bool(true)),
        ("d", Type::Date, Value::Date(-1)),
        ("dt", Type::DateTime, Value::DateTime(-1)),
        ("f", Type::Float, Value::Float(1.5e-7)),
        ("fs", Type::Float, Value::Float(0.5)),
        ("j", Type::Json, Value::Text(r#"{"a":[1,2.50],"b":"x y"}"#)),
        ("n", Type::Decimal, Value::Decimal("12345678901234567890.0123456789")),
        ("s", Type::Text, Value::Text("a,b")),
        ("t", Type::Text, Value::Text("é\u{1f30a} it's \\ \n")),
        ("tz", Type::Timestamp, Value::Timestamp(1_709_210_096_000_007)),
        ("tm", Type::Time, Value::Time(86_399_999_999)),
        ("u", Type::Decimal, Value::Decimal("18446744073709551615")),
        ("uu", Type::Uuid, Value::Uuid([9; 16])),
        ("y", Type::Int, Value::Int(2024)),
    ];
    let fields: Vec<_> = columns.iter().map(|(name, kind, _)| (*name, *kind, *name == "id")).collect();
    let full: Vec<Value<'_>> = columns.iter().map(|(.., value)| *value).collect();
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
    let cells_of = |record: &[Value<'static>]| {
        let mut out = Vec::new();
        in_order(record).into_iter().for_each(|value| cells::push(&mut out, value));
        out
    };
    let mut other = records[0].clone();
    other[fields.iter().position(|(name, ..)| *name == "t").unwrap()] = Value::Text("É");
    let sent = [cells_of(&records[0]), cells_of(&records[1]), cells_of(&other)];
    let agrees = fixture.destination.agrees(&layout, &sent).await.unwrap().unwrap();
    assert!(agrees[..2].iter().flatten().all(|same| *same), "{agrees:?}");
    let differing: Vec<&str> = agrees[2]
        .iter()
        .zip(layout.fields())
        .filter(|(same, _)| !**same)
        .map(|(_, field)| field.name.as_str())
        .collect();
    assert_eq!(differing, ["t"]);
    assert_eq!(Cells(read[2].as_ref().unwrap()).values().collect::<Vec<_>>(), in_order(&records[0]));
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn preflight_tells_what_the_table_is_like() {
    let fixture = mysql(
        &[
            "create table t (id int auto_increment primary key, code varchar(9) not null, n decimal(6,2), s smallint unsigned, e enum('lead', 'customer'),
               g int generated always as (1) stored, p point, at timestamp not null default current_timestamp, unique (code(3)))",
            "create view w as select * from t",
            "create table sales (id int primary key) engine = MyISAM",
        ],
        json!({}),
    )
    .await;
    let schema = preflight(&fixture, Mode::Upsert, &[("code", true), ("n", false), ("p", false)]).await;
    let fields = schema.fields.unwrap();
    let field = |name: &str| fields.iter().find(|f| f.name == name).unwrap();
    assert!(field("g").read_only && !field("id").read_only);
    let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
    assert_eq!(required, ["code"]);
    assert_eq!(
        (field("code").max_length, field("n").precision, field("s").range),
        (Some(9), Some((6, 2)), Some((0, 65_535)))
    );
    assert_eq!(field("e").one_of, Some(vec!["lead".into(), "customer".into()]));
    let fix = format!("alter table `{}`.`t` add unique (`code`);", fixture.mysql().name);
    let said: Vec<_> = schema.findings.iter().map(|f| f.fix.as_str()).collect();
    assert_eq!(said, [fix.as_str(), "leave the field out of the mapping"]);
    fixture.mysql().execute(&[fix.as_str()]).await;
    assert_eq!(preflight(&fixture, Mode::Upsert, &[("code", true)]).await.findings, []);
    let config = fixture.mysql().connection_config();
    for (object, part) in [("w", "a view"), ("slaes", "did you mean"), ("sales", "keeps no transactions")] {
        let other = opened("mysql", std::path::Path::new("."), &config, object, json!({})).await;
        let need = PreflightRequest { mode: Mode::Append, fields: &[("id".into(), false)] };
        let findings = other.preflight(need).await.unwrap().findings;
        assert!(findings.len() == 1 && findings[0].to_string().contains(part), "{findings:?}");
    }
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn lacking_privileges_are_named() {
    let fixture = mysql(&["create table t (id int primary key, n int)"], json!({})).await;
    let database = &fixture.mysql().name;
    let user = format!("u{}", database.len() + std::process::id() as usize);
    let grant = format!("grant select, insert on `{database}`.t to '{user}'@'%'");
    fixture.mysql().execute(&[&format!("create user '{user}'@'%'"), &grant]).await;
    let mut config = fixture.mysql().connection_config();
    config["user"] = json!(user);
    let limited = opened("mysql", std::path::Path::new("."), &config, "t", json!({})).await;
    let fields = [("id".to_owned(), true), ("n".to_owned(), false)];
    let findings = limited.preflight(PreflightRequest { mode: Mode::Mirror, fields: &fields }).await.unwrap().findings;
    let fix = format!("grant update, delete on `{database}`.`t` to '{user}'@'%';");
    assert_eq!(findings.iter().map(|f| f.fix.clone()).collect::<Vec<_>>(), std::slice::from_ref(&fix));
    assert_eq!(limited.preflight(PreflightRequest { mode: Mode::Append, fields: &fields }).await.unwrap().findings, []);
    let layout = [("id", Type::Int, true), ("n", Type::Int, false)];
    let record = [vec![Value::Int(1), Value::Int(1)]];
    let written = write(&*limited, Op::Upsert, &layout, &record).await;
    assert!(matches!(written, Err(WriteError::Misconfigured { .. })), "{written:?}");
    fixture.mysql().execute(&[&fix]).await;
    assert!(accepted(&write(&*limited, Op::Upsert, &layout, &record).await.unwrap()[0], Effect::Created));
    fixture.mysql().execute(&[&format!("drop user '{user}'@'%'")]).await;
}

#[tokio::test]
#[ignore = "needs MariaDB: ./tests/run"]
async fn a_closed_connection_is_replaced() {
    let fixture = mysql(&["create table t (id bigint primary key, n int)"], json!({})).await;
    let fields = [("id", Type::Int, true), ("n", Type::Int, false)];
    let record = |id: i64| [vec![Value::Int(id), Value::Int(1)]];
    let others = format!(
        "select id from information_schema.processlist where db = '{}' and id <> connection_id()",
        fixture.mysql().name
    );
    let mut conn = fixture.mysql().connect().await;
    for id in 1..=3 {
        let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &record(id)).await.unwrap();
        assert!(accepted(&outcomes[0], Effect::Created));
        for other in conn.query::<u64, _>(others.as_str()).await.unwrap() {
            let _ = conn.query_drop(format!("kill {other}")).await;
        }
    }
    // Closed in the middle of a statement that waits for a lock: the batch comes to nothing, the next one works.
    conn.query_drop("start transaction").await.unwrap();
    conn.query_drop("update t set n = 9 where id = 1").await.unwrap();
    let kill_waiting = async {
        loop {
            let waiting = format!("{others} and info like '%update%'");
            let waiting: Vec<u64> = conn.query(waiting.as_str()).await.unwrap();
            for other in &waiting {
                // It may have ended by itself.
                let _ = conn.query_drop(format!("kill {other}")).await;
            }
            if !waiting.is_empty() {
                break;
            }
        }
    };
    let again = record(1);
    let (written, ()) = tokio::join!(write(&*fixture.destination, Op::Upsert, &fields, &again), kill_waiting);
    assert!(matches!(written, Err(WriteError::Unavailable { .. })), "{written:?}");
    conn.query_drop("rollback").await.unwrap();
    let outcomes = write(&*fixture.destination, Op::Upsert, &fields, &again).await.unwrap();
    assert!(accepted(&outcomes[0], Effect::Updated), "{outcomes:?}");
}
