//! Links to records of other objects.

use domain::mode::{Mode, Op};
use domain::ports::PreflightRequest;
use domain::value::{Type, Value as Cell};
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::gate::InjectedFault;
use serde_json::{Value, json};

use crate::rig::{Records, double, letters, open_with, rejection};

fn company(more: Value) -> Value {
    let mut link = json!({ "field": "company_key", "to": "companies", "by": "crm_id" });
    link.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "associations": [link] })
}

fn contacts(rows: &[(&str, Cell<'static>)]) -> Records {
    let rows: Vec<Vec<Cell<'_>>> = rows.iter().map(|(id, company)| vec![Cell::Text(id), *company]).collect();
    Records::new(&[("crm_id", Type::Text), ("company_key", Type::Text)], &rows)
}

/// The links of the account: contact by `crm_id`, company id, type.
fn links(double: &HubSpotDouble) -> Vec<(String, u64, u64)> {
    let portal = double.portal();
    portal
        .links
        .iter()
        .map(|(from, id, _, to, kind)| (portal.objects[from].records[id]["crm_id"].clone(), *to, *kind))
        .collect()
}

#[tokio::test]
async fn records_are_linked_by_the_others_key() {
    let double = double();
    let [one, two] = ["c1", "c2"].map(|key| double.portal().add("companies", &[("crm_id", key)]));
    let hub = open_with(&double, json!({}), "contacts", company(json!({}))).await;
    let records = contacts(&[
        ("a", Cell::Text("c1")),
        ("b", Cell::Text("c2")),
        ("c", Cell::Null),
        ("d", Cell::Missing),
        ("e", Cell::Text("c1")),
        ("f", Cell::Text("gone")),
    ]);
    assert_eq!(records.requests(&*hub, Op::Upsert), 3, "looking up, writing, linking");
    let outcomes = records.write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(letters(&outcomes), "CCCCCR");
    assert_eq!(rejection(&outcomes[5]).0, "association_not_found");
    assert_eq!(links(&double), [("a".into(), one, 279), ("b".into(), two, 279), ("e".into(), one, 279)]);
    assert!(!double.portal().objects["contacts"].by("crm_id").contains_key("f"), "it is not written without its link");
    records.write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(
        (links(&double).len(), double.portal().count("labels")),
        (3, 1),
        "again changes nothing, and the type is asked for once"
    );
    assert_eq!(contacts(&[("c", Cell::Null)]).requests(&*hub, Op::Upsert), 1);
}

#[tokio::test]
async fn options_name_the_type_and_what_to_do_without_the_other_record() {
    let double = double();
    let one = double.portal().add("companies", &[("crm_id", "c1")]);
    let options = company(json!({ "type_id": 36, "category": "USER_DEFINED", "missing": "ignore" }));
    let hub = open_with(&double, json!({}), "contacts", options).await;
    let outcomes =
        contacts(&[("a", Cell::Text("c1")), ("b", Cell::Text("gone"))]).write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!((letters(&outcomes).as_str(), links(&double)), ("CC", vec![("a".into(), one, 36)]));
    let by_id = company(json!({ "by": "hs_object_id" }));
    let hub = open_with(&double, json!({}), "contacts", by_id).await;
    let rows = [vec![Cell::Text("c"), Cell::Int(i64::try_from(one).unwrap())], vec![Cell::Text("d"), Cell::Int(99)]];
    let outcomes = Records::new(&[("crm_id", Type::Text), ("company_key", Type::Int)], &rows)
        .write(&*hub, Op::Upsert)
        .await
        .unwrap();
    assert_eq!(letters(&outcomes), "CR", "the record is there, and its link is refused for good");
    let (code, detail) = rejection(&outcomes[1]);
    assert!(code == "association_refused" && detail.contains("the records cannot be associated"), "{code} {detail}");
    assert_eq!(links(&double)[1], ("c".into(), one, 279));
}

#[tokio::test]
async fn a_new_record_of_mode_append_carries_its_links() {
    let double = double();
    let one = double.portal().add("companies", &[("crm_id", "c1")]);
    let hub = open_with(&double, json!({}), "contacts", company(json!({}))).await;
    let records = contacts(&[("a", Cell::Text("c1")), ("b", Cell::Null)]);
    assert_eq!(records.requests(&*hub, Op::Append), 2);
    assert_eq!(letters(&records.write(&*hub, Op::Append).await.unwrap()), "CC");
    assert_eq!(
        (
            links(&double),
            double.portal().requests.iter().filter(|r| r.path.contains("associations") && r.method == "POST").count()
        ),
        (vec![("a".into(), one, 279)], 0)
    );
}

/// One link that cannot be made costs the others nothing, whichever way HubSpot says so.
#[tokio::test]
async fn the_link_to_blame_is_found() {
    for whole in [false, true] {
        let double = double();
        let one = double.portal().add("companies", &[("crm_id", "c1")]);
        double.portal().refuses_links_whole = whole;
        let hub = open_with(&double, json!({}), "contacts", company(json!({ "by": "hs_object_id" }))).await;
        let one = i64::try_from(one).unwrap();
        let rows: Vec<Vec<Cell<'_>>> = ["a", "b", "c", "d", "e", "f"]
            .map(|id| vec![Cell::Text(id), Cell::Int(if id == "c" { 1003 } else { one })])
            .into();
        let outcomes = Records::new(&[("crm_id", Type::Text), ("company_key", Type::Int)], &rows)
            .write(&*hub, Op::Upsert)
            .await
            .unwrap();
        assert_eq!(letters(&outcomes), "CCRCCC", "whole: {whole}");
        let (code, detail) = rejection(&outcomes[2]);
        assert!(code == "association_refused" && detail.contains("cannot be associated"), "{code} {detail}");
        assert_eq!(links(&double).len(), 5);
        assert_eq!(double.portal().count("upsert"), 1, "no record is written twice for a link");
    }
}

#[tokio::test]
async fn a_link_that_fails_is_asked_for_again_without_its_record() {
    let double = double();
    double.portal().add("companies", &[("crm_id", "c1")]);
    let hub =
        open_with(&double, json!({ "retry_pause": "1ms" }), "contacts", company(json!({ "by": "hs_object_id" }))).await;
    let id = "101";
    let records = contacts(&[("a", Cell::Text(id)), ("b", Cell::Null)]);
    // The write goes well, the linking after it does not, and then does.
    for fault in [InjectedFault::Status(503), InjectedFault::Cut, InjectedFault::Html] {
        double.portal().links.clear();
        let before = double.portal().count("upsert");
        double.portal().gate.fail_every(2, vec![fault.clone()]);
        let outcomes = records.write(&*hub, Op::Upsert).await.unwrap();
        assert!(
            outcomes.iter().all(|o| matches!(o, domain::outcome::Outcome::Accepted { .. })),
            "{fault:?}: {outcomes:?}"
        );
        assert_eq!((links(&double).len(), double.portal().count("upsert") - before), (1, 1), "{fault:?}");
        double.portal().gate.recover();
    }
    // An answer that says nothing of the link leaves it to the next attempt.
    double.portal().links.clear();
    double.portal().gate.fail_every(2, vec![InjectedFault::EmptyResults]);
    let outcomes = records.write(&*hub, Op::Upsert).await.unwrap();
    assert_eq!(&letters(&outcomes)[..1], "T", "{outcomes:?}");
    double.portal().gate.recover();
    assert!(letters(&records.write(&*hub, Op::Upsert).await.unwrap()).starts_with('U'));
    assert_eq!(links(&double).len(), 1);
}

#[tokio::test]
async fn preflight_looks_at_both_ends_of_a_link() {
    let double = double();
    let found = async |options: Value, fields: &[(&str, bool)]| {
        let hub = open_with(&double, json!({}), "contacts", options).await;
        let fields: Vec<(String, bool)> = fields.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        let schema = hub.preflight(PreflightRequest { mode: Mode::Upsert, fields: &fields }).await.unwrap();
        let known = schema.fields.unwrap().iter().any(|f| f.name == "company_key");
        (schema.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "), known)
    };
    let both = [("crm_id", true), ("company_key", false)];
    assert_eq!(found(company(json!({})), &both).await, (String::new(), true));
    for (options, fields, part) in [
        (
            company(json!({ "field": "firstname" })),
            &[("crm_id", true), ("firstname", false)][..],
            "is a property of contacts",
        ),
        (company(json!({ "field": "compani_key" })), &both[..], "did you mean `company_key`?"),
        (company(json!({})), &[("company_key", true)], "cannot identify the record"),
        (
            company(json!({ "by": "domain" })),
            &both,
            "does not require unique values (use one of: crm_id, hs_object_id)",
        ),
        (company(json!({ "by": "crm_idd" })), &both, "did you mean `crm_id`?"),
        (company(json!({ "to": "compnies" })), &both, "HubSpot does not describe `compnies`"),
    ] {
        let (text, _) = found(options.clone(), fields).await;
        assert!(text.contains(part), "{options}: `{part}` is not in: {text}");
    }
}
