//! The same facts in the SQL of the databases that are their own servers.

use domain::value::Value;
use serde_json::json;

use super::{Fixture, INFINITY, Keep};

pub const DECIMAL_38: &str = "-12345678901234567890123456789012345.678";

pub fn sqlite() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    rusqlite::Connection::open(folder.path().join("test.db"))
        .unwrap()
        .execute_batch("create table kept (a); insert into kept values (1)")
        .unwrap();
    Fixture {
        name: "sqlite",
        config: json!({ "path": "test.db" }),
        nowhere: (json!({ "path": "none.db" }), "/nowhere/none.db".into()),
        literals: vec![
            ("null", Value::Null),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("-9223372036854775807 - 1", Value::Int(i64::MIN)),
            ("true", Value::Int(1)),
            ("-0.1", Value::Float(-0.1)),
            ("9e999", Value::Unreadable("an infinite number")),
            ("''", Value::Text("")),
            ("'Zoë 🌊'", Value::Text("Zoë 🌊")),
            ("cast(x'ff41' as text)", Value::Unreadable("text that is not UTF-8")),
            ("x'00ff'", Value::Bytes(&[0, 255])),
            ("date(0, 'unixepoch')", Value::Text("1970-01-01")),
            ("json_array(1, null)", Value::Text("[1,null]")),
        ],
        numbers: "with recursive s(n) as (select 1 where {} > 0 union all select n + 1 from s where n < {}) select n, 'row ' || n as t from s",
        fails_halfway: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 5000) \
                        select n, abs(case when n = 3000 then -9223372036854775807 - 1 else n end) as f from s",
        endless: "with recursive s(n) as (select 1 union all select n + 1 from s) select n from s, kept",
        rows_before_failure: 2999,
        capitals: false,
        tells_positions: true,
        kept: "kept",
        writes: &[
            "delete from kept returning a",
            "insert into kept values (2) returning a",
            "with x as (select 1) insert into kept select 2 from x",
        ],
        cursors: vec![
            (
                "select 1 as n, 10 as c union all select 2, 20 union all select 3, 30 union all select 4, 40",
                Value::Int(30),
            ),
            (
                "select 1 as n, 'a' as c union all select 2, 'b' union all select 3, 'c''d' union all select 4, 'é'",
                Value::Text("c'd"),
            ),
            (
                "select 1 as n, '1969-12-31' as c union all select 2, '1970-01-01' union all select 3, '1970-01-02' union all select 4, '2026-01-01'",
                Value::Date(1),
            ),
        ],
        keep: Keep::Sqlite(folder),
    }
}

pub async fn postgres() -> Fixture {
    let database = support::postgres::database().await;
    let setup = "create table kept (a int); insert into kept values (1); create type tier as enum ('low', 'high'); create domain email as text";
    database.client.batch_execute(setup).await.unwrap();
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Fixture {
        name: "postgres",
        config: database.connection_config(),
        nowhere: (json!({ "port": port, "user": "u", "database": "d", "tls": "disable" }), format!("127.0.0.1:{port}")),
        literals: vec![
            ("null::int", Value::Null),
            ("true", Value::Bool(true)),
            ("'32767'::int2", Value::Int(32_767)),
            ("'-2147483648'::int4", Value::Int(-2_147_483_648)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            ("'-9223372036854775808'::int8", Value::Int(i64::MIN)),
            ("'-12345678901234567890123456789012345.67800'::numeric", Value::Decimal(DECIMAL_38)),
            ("0.00000000000000000000000000000000000001", Value::Decimal("0.00000000000000000000000000000000000001")),
            ("100000000::numeric(20, 4)", Value::Decimal("100000000")),
            ("0.0::numeric", Value::Decimal("0")),
            ("'NaN'::numeric", Value::Unreadable("not a number (NaN)")),
            ("0.1::float8", Value::Float(0.1)),
            ("'-0.5'::float4", Value::Float(-0.5)),
            ("'infinity'::float8", Value::Unreadable(INFINITY)),
            ("''", Value::Text("")),
            ("'Zoë 🌊'::varchar(20)", Value::Text("Zoë 🌊")),
            ("'ab'::char(3)", Value::Text("ab ")),
            ("'high'::tier", Value::Text("high")),
            ("'a@b.example'::email", Value::Text("a@b.example")),
            ("'\\x00ff'::bytea", Value::Bytes(&[0, 255])),
            ("'2024-02-29'::date", Value::Date(19_782)),
            ("'0044-03-15 BC'::date", Value::Date(-735_160)),
            ("'12:34:56.000007'::time", Value::Time(45_296_000_007)),
            ("'12:34:56+02'::timetz", Value::Text("12:34:56+02:00")),
            ("'2024-02-29 12:34:56.000007'::timestamp", Value::DateTime(1_709_210_096_000_007)),
            ("'1969-12-31 23:59:59.999999+00'::timestamptz", Value::Timestamp(-1)),
            ("'infinity'::timestamptz", Value::Unreadable(INFINITY)),
            ("'1 year 2 mons 3 days 04:05:06.5'::interval", Value::Text("P1Y2M3DT4H5M6.5S")),
            ("'{\"a\": 1.0}'::json", Value::Json("{\"a\": 1.0}")),
            ("'{\"a\":[1]}'::jsonb", Value::Json("{\"a\": [1]}")),
            ("'{{1,null},{3,4}}'::int[]", Value::Json("[[1,null],[3,4]]")),
            ("array['é\"', '']", Value::Json("[\"é\\\"\",\"\"]")),
            ("array[1.50, 2]::numeric[]", Value::Json("[1.5,2]")),
            ("array['low']::tier[]", Value::Json("[\"low\"]")),
            (
                "'00000000-0000-0000-0000-0000000000ff'::uuid",
                Value::Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]),
            ),
            ("'2001:db8::1'::inet", Value::Text("2001:db8::1")),
            ("'192.0.2.0/24'::cidr", Value::Text("192.0.2.0/24")),
            ("'08:00:2b:01:02:03'::macaddr", Value::Text("08:00:2b:01:02:03")),
        ],
        numbers: "select n, 'row ' || n as t from generate_series(1, {}) as n",
        fails_halfway: "select n, 1 / (n - 3000) as f from generate_series(1, 5000) as n",
        endless: "select generate_series(1, 1000000000000) as n",
        rows_before_failure: 2999,
        capitals: false,
        tells_positions: true,
        kept: "kept",
        writes: &[
            "delete from kept returning a",
            "insert into kept values (2) returning a",
            "with x as (delete from kept returning a) select a from x",
            "select a into other from kept",
        ],
        cursors: vec![
            ("select * from (values (1, 10), (2, 20), (3, 30), (4, 40)) as v(n, c)", Value::Int(30)),
            ("select * from (values (1, 'a'), (2, 'b'), (3, 'c''d'), (4, 'd')) as v(n, c)", Value::Text("c'd")),
            (
                "select * from (values (1, date '1969-12-31'), (2, '1970-01-01'), (3, '1970-01-02'), (4, '2026-01-01')) as v(n, c)",
                Value::Date(1),
            ),
            (
                "select * from (values (1, timestamp '1969-12-31'), (2, '1970-01-01'), (3, '1970-01-01 00:00:00.000001'), (4, '2026-01-01')) as v(n, c)",
                Value::DateTime(1),
            ),
            (
                "select * from (values (1, timestamptz '1969-12-31'), (2, '1970-01-01 00:00Z'), (3, '1970-01-01 00:00:00.000001Z'), (4, '2026-01-01')) as v(n, c)",
                Value::Timestamp(1),
            ),
        ],
        keep: Keep::Postgres(Box::new(database)),
    }
}
