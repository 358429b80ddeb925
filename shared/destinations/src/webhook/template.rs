//! URLs with places for values. A value can change no host and no path.

pub(super) use crate::template::{RecordFacts, Template, TemplatePart};
use clients::http::{Url, percent_encode};

/// Why a record does not fit into the URL: a code and a sentence.
pub(super) type TemplateMisfit = (&'static str, String);

/// A URL, perhaps with places for values behind the host.
#[derive(Debug, Clone)]
pub(super) struct UrlTemplate {
    pub(super) template: Template,
    /// The URL with `x` for every value: what scheme, host and port a rendered URL must have.
    pub(super) probe: Url,
}

impl UrlTemplate {
    /// `path` appended to `url`, before its query. The error is a sentence and repeats no text of the URL.
    pub(super) fn new(url: Template, path: Template) -> Result<Self, String> {
        let template = append(url, path);
        let fixed: String = template
            .parts
            .iter()
            .map_while(|p| if let TemplatePart::Text(text) = p { Some(text.as_str()) } else { None })
            .collect();
        let host_is_fixed = fixed.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']));
        if !template.is_fixed() && !host_is_fixed {
            return Err("scheme, host and port cannot come from a template; use templates behind the host only".into());
        }
        let text = template
            .parts
            .iter()
            .map(|p| if let TemplatePart::Text(text) = p { text.as_str() } else { "x" })
            .collect::<String>();
        let mut probe = Url::parse(&text).map_err(|e| format!("the URL is not valid: {e}"))?;
        probe.set_fragment(None);
        if !matches!(probe.scheme(), "http" | "https") || probe.host_str().is_none() {
            return Err("the URL must begin with https:// or http:// and a host".into());
        }
        if has_dot_segment(&text) {
            return Err("the path of the URL has a segment `.` or `..`; write the path it means".into());
        }
        Ok(Self { template, probe })
    }

    /// The URL for these values, each percent-encoded.
    pub(super) fn render(&self, facts: &RecordFacts<'_>) -> Result<Url, TemplateMisfit> {
        if self.template.is_fixed() {
            return Ok(self.probe.clone());
        }
        let (mut text, mut in_query) = (String::new(), false);
        for part in &self.template.parts {
            let value = facts.value(part);
            match part {
                TemplatePart::Text(fixed) => {
                    in_query |= fixed.contains('?');
                    text.push_str(fixed);
                }
                // An empty part of a path would address the collection instead of the record.
                TemplatePart::Field(name) if value.is_empty() && !in_query => {
                    return Err(("empty_in_url", format!("field `{name}` is empty and stands in the path of the URL")));
                }
                _ => text.push_str(&percent_encode(&value)),
            }
        }
        let misfit = || {
            let names: Vec<_> = self.template.fields().map(|f| format!("`{f}`")).collect();
            ("invalid_in_url", format!("the value of {} cannot stand in the URL", names.join(" or ")))
        };
        if has_dot_segment(&text) {
            return Err(misfit());
        }
        let mut url = Url::parse(&text).map_err(|_| misfit())?;
        url.set_fragment(None);
        if url.origin() != self.probe.origin()
            || url.username() != self.probe.username()
            || url.password() != self.probe.password()
        {
            return Err(misfit());
        }
        Ok(url)
    }
}

fn append(url: Template, path: Template) -> Template {
    if path.parts.is_empty() {
        return url;
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for part in url.parts {
        match part {
            TemplatePart::Text(text) if after.is_empty() => match text.find(['?', '#']) {
                Some(at) => {
                    before.push(TemplatePart::Text(text[..at].to_owned()));
                    after.push(TemplatePart::Text(text[at..].to_owned()));
                }
                None => before.push(TemplatePart::Text(text)),
            },
            other if after.is_empty() => before.push(other),
            other => after.push(other),
        }
    }
    if let Some(TemplatePart::Text(last)) = before.last_mut() {
        last.truncate(last.trim_end_matches('/').len());
    }
    before.push(TemplatePart::Text("/".into()));
    let mut path = path.parts;
    if let Some(TemplatePart::Text(first)) = path.first_mut() {
        *first = first.trim_start_matches('/').to_owned();
    }
    let path_has_query = path.iter().any(|p| matches!(p, TemplatePart::Text(text) if text.contains('?')));
    if let (true, Some(TemplatePart::Text(query))) = (path_has_query, after.first_mut()) {
        *query = query.replacen('?', "&", 1);
    }
    before.extend(path);
    before.extend(after);
    Template { parts: before }
}

/// True when a segment of the path is `.` or `..`, also percent-encoded: it would name another path.
fn has_dot_segment(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\'])
        .skip(1)
        .any(|segment| matches!(segment.replace("%2e", ".").replace("%2E", ".").as_str(), "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::cells::{self, Cells};
    use domain::layout::{Field, Layout};
    use domain::mode::Op;
    use domain::value::{Type, Value};

    fn render(url: &str, path: &str, value: Value<'_>) -> Result<String, String> {
        let template = UrlTemplate::new(Template::parse(url)?, Template::parse(path)?)?;
        let layout = Layout::new(vec![Field { name: "id".into(), kind: Type::Any, identifier: true }]);
        let mut record = Vec::new();
        cells::push(&mut record, value);
        let facts =
            RecordFacts { sync: "my sync", operation: Op::Upsert, id: "w-1", record: Some((&layout, Cells(&record))) };
        template.render(&facts).map(String::from).map_err(|(code, _)| code.to_owned())
    }

    #[test]
    fn values_are_put_in_encoded() {
        for (url, path, value, expected) in [
            ("https://h.test/c/{{id}}", "", Value::Int(7), "https://h.test/c/7"),
            (
                "https://h.test/c/{{ id }}?s={{$sync}}&o={{$operation}}&w={{$id}}",
                "",
                Value::Int(7),
                "https://h.test/c/7?s=my%20sync&o=upsert&w=w-1",
            ),
            (
                "https://h.test/c/{{id}}/x",
                "",
                Value::Text("a/../b?c#d%2e&e=\\f"),
                "https://h.test/c/a%2F..%2Fb%3Fc%23d%252e%26e%3D%5Cf/x",
            ),
            ("https://h.test/c/{{id}}", "", Value::Text("é@h:1\n"), "https://h.test/c/%C3%A9%40h%3A1%0A"),
            ("https://h.test/c?id={{id}}", "", Value::Null, "https://h.test/c?id="),
            ("https://h.test/c?id={{id}}", "", Value::Text(".."), "https://h.test/c?id=.."),
            ("https://h.test", "contacts", Value::Null, "https://h.test/contacts"),
            ("https://h.test/v1/?k=1", "/contacts/{{id}}", Value::Int(1), "https://h.test/v1/contacts/1?k=1"),
            ("https://h.test/v1?k=1", "c?all=1", Value::Int(1), "https://h.test/v1/c?all=1&k=1"),
            ("https://h.test/a#frag", "", Value::Null, "https://h.test/a"),
            ("https://h.test/{{id}}", "", Value::Text("{{$id}}"), "https://h.test/%7B%7B%24id%7D%7D"),
        ] {
            assert_eq!(render(url, path, value).as_deref(), Ok(expected), "{url} + {path}");
        }
    }

    #[test]
    fn a_value_that_would_change_the_path_is_refused() {
        for (url, value, code) in [
            ("https://h.test/c/{{id}}", Value::Text(".."), "invalid_in_url"),
            ("https://h.test/c/{{id}}", Value::Text("."), "invalid_in_url"),
            ("https://h.test/c/.{{id}}", Value::Text("."), "invalid_in_url"),
            ("https://h.test/c/%2e{{id}}/x", Value::Text("."), "invalid_in_url"),
            ("https://h.test/c/{{id}}", Value::Text(""), "empty_in_url"),
            ("https://h.test/c/{{id}}", Value::Null, "empty_in_url"),
            ("https://h.test/c/{{other}}", Value::Int(1), "empty_in_url"),
        ] {
            assert_eq!(render(url, "", value), Err(code.to_owned()), "{url} {value:?}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_meant_is_refused() {
        for (url, part) in [
            ("https://{{id}}/c", "behind the host"),
            ("https://h.test{{id}}/c", "behind the host"),
            ("https://h.test:{{id}}/c", "behind the host"),
            ("{{id}}", "behind the host"),
            ("ftp://h.test/", "https://"),
            ("not a url", "not valid"),
            ("https://h.test/a/../b", "segment"),
            ("https://h.test/{{id", "no closing"),
            ("https://h.test/{{}}", "names nothing"),
            ("https://h.test/{{$what}}", "is not known"),
        ] {
            let error = render(url, "", Value::Int(1)).unwrap_err();
            assert!(error.contains(part), "{url}: `{part}` is not in: {error}");
        }
    }
}
