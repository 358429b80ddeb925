//! Whether a model is nothing but columns of one relation: then what the relation's version says holds for the model.
//!
//! Careful rather than complete: what is not understood is no relation. A column that is computed, a condition, a word
//! such as `current_date` may give other rows tomorrow, although the relation is the same.

use crate::sql::{Dialect, is_blank, skip};

/// A part of a relation's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePart {
    pub(crate) name: String,
    /// It is quoted: its case counts.
    pub(crate) quoted: bool,
}

/// The name of the only relation that `model` (one statement) reads whole; `None` where there is more to it.
pub(crate) fn only_relation(model: &str, dialect: Dialect) -> Option<Vec<NamePart>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < model.len() {
        let next = skip(model, at, dialect);
        let piece = &model[at..next];
        if !is_blank(piece, dialect) {
            pieces.push(piece);
        }
        at = next;
    }
    let is = |piece: &str, word: &str| piece.eq_ignore_ascii_case(word);
    if !is(pieces.first()?, "select") {
        return None;
    }
    let from = pieces.iter().position(|piece| is(piece, "from"))?;
    if from == 1 || !pieces[1..from].iter().all(|piece| is_list_piece(piece, dialect)) {
        return None;
    }
    let (name, rest) = path(&pieces[from + 1..], dialect)?;
    let alias = match rest {
        [] => true,
        [word, alias] => is(word, "as") && part(alias, dialect).is_some(),
        [alias] => part(alias, dialect).is_some(),
        _ => false,
    };
    alias.then_some(name)
}

/// `*`, `,`, `.`, `as`, or a column that is stored and not the time or the user.
fn is_list_piece(piece: &str, dialect: Dialect) -> bool {
    if matches!(piece, "*" | "," | ".") {
        return true;
    }
    let Some(part) = part(piece, dialect) else { return false };
    let word = part.name.to_ascii_lowercase();
    let volatile = ["current_", "local", "session_", "system_", "sys", "user", "now", "rand", "rownum", "sample"];
    part.quoted || !volatile.iter().any(|begin| word.starts_with(begin)) && word != "distinct" && word != "top"
}

/// A name, quoted or not; `None` for anything else.
fn part(piece: &str, dialect: Dialect) -> Option<NamePart> {
    let first = piece.chars().next()?;
    let mark = match dialect {
        Dialect::BigQuery | Dialect::Databricks | Dialect::Mysql => '`',
        Dialect::Athena | Dialect::Postgres | Dialect::Sqlite | Dialect::Snowflake => '"',
    };
    if first == mark {
        let inner = piece.strip_prefix(mark)?.strip_suffix(mark)?;
        let name = inner.replace(&mark.to_string().repeat(2), &mark.to_string());
        return (!name.is_empty()).then_some(NamePart { name, quoted: true });
    }
    let plain =
        (first.is_alphabetic() || first == '_') && piece.chars().all(|c| c.is_alphanumeric() || "_$".contains(c));
    plain.then(|| NamePart { name: piece.to_owned(), quoted: false })
}

/// The name at the beginning of `pieces`, and what follows it.
fn path<'p, 's>(pieces: &'p [&'s str], dialect: Dialect) -> Option<(Vec<NamePart>, &'p [&'s str])> {
    let mut parts = vec![part(pieces.first()?, dialect)?];
    let mut at = 1;
    while pieces.get(at) == Some(&".") {
        parts.push(part(pieces.get(at + 1)?, dialect)?);
        at += 2;
    }
    if dialect == Dialect::BigQuery {
        // One pair of marks may be around all of the name.
        let split = |part: NamePart| {
            let names: Vec<String> = part.name.split('.').map(str::to_owned).collect();
            names.into_iter().map(move |name| NamePart { name, quoted: part.quoted })
        };
        parts = parts.into_iter().flat_map(split).collect();
        if parts.iter().any(|part| part.name.is_empty() || part.name.contains(['*', '@', '$'])) {
            return None;
        }
    }
    (parts.len() <= 3).then(|| (parts, &pieces[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(model: &str, dialect: Dialect) -> Option<String> {
        let parts = only_relation(model, dialect)?;
        Some(
            parts
                .iter()
                .map(|p| if p.quoted { format!("[{}]", p.name) } else { p.name.clone() })
                .collect::<Vec<_>>()
                .join("."),
        )
    }

    #[test]
    fn columns_of_one_relation_are_recognised() {
        use Dialect::{BigQuery, Databricks, Snowflake};
        for (model, dialect, expected) in [
            ("select * from t", Snowflake, "t"),
            (
                "-- all of them\nSELECT id, \"Full Name\" as name, c.email FROM analytics.\"Marts\".contacts AS c",
                Snowflake,
                "analytics.[Marts].contacts",
            ),
            ("select id, email from t x", Snowflake, "t"),
            ("select `order` from `acme-1.marts.contacts`", BigQuery, "[acme-1].[marts].[contacts]"),
            ("select id from `acme-1`.marts.contacts", BigQuery, "[acme-1].marts.contacts"),
            ("select id from main.marts.contacts", Databricks, "main.marts.contacts"),
        ] {
            assert_eq!(names(model, dialect).as_deref(), Some(expected), "{model}");
        }
    }

    #[test]
    fn what_may_change_by_itself_is_no_relation() {
        for model in [
            "select id, current_timestamp as at from t",
            "select id, Current_Date from t",
            "select id, user from t",
            "select id, now() from t",
            "select id from t where day = current_date",
            "select id from t limit 10",
            "select id from t tablesample (10)",
            "select id from t join u using (id)",
            "select id from t, u",
            "select id from t cross join u",
            "select id from (select * from t)",
            "select id + 1 from t",
            "select 'x' from t",
            "select distinct id from t",
            "select id from table(generator(rowcount => 3))",
            "select id from t at(offset => -60)",
            "with t as (select 1 as id) select id from t",
            "values (1)",
            "select from t",
            "select id from a.b.c.d",
            "select id from t union select id from u",
        ] {
            assert_eq!(names(model, Dialect::Snowflake), None, "{model}");
        }
        for model in
            ["select id from `events_*`", "select id from `t$20260101`", "select id from t for system_time as of x"]
        {
            assert_eq!(names(model, Dialect::BigQuery), None, "{model}");
        }
    }
}
