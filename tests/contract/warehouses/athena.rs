//! Athena, on its double and that of S3: the fixture of the contract.

use domain::value::Value;
use doubles::athena::{AthenaDouble, AthenaWorkgroup};
use doubles::s3::{S3Buckets, S3Double};
use doubles::sql::SqlValue;
use serde_json::{Value as Json, json};

use super::{Fixture, Keep, TOKEN};

pub const NUMBERS: &str = "with recursive s(n) as (select 1 where {} > 0 union all select n + 1 from s where n < {}) select n, 'row ' || n as t from s";

/// Both doubles.
pub struct AthenaRig {
    pub athena: AthenaDouble,
    pub s3: S3Double,
}

pub fn rig() -> AthenaRig {
    let mut buckets = S3Buckets::new(&["results", "enforced"]);
    buckets.secret_key = TOKEN.into();
    let s3 = S3Double::start(buckets).unwrap();
    let mut workgroup = AthenaWorkgroup::new("analytics", s3.buckets().clone()).unwrap();
    workgroup.secret_key = TOKEN.into();
    // The pauses between polls are real ones.
    workgroup.polls = 0;
    workgroup.database.table("kept", &[("a", "bigint(18)")], vec![vec![SqlValue::Int(1)]]).unwrap();
    AthenaRig { athena: AthenaDouble::start(workgroup).unwrap(), s3 }
}

pub fn config(rig: &AthenaRig) -> Json {
    json!({ "workgroup": "analytics", "database": "marts", "region": "eu-west-1", "output": "s3://results/sync",
        "url": rig.athena.url(), "s3_url": rig.s3.url(), "allow_private": true, "retry_pause": "1ms",
        "credentials": { "access_key_id": "AKIDEXAMPLE", "secret_access_key": "${env:TOKEN}" } })
}

pub fn fixture() -> Fixture {
    let rig = rig();
    // The listener is dropped at once, so that nobody answers at its port.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut nowhere = config(&rig);
    nowhere["url"] = json!(format!("http://127.0.0.1:{port}"));
    Fixture {
        name: "athena",
        config: config(&rig),
        nowhere: (nowhere, "127.0.0.1".into()),
        literals: vec![
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("9223372036854775807", Value::Int(i64::MAX)),
            (
                "cast('-12345678901234567890123456789012345.678' as decimal(38,3))",
                Value::Decimal(super::fixtures::DECIMAL_38),
            ),
            ("cast('100000000' as decimal(20,4))", Value::Decimal("100000000")),
            ("cast('0.1' as double)", Value::Float(0.1)),
            ("cast('nan' as double)", Value::Unreadable("not a number (NaN)")),
            ("cast('-infinity' as double)", Value::Unreadable("an infinite number")),
            ("''", Value::Text("")),
            ("'Zoë 🌊 '' \\'", Value::Text("Zoë 🌊 ' \\")),
            ("to_binary('00ff', 'hex')", Value::Bytes(&[0, 255])),
            ("date '2024-02-29'", Value::Date(19_782)),
            ("date '0001-01-01'", Value::Date(-719_162)),
            ("time '12:34:56.000007'", Value::Time(45_296_000_007)),
            ("timestamp '2024-02-29 12:34:56'", Value::DateTime(1_709_210_096_000_000)),
            ("timestamp '2024-02-29 12:34:56.000007'", Value::DateTime(1_709_210_096_000_007)),
            ("timestamp '9999-12-31 23:59:59.999'", Value::DateTime(253_402_300_799_999_000)),
            ("timestamp '1969-12-31 23:59:59.999999 UTC'", Value::Timestamp(-1)),
            ("json '{\"a\":[1]}'", Value::Json("{\"a\":[1]}")),
            (
                "uuid '00000000-0000-0000-0000-0000000000ff'",
                Value::Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]),
            ),
        ],
        numbers: NUMBERS,
        fails_halfway: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 5000) select n, divided(1, n - 3000) as f from s",
        rows_before_failure: 0,
        capitals: false,
        tells_positions: true,
        endless: "with recursive s(n) as (select 1 union all select n + 1 from s where n < 200000) select n from s",
        kept: "kept",
        writes: &[
            "delete from kept",
            "insert into kept values (2)",
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
                "select 1 as n, date '1969-12-31' as c union all select 2, date '1970-01-01' union all select 3, date '1970-01-02' union all select 4, date '2026-01-01'",
                Value::Date(1),
            ),
            (
                "select 1 as n, timestamp '1969-12-31 00:00:00' as c union all select 2, timestamp '1970-01-01 00:00:00' union all select 3, timestamp '1970-01-01 00:00:00.000001' union all select 4, timestamp '2026-01-01 00:00:00'",
                Value::DateTime(1),
            ),
            (
                "select 1 as n, timestamp '1969-12-31 00:00:00 UTC' as c union all select 2, timestamp '1970-01-01 00:00:00 UTC' union all select 3, timestamp '1970-01-01 00:00:00.000001 UTC' union all select 4, timestamp '2026-01-01 00:00:00 UTC'",
                Value::Timestamp(1),
            ),
        ],
        keep: Keep::Athena(Box::new(rig)),
    }
}
