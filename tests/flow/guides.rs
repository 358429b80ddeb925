//! What the guides tell people to do, done: the example project as it is, with the doubles in place of the services.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use doubles::bigquery::{BigQueryDouble, BigQueryProject};
use doubles::hubspot::HubSpotDouble;
use doubles::hubspot::property::{PropertyDefinition, PropertyType};
use doubles::snowflake::{SnowflakeAccount, SnowflakeDouble};
use doubles::sql::SqlValue;
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};
use support::binary::{Said, sluice};
use support::openssl::{openssl, rsa_key};

/// A copy of an example, its connections changed so that they lead to doubles.
struct Guide {
    folder: tempfile::TempDir,
    secrets: Vec<(&'static str, String)>,
}

impl Guide {
    fn copy(example: &str, change: impl Fn(&mut Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
        std::fs::create_dir(folder.path().join("syncs")).unwrap();
        for file in std::fs::read_dir(from.join("syncs")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), folder.path().join("syncs").join(file.file_name())).unwrap();
        }
        let text = std::fs::read_to_string(from.join("connections.yaml")).unwrap();
        let mut connections: Value = serde_saphyr::from_str(&text).unwrap();
        change(&mut connections);
        std::fs::write(folder.path().join("connections.yaml"), connections.to_string()).unwrap();
        Self { folder, secrets: Vec::new() }
    }

    fn sluice(&self, arguments: &[&str]) -> Said {
        let folder: &Path = self.folder.path();
        let mut command = Command::new(sluice());
        command.arg("--project").arg(folder).args(arguments).env_remove("RUST_LOG");
        for name in
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"]
        {
            command.env_remove(name);
        }
        command.envs(self.secrets.iter().map(|(name, value)| (*name, value.as_str())));
        Said::of(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

#[test]
fn bigquery_by_the_aws_role_without_a_key() {
    let audience = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/aws";
    let account = "sluice@acme.iam.gserviceaccount.com";
    let mut project = BigQueryProject::new("acme").unwrap();
    project.federation = Some((audience.into(), account.into()));
    let columns = [
        ("customer_id", "int64"),
        ("email", "string"),
        ("first_name", "string"),
        ("lifetime_value", "numeric(12,2)"),
        ("tier", "string"),
        ("updated_at", "timestamptz"),
    ];
    let row = |n: i64| {
        let decimal = SqlValue::Decimal(format!("{n}.50"));
        let at = SqlValue::Timestamp(jiff::Timestamp::from_second(1_700_000_000 + n).unwrap());
        vec![
            SqlValue::Int(n),
            SqlValue::text(format!("c{n}@crm.test")),
            SqlValue::text("Ada"),
            decimal,
            SqlValue::text("Pro"),
            at,
        ]
    };
    project.database.table("acme.marts.crm_contacts", &columns, (1..=30).map(row).collect()).unwrap();
    let bigquery = BigQueryDouble::start(project).unwrap();
    let hubspot = HubSpotDouble::start().unwrap();
    let properties = [("customer_id", PropertyType::Text, true), ("lifetime_value", PropertyType::Number, false)];
    for (name, kind, unique) in properties {
        let property = PropertyDefinition::new(name, kind);
        hubspot.portal().define("contacts", if unique { property.unique() } else { property });
    }
    let plan = PropertyDefinition::new("plan", PropertyType::Select).options(&[("free", "Free"), ("pro", "Pro")]);
    hubspot.portal().define("contacts", plan);
    let mut guide = Guide::copy("customers-to-hubspot", |connections| {
        let identity = json!({ "audience": audience, "service_account": account, "token_url": format!("{}/sts", bigquery.url()), "credentials_url": bigquery.url() });
        connections["warehouse"] = json!({ "type": "bigquery", "project": "acme", "url": bigquery.url(), "allow_private": true, "workload_identity": identity });
        connections["crm"]["url"] = json!(hubspot.url());
        connections["crm"]["allow_private"] = json!(true);
    });
    let file = guide.folder.path().join("syncs/crm-contacts.yaml");
    let sync = std::fs::read_to_string(&file)
        .unwrap()
        .replace("marts.crm_contacts", "acme.marts.crm_contacts")
        .replace("percent: 10", "percent: 100");
    std::fs::write(&file, sync).unwrap();
    guide.secrets = vec![
        ("HUBSPOT_TOKEN", doubles::hubspot::gate::TOKEN.into()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".into()),
        ("AWS_SECRET_ACCESS_KEY", "planted-secret-key".into()),
        ("AWS_SESSION_TOKEN", "planted-session".into()),
        ("AWS_REGION", "eu-west-1".into()),
    ];
    guide.sluice(&["check"]).said(0, &["a full read scans 12.3 MB"]);
    guide.sluice(&["plan", "crm-contacts"]).said(0, &["30", "a full read scans 12.3 MB"]);
    guide.sluice(&["run", "crm-contacts"]).said(0, &["complete"]);
    assert_eq!(hubspot.portal().objects["contacts"].by("customer_id")["7"]["lifetime_value"], "7.5");
    let subject = bigquery.project().subject.clone().unwrap();
    assert!(
        subject.to_string().contains("sts.eu-west-1.amazonaws.com") && !subject.to_string().contains("planted-secret")
    );
    guide.secrets.retain(|(name, _)| !name.starts_with("AWS_"));
    guide.sluice(&["check"]).said(1, &["AWS_ACCESS_KEY_ID is not set"]);
}

#[test]
fn snowflake_to_hubspot() {
    let hubspot = HubSpotDouble::start().unwrap();
    let (pem, public) = rsa_key();
    let encrypted = openssl(&["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:open sesame"], pem.as_bytes());
    let mut account = SnowflakeAccount::new("myorg-myaccount").unwrap();
    account.user("SLUICEGATE", &public);
    account.roles = ["SLUICEGATE_READER".to_owned()].into();
    account.warehouses = ["SLUICEGATE_WH".to_owned()].into();
    account.partition_rows = 100;
    let mut rows = Vec::new();
    {
        let mut portal = hubspot.portal();
        portal.define("contacts", PropertyDefinition::new("lifetime_value", PropertyType::Number));
        let plan = PropertyDefinition::new("plan", PropertyType::Select).options(&[("free", "Free"), ("pro", "Pro")]);
        portal.define("contacts", plan);
        for n in 0..250 {
            let id = portal.add("contacts", &[("email", &format!("c{n}@crm.test"))]);
            let plan = if n % 3 == 0 { "Pro" } else { "Free" };
            rows.push(vec![
                SqlValue::Int(id as i64),
                SqlValue::text(format!("Contact {n}")),
                SqlValue::Decimal(format!("{n}.50")),
                SqlValue::text(plan),
            ]);
        }
    }
    // One that HubSpot does not have.
    rows.push(vec![SqlValue::Int(999_999), SqlValue::text("Nobody"), SqlValue::Null, SqlValue::Null]);
    let columns = [
        ("HUBSPOT_ID", "NUMBER(38,0)"),
        ("FIRST_NAME", "VARCHAR"),
        ("LIFETIME_VALUE", "NUMBER(12,2)"),
        ("PLAN", "VARCHAR"),
    ];
    account.database.table("ANALYTICS.CRM.CONTACTS_ENRICHED", &columns, rows).unwrap();
    let snowflake = SnowflakeDouble::start(account).unwrap();
    let mut guide = Guide::copy("snowflake-to-hubspot", |connections| {
        connections["snowflake"]["url"] = json!(snowflake.url());
        connections["crm"]["url"] = json!(hubspot.url());
        for name in ["snowflake", "crm"] {
            connections[name]["allow_private"] = json!(true);
        }
    });
    guide.secrets = vec![
        ("SNOWFLAKE_KEY", String::from_utf8(encrypted).unwrap()),
        ("SNOWFLAKE_KEY_PASSPHRASE", "open sesame".into()),
        ("HUBSPOT_TOKEN", doubles::hubspot::gate::TOKEN.into()),
    ];
    guide.sluice(&["check"]).said(0, &["contacts-enriched"]);
    guide.sluice(&["plan", "contacts-enriched"]).said(0, &["251"]);
    guide.sluice(&["run", "contacts-enriched"]).said(0, &["complete"]);
    let found = hubspot.portal().objects["contacts"].by("email");
    for (n, plan) in [(0, "pro"), (1, "free"), (249, "pro")] {
        let contact = &found[&format!("c{n}@crm.test")];
        let shown = |name: &str| contact.get(name).map(String::as_str);
        assert_eq!(shown("firstname"), Some(format!("Contact {n}").as_str()));
        assert_eq!(shown("lifetime_value"), Some(format!("{n}.5").as_str()));
        assert_eq!(shown("plan"), Some(plan));
    }
    assert_eq!(hubspot.portal().objects["contacts"].records.len(), 250, "mode update makes no contact");
    hubspot.portal().forget();
    guide.sluice(&["run", "contacts-enriched"]).said(0, &["complete"]);
    assert_eq!(hubspot.portal().count("update"), 0, "nothing changed, so nothing is sent");
    snowflake
        .account()
        .database
        .execute("update \"ANALYTICS.CRM.CONTACTS_ENRICHED\" set FIRST_NAME = 'New' where FIRST_NAME = 'Contact 7'")
        .unwrap();
    guide.sluice(&["run", "contacts-enriched"]).said(0, &["complete"]);
    assert_eq!(hubspot.portal().objects["contacts"].by("email")["c7@crm.test"]["firstname"], "New");
    // Without the grant, the person reads which one to run; nothing is sent.
    snowflake.account().roles.clear();
    guide.sluice(&["run", "contacts-enriched"]).failed(1, &["[warehouse_denied]", "GRANT ROLE SLUICEGATE_READER"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs MariaDB: ./tests/run"]
async fn scores_to_a_product_in_mysql() {
    let (analytics, product) = (support::mysql::database().await, support::mysql::database().await);
    analytics
        .execute(&[
            "create table health_scores (account_id varchar(20), score decimal(5,2), reasons json)",
            "insert into health_scores select concat('Acct-', seq), seq / 2, json_array('login', seq) from seq_1_to_150",
        ])
        .await;
    product
        .execute(&[
            "create table account_scores (account_id varchar(20) collate utf8mb4_unicode_ci primary key, score decimal(5,2), reasons json,
               seen timestamp null)",
            "insert into account_scores (account_id, score, seen) values ('theirs', 1, '2020-01-01'), ('acct-7', 0, '2020-01-01')",
        ])
        .await;
    let guide = Guide::copy("scores-to-product", |connections| {
        for (name, database) in [("warehouse", &analytics), ("product", &product)] {
            connections[name] = database.connection_config();
            connections[name]["type"] = json!("mysql");
        }
    });
    let file = guide.folder.path().join("syncs/scores.yaml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace("marts.health_scores", "health_scores"))
        .unwrap();
    let scores = async || {
        let sql = "select group_concat(account_id, '=', score, coalesce(year(seen), '') order by account_id) from account_scores
                     where account_id in ('theirs', 'acct-1', 'acct-7', 'acct-9', 'acct9')";
        product.connect().await.query_first::<String, _>(sql).await.unwrap().unwrap()
    };
    guide.sluice(&["check"]).said(0, &[]);
    guide.sluice(&["run", "scores"]).said(0, &["complete", "150"]);
    assert_eq!(scores().await, "Acct-1=0.50,acct-7=3.502020,Acct-9=4.50,theirs=1.002020");
    // `Acct9` seems to be `Acct-9` to whoever leaves out what collations may ignore; this one ignores no hyphen.
    analytics.execute(&["insert into health_scores values ('Acct9', 9, '[]')"]).await;
    guide.sluice(&["run", "scores"]).said(0, &["complete"]);
    analytics
        .execute(&[
            "delete from health_scores where account_id = 'Acct-9'",
            "update health_scores set score = 99 where account_id = 'Acct-7'",
            "update health_scores set score = 98, account_id = 'ACCT-1' where account_id = 'Acct-1'",
        ])
        .await;
    guide.sluice(&["run", "scores"]).said(0, &["complete", "keys spelt anew: 1", "3 of 3 sampled records landed"]);
    assert_eq!(scores().await, "Acct-1=98.00,acct-7=99.002020,Acct9=9.00,theirs=1.002020");
    guide.sluice(&["run", "scores"]).said(0, &["complete"]);
}
