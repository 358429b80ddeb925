//! Values arrive as they are, or are refused by record: every type of PostgreSQL from one table to another, to an
//! SQLite file and back, read back by the run itself.

#![allow(clippy::unwrap_used, reason = "all of this is test code, helpers outside of test functions included")]

use domain::run::{Run, Status};
use serde_json::{Value, json};
use support::postgres::{TestDatabase, database};
use support::project::Project;

/// A project that copies `src` to `dst` of one database, by `id`.
async fn project(setup: &str, columns: &[&str]) -> (TestDatabase, Project) {
    let db = database().await;
    db.client.batch_execute(setup).await.unwrap();
    let mut project = Project::table(0);
    let mut connection = db.connection_config();
    connection["type"] = json!("postgres");
    project.connections = json!({ "here": connection, "there": connection });
    let sync = project.sync();
    sync["model"] = json!({ "warehouse": "here", "sql": "select * from src", "key": ["id"] });
    sync["destination"] = json!({ "connection": "there", "object": "dst" });
    sync["guards"] = json!({ "max_change_percent": null });
    let line = |name: &&str| json!({ "from": name, "to": name });
    let mut mapping = vec![json!({ "from": "id", "to": "id", "identifier": true })];
    mapping.extend(columns.iter().map(line));
    sync["mapping"] = Value::Array(mapping);
    (db, project)
}

async fn texts(db: &TestDatabase, sql: &str) -> Vec<String> {
    db.client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get::<_, Option<String>>(0).unwrap_or("∅".into()))
        .collect()
}

#[track_caller]
fn landed(run: &Run, records: u64) {
    assert_eq!((run.status, run.tally.accepted()), (Status::Complete, records), "{run:#?}");
    assert_eq!(
        (run.tally.read_back.checked, run.tally.read_back.landed),
        (records, records),
        "{:?}",
        run.tally.read_back
    );
}

/// A type with values of it, as PostgreSQL writes them.
const TYPES: [(&str, &[&str]); 40] = [
    ("bool", &["true", "false"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "0"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("oid", &["4294967295"]),
    ("real", &["19.99", "0.1", "0.03", "2.5", "16777216", "1e-45", "3.4028235e+38"]),
    ("float8", &["0.1", "0.30000000000000004", "1e300", "-5e-324"]),
    ("numeric", &["1.5", "-0.000000000000000000000001", "123456789012345678901234567890.5"]),
    ("numeric(10,2)", &["1.5", "99999999.99"]),
    ("text", &["", " a ", "é🌊", "null", "{}", "\\x00", "a\"b'c\nd"]),
    ("varchar(5)", &["abcde"]),
    ("char(4)", &["ab", "abcd"]),
    ("name", &["a_name"]),
    ("bytea", &["\\x", "\\x00ff"]),
    ("date", &["2000-02-29", "0044-03-15 BC", "5874897-12-31"]),
    ("time", &["00:00:00", "23:59:59.999999"]),
    ("timetz", &["12:00:00.5+02", "00:00:00-11:30"]),
    ("timestamp", &["2026-12-31 23:59:59.7", "0001-01-01 00:00:00 BC"]),
    ("timestamptz", &["2026-12-31 23:59:59.999999+00", "1900-01-01 00:00:00+00"]),
    ("timestamp(3)", &["2026-12-31 23:59:59.123"]),
    ("interval", &["1 year 2 mons 3 days 04:05:06.789", "-1 days", "00:00:00"]),
    ("json", &["{\"a\": [1, 2.50]}", "null"]),
    ("jsonb", &["{\"a\": [1, 2.50]}", "\"x\""]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("inet", &["10.0.0.1/8", "::1"]),
    ("cidr", &["10.0.0.0/8"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("xml", &["<a/>"]),
    ("int4[]", &["{}", "{1,NULL,3}", "{{1,2},{3,4}}"]),
    ("text[]", &["{a,\"b c\",\"\",NULL,\"NULL\",\"{}\",\"a\\\\\\\"b\"}", "{{a,b},{c,d}}"]),
    ("bytea[]", &["{\"\\\\x0102ff\",\"\\\\xdeadbeef\"}", "{{\"\\\\x\"}}"]),
    ("numeric[]", &["{12345678901234567890.123,0.1}"]),
    ("real[]", &["{19.99,0.1}"]),
    ("bool[]", &["{t,f,NULL}"]),
    ("date[]", &["{2000-01-01,\"0044-03-15 BC\"}"]),
    ("timestamptz[]", &["{\"2026-01-01 00:00:00+00\"}"]),
    ("time[]", &["{12:00:00.5}"]),
    ("uuid[]", &["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
    ("jsonb[]", &["{\"{\\\"a\\\": 1}\",\"\\\"x\\\"\",\"[1]\",NULL}"]),
    ("interval[]", &["{\"1 day\"}"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn every_type_arrives_in_a_column_of_its_own_type() {
    let names: Vec<String> = (0..TYPES.len()).map(|n| format!("c{n}")).collect();
    let columns =
        names.iter().zip(TYPES).map(|(name, (kind, _))| format!("{name} {kind}")).collect::<Vec<_>>().join(", ");
    let mut setup =
        format!("create table src (id int primary key, {columns}); create table dst (like src including all);");
    let rows = TYPES.iter().map(|(_, values)| values.len()).max().unwrap();
    for row in 0..rows {
        let cell = |(kind, values): &(&str, &[&str])| {
            values.get(row).map_or("null".into(), |v| format!("'{}'::{kind}", v.replace('\'', "''")))
        };
        setup += &format!("insert into src values ({row}, {});", TYPES.iter().map(cell).collect::<Vec<_>>().join(", "));
    }
    let (db, project) = project(&setup, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    landed(&project.run().await, rows as u64);
    for (name, (kind, _)) in names.iter().zip(TYPES) {
        let of = |table: &str| format!("select {name}::text from {table} order by id");
        assert_eq!(texts(&db, &of("src")).await, texts(&db, &of("dst")).await, "{kind}");
    }
    assert_eq!(project.run().await.tally.requests, 0);
    // And again over rows that are there.
    db.client.batch_execute("update src set c1 = 1").await.unwrap();
    landed(&project.run().await, rows as u64);
    for name in &names {
        let of = |table: &str| format!("select {name}::text from {table} order by id");
        assert_eq!(texts(&db, &of("src")).await, texts(&db, &of("dst")).await, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn what_a_column_would_round_or_cut_is_refused_by_record() {
    for (from, to, kept, lost) in [
        ("timestamp", "timestamp(0)", "2026-12-31 23:59:59", "2026-12-31 23:59:59.7"),
        ("timestamptz", "timestamptz(3)", "2026-12-31 23:59:59.123+00", "2026-12-31 23:59:59.1234+00"),
        ("time", "time(0)", "12:00:00", "23:59:59.9"),
        ("interval", "interval(0)", "1 day", "00:00:00.5"),
        ("numeric", "numeric(4,-3)", "12000", "12345"),
        ("numeric", "money", "12.34", "12.345"),
        ("text", "\"char\"", "a", "abc"),
        ("text", "name", "short", "1234567890123456789012345678901234567890123456789012345678901234"),
        ("int4", "real", "16777216", "16777217"),
        ("float8", "real", "0.5", "0.30000000000000004"),
        ("numeric[]", "numeric(4,1)[]", "{1.5}", "{1.25}"),
        ("timestamp[]", "timestamp(0)[]", "{\"2026-01-01 00:00:00\"}", "{\"2026-01-01 00:00:00.5\"}"),
    ] {
        let setup = format!(
            "create table src (id int primary key, v {from}); create table dst (id int primary key, v {to});
             insert into src values (1, '{kept}'), (2, '{lost}'), (3, '{kept}'), (4, null)"
        );
        let (db, project) = project(&setup, &["v"]).await;
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.accepted(), run.tally.rejected),
            (Status::Partial, 3, 1),
            "{from} {to}: {run:#?}"
        );
        let reason = &run.tally.reasons["value_too_wide"];
        assert!(
            reason.key == "2" && reason.detail.contains("`v`") && reason.detail.contains("round it in the model"),
            "{reason:?}"
        );
        assert_eq!(texts(&db, "select id::text from dst order by id").await, ["1", "3", "4"], "{from} {to}");
        assert_eq!(run.tally.read_back.landed, 3, "{from} {to}: {:?}", run.tally.read_back);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn a_unique_value_moves_and_is_swapped() {
    let (db, mut project) = project(
        "create table src (id int primary key, email text, n int); create table dst (id int primary key, email text unique, n int);
         insert into src values (1, 'a', 0), (2, 'b', 0), (3, 'c', 0), (4, 'd', 0), (5, 'e', 0)",
        &["email", "n"],
    )
    .await;
    project.sync()["mode"] = json!("mirror");
    project.sync()["guards"] = json!({ "max_delete_percent": null, "max_change_percent": null });
    landed(&project.run().await, 5);
    let pairs = async || texts(&db, "select id || email from dst order by id").await;
    // A chain, a swap, a ring, and the value of a record that goes.
    for (change, expected) in [
        (
            "update src set email = case id when 1 then 'b' when 2 then 'x' else email end",
            ["1b", "2x", "3c", "4d", "5e"].as_slice(),
        ),
        (
            "update src set email = case id when 3 then 'd' when 4 then 'c' else email end",
            &["1b", "2x", "3d", "4c", "5e"],
        ),
        (
            "update src set email = case id when 1 then 'x' when 2 then 'e' when 5 then 'b' else email end",
            &["1x", "2e", "3d", "4c", "5b"],
        ),
        ("delete from src where id = 5; update src set email = 'b' where id = 1", &["1b", "2e", "3d", "4c"]),
        ("delete from src where id = 4; insert into src values (6, 'c', 0)", &["1b", "2e", "3d", "6c"]),
    ] {
        db.client.batch_execute(change).await.unwrap();
        let run = project.run().await;
        assert_eq!(
            (run.status, run.tally.rejected, run.tally.exhausted),
            (Status::Complete, 0, 0),
            "{change}: {:?}",
            run.tally
        );
        assert_eq!(pairs().await, expected, "{change}");
    }
    // What nobody gives up is refused, and the others arrive.
    db.client
        .batch_execute("insert into dst values (100, 'taken', 0); update src set email = 'taken' where id = 1; update src set n = 1 where id = 2")
        .await
        .unwrap();
    let run = project.run().await;
    assert_eq!((run.status, run.tally.rejected, run.tally.updated), (Status::Partial, 1, 1), "{:?}", run.tally);
    assert!(run.tally.reasons.contains_key("unique_violation"), "{:?}", run.tally.reasons);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn columns_that_nobody_maps_and_triggers_harm_no_sync() {
    let (db, mut project) = project(
        "create table src (id text primary key, v text, w tsvector, m money);
         create table dst (id text primary key, v text);
         create function low() returns trigger language plpgsql as $$ begin new.id := lower(new.id); return new; end $$;
         create trigger low before insert on dst for each row execute function low();
         insert into src values ('a', 'x', 'x', 5), ('B', 'y', 'y', 1234.5)",
        &["v"],
    )
    .await;
    let run = project.run().await;
    assert_eq!(
        (run.status, run.tally.accepted(), run.tally.rejected, run.tally.requests),
        (Status::Partial, 1, 1, 1),
        "{run:#?}"
    );
    let reason = &run.tally.reasons["changed_by_trigger"];
    assert!(reason.key == "B" && reason.detail.contains("trigger"), "{reason:?}");
    // Mapped, it is told with a cast that works.
    project.sync()["mapping"].as_array_mut().unwrap().push(json!({ "from": "m", "to": "v2" }));
    project.sluice(&["check", "crm"]).said(1, &["type money, which cannot be read", "m::numeric"]);
    db.client.batch_execute("drop trigger low on dst; alter table dst add v2 numeric(10,2)").await.unwrap();
    project.sync()["model"]["sql"] = json!("select id, v, w, m::numeric from src");
    let run = project.run().await;
    assert_eq!(texts(&db, "select v2::text from dst where id = 'a'").await, ["5.00"], "{run:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: ./tests/run"]
async fn identifiers_are_what_their_column_takes_them_for() {
    for (to, one, two, other) in [
        ("int", "7", "007", "8"),
        ("numeric", "7.0", "7", "8"),
        ("char(5)", "a", "a ", "b"),
        (
            "uuid",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("text collate blind", "Ada", "ada", "bob"),
    ] {
        let setup = format!(
            "create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             create table src (id text primary key, v text); create table dst (id {to} primary key, v text);
             insert into src values ('{one}', 'one'), ('{other}', 'other')"
        );
        let (db, mut project) = project(&setup, &["v"]).await;
        project.sync()["mode"] = json!("mirror");
        project.sync()["guards"] = json!({ "max_delete_percent": null, "min_rows": null });
        project.sync()["destination"]["options"] = json!({ "batch_size": 1 });
        assert_eq!(project.run().await.tally.accepted(), 2, "{to}");
        // Spelt anew: nothing is deleted.
        db.client.batch_execute(&format!("update src set id = '{two}', v = 'two' where v = 'one'")).await.unwrap();
        let run = project.run().await;
        assert_eq!((run.status, run.tally.deleted, run.counts.respelt), (Status::Complete, 0, 1), "{to}: {run:#?}");
        assert_eq!(texts(&db, "select v from dst order by v").await, ["other", "two"], "{to}");
        // Both spellings at once: one verdict, whatever the batches.
        db.client.batch_execute(&format!("insert into src values ('{one}', 'one')")).await.unwrap();
        let run = project.run().await;
        assert_eq!((run.counts.invalid, run.tally.deleted), (2, 0), "{to}: {run:#?}");
        assert_eq!(texts(&db, "select v from dst order by v").await, ["other", "two"], "{to}");
    }
}
