//! What a destination said, cut to something a person can read and cleared of secrets. Not here: what it
//! means.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use base64::Engine as _;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::Fault;
use serde_json::Value;

/// Most characters of a detail.
const MAX_CHARACTERS: usize = 300;
/// A text body is looked at no further than this.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Shorter "secrets" are words that occur anyway; hiding them would make every message unreadable.
const LEAST_SECRET: usize = 4;
/// Where destinations put their message.
const MESSAGES: [&str; 8] =
    ["message", "detail", "error_description", "error", "title", "description", "reason", "errors"];

/// Passes secrets on and remembers them, so that they can be kept out of messages.
pub struct RecordingSecrets<'a> {
    inner: &'a dyn SecretSource,
    seen: Mutex<BTreeSet<String>>,
}

impl<'a> RecordingSecrets<'a> {
    /// Remembers what `inner` gives out.
    pub fn new(inner: &'a dyn SecretSource) -> Self {
        Self { inner, seen: Mutex::default() }
    }

    /// Remembers another one, which was made from those.
    pub fn remember(&self, secret: &str) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }

    /// Hides every secret that was given out so far.
    pub fn redactor(&self) -> Redactor {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Redactor::new(seen.iter().map(String::as_str))
    }
}

#[async_trait]
impl SecretSource for RecordingSecrets<'_> {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        let secret = self.inner.get(reference).await?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.clone());
        Ok(secret)
    }
}

/// Hides secrets in texts. Prints as nothing. Clones share what they know: a token that is minted later is hidden
/// everywhere.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Vec<String>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Hides these, also percent-encoded, in base64 and as JSON text.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let redactor = Self::default();
        redactor.add(secrets);
        redactor
    }

    /// Hides these, too, from now on.
    pub fn add<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        let mut known = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: BTreeSet<String> = known.drain(..).collect();
        for secret in secrets {
            for form in [secret, secret.trim(), secret.trim().trim_start_matches("whsec_")] {
                all.insert(form.to_owned());
                all.insert(url::form_urlencoded::byte_serialize(form.as_bytes()).collect());
                all.insert(super::percent::percent_encode(form));
                all.insert(base64::engine::general_purpose::STANDARD.encode(form));
                all.insert(Value::from(form).to_string().trim_matches('"').to_owned());
            }
        }
        known.extend(all.into_iter().filter(|s| s.len() >= LEAST_SECRET));
        // The longest first, so that no part of one is left because a shorter one was hidden within it.
        known.sort_by_key(|s| std::cmp::Reverse(s.len()));
    }

    /// The text with every secret hidden.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "[secret]");
            }
        }
        text
    }

    /// The text with every secret hidden, on one line, cut to what a person reads.
    pub fn shorten(&self, text: &str) -> String {
        let line = self.hide(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        let line = self.hide(&line.split_whitespace().collect::<Vec<_>>().join(" "));
        match line.char_indices().nth(MAX_CHARACTERS) {
            Some(_) => line.chars().take(MAX_CHARACTERS - 1).chain(['…']).collect(),
            None => line,
        }
    }
}

/// What a response body says, in at most 300 characters: the message of a JSON document, else its text.
pub fn detail(body: &[u8], redactor: &Redactor) -> String {
    if let Ok(json) = serde_json::from_slice::<Value>(body) {
        return redactor
            .shorten(&message(&json).unwrap_or_else(|| if json.is_null() { String::new() } else { json.to_string() }));
    }
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_TEXT_BYTES)]);
    if is_html(body) {
        let stripped = redactor.shorten(&strip_tags(&redactor.hide(&text)));
        return redactor.shorten(&format!("HTML instead of JSON: {stripped}")).trim_end_matches([' ', ':']).to_owned();
    }
    redactor.shorten(&text)
}

/// The message in a JSON document, looked for where destinations put it.
pub fn message(json: &Value) -> Option<String> {
    match json {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Array(all) => all.first().and_then(message),
        Value::Object(fields) => MESSAGES.iter().find_map(|name| fields.get(*name).and_then(message)),
        _ => None,
    }
}

/// The error code in a JSON document: a short word, where there is one.
pub fn code(json: &Value) -> Option<String> {
    let found = ["/code", "/error/code", "/errors/0/code", "/error", "/errorCode", "/type"]
        .iter()
        .find_map(|p| json.pointer(p)?.as_str());
    found.filter(|c| is_code(c)).map(str::to_owned)
}

/// True for a short word that can be matched by: no spaces, no sentence.
pub fn is_code(text: &str) -> bool {
    !text.is_empty() && text.len() <= 60 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
}

/// True when a body begins like an HTML (or XML) document.
pub fn is_html(body: &[u8]) -> bool {
    body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<')
}

/// The text between tags; scripts and styles are left out.
fn strip_tags(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        out.push(' ');
        let tag = &rest[start..];
        let opens = |name: &str| tag.get(1..1 + name.len()).is_some_and(|t| t.eq_ignore_ascii_case(name));
        let end = match ["script", "style"].into_iter().find(|name| opens(name)) {
            Some(name) => tag
                .to_ascii_lowercase()
                .find(&format!("</{name}"))
                .map(|at| at + tag[at..].find('>').unwrap_or(tag.len() - at - 1)),
            None => tag.find('>'),
        };
        match end {
            Some(end) => rest = &tag[end + 1..],
            None => return out,
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_where_destinations_put_it() {
        let none = Redactor::default();
        for (body, expected) in [
            (r#"{"message":"no such list"}"#, "no such list"),
            (r#"{"error":{"code":"x","message":"bad email"}}"#, "bad email"),
            (r#"{"errors":[{"detail":"first"},{"detail":"second"}]}"#, "first"),
            (r#"{"error":"nope"}"#, "nope"),
            (r#"[{"errorCode":"A","message":"B"}]"#, "B"),
            (r#"{"n":1}"#, r#"{"n":1}"#),
            ("\"text\"", "text"),
            ("null", ""),
            ("plain\n\ttext ", "plain text"),
            ("", ""),
            (
                "<!doctype html><title>Bad gateway</title><style>p{}</style><h1>502</h1><script>x<y</script>ok",
                "HTML instead of JSON: Bad gateway 502 ok",
            ),
            ("<html", "HTML instead of JSON"),
        ] {
            assert_eq!(detail(body.as_bytes(), &none), expected, "{body}");
        }
        assert_eq!(detail(&[0xff, b'a'], &none), "\u{fffd}a");
    }

    #[test]
    fn codes_are_words() {
        for (body, expected) in [
            (r#"{"code":"INVALID_EMAIL"}"#, Some("INVALID_EMAIL")),
            (r#"{"error":{"code":"bad"}}"#, Some("bad")),
            (r#"{"error":"a whole sentence"}"#, None),
            (r#"{"x":1}"#, None),
        ] {
            assert_eq!(code(&serde_json::from_str(body).unwrap()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let told = detail("é".repeat(1000).as_bytes(), &Redactor::default());
        assert_eq!(told.chars().count(), MAX_CHARACTERS);
        assert!(told.ends_with('…'));
    }

    #[test]
    fn secrets_are_hidden_in_every_form_and_before_the_cut() {
        let secret = "s3cr=t/value";
        let redactor = Redactor::new([secret, "abc"]);
        for text in ["bearer s3cr=t/value!", "s3cr%3Dt%2Fvalue", "czNjcj10L3ZhbHVl", "s3cr=t/value"] {
            assert!(!redactor.shorten(text).contains("s3cr") && redactor.shorten(text).contains("[secret]"), "{text}");
        }
        let long = format!("{}{secret}", "x".repeat(MAX_CHARACTERS - 5));
        assert!(!redactor.shorten(&long).contains("s3c"));
        assert_eq!(redactor.shorten("abc"), "abc", "a word of three letters is no secret");
        assert_eq!(format!("{redactor:?}"), "Redactor");
        let clone = redactor.clone();
        redactor.add(["minted-later"]);
        assert_eq!(clone.hide("Bearer minted-later, s3cr=t/value"), "Bearer [secret], [secret]");
    }
}
