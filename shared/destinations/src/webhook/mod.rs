//! Webhook: any HTTP API that takes JSON.
//!
//! - *What it writes*: records as JSON to a URL of your own, many to a request or one, in one of four usual
//!   shapes or your own; see [`config::Options`].
//! - *Auth*: headers by reference to a secret, user and password in the URL (sent as Basic), a client certificate, and
//!   signatures as Standard Webhooks (`sign`).
//! - *Modes*: upsert, append, mirror (deletes are sent as records with the operation `delete`, or with their own
//!   method and path). Not update: the receiver cannot be asked whether a record exists.
//! - *Limits*: 100 records or 1 MiB to a request, 8 requests at once, all settings; no connection to an address
//!   that is not public unless `allow_private`; redirects are not followed; a response is read to 8 MiB.
//! - *Per-record errors*: where `results` says how to read them: by position (only when the list is as long as the
//!   batch), by id, or by the place of those that failed. A record without a result is sent again. Without `results` a
//!   2xx status accepts all unless the answer says no (see `classify`), a 4xx refuses the batch, which is then halved
//!   until the record to blame is found; where the URL names a record, 404 and 410 are about that record.
//! - *Idempotency*: `webhook-id` and `idempotency-key` name the change and are the same on every attempt. When an
//!   answer is lost the records are sent again: a receiver that must not act twice drops ids it has seen.
//! - *API version and sources*: Standard Webhooks 1.0 (standardwebhooks.com), RFC 9110 for statuses and
//!   `Retry-After`, RFC 6901 for pointers.

mod classify;
pub mod config;
mod encode;
mod open;
mod preflight;
mod sign;
mod template;

#[cfg(test)]
mod fixture;

use async_trait::async_trait;
use domain::batch::WriteBatch;
use domain::destination_schema::DestinationSchema;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::mode::{Mode, Op};
use domain::outcome::{Effect, Outcome, WriteError};
use domain::ports::{Destination, DestinationEntry, Limits, PreflightRequest};

use self::config::{Config, Options, Results};
use self::encode::RequestShape;
use self::sign::Signer;
use self::template::{RecordFacts, Template, UrlTemplate};
use clients::http::detail;
use clients::http::status::{StatusMeaning, Statuses, classify_status};
use clients::http::{HeaderMap, HeaderName, HeaderValue, Http, HttpRequest, Method};

pub const ENTRY: DestinationEntry = DestinationEntry {
    name: "webhook",
    about: "any HTTP API that takes JSON",
    modes,
    open: open::open,
    schema: || schemars::schema_for!(Config),
    options_schema: || schemars::schema_for!(Options),
};

fn modes(mode: Mode) -> Result<(), &'static str> {
    match mode {
        Mode::Upsert | Mode::Append | Mode::Mirror => Ok(()),
        Mode::Update => Err(
            "a webhook cannot be asked whether a record exists, so records could not be kept from being created; use mode upsert",
        ),
    }
}

/// Where and how one operation is sent.
#[derive(Debug)]
struct Route {
    method: Method,
    url: UrlTemplate,
    /// URL, headers or body have a place for one record only.
    single: bool,
}

/// Headers of every request.
#[derive(Debug)]
struct Headers {
    fixed: HeaderMap,
    templated: Vec<(HeaderName, Template)>,
}

/// An open connection for one sync.
#[derive(Debug)]
struct WebhookDestination {
    /// `connection NAME`.
    about: String,
    http: Http,
    upsert: Route,
    delete: Route,
    /// Deletes go where other records go.
    shares_url: bool,
    /// Deletes have their own method or path.
    tells_by_route: bool,
    headers: Headers,
    shape: RequestShape,
    results: Option<Results>,
    signer: Option<Signer>,
    statuses: Statuses,
    limits: Limits,
    asked_batch_size: Option<usize>,
    /// Scheme, host and port, and what follows as written: references unresolved.
    place: String,
}

impl WebhookDestination {
    fn route(&self, op: Op) -> &Route {
        if op == Op::Delete { &self.delete } else { &self.upsert }
    }

    fn tells_operation(&self) -> bool {
        self.tells_by_route
            || self.shape.tells_operation()
            || self.upsert.url.template.tells_operation()
            || self.headers.templated.iter().any(|(_, template)| template.tells_operation())
    }

    /// The headers of a request.
    fn headers(&self, facts: &RecordFacts<'_>, has_body: bool) -> Result<HeaderMap, template::TemplateMisfit> {
        let mut headers = HeaderMap::new();
        if has_body {
            headers.insert("content-type", HeaderValue::from_static(self.shape.content_type()));
        }
        headers.extend(self.headers.fixed.clone());
        for (name, template) in &self.headers.templated {
            let mut value = HeaderValue::from_bytes(template.render(facts).as_bytes()).map_err(|_| {
                ("invalid_in_header", format!("a value cannot stand in header `{name}`: it holds a control character"))
            })?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        let id = HeaderValue::from_str(facts.id)
            .map_err(|_| ("invalid_in_header", "the webhook-id is not plain text".to_owned()))?;
        headers.insert("webhook-id", id.clone());
        headers.insert("idempotency-key", id);
        Ok(headers)
    }

    fn sign(&self, id: &str, body: &[u8], headers: &mut HeaderMap) {
        let Some(signer) = &self.signer else { return };
        let timestamp = self.http.now().0 / 1000;
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        // Base64 and commas always are a header value.
        if let Ok(signature) = HeaderValue::from_str(&signer.sign(id, timestamp, body)) {
            headers.insert("webhook-signature", signature);
        }
    }

    /// True for a request that deletes what its URL names: the receiver not knowing it means that it is done.
    fn addresses_one(&self, route: &Route) -> bool {
        route.method == Method::DELETE && route.url.template.fields().next().is_some()
    }
}

#[async_trait]
impl Destination for WebhookDestination {
    fn limits(&self) -> Limits {
        self.limits
    }

    async fn place(&self) -> Result<String, Fault> {
        Ok(self.place.clone())
    }

    async fn preflight(&self, need: PreflightRequest<'_>) -> Result<DestinationSchema, Fault> {
        let mut findings: Vec<Finding> = preflight::findings(self, need);
        findings.extend(self.http.look_at(&self.upsert.url.probe, &self.about).await?);
        Ok(DestinationSchema { fields: None, findings })
    }

    async fn write(&self, batch: &WriteBatch<'_>) -> Result<Vec<Outcome>, WriteError> {
        let route = self.route(batch.op);
        if route.single && batch.records.len() > 1 {
            return Err(WriteError::Refused {
                code: "one_record_per_request".into(),
                detail: "a request has a place for one record only".into(),
            });
        }
        let ids: Vec<String> = batch.records.iter().map(|r| r.stable_id(batch.sync)).collect();
        let id = encode::request_id(&ids);
        let record = batch.records.first().filter(|_| route.single).map(|r| (batch.layout, r.fields));
        let facts = RecordFacts { sync: batch.sync, operation: batch.op, id: &id, record };
        let has_body = !(route.single && route.method == Method::DELETE);
        let prepared = route.url.render(&facts).and_then(|url| Ok((url, self.headers(&facts, has_body)?)));
        let (url, mut headers) = match prepared {
            Ok(prepared) => prepared,
            Err((code, detail)) => return Ok(vec![Outcome::rejected(code, detail); batch.records.len()]),
        };
        let body = if has_body { encode::body(&self.shape, batch, &ids, &id) } else { Vec::new() };
        self.sign(&id, &body, &mut headers);

        let reply = self.http.send(HttpRequest { method: route.method.clone(), url, headers, body }).await?;
        let redactor = self.http.redactor();
        let gone = batch.op == Op::Delete && matches!(reply.status, 404 | 410) && self.addresses_one(route);
        if gone && !self.statuses.permanent.contains(&reply.status) && !self.statuses.retry.contains(&reply.status) {
            return Ok(vec![Outcome::accepted(Effect::Deleted); batch.records.len()]);
        }
        let meant = self.statuses.success.contains(&reply.status);
        let mut verdict = classify_status(reply.status, reply.header("retry-after"), reply.clock(), &self.statuses);
        if verdict == StatusMeaning::Ok {
            return classify::outcomes(&reply, &ids, batch.op, self.results.as_ref(), meant, redactor);
        }
        // Where the URL names one record, that there is none is about that record.
        if verdict == StatusMeaning::Misconfigured
            && matches!(reply.status, 404 | 410)
            && route.url.template.fields().next().is_some()
        {
            verdict = StatusMeaning::Refused;
        }
        let code = serde_json::from_slice(&reply.body)
            .ok()
            .and_then(|json| detail::code(&json))
            .map(|code| redactor.hide(&code));
        let code = code.unwrap_or_else(|| format!("http_{}", reply.status));
        let said = detail::detail(&reply.body, redactor);
        verdict.error(&reply, code, said).map_or_else(|| Ok(vec![Outcome::unmentioned(); batch.records.len()]), Err)
    }
}

#[cfg(test)]
mod tests;
