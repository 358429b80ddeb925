//! Arrays: from JSON lists to the text that PostgreSQL reads (`{"a","b",NULL}`), of any dimension and any type of
//! element.
//!
//! Source: <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>. Numbers keep every digit: nothing is parsed
//! that need not be.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::encode::{before_christ, hex};

/// A JSON list as an array of this type of elements; `None` when it is no list of values.
pub(super) fn literal(json: &str, element: &str) -> Option<String> {
    let mut rest = json.trim_ascii();
    let mut out = String::with_capacity(json.len() + 8);
    list(&mut rest, element, &mut out)?;
    rest.trim_ascii().is_empty().then_some(out)
}

fn list(rest: &mut &str, element: &str, out: &mut String) -> Option<()> {
    *rest = rest.strip_prefix('[')?.trim_ascii_start();
    out.push('{');
    let mut first = true;
    loop {
        if let Some(after) = rest.strip_prefix(']') {
            *rest = after;
            out.push('}');
            return Some(());
        }
        if !std::mem::take(&mut first) {
            *rest = rest.strip_prefix(',')?.trim_ascii_start();
            out.push(',');
        }
        // A document may be a list itself, so only the outer one is the array.
        if rest.starts_with('[') && !is_document(element) {
            list(rest, element, out)?;
        } else {
            item(token(rest)?, element, out)?;
        }
        *rest = rest.trim_ascii_start();
    }
}

fn is_document(element: &str) -> bool {
    matches!(element, "json" | "jsonb")
}

/// The next JSON value as written.
fn token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (mut depth, mut in_text, mut escaped) = (0, false, false);
    for (at, c) in rest.char_indices() {
        let ends = match c {
            _ if in_text => {
                let closes = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                in_text = !closes;
                closes && depth == 0
            }
            '"' => {
                in_text = true;
                false
            }
            '[' | '{' => {
                depth += 1;
                false
            }
            ']' | '}' if depth > 0 => {
                depth -= 1;
                depth == 0
            }
            // What ends a number or a word is not part of it.
            ',' | ']' | ' ' | '\n' | '\r' | '\t' if depth == 0 => {
                let (token, after) = rest.split_at(at);
                *rest = after;
                return (!token.is_empty()).then_some(token);
            }
            _ => false,
        };
        if ends {
            let (token, after) = rest.split_at(at + c.len_utf8());
            *rest = after;
            return Some(token);
        }
    }
    None
}

fn item(token: &str, element: &str, out: &mut String) -> Option<()> {
    if token == "null" {
        out.push_str("NULL");
    } else if is_document(element) {
        quoted(token, out);
    } else if token.starts_with('"') {
        let text: String = serde_json::from_str(token).ok()?;
        match element {
            "bytea" => quoted(&format!("\\x{}", hex(&STANDARD.decode(&text).ok()?)), out),
            "date" | "timestamp" | "timestamptz" => quoted(&before_christ(text), out),
            _ => quoted(&text, out),
        }
    } else {
        quoted(token, out);
    }
    Some(())
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_arrays() {
        for (json, element, expected) in [
            ("[]", "int4", Some("{}")),
            ("[1, null,2]", "int4", Some(r#"{"1",NULL,"2"}"#)),
            ("[12345678901234567890.1234567890]", "numeric", Some(r#"{"12345678901234567890.1234567890"}"#)),
            (r#"[["a","b"],["c","d"]]"#, "text", Some(r#"{{"a","b"},{"c","d"}}"#)),
            (r#"["null","a\"\\,{}é","\u00e9\n"]"#, "text", Some("{\"null\",\"a\\\"\\\\,{}é\",\"é\n\"}")),
            (r#"["AQL/","3q2+7w=="]"#, "bytea", Some(r#"{"\\x0102ff","\\xdeadbeef"}"#)),
            (r#"["-0001-01-01","2000-01-01"]"#, "date", Some(r#"{"0002-01-01 BC","2000-01-01"}"#)),
            (r#"[{"a":[1,"]"]},[2],"x",null,3]"#, "jsonb", Some(r#"{"{\"a\":[1,\"]\"]}","[2]","\"x\"",NULL,"3"}"#)),
            ("[true,false]", "bool", Some(r#"{"true","false"}"#)),
            ("7", "int4", None),
            ("[1", "int4", None),
            ("[1]x", "int4", None),
            ("[1 2]", "int4", None),
            (r#"["no base64!"]"#, "bytea", None),
        ] {
            assert_eq!(literal(json, element).as_deref(), expected, "{json} {element}");
        }
    }
}
