//! What opening says of settings, without a server.

use std::path::Path;

use async_trait::async_trait;
use domain::config::Reference;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::ports::{Destination as _, OpenArgs, SystemClock};
use domain::sync::Target;
use serde_json::{Value, json};

use super::HubSpotDestination;

struct Secrets;

#[async_trait]
impl SecretSource for Secrets {
    async fn get(&self, reference: &Reference) -> Result<String, Fault> {
        match reference {
            Reference::Env(name) if name == "TOKEN" => Ok("planted-secret".into()),
            other => Err(Fault::new(Code::SecretMissing, format!("{other} is not there."))),
        }
    }
}

async fn open(config: Value, object: &str, options: Value) -> Result<HubSpotDestination, Fault> {
    let target =
        Target { connection: "crm".into(), object: object.into(), options: options.as_object().unwrap().clone() };
    HubSpotDestination::open(
        OpenArgs {
            name: "crm",
            config: &config,
            folder: Path::new("."),
            secrets: &Secrets,
            clock: &SystemClock::shared(),
        },
        &target,
    )
    .await
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_when_opened() {
    let token = "${env:TOKEN}";
    for (config, object, options, part) in [
        (json!({}), "contacts", json!({}), "either `token`"),
        (json!({ "token": "planted-secret" }), "contacts", json!({}), "must be a reference"),
        (json!({ "token": "${env:OTHER}" }), "contacts", json!({}), "${env:OTHER}"),
        (json!({ "token": token }), " ", json!({}), "destination.object is empty"),
        (json!({ "token": token, "version": "v4" }), "contacts", json!({}), "neither `v3` nor a date"),
        (json!({ "token": token, "version": "2026-9x" }), "contacts", json!({}), "neither `v3` nor a date"),
        (json!({ "token": token, "batch_size": 101 }), "contacts", json!({}), "1 to 100"),
        (json!({ "token": token, "timezone": "Mars/Olympus" }), "contacts", json!({}), "no IANA time zone"),
        (json!({ "token": token, "url": "ftp://h.test" }), "contacts", json!({}), "`url` is not valid"),
        (json!({ "token": token, "rate": { "requests": 0, "per": "1s" } }), "contacts", json!({}), "`rate`"),
        (json!({ "token": token, "retries": 3 }), "contacts", json!({}), "unknown field `retries`"),
        (
            json!({ "token": token, "oauth": { "client_id": "c", "client_secret": token, "refresh_token": token } }),
            "contacts",
            json!({}),
            "either `token`",
        ),
        (
            json!({ "token": token }),
            "contacts",
            json!({ "associations": [{ "field": "a", "to": "companies" }] }),
            "missing field `by`",
        ),
    ] {
        let fault = open(config.clone(), object, options).await.unwrap_err();
        let text = format!("{fault} {fault:?}");
        assert!(text.contains(part), "{config}: `{part}` is not in: {text}");
        assert!(!text.contains("planted"), "{text}");
    }
}

#[tokio::test]
async fn addresses_follow_the_version() {
    for (version, paths) in [
        (
            "v3",
            [
                "/crm/v3/objects/p1_x/batch/upsert",
                "/crm/v3/properties/p1_x",
                "/crm/v3/schemas/p1_x",
                "/crm/v4/associations/p1_x/companies/labels",
            ],
        ),
        (
            "2026-09",
            [
                "/crm/objects/2026-09/p1_x/batch/upsert",
                "/crm/properties/2026-09/p1_x",
                "/crm-object-schemas/2026-09/schemas/p1_x",
                "/crm/associations/2026-09/p1_x/companies/labels",
            ],
        ),
    ] {
        let hubspot = open(json!({ "token": "${env:TOKEN}", "version": version }), "p1_x", json!({})).await.unwrap();
        let api = &hubspot.api;
        let got = [
            api.batch("p1_x", "upsert"),
            api.properties("p1_x"),
            api.schema("p1_x"),
            api.associations("p1_x", "companies", "labels"),
        ];
        assert_eq!(got, paths, "{version}");
        assert_eq!(hubspot.limits().rate.map(|r| r.requests), Some(98));
        assert!(!format!("{hubspot:?}").contains("planted"));
    }
}
