//! A model's SQL as text: that it is one reading statement, where it ends, and how a condition is put around it.
//!
//! Not a parser: it knows quotes and comments, and leaves everything else to the warehouse.

use domain::finding::Finding;
use domain::row::Column;

/// What goes after a model that something is put around. The line break ends a comment in the model's last line.
const CLOSE: &str = "\n) as model ";

/// What may follow the queries of WITH and writes.
const WRITES: [&str; 5] = ["insert", "update", "delete", "merge", "replace"];

/// Whose quotes and comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// PostgreSQL: `E'\''`, `$tag$…$tag$`, nested comments.
    Postgres,
    /// Athena (Trino): no escapes but the doubled quote.
    Athena,
    /// BigQuery: texts in `'…'`, `"…"` and three of either, `` `name` ``, `#` comments.
    BigQuery,
    /// Databricks: texts in `'…'` and `"…"`, `` `name` ``.
    Databricks,
    /// MySQL and MariaDB: texts in `'…'` and `"…"`, `` `name` ``, `#` comments.
    Mysql,
    /// SQLite: `` `name` ``, `[name]`.
    Sqlite,
    /// Snowflake: `'\''`, `$$…$$`, `//` comments.
    Snowflake,
}

/// SQL to be sent, and how much of it comes before the person's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) before: usize,
}

pub(crate) fn plain(model: &str) -> Statement {
    Statement { text: model.to_owned(), before: 0 }
}

/// The model with a condition around it.
pub(crate) fn filtered(model: &str, condition: &str) -> Statement {
    around(model, &format!("where {condition}"))
}

/// The model as the only relation of a statement that ends with `clause`.
pub(crate) fn around(model: &str, clause: &str) -> Statement {
    choosing("*", model, clause)
}

/// The model as the only relation of a statement that selects `list` of it and ends with `clause`.
pub(crate) fn choosing(list: &str, model: &str, clause: &str) -> Statement {
    let open = format!("select {list} from (\n");
    Statement { before: open.len(), text: format!("{open}{model}{CLOSE}{clause}") }
}

impl Statement {
    /// The same between other texts.
    pub(crate) fn within(&self, open: &str, close: &str) -> Self {
        Self { text: format!("{open}{}{close}", self.text), before: open.len() + self.before }
    }
}

/// The condition that the key columns, as text, are one of `keys`. `text` casts a quoted column to text, `quote` makes a
/// literal.
pub(crate) fn any_key(
    columns: &[String],
    keys: &[Vec<String>],
    text: impl Fn(&str) -> String,
    mut quote: impl FnMut(&str) -> String,
) -> String {
    let cast: Vec<_> = columns.iter().map(|column| text(column)).collect();
    let mut row = |key: &Vec<String>| key.iter().map(|part| quote(part)).collect::<Vec<_>>().join(", ");
    match (&cast[..], keys) {
        (_, []) | ([], _) => "1 = 0".into(),
        ([cast], _) => format!("{cast} in ({})", keys.iter().map(row).collect::<Vec<_>>().join(", ")),
        (_, [key]) => {
            let parts = cast.iter().zip(key).map(|(cast, part)| format!("{cast} = {}", quote(part)));
            parts.collect::<Vec<_>>().join(" and ")
        }
        _ => {
            let rows: Vec<_> = keys.iter().map(|key| format!("({})", row(key))).collect();
            format!("({}) in (values {})", cast.join(", "), rows.join(", "))
        }
    }
}

pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The model without what follows its only statement. The error is a sentence.
pub(crate) fn one_statement(sql: &str, dialect: Dialect) -> Result<&str, String> {
    let mut first_word = None;
    let mut end = None;
    let mut at = 0;
    // Within brackets, and whether the piece before closed the outermost ones: after the queries of WITH.
    let (mut depth, mut closed) = (0usize, false);
    while at < sql.len() {
        let next = skip(sql, at, dialect);
        let piece = &sql[at..next];
        let blank = is_blank(piece, dialect);
        if piece == ";" {
            end = end.or(Some(at));
        } else if !blank {
            if end.is_some() {
                return Err("a model is one statement, and this SQL goes on after the `;`.".into());
            }
            first_word = first_word.or(Some(piece));
            if depth == 0 && dialect == Dialect::Mysql && piece.eq_ignore_ascii_case("into") {
                return Err("a model can only read, and this SQL writes with INTO.".into());
            }
            if closed && WRITES.iter().any(|word| piece.eq_ignore_ascii_case(word)) {
                return Err(format!("a model can only read, and this SQL has {}.", piece.to_uppercase()));
            }
            match piece {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            closed = piece == ")" && depth == 0;
        }
        at = next;
    }
    match first_word.map(str::to_lowercase).as_deref() {
        None => Err("the model's SQL is empty.".into()),
        Some("select" | "with" | "values" | "table" | "(") => Ok(&sql[..end.unwrap_or(sql.len())]),
        Some(_) => Err("a model is a query: it begins with SELECT, WITH, VALUES or TABLE.".into()),
    }
}

/// True for a comment and for white space.
pub(crate) fn is_blank(piece: &str, dialect: Dialect) -> bool {
    piece.starts_with("--")
        || piece.starts_with("//")
        || (piece.starts_with('#') && matches!(dialect, Dialect::BigQuery | Dialect::Mysql))
        || piece.starts_with("/*")
        || piece.chars().all(char::is_whitespace)
}

/// End of the piece that begins at `at`: a comment, a quoted text, a word or a single character.
pub(crate) fn skip(sql: &str, at: usize, dialect: Dialect) -> usize {
    let rest = &sql[at..];
    let first = rest.chars().next().unwrap_or(' ');
    let len = match first {
        '-' if rest.starts_with("--") => rest.find('\n').map(|i| i + 1),
        '/' if rest.starts_with("//") && dialect == Dialect::Snowflake => rest.find('\n').map(|i| i + 1),
        '/' if rest.starts_with("/*") => comment(rest, dialect),
        '#' if matches!(dialect, Dialect::BigQuery | Dialect::Mysql) => rest.find('\n').map(|i| i + 1),
        '\'' | '"' if dialect == Dialect::BigQuery && rest.starts_with(&first.to_string().repeat(3)) => {
            let mark = &rest[..3];
            rest[3..].find(mark).map(|i| i + 6)
        }
        '"' if matches!(dialect, Dialect::BigQuery | Dialect::Databricks | Dialect::Mysql) => quoted(rest, first, true),
        '\'' => quoted(rest, first, !matches!(dialect, Dialect::Athena | Dialect::Postgres | Dialect::Sqlite)),
        '"' => quoted(rest, first, false),
        '`' if !matches!(dialect, Dialect::Athena | Dialect::Postgres | Dialect::Snowflake) => quoted(rest, '`', false),
        '[' if dialect == Dialect::Sqlite => rest.find(']').map(|i| i + 1),
        'e' | 'E' if dialect == Dialect::Postgres && rest[1..].starts_with('\'') => {
            quoted(&rest[1..], '\'', true).map(|i| i + 1)
        }
        '$' if dialect == Dialect::Postgres => dollar(rest),
        '$' if dialect == Dialect::Snowflake && rest.starts_with("$$") => rest[2..].find("$$").map(|i| i + 4),
        c if word(c) => Some(rest.find(|c| !word(c)).unwrap_or(rest.len())),
        c => Some(c.len_utf8()),
    };
    // What is never closed goes to the end; the warehouse says so better.
    at + len.unwrap_or(rest.len())
}

fn word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn comment(rest: &str, dialect: Dialect) -> Option<usize> {
    if !matches!(dialect, Dialect::Postgres | Dialect::Databricks) {
        return rest[2..].find("*/").map(|i| i + 4);
    }
    let (mut depth, mut at) = (0, 0);
    let bytes = rest.as_bytes();
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" if depth == 1 => return Some(at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    None
}

/// A doubled quote inside is two pieces here, which makes no difference.
fn quoted(rest: &str, quote: char, backslash: bool) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if backslash => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// `$tag$…$tag$`, or a lone `$` of a parameter.
fn dollar(rest: &str) -> Option<usize> {
    let Some(end) = rest[1..].find(|c| !word(c)).map(|i| i + 1) else { return Some(1) };
    let tag = &rest[1..end];
    if !rest[end..].starts_with('$') || tag.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(1);
    }
    let mark = &rest[..=end];
    rest[mark.len()..].find(mark).map(|i| i + 2 * mark.len())
}

/// One finding for every name that more than one column has.
pub(crate) fn named_twice(columns: &[Column]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        let before = columns[..at].iter().filter(|c| c.name == column.name).count();
        if before == 1 {
            let fix = format!("give each its own name with `as`, such as `… as {}_2`", column.name);
            findings.push(Finding::error("model", format!("more than one column is named `{}`", column.name), fix));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::value::Type;

    #[test]
    fn one_statement_is_found_whatever_is_quoted() {
        use Dialect::{Postgres, Sqlite};
        for (sql, dialect, model) in [
            ("select 1", Sqlite, "select 1"),
            ("select 1 ; \n-- done;\n", Sqlite, "select 1 "),
            (
                "-- first\n/* ; */ WITH a as (select ';') select * from a;",
                Sqlite,
                "-- first\n/* ; */ WITH a as (select ';') select * from a",
            ),
            ("select 'it''s;' -- end", Sqlite, "select 'it''s;' -- end"),
            ("select [a;b], `c;d`, \"e;f\" from t;;", Sqlite, "select [a;b], `c;d`, \"e;f\" from t"),
            ("select E'\\';', $$;$$, $x$;$$;$x$ from t;", Postgres, "select E'\\';', $$;$$, $x$;$$;$x$ from t"),
            ("(select 1) union (select 2)", Postgres, "(select 1) union (select 2)"),
            ("/* a /* ; */ ; */ values (1)", Postgres, "/* a /* ; */ ; */ values (1)"),
            ("select $1", Postgres, "select $1"),
        ] {
            assert_eq!(one_statement(sql, dialect), Ok(model), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        for (sql, part) in [
            ("", "empty"),
            ("-- nothing", "empty"),
            ("select 1; select 2", "goes on"),
            ("select 1; delete from t", "goes on"),
            ("delete from t", "begins with SELECT"),
            ("insert into t values (1) returning a", "begins with SELECT"),
            ("pragma user_version", "begins with SELECT"),
            ("selection", "begins with SELECT"),
            ("with x as (select (1)) Insert into t select * from x", "has INSERT"),
            ("with x as (select 1), y as (select 2) -- c\n delete from t", "has DELETE"),
        ] {
            let why = one_statement(sql, Dialect::Postgres).unwrap_err();
            assert!(why.contains(part), "{sql}: {why}");
        }
    }

    #[test]
    fn a_condition_goes_around() {
        let statement = filtered("select 1 as a -- x", &format!("{} = 1", identifier("a\"b")));
        assert_eq!(statement.text, "select * from (\nselect 1 as a -- x\n) as model where \"a\"\"b\" = 1");
        assert!(statement.text[statement.before..].starts_with("select 1"));
    }

    #[test]
    fn a_name_is_reported_once() {
        let columns: Vec<_> = ["a", "b", "a", "a"].map(|name| Column { name: name.into(), kind: Type::Any }).into();
        let findings = named_twice(&columns);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].is_error() && findings[0].what.contains("`a`"));
    }
}
