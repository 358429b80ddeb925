//! The sample warehouse: ten thousand customers, the same every time, with what real tables have: accents, emoji,
//! nulls, decimals, dates, nested JSON, and rows that cannot be delivered.

use std::path::Path;

use domain::fault::{Code, Fault};
use fastrand::Rng;
use rusqlite::{Connection, params};

use super::endpoint::BLOCKED_DOMAIN;

/// Rows of the table.
pub const ROWS: u64 = 10_000;
/// Rows that the demo changes.
pub const CHANGED: usize = 200;
/// Rows that the demo deletes.
pub const DELETED: usize = 20;
/// Rows whose email is none.
pub const BAD_EMAILS: [(i64, &str); 6] = [
    (42, "not an address"),
    (1_812, "zoë@"),
    (3_333, "@example.com"),
    (6_006, "two@signs@example.com"),
    (8_128, "n/a"),
    (9_001, "space in@example.com"),
];
/// Rows that the endpoint refuses.
pub const BLOCKED: [i64; 7] = [613, 1_024, 2_718, 3_142, 5_772, 7_777, 9_241];
/// This row has no key …
const NULL_KEY: i64 = 500;
/// … and this one has the key of the row before it.
const DUPLICATE_KEY: i64 = 7_000;
/// Rows that are not valid: the bad emails, the null key, and both rows of the duplicate key.
pub const INVALID: u64 = BAD_EMAILS.len() as u64 + 1 + 2;

const SEED: u64 = 20_260_102;
const FIRST_NAMES: [&str; 16] = [
    "Ada",
    "Zoë",
    "José",
    "Chloé",
    "Łukasz",
    "Søren",
    "Ngọc",
    "美咲",
    "Олег",
    "Amélie",
    "Jürgen",
    "Siân",
    "Fátima",
    "Noah 🚀",
    "李",
    "Renée",
];
const CITIES: [(&str, &str); 8] = [
    ("Zürich", "CH"),
    ("São Paulo", "BR"),
    ("Kraków", "PL"),
    ("東京", "JP"),
    ("London", "GB"),
    ("Malmö", "SE"),
    ("Đà Nẵng", "VN"),
    ("Québec", "CA"),
];
const TAGS: [&str; 6] = ["newsletter", "β-tester", "vip ⭐", "quote \" inside", "back\\slash", "trial"];

/// Makes the table and its rows. It has no unique constraint, as tables of a warehouse have none.
pub fn fill(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "create table customers (
           id integer, email text, first_name text, plan text, lifetime_value decimal(12, 2), signed_up date, profile json, loaded_at timestamp
         );",
    )?;
    let mut rng = Rng::with_seed(SEED);
    {
        let mut insert =
            transaction.prepare("insert into customers values (?1, ?2, ?3, ?4, ?5, ?6, ?7, '2026-01-01T02:00:00Z')")?;
        for number in 1..=ROWS as i64 {
            let id = match number {
                NULL_KEY => None,
                DUPLICATE_KEY => Some(number - 1),
                _ => Some(number),
            };
            let first_name = (rng.u8(..10) > 0).then(|| FIRST_NAMES[rng.usize(..FIRST_NAMES.len())]);
            let plan = ["Free", "Free", "Pro", "Team"][rng.usize(..4)];
            let value = (rng.u8(..20) > 0).then(|| f64::from(rng.u32(..5_000_000)) / 100.0);
            let signed_up = format!("{}-{:02}-{:02}", rng.u16(2015..2026), rng.u8(1..=12), rng.u8(1..=28));
            insert.execute(params![
                id,
                email(number, &mut rng),
                first_name,
                plan,
                value,
                signed_up,
                profile(&mut rng)
            ])?;
        }
    }
    transaction.commit()
}

fn email(number: i64, rng: &mut Rng) -> Option<String> {
    if let Some((_, bad)) = BAD_EMAILS.iter().find(|(row, _)| *row == number) {
        return Some((*bad).to_owned());
    }
    if BLOCKED.contains(&number) {
        return Some(format!("customer.{number}@{BLOCKED_DOMAIN}"));
    }
    match rng.u8(..50) {
        0 => None,
        // As people type it.
        1..=5 => Some(format!(" Customer.{number}@Example.com ")),
        _ => Some(format!("customer.{number}@example.com")),
    }
}

fn profile(rng: &mut Rng) -> String {
    let (city, country) = CITIES[rng.usize(..CITIES.len())];
    let tags: Vec<&str> = (0..rng.usize(..3)).map(|_| TAGS[rng.usize(..TAGS.len())]).collect();
    let logins = rng.u32(..500);
    serde_json::json!({ "address": { "city": city, "country": country }, "tags": tags, "usage": { "logins": logins, "trial": rng.bool() } }).to_string()
}

/// What happens overnight: some customers change, some are deleted, the row without a key goes, and every row is loaded
/// anew. Gives the keys of the deleted.
pub fn change(warehouse: &Path) -> Result<Vec<i64>, Fault> {
    let mut rng = Rng::with_seed(SEED + 1);
    let bad = |row: &i64| BAD_EMAILS.iter().any(|(bad, _)| bad == row) || BLOCKED.contains(row);
    let mut rows: Vec<i64> = (1..=ROWS as i64)
        .filter(|row| !bad(row) && ![NULL_KEY, DUPLICATE_KEY, DUPLICATE_KEY - 1].contains(row))
        .collect();
    rng.shuffle(&mut rows);
    let (changed, rest) = rows.split_at(CHANGED);
    let deleted = rest[..DELETED].to_vec();
    let work = |connection: &mut Connection| {
        let transaction = connection.transaction()?;
        transaction.execute("update customers set loaded_at = '2026-01-02T02:00:00Z'", [])?;
        for id in changed {
            let upgrade =
                "update customers set plan = case plan when 'Free' then 'Pro' when 'Pro' then 'Team' else 'Free' end,
                             lifetime_value = round(coalesce(lifetime_value, 0) + 10.25, 2) where id = ?1";
            transaction.execute(upgrade, [id])?;
        }
        // As long as a row has no key, nobody can tell which record it is, and nothing is deleted.
        transaction.execute("delete from customers where id is null", [])?;
        for id in &deleted {
            transaction.execute("delete from customers where id = ?1", [id])?;
        }
        transaction.commit()
    };
    at(warehouse, work)?;
    Ok(deleted)
}

/// What must not happen overnight: the table is empty. Its rows stay in `customers_before`.
pub fn empty(warehouse: &Path) -> Result<(), Fault> {
    at(warehouse, |connection| {
        connection.execute_batch(
            "begin; create table customers_before as select * from customers; delete from customers; commit;",
        )
    })
}

fn at<T>(warehouse: &Path, work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, Fault> {
    let done = Connection::open(warehouse).and_then(|mut connection| work(&mut connection));
    done.map_err(|e| {
        Fault::new(Code::Internal, format!("The demo's warehouse {} cannot be changed: {e}.", warehouse.display()))
    })
}
