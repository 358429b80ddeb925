//! From settings to an open webhook: references resolved, templates read, everything checked that needs no
//! network.

use std::sync::Arc;

use base64::Engine as _;
use domain::config::SecretSource;
use domain::config::{self, Secret, Setting};
use domain::fault::{Code, Fault};
use domain::ports::{Destination, Limits, OpenArgs, OpenFuture};
use domain::sync::Target;
use serde::Deserialize as _;
use serde_json::Value;

use super::config::{Config, Options};
use super::encode::RequestShape;
use super::sign::Signer;
use super::template::{Template, UrlTemplate};
use super::{Headers, Route, WebhookDestination};
use clients::http::detail::RecordingSecrets;
use clients::http::tls::Certificates;
use clients::http::{HeaderMap, HeaderName, HeaderValue, Http, HttpSettings, Url, percent_decode};

/// Headers that are ours, or the connection's.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "idempotency-key",
    "te",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];
/// A header with one of these in its name carries credentials.
const CREDENTIALS: [&str; 7] = ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey"];

pub(super) fn open<'a>(opening: OpenArgs<'a>, target: &'a Target) -> OpenFuture<'a, dyn Destination> {
    Box::pin(async move {
        let webhook: Arc<dyn Destination> = Arc::new(WebhookDestination::open(opening, target).await?);
        Ok(webhook)
    })
}

impl WebhookDestination {
    pub(super) async fn open(opening: OpenArgs<'_>, target: &Target) -> Result<Self, Fault> {
        let about = format!("connection {}", opening.name);
        let invalid = |what: String| Fault::new(Code::ConnectionInvalid, format!("{about}: {what}."));
        let sync_invalid = |what: String| Fault::new(Code::SyncInvalid, format!("destination.options: {what}."));
        let config: Config = config::read(&about, opening.config)?;
        let options =
            Options::deserialize(Value::Object(target.options.clone())).map_err(|e| sync_invalid(e.to_string()))?;
        check(&config).map_err(invalid)?;

        let secrets = RecordingSecrets::new(opening.secrets);
        let (written, user) = userinfo(config.url.as_written());
        let url = Template::read(&written, &format!("{about}: url"), &secrets).await?;
        let object = Template::read(&target.object, "destination.object", &secrets).await?;
        let deletes = options.delete.clone().unwrap_or_default();
        let delete_path = match &deletes.path {
            Some(path) => Template::read(path, "destination.options.delete.path", &secrets).await?,
            None => object.clone(),
        };
        let mut headers = headers(&config, &about, &secrets).await?;
        if let Some(user) = user {
            let password = split(&user).1;
            if !password.is_empty() && Secret::new(password).is_err() {
                return Err(invalid("the URL holds a password; write it as a reference such as `${env:NAME}`".into()));
            }
            let basic = basic(&user, &secrets).await?.ok_or_else(|| {
                invalid("the URL's user or password cannot be sent: it holds a control character".into())
            })?;
            if headers.fixed.insert("authorization", basic).is_some()
                || headers.templated.iter().any(|(name, _)| name == "authorization")
            {
                return Err(invalid(
                    "the URL has a user and the headers have `authorization`; only one of them can be sent".into(),
                ));
            }
        }
        let signer = signer(&config, &secrets).await?.transpose().map_err(invalid)?;

        let upsert_url = UrlTemplate::new(url.clone(), object).map_err(invalid)?;
        let delete_url = UrlTemplate::new(url, delete_path).map_err(invalid)?;
        let place = place(&upsert_url.probe, &written, &target.object);
        let shape = RequestShape::new(&options.body).map_err(sync_invalid)?;
        let single = shape.is_single() || headers.templated.iter().any(|(_, t)| t.fields().next().is_some());
        let method = options.method.unwrap_or(config.method);
        let route = |url: UrlTemplate, method: super::config::Verb| {
            let single = single || url.template.fields().next().is_some();
            Route { method: method.into(), url, single }
        };
        let upsert = route(upsert_url, method);
        let delete = route(delete_url, deletes.method.unwrap_or(method));
        let own_method = deletes.method.is_some_and(|m| m != method);
        let limits = Limits {
            batch_records: if upsert.single || delete.single { 1 } else { config.batch_size.unwrap_or(100) },
            batch_bytes: config.batch_bytes,
            concurrency: config.concurrency,
            rate: config.rate,
            first_pause: config.retry_pause.0,
        };
        let tls = Certificates::read(&about, config.ca.as_ref(), config.client_certificate.as_ref(), &secrets).await?;
        let settings = HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            tls,
            clock: Arc::clone(opening.clock),
        };
        Ok(Self {
            about,
            http: Http::new(settings)?,
            upsert,
            delete,
            shares_url: deletes.path.is_none(),
            tells_by_route: own_method || deletes.path.is_some(),
            headers,
            shape,
            results: options.results,
            signer,
            statuses: config.statuses,
            limits,
            asked_batch_size: config.batch_size,
            place,
        })
    }
}

/// A URL as written without its user and password, and those as written. A reference there may hold what else would end
/// them.
fn userinfo(written: &str) -> (String, Option<String>) {
    let whole = || (written.to_owned(), None);
    let Some(start) = written.find("://").map(|at| at + 3) else { return whole() };
    let (mut at, mut inside) = (None, false);
    for (index, c) in written[start..].char_indices() {
        match c {
            '$' if written[start + index..].starts_with("${") => inside = true,
            '}' => inside = false,
            '@' if !inside => at = Some(start + index),
            '/' | '?' | '#' if !inside => break,
            _ => {}
        }
    }
    match at {
        Some(at) => (format!("{}{}", &written[..start], &written[at + 1..]), Some(written[start..at].to_owned())),
        None => whole(),
    }
}

/// Where records go, without a secret: scheme, host and port as they are, what follows as written.
fn place(probe: &Url, written: &str, object: &str) -> String {
    let origin = probe.origin().ascii_serialization();
    let behind = written.split_once("://").map_or(written, |(_, rest)| rest);
    let (mut path, mut inside) = ("", false);
    for (at, c) in behind.char_indices() {
        match c {
            '$' if behind[at..].starts_with("${") => inside = true,
            '}' => inside = false,
            '/' | '?' if !inside => {
                path = &behind[at..];
                break;
            }
            _ => {}
        }
    }
    let (path, object) = (path.trim_end_matches('/'), object.trim_matches('/'));
    if object.is_empty() { format!("{origin}{path}") } else { format!("{origin}{path}/{object}") }
}

/// User and password; a reference has colons of its own.
fn split(user: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(colon) = user[from..].find(':').map(|at| from + at) {
        match user[from..colon].find("${").and_then(|_| user[colon..].find('}')) {
            Some(end) => from = colon + end + 1,
            None => return (&user[..colon], &user[colon + 1..]),
        }
    }
    (user, "")
}

/// The header for a user and a password (RFC 7617). What is written in the URL is percent-decoded; what a reference
/// leads to is taken as it is.
async fn basic(user: &str, secrets: &RecordingSecrets<'_>) -> Result<Option<HeaderValue>, Fault> {
    let (name, password) = split(user);
    let mut parts = Vec::new();
    for part in [name, password] {
        let part = if Secret::new(part).is_ok() { part.to_owned() } else { percent_decode(part) };
        let setting = Setting::new(part).map_err(|what| Fault::new(Code::ConnectionInvalid, what))?;
        parts.push(setting.resolve(secrets).await?);
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(parts.join(":"));
    secrets.remember(&encoded);
    let header = (!parts.concat().chars().any(char::is_control))
        .then(|| HeaderValue::from_str(&format!("Basic {encoded}")).ok())
        .flatten();
    Ok(header.map(|mut header| {
        header.set_sensitive(true);
        header
    }))
}

/// Numbers that cannot be meant.
fn check(config: &Config) -> Result<(), String> {
    let zero = |name: &str| Err(format!("`{name}` must be more than 0"));
    match config {
        c if c.batch_size == Some(0) => zero("batch_size"),
        c if c.batch_bytes == 0 => zero("batch_bytes"),
        c if c.concurrency == 0 => zero("concurrency"),
        c if c.timeout.0.is_zero() => zero("timeout"),
        c if c.rate.is_some_and(|r| r.requests == 0 || r.per.0.is_zero()) => zero("rate"),
        _ => Ok(()),
    }
}

async fn headers(config: &Config, about: &str, secrets: &dyn SecretSource) -> Result<Headers, Fault> {
    let mut out = Headers { fixed: HeaderMap::new(), templated: Vec::new() };
    for (written, value) in &config.headers {
        let invalid = |what: &str| Fault::new(Code::ConnectionInvalid, format!("{about}: header `{written}` {what}."));
        let name =
            HeaderName::from_bytes(written.as_bytes()).map_err(|_| invalid("has a name that is not a header's"))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(invalid("is set by Sluicegate itself"));
        }
        if CREDENTIALS.iter().any(|part| name.as_str().contains(part)) && !is_reference(value) {
            return Err(invalid(
                "carries credentials, so its value must hold a reference such as `${env:NAME}` or `${secret:name#field}`",
            ));
        }
        let template = Template::read(value.as_written(), &format!("{about}: header `{written}`"), secrets).await?;
        if !template.is_fixed() {
            out.templated.push((name, template));
            continue;
        }
        let facts =
            super::template::RecordFacts { sync: "", operation: domain::mode::Op::Upsert, id: "", record: None };
        let mut value = HeaderValue::from_bytes(template.render(&facts).as_bytes())
            .map_err(|_| invalid("has a value that cannot be sent: it holds a control character, perhaps a line break at the end of a secret"))?;
        value.set_sensitive(true);
        out.fixed.insert(name, value);
    }
    Ok(out)
}

fn is_reference(value: &Setting) -> bool {
    Secret::new(value.as_written()).is_ok()
}

async fn signer(config: &Config, secrets: &dyn SecretSource) -> Result<Option<Result<Signer, String>>, Fault> {
    let Some(sign) = &config.sign else { return Ok(None) };
    let mut resolved = Vec::new();
    for secret in &sign.secrets {
        resolved.push(secret.resolve(secrets).await?);
    }
    Ok(Some(Signer::new(&resolved)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_no_secret_and_one_spelling() {
        let of = |probe: &str, written: &str, object: &str| place(&Url::parse(probe).unwrap(), written, object);
        for (probe, written, object, expected) in [
            ("https://api.test/v1", "https://api.test/v1", "", "https://api.test/v1"),
            ("https://api.test/v1/", "https://api.test:443/v1/", "/people", "https://api.test/v1/people"),
            ("https://api.test/hush", "https://${env:HOST}/${secret:a/b#c}", "", "https://api.test/${secret:a/b#c}"),
            ("http://api.test:8080/?k=hush", "${env:BASE}?k=${env:KEY}", "", "http://api.test:8080?k=${env:KEY}"),
            ("https://api.test/x/1", "https://api.test/x/{{id}}", "", "https://api.test/x/{{id}}"),
            ("https://api.test/", "https://api.test", "", "https://api.test"),
        ] {
            assert_eq!(of(probe, written, object), expected);
        }
    }

    #[test]
    fn user_and_password_are_found_whatever_they_are() {
        for (written, rest, user) in [
            ("https://h.test/a@b", "https://h.test/a@b", None),
            ("https://u:p@h.test/a@b", "https://h.test/a@b", Some(("u", "p"))),
            ("https://${env:A}:${secret:x/y#z}@h.test", "https://h.test", Some(("${env:A}", "${secret:x/y#z}"))),
            ("https://u@h.test", "https://h.test", Some(("u", ""))),
            ("https://u:p@q@h.test", "https://h.test", Some(("u", "p@q"))),
        ] {
            let (left, found) = userinfo(written);
            assert_eq!((left.as_str(), found.as_deref().map(split)), (rest, user), "{written}");
        }
    }
}
