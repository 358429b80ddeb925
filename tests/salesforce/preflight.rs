//! What is found before anything is sent.

use domain::destination_schema::DestinationSchema;
use domain::mode::Mode;
use domain::ports::PreflightRequest;
use serde_json::json;

use crate::rig::{open, start};

async fn schema(object: &str, mode: Mode, fields: &[(&str, bool)]) -> DestinationSchema {
    let double = start().await;
    let fields: Vec<(String, bool)> =
        fields.iter().map(|(name, identifier)| ((*name).to_owned(), *identifier)).collect();
    open(&double, object, json!({}), json!({}))
        .await
        .preflight(PreflightRequest { mode, fields: &fields })
        .await
        .unwrap()
}

/// The findings as one text.
async fn findings(object: &str, mode: Mode, fields: &[(&str, bool)]) -> String {
    schema(object, mode, fields).await.findings.iter().map(|f| format!("{f}\n")).collect()
}

#[tokio::test]
async fn fields_are_described() {
    let schema =
        schema("Contact", Mode::Upsert, &[("Ext__c", true), ("LastName", false), ("Account.Code__c", false)]).await;
    assert_eq!(schema.findings, []);
    assert_eq!(schema.equality("Ext__c"), domain::equality::Equality::IgnoresCase);
    let fields = schema.fields.unwrap();
    let field = |name: &str| fields.iter().find(|f| f.name == name).unwrap();
    assert!(field("LastName").required && field("LastName").max_length == Some(80));
    assert!(field("Formula__c").read_only && field("Id").read_only && !field("Active__c").required);
    assert_eq!(field("Score__c").precision, Some((8, 2)));
    assert_eq!(field("Tier__c").one_of, Some(vec!["gold".to_owned(), "silver".to_owned()]));
    assert_eq!(field("Account.Code__c").max_length, Some(20), "a lookup is as its parent's external id");
}

#[tokio::test]
async fn every_mistake_has_its_finding() {
    let ok = ("Ext__c", true);
    for (object, mode, fields, part) in [
        ("Contakt", Mode::Upsert, &[ok][..], "did you mean `Contact`?"),
        ("Contact", Mode::Upsert, &[("LastName", true)], "it is not an external id"),
        ("Contact", Mode::Upsert, &[("Id", true)], "use mode update"),
        ("Contact", Mode::Mirror, &[("Ext__c", true), ("Email", true)], "exactly one field"),
        ("Contact", Mode::Update, &[("LastName", false)], "0 identifiers"),
        ("Contact", Mode::Upsert, &[ok, ("Account.Cod__c", false)], "did you mean `Code__c`?"),
        ("Contact", Mode::Upsert, &[ok, ("Account.Name", false)], "`Name` of Account is not an external id"),
        ("Contact", Mode::Upsert, &[ok, ("Acount.Code__c", false)], "did you mean `Account.Code__c`?"),
        ("Contact", Mode::Upsert, &[ok, ("What.Code__c", false)], "name which, as `Account:What.Code__c`"),
        ("Contact", Mode::Upsert, &[ok, ("Lead:What.Code__c", false)], "never to Lead"),
    ] {
        let found = findings(object, mode, fields).await;
        assert!(found.contains(part), "{object} {mode} {fields:?}: `{part}` is not in: {found}");
    }
    for (mode, fields) in [
        (Mode::Update, &[("Id", true)][..]),
        (Mode::Update, &[ok]),
        (Mode::Append, &[("LastName", false)]),
        (Mode::Upsert, &[ok, ("Account:What.Code__c", false)]),
    ] {
        assert_eq!(findings("Contact", mode, fields).await, "", "{mode} {fields:?}");
    }
}
