//! What is found before anything is sent, as `sluice check` shows it: each finding with its mapping line.

use domain::mode::Mode;
use domain::ports::PreflightRequest;
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::property::{PropertyDefinition, PropertyType};
use serde_json::{Value, json};

use crate::rig::{double, open, open_with};
use crate::syncs::{line, project};

/// What `sluice check` finds in a sync with these mapping lines.
async fn check(double: &HubSpotDouble, object: &str, mode: &str, lines: Vec<Value>) -> String {
    let mut project = project(double, 3);
    project.sync()["destination"]["object"] = json!(object);
    project.sync()["mode"] = json!(mode);
    project.sync()["mapping"] = Value::Array(lines);
    let engine = project.engine().await.unwrap();
    match engine::plan::prepare::preflight(&engine).await.unwrap() {
        engine::plan::prepare::Preflight::Ready(prepared) => {
            prepared.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        engine::plan::prepare::Preflight::Refused(findings) => {
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
    }
}

fn key(to: &str) -> Value {
    json!({ "from": "id", "to": to, "identifier": true })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_finding_names_its_line_and_what_to_do() {
    let double = double();
    double.portal().define_object(
        "p1_cars",
        &["plate"],
        vec![
            PropertyDefinition::new("plate", PropertyType::Text).unique(),
            PropertyDefinition::new("colour", PropertyType::Text),
        ],
    );
    double.portal().define("contacts", PropertyDefinition::new("internal", PropertyType::Text).read_only());
    let constant = |to: &str, value: Value| json!({ "constant": value, "to": to });
    for (object, mode, lines, part) in [
        (
            "contacts",
            "upsert",
            vec![key("crm_id"), line("name", "fristname")],
            "mapping: name → fristname: the destination has no field `fristname` (did you mean `firstname`?",
        ),
        (
            "contacts",
            "upsert",
            vec![key("crm_id"), line("name", "internal")],
            "mapping: name → internal: field `internal` cannot be written",
        ),
        (
            "contacts",
            "upsert",
            vec![key("crm_id"), constant("vip", json!("perhaps"))],
            "mapping: constant → vip: the constant (text of 7 characters)",
        ),
        ("contacts", "upsert", vec![key("crm_id"), constant("birthday", json!(7))], "mapping: constant → birthday"),
        (
            "contacts",
            "upsert",
            vec![key("crm_id"), constant("lifecyclestage", json!("nobody"))],
            "must be one of subscriber, lead, opportunity, customer",
        ),
        (
            "contacts",
            "upsert",
            vec![key("crm_id"), json!({ "from": "name", "to": "lifecyclestage", "values": { "x": "leed" } })],
            "`values` maps `x` to `leed`, which the destination does not take (did you mean `lead`?",
        ),
        (
            "contacts",
            "upsert",
            vec![key("firstname")],
            "mapping: id → firstname: property `firstname` does not require unique values",
        ),
        ("contacts", "mirror", vec![key("crm_idd")], "did you mean `crm_id`?"),
        (
            "contacts",
            "upsert",
            vec![key("hs_object_id"), line("name", "firstname")],
            "mapping: id → hs_object_id: mode upsert creates records",
        ),
        (
            "contacts",
            "upsert",
            vec![key("email")],
            "mapping: id → email: HubSpot takes no part of a request that upserts by `email`",
        ),
        (
            "contacts",
            "upsert",
            vec![key("crm_id"), json!({ "from": "email", "to": "email", "identifier": true })],
            "HubSpot finds a record by one property",
        ),
        (
            "deals",
            "append",
            vec![line("name", "dealname")],
            "field `dealstage` is required by the destination and not mapped",
        ),
        ("companies", "append", vec![line("name", "city")], "a new company needs `domain` or `name`"),
        (
            "p1_cars",
            "append",
            vec![line("name", "colour")],
            "field `plate` is required by the destination and not mapped",
        ),
        ("p1_bikes", "upsert", vec![key("crm_id")], "object p1_bikes: HubSpot does not describe it"),
    ] {
        let found = check(&double, object, mode, lines).await;
        assert!(found.contains(part), "`{part}` is not in: {found}");
    }
    assert_eq!(double.portal().requests.iter().filter(|r| r.method == "POST").count(), 0, "preflight writes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_that_fits_has_no_findings() {
    let double = double();
    double.portal().define_object(
        "p1_cars",
        &["plate"],
        vec![
            PropertyDefinition::new("plate", PropertyType::Text).unique(),
            PropertyDefinition::new("colour", PropertyType::Text),
        ],
    );
    let label =
        json!({ "from": "name", "to": "lifecyclestage", "values": { "Customer 1": "Lead", "Customer 2": "customer" } });
    for (object, mode, lines) in [
        ("contacts", "upsert", vec![key("crm_id"), line("name", "firstname"), label]),
        ("0-1", "mirror", vec![key("crm_id"), line("n", "score")]),
        ("contacts", "update", vec![key("hs_object_id"), line("name", "firstname")]),
        (
            "contacts",
            "update",
            vec![
                json!({ "from": "email", "to": "email", "identifier": true, "transform": ["lowercase"] }),
                line("name", "firstname"),
            ],
        ),
        ("p1_cars", "upsert", vec![key("plate"), line("name", "colour")]),
        (
            "deals",
            "append",
            vec![
                line("name", "dealname"),
                json!({ "constant": "Closed won", "to": "dealstage" }),
                json!({ "constant": "default", "to": "pipeline" }),
            ],
        ),
        ("companies", "append", vec![line("name", "name")]),
    ] {
        assert_eq!(check(&double, object, mode, lines).await, "", "{object} {mode}");
    }
}

#[tokio::test]
async fn faults_of_asking_are_told_apart() {
    let double = double();
    let fields = [("crm_id".to_owned(), true)];
    let need = PreflightRequest { mode: Mode::Upsert, fields: &fields };
    let code = async |more: Value| {
        open_with(&double, more, "contacts", json!({})).await.preflight(need).await.unwrap_err().code.as_str()
    };
    assert_eq!(code(json!({ "token": "${env:OLD}" })).await, "destination_unauthorized");
    double.portal().gate.quota.daily = Some((250_000, 0));
    let fault = open(&double).await.preflight(need).await.unwrap_err();
    assert!(fault.code.as_str() == "destination_limit" && fault.what.contains("until 20"), "{fault}");
    let refused = open_with(&double, json!({ "allow_private": false }), "contacts", json!({}))
        .await
        .preflight(need)
        .await
        .unwrap();
    assert!(refused.findings[0].to_string().contains("loopback"), "{refused:?}");
}
