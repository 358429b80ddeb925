//! A vendor's SQL as SQLite's: names are folded, texts lose their escapes, casts become calls of `typed_value`.

/// Whose spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlDialect {
    /// Names that are not quoted are in capitals; a backslash escapes in texts.
    Snowflake,
    /// Names stay as they are, and are quoted by `` ` ``; a backslash escapes in texts, which `"` begins as well.
    BigQuery,
    /// As BigQuery, with types of its own.
    Databricks,
    /// Names that are not quoted are in small letters; no backslash escapes.
    Redshift,
    /// As Redshift; a type goes before a literal, and a zone within it makes a timestamp a moment.
    Athena,
}

/// A piece of a statement.
#[derive(Debug, Clone, PartialEq)]
enum SqlToken {
    /// A name or a keyword that is not quoted.
    Word(String),
    /// A name in quotes, without them.
    Name(String),
    /// A text, without quotes and escapes.
    Text(String),
    /// A number, or what is written as it is.
    Number(String),
    Symbol(char),
    Blank,
}

/// The statement in SQLite's spelling. The error is what a vendor would say.
pub(super) fn rewrite(sql: &str, dialect: SqlDialect) -> Result<String, String> {
    let mut tokens = tokens(sql, dialect)?;
    if !matches!(dialect, SqlDialect::Snowflake | SqlDialect::Redshift) {
        typed_literals(&mut tokens, dialect);
    }
    whole_names(&mut tokens);
    casts(&mut tokens);
    Ok(tokens.iter().map(write).collect())
}

fn write(token: &SqlToken) -> String {
    match token {
        SqlToken::Word(word) => match word.as_str() {
            word if word.eq_ignore_ascii_case("true") => "typed_value('true', 'boolean')".into(),
            word if word.eq_ignore_ascii_case("false") => "typed_value('false', 'boolean')".into(),
            word => word.to_owned(),
        },
        SqlToken::Name(name) => format!("\"{}\"", name.replace('"', "\"\"")),
        SqlToken::Text(text) => format!("'{}'", text.replace('\'', "''")),
        SqlToken::Number(number) => number.clone(),
        SqlToken::Symbol(symbol) => symbol.to_string(),
        SqlToken::Blank => " ".into(),
    }
}

fn tokens(sql: &str, dialect: SqlDialect) -> Result<Vec<SqlToken>, String> {
    let snowflake = dialect == SqlDialect::Snowflake;
    // `"` begins a name, and not a text.
    let ansi = snowflake || matches!(dialect, SqlDialect::Athena | SqlDialect::Redshift);
    let escapes = !matches!(dialect, SqlDialect::Athena | SqlDialect::Redshift);
    let chars: Vec<char> = sql.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let length = match rest {
            ['-', '-', ..] | ['/', '/', ..] | ['#', ..] if snowflake || !rest.starts_with(&['/']) => {
                out.push(SqlToken::Blank);
                rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())
            }
            ['/', '*', ..] => {
                out.push(SqlToken::Blank);
                let end = rest.windows(2).skip(2).position(|pair| pair == ['*', '/']);
                end.map_or(rest.len(), |end| end + 4)
            }
            ['$', '$', ..] if snowflake => {
                let end = rest.windows(2).skip(2).position(|pair| pair == ['$', '$']).ok_or("unexpected '$$'")?;
                out.push(SqlToken::Text(rest[2..end + 2].iter().collect()));
                end + 4
            }
            ['\'' | '"', ..] if !ansi || rest[0] == '\'' => {
                let (text, length) = quoted(rest, escapes).ok_or("unexpected ''''")?;
                out.push(SqlToken::Text(text));
                length
            }
            ['"' | '`', ..] => {
                let (name, length) = quoted(rest, false).ok_or("unexpected '\"'")?;
                out.push(SqlToken::Name(name));
                length
            }
            [c, ..] if c.is_whitespace() => {
                out.push(SqlToken::Blank);
                rest.iter().take_while(|c| c.is_whitespace()).count()
            }
            [c, ..] if c.is_ascii_digit() => {
                let length = rest.iter().take_while(|c| c.is_ascii_digit() || **c == '.').count();
                out.push(SqlToken::Number(rest[..length].iter().collect()));
                length
            }
            [c, ..] if c.is_alphabetic() || *c == '_' => {
                let length = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                let word: String = rest[..length].iter().collect();
                out.push(SqlToken::Word(match dialect {
                    SqlDialect::Snowflake => word.to_uppercase(),
                    SqlDialect::Athena | SqlDialect::Redshift => word.to_lowercase(),
                    SqlDialect::BigQuery | SqlDialect::Databricks => word,
                }));
                length
            }
            [c, ..] => {
                out.push(SqlToken::Symbol(*c));
                1
            }
            [] => 1,
        };
        at += length;
    }
    Ok(out)
}

/// A text or a name in quotes, and how long it is with them.
fn quoted(rest: &[char], backslash: bool) -> Option<(String, usize)> {
    let quote = rest[0];
    let (mut out, mut at) = (String::new(), 1);
    loop {
        match (*rest.get(at)?, rest.get(at + 1)) {
            ('\\', Some(next)) if backslash => {
                out.push(match next {
                    'n' => '\n',
                    't' => '\t',
                    other => *other,
                });
                at += 2;
            }
            (c, Some(next)) if c == quote && *next == quote => {
                out.push(quote);
                at += 2;
            }
            (c, _) if c == quote => return Some((out, at + 1)),
            (c, _) => {
                out.push(c);
                at += 1;
            }
        }
    }
}

/// `date '2024-02-29'` becomes `typed_value('2024-02-29', 'date')`.
fn typed_literals(tokens: &mut Vec<SqlToken>, dialect: SqlDialect) {
    let kinds =
        ["date", "time", "datetime", "timestamp", "numeric", "bignumeric", "json", "timestamp_ntz", "decimal", "uuid"];
    let athena = dialect == SqlDialect::Athena;
    let mut at = 0;
    while at + 3 <= tokens.len() {
        if let [SqlToken::Word(word), SqlToken::Blank, SqlToken::Text(text)] = &tokens[at..at + 3]
            && let Some(kind) = kinds.iter().find(|kind| word.eq_ignore_ascii_case(kind))
        {
            let zoned = text.ends_with("UTC");
            let text = text.replace(" UTC", "Z");
            let kind = match *kind {
                "timestamp" if athena && !zoned => "timestamp",
                "timestamp" => "timestamptz",
                "decimal" => "number(38,9)",
                "numeric" | "bignumeric" => "number(38,9)",
                other => other,
            };
            let call = format!("typed_value('{}', '{kind}')", text.replace('\'', "''"));
            tokens.splice(at..at + 3, [SqlToken::Number(call)]);
        }
        at += 1;
    }
}

/// `database.schema.table` becomes one name.
fn whole_names(tokens: &mut Vec<SqlToken>) {
    let name = |token: &SqlToken| match token {
        SqlToken::Word(name) | SqlToken::Name(name) => Some(name.clone()),
        _ => None,
    };
    let whole = |five: &[SqlToken]| -> Option<String> {
        let dots = five[1] == SqlToken::Symbol('.') && five[3] == SqlToken::Symbol('.');
        dots.then(|| Some(format!("{}.{}.{}", name(&five[0])?, name(&five[2])?, name(&five[4])?)))?
    };
    let mut at = 0;
    while at + 5 <= tokens.len() {
        if let Some(whole) = whole(&tokens[at..at + 5]) {
            tokens.splice(at..at + 5, [SqlToken::Name(whole)]);
        }
        at += 1;
    }
}

/// Names in quotes that are neither given in the statement (`as "Name"`, or unquoted in capitals) nor one of `known`: the
/// vendor, unlike SQLite, tells names by their case.
pub(super) fn unknown_name(sql: &str, dialect: SqlDialect, known: impl Fn(&str) -> bool) -> Option<String> {
    let tokens = tokens(sql, dialect).ok()?;
    let solid: Vec<&SqlToken> = tokens.iter().filter(|token| **token != SqlToken::Blank).collect();
    let given = |name: &str| {
        solid.iter().any(|token| matches!(token, SqlToken::Word(word) if word == name))
            || solid.windows(2).any(|pair| {
                *pair[0] == SqlToken::Word("AS".into()) && matches!(pair[1], SqlToken::Name(given) if given == name)
            })
    };
    solid.iter().find_map(|token| match token {
        SqlToken::Name(name) if !given(name) && !known(name) => Some(name.clone()),
        _ => None,
    })
}

/// `x::type` and `cast(x as type)` become `typed_value(x, 'type')`.
fn casts(tokens: &mut Vec<SqlToken>) {
    while let Some(at) = tokens.windows(2).position(|pair| pair == [SqlToken::Symbol(':'), SqlToken::Symbol(':')]) {
        let from = operand(tokens, at);
        let (kind, end) = type_name(tokens, at + 2);
        let mut call = vec![SqlToken::Word("typed_value".into()), SqlToken::Symbol('(')];
        call.extend(tokens[from..at].iter().cloned());
        call.extend([SqlToken::Symbol(','), SqlToken::Text(kind), SqlToken::Symbol(')')]);
        tokens.splice(from..end, call);
    }
    let is = |token: &SqlToken, word: &str| matches!(token, SqlToken::Word(w) if w.eq_ignore_ascii_case(word));
    while let Some(at) = tokens.iter().position(|token| is(token, "CAST")) {
        let Some(open) = (at + 1..tokens.len()).find(|i| tokens[*i] == SqlToken::Symbol('(')) else { return };
        let (mut depth, mut found) = (0, None);
        for (i, token) in tokens.iter().enumerate().skip(open) {
            match token {
                SqlToken::Symbol('(') => depth += 1,
                SqlToken::Symbol(')') => depth -= 1,
                token if depth == 1 && is(token, "AS") => found = Some(i),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        let Some(split) = found else { return };
        let (kind, end) = type_name(tokens, split + 1);
        let mut call = vec![SqlToken::Word("typed_value".into())];
        call.extend(tokens[open..split].iter().cloned());
        call.extend([SqlToken::Symbol(','), SqlToken::Text(kind)]);
        tokens.splice(at..end, call);
    }
}

/// Where the operand before `at` begins: a literal, a name with its qualifiers, or a call with its arguments.
fn operand(tokens: &[SqlToken], at: usize) -> usize {
    let mut from = at.saturating_sub(1);
    while from > 0 && tokens[from] == SqlToken::Blank {
        from -= 1;
    }
    if tokens[from] == SqlToken::Symbol(')') {
        let mut depth = 0;
        loop {
            match tokens[from] {
                SqlToken::Symbol(')') => depth += 1,
                SqlToken::Symbol('(') => depth -= 1,
                _ => {}
            }
            if depth == 0 || from == 0 {
                break;
            }
            from -= 1;
        }
        if from > 0 && matches!(tokens[from - 1], SqlToken::Word(_)) {
            from -= 1;
        }
    }
    while from > 1 && tokens[from - 1] == SqlToken::Symbol('.') {
        from -= 2;
    }
    from
}

/// The type that is written from `at` on, and where it ends.
fn type_name(tokens: &[SqlToken], at: usize) -> (String, usize) {
    let mut end = at;
    let mut name = String::new();
    while let Some(token) = tokens.get(end) {
        match token {
            SqlToken::Blank if name.is_empty() => {}
            SqlToken::Word(word) if name.is_empty() => name.push_str(&word.to_lowercase()),
            SqlToken::Blank if name == "double" => {}
            SqlToken::Word(word) if name == "double" && word == "PRECISION" => name.push_str(" precision"),
            SqlToken::Symbol('(') if !name.is_empty() && !name.contains('(') => name.push('('),
            SqlToken::Number(number) if name.contains('(') => name.push_str(number),
            SqlToken::Symbol(',') if name.contains('(') => name.push(','),
            SqlToken::Blank if name.contains('(') => {}
            SqlToken::Symbol(')') if name.contains('(') => {
                name.push(')');
                end += 1;
                break;
            }
            _ => break,
        }
        end += 1;
    }
    (name, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_spelling_becomes_sqlites() {
        for (sql, expected) in [
            ("select id, \"Name\" from t -- x", "SELECT ID, \"Name\" FROM T  "),
            ("select 'it''s \\' \\\\'", "SELECT 'it''s '' \\'"),
            ("select a.b::number(10, 2) as c", "SELECT typed_value(A.B,'number(10,2)') AS C"),
            ("select f(1)::date", "SELECT typed_value(F(1),'date')"),
            ("select cast(f(x, 1) as varchar)", "SELECT typed_value(F(X, 1) ,'varchar')"),
            ("select '1'::double precision", "SELECT typed_value('1','double precision')"),
            ("select $$it's$$", "SELECT 'it''s'"),
        ] {
            assert_eq!(rewrite(sql, SqlDialect::Snowflake).unwrap(), expected);
        }
    }
}
