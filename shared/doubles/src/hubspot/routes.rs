//! Which request means what.

use serde_json::{Value, json};

use super::batch::BatchOperation;
use super::gate::{InjectedFault, ReceivedRequest, error};
use super::portal::Portal;
use crate::server::{DoubleReply, DoubleRequest};

/// The versions by date that are answered.
const DATES: [&str; 2] = ["2026-03", "2026-09"];
/// The dated version that lists no 207.
const WITHOUT_207: &str = "2026-09";

impl Portal {
    /// The answer to a request, noted.
    pub(super) fn route(&mut self, request: &DoubleRequest) -> DoubleReply {
        let body = request.json().unwrap_or_default();
        let path = request.segments();
        let reply = self.answer_to(request, &path, &body);
        let named = path.iter().map(String::as_str).find(|part| matches!(*part, "properties" | "schemas"));
        let operation = named.or(path.last().map(String::as_str)).unwrap_or_default().to_owned();
        let inputs = body.get("inputs").and_then(Value::as_array).map_or(0, Vec::len);
        let status = if reply.cut { 0 } else { reply.status };
        self.requests.push(ReceivedRequest {
            at: request.at,
            method: request.method.clone(),
            path: request.path.clone(),
            operation,
            inputs,
            body,
            status,
        });
        self.gate.headers(reply)
    }

    fn answer_to(&mut self, request: &DoubleRequest, path: &[String], body: &Value) -> DoubleReply {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let ["oauth", version, "token"] = path[..] {
            return if version == "v1" || DATES.contains(&version) {
                self.gate.mint(request)
            } else {
                DoubleReply::status(404)
            };
        }
        if let Some(refused) = self.gate.refuse(request) {
            return refused;
        }
        let (version, what) = match path[..] {
            // The document of the account API: GET of the details, which every token may ask.
            ["account-info", version, "details"]
                if request.method == "GET" && (version == "v3" || DATES.contains(&version)) =>
            {
                return DoubleReply::json(
                    200,
                    &json!({ "portalId": self.id, "accountType": "STANDARD", "timeZone": "UTC", "companyCurrency": "EUR" }),
                );
            }
            ["crm", "v3", ref what @ ..] => ("v3", what.to_vec()),
            ["crm", "v4", "associations", ref rest @ ..] => ("v3", [&["associations"], rest].concat()),
            ["crm", what, date, ref rest @ ..] if DATES.contains(&date) => (date, [&[what], rest].concat()),
            ["crm-object-schemas", date, ref rest @ ..] if DATES.contains(&date) => (date, rest.to_vec()),
            _ => return DoubleReply::text(404, "text/html", "<html><body>Not found</body></html>"),
        };
        let partial = if version == WITHOUT_207 { 200 } else { 207 };
        match (request.method.as_str(), &what[..]) {
            ("GET", ["properties", object]) => self.properties(object),
            ("GET", ["schemas", object]) => self.schema(object),
            ("GET", ["associations", from, to, "labels"]) => self.labels(from, to),
            ("POST", ["objects", object, "batch", operation]) => {
                self.faulty(|portal| portal.batch(object, operation, body, partial))
            }
            ("POST", ["associations", from, to, "batch", "create"]) => match (self.resolve(from), self.resolve(to)) {
                (Some(from), Some(to)) => self.faulty(|portal| portal.link(&from, &to, body, partial)),
                _ => unknown_object(from),
            },
            _ => DoubleReply::text(404, "text/html", "<html><body>Not found</body></html>"),
        }
    }

    fn batch(&mut self, object: &str, operation: &str, body: &Value, partial: u16) -> DoubleReply {
        let Some(object) = self.resolve(object) else { return unknown_object(object) };
        match operation {
            "upsert" => self.write(&object, BatchOperation::Upsert, body, partial),
            "update" => self.write(&object, BatchOperation::Update, body, partial),
            "create" => self.write(&object, BatchOperation::Create, body, partial),
            "archive" => self.archive(&object, body),
            "read" => self.read(&object, body, partial),
            _ => DoubleReply::status(404),
        }
    }

    /// Does something, unless it is to fail.
    fn faulty(&mut self, work: impl FnOnce(&mut Self) -> DoubleReply) -> DoubleReply {
        match self.gate.fault() {
            None => work(self),
            Some(InjectedFault::Status(status)) => {
                error(status, "INTERNAL_ERROR", "There was a problem with the request.")
            }
            Some(InjectedFault::RetryAfter(status, seconds)) => {
                error(status, "INTERNAL_ERROR", "Try again later.").with("retry-after", seconds)
            }
            Some(InjectedFault::EmptyResults) => {
                DoubleReply::json(200, &json!({ "status": "COMPLETE", "results": [], "errors": [] }))
            }
            Some(InjectedFault::Html) => DoubleReply::text(
                502,
                "text/html",
                "<html><head><title>502 Bad Gateway</title></head><body></body></html>",
            ),
            Some(InjectedFault::Cut) => DoubleReply::cut(),
            Some(InjectedFault::CutAfter) => {
                work(self);
                DoubleReply::cut()
            }
            Some(InjectedFault::LastResultMissing) => {
                let mut reply = work(self);
                let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
                if let Some(results) = body.get_mut("results").and_then(Value::as_array_mut) {
                    results.pop();
                    reply.body = body.to_string().into();
                }
                reply
            }
        }
    }

    fn properties(&self, object: &str) -> DoubleReply {
        match self.resolve(object).and_then(|name| self.objects.get(&name)) {
            Some(object) => DoubleReply::json(
                200,
                &json!({ "results": object.properties.values().map(|p| p.definition()).collect::<Vec<_>>() }),
            ),
            None => unknown_object(object),
        }
    }

    fn schema(&self, name: &str) -> DoubleReply {
        match self.resolve(name).and_then(|name| Some((self.objects.get(&name)?, name))) {
            Some((object, name)) => DoubleReply::json(
                200,
                &json!({ "id": object.type_id, "name": name, "labels": {}, "associations": [], "fullyQualifiedName": name, "objectTypeId": object.type_id, "requiredProperties": object.required,
                    "primaryDisplayProperty": object.properties.keys().next(), "properties": [] }),
            ),
            None => unknown_object(name),
        }
    }

    fn labels(&self, from: &str, to: &str) -> DoubleReply {
        let (Some(from), Some(to)) = (self.resolve(from), self.resolve(to)) else { return unknown_object(from) };
        let usual = match (from.as_str(), to.as_str()) {
            ("contacts", "companies") => 279,
            ("companies", "contacts") => 280,
            ("deals", "companies") => 341,
            ("deals", "contacts") => 3,
            _ => 19,
        };
        let primary = json!({ "category": "HUBSPOT_DEFINED", "typeId": 1, "label": "Primary" });
        DoubleReply::json(
            200,
            &json!({ "results": [primary, { "category": "HUBSPOT_DEFINED", "typeId": usual, "label": null }] }),
        )
    }
}

fn unknown_object(name: &str) -> DoubleReply {
    error(400, "VALIDATION_ERROR", &format!("Unable to infer object type from: {name}"))
}
