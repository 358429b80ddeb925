//! Syncs of models that dbt builds, with dbt itself: two versions build and test the project of tests/dbt on PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::binary::{Said, sluice};
use support::postgres::TestDatabase;

/// A project of dbt and one of Sluicegate beside it.
struct Shop {
    folder: tempfile::TempDir,
    program: PathBuf,
    database: TestDatabase,
}

const CUSTOMERS: &str = "name: customers
model: { warehouse: analytics, dbt: customers }   # what dbt builds
destination: { connection: product, object: customers }
mode: mirror
mapping:
  - { from: customer_id, to: id, identifier: true }
  - { from: email, to: email }
guards: { max_delete_percent: 100 }
";

impl Shop {
    async fn new(program: &Path) -> Self {
        let shop = Self {
            folder: tempfile::tempdir().unwrap(),
            program: program.to_owned(),
            database: support::postgres::database().await,
        };
        for part in ["dbt/models", "dbt/seeds", "syncs"] {
            std::fs::create_dir_all(shop.folder.path().join(part)).unwrap();
        }
        let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dbt");
        for part in ["", "models", "seeds"] {
            for file in std::fs::read_dir(from.join(part)).unwrap().map(Result::unwrap) {
                if file.path().is_file() {
                    let to = shop.folder.path().join("dbt").join(part).join(file.file_name());
                    std::fs::copy(file.path(), to).unwrap();
                }
            }
        }
        let table = "create table customers (id integer primary key, email text, country text)";
        rusqlite::Connection::open(shop.folder.path().join("product.db")).unwrap().execute_batch(table).unwrap();
        shop.connections(|_| ());
        shop.write("syncs/customers.yaml", CUSTOMERS);
        shop
    }

    fn connections(&self, change: impl Fn(&mut Value)) {
        let mut analytics = self.database.connection_config();
        analytics["type"] = json!("postgres");
        let mut connections = json!({
            "analytics": analytics,
            "product": { "type": "sqlite", "path": "product.db" },
            "dbt": { "manifest": "dbt/target/manifest.json", "owner": { "name": "data", "email": "data@shop.test" } },
        });
        change(&mut connections);
        self.write("connections.yaml", &connections.to_string());
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.folder.path().join(file), text).unwrap();
    }

    /// Runs dbt; what it printed, and whether all was well.
    fn dbt(&self, arguments: &[&str]) -> (String, bool) {
        let ran = Command::new(&self.program)
            .args(["--no-use-colors", "--no-send-anonymous-usage-stats"])
            .args(arguments)
            .current_dir(self.folder.path().join("dbt"))
            .env("DBT_PROFILES_DIR", ".")
            .env("SHOP_HOST", &self.database.host)
            .env("SHOP_PORT", self.database.port.to_string())
            .env("SHOP_USER", &self.database.user)
            .env("SHOP_DATABASE", &self.database.name)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (String::from_utf8_lossy(&ran.stdout).into_owned(), ran.status.success())
    }

    fn sluice(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(sluice());
        command.arg("--project").arg(self.folder.path()).args(arguments).env_remove("RUST_LOG");
        Said::of(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn customers(&self) -> Vec<(i64, String, Option<String>)> {
        let connection = rusqlite::Connection::open(self.folder.path().join("product.db")).unwrap();
        let mut statement = connection.prepare("select id, email, country from customers order by id").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// The programs that `tests/run` installs.
#[allow(clippy::expect_used, reason = "without dbt these tests cannot run")]
fn programs() -> Vec<PathBuf> {
    let all = std::env::var("SLUICEGATE_TEST_DBT")
        .expect("SLUICEGATE_TEST_DBT is not set: start these tests with ./tests/run, which installs dbt");
    all.split(':').map(PathBuf::from).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and dbt: ./tests/run"]
async fn a_model_of_dbt_is_read_by_its_name() {
    for program in programs() {
        let shop = Shop::new(&program).await;
        shop.sluice(&["check"]).said(1, &["manifest.json cannot be read", "dbt compile"]);
        // One test of the project fails, on a column that this sync does not use.
        let (said, well) = shop.dbt(&["build"]);
        assert!(!well && said.contains("accepted_values_customers_country"), "{said}");
        shop.sluice(&["check"]).said(0, &["[customer_id], from the primary key that dbt takes"]);
        shop.sluice(&["run", "customers"]).said(0, &["complete"]);
        let of = |id: i64, email: &str| (id, email.to_owned(), None);
        assert_eq!(shop.customers(), [of(1, "ada@crm.test"), of(2, "bob@crm.test"), of(3, "cleo@crm.test")]);
        // A column whose test has failed.
        let mapped = CUSTOMERS.replace("guards:", "  - { from: country, to: country }\nguards:");
        shop.write("syncs/customers.yaml", &mapped);
        let refusal = "the test accepted_values_customers_country__GB__DE of dbt has failed (fail, 1 failures)";
        shop.sluice(&["check"]).said(1, &[refusal]);
        shop.sluice(&["run", "customers"]).failed(4, &[refusal, "Nothing was read", "tests: warn"]);
        shop.connections(|connections| connections["dbt"]["tests"] = json!("warn"));
        shop.sluice(&["check"]).said(0, &["warning", refusal]);
        shop.sluice(&["run", "customers"]).said(0, &["complete"]);
        assert_eq!(shop.customers()[2].2.as_deref(), Some("FR"));
        // Old results say nothing.
        shop.connections(|connections| connections["dbt"]["max_age"] = json!("1ms"));
        shop.sluice(&["check"]).said(0, &["the newest results of dbt are", "max_age: 1ms", refusal]);
        // A command that tests nothing leaves results that say nothing.
        shop.connections(|_| ());
        shop.dbt(&["run"]);
        shop.sluice(&["check"]).said(0, &["did not run", "unique_customers_customer_id"]);
        // Nobody looks.
        shop.write("dbt/target/run_results.json", "{");
        shop.sluice(&["check"]).said(1, &["run_results.json cannot be read"]);
        shop.connections(|connections| connections["dbt"]["tests"] = json!("off"));
        shop.sluice(&["check"]).said(0, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and dbt: ./tests/run"]
async fn every_kind_of_dbt_model_is_found_or_told() {
    for program in programs() {
        let shop = Shop::new(&program).await;
        shop.dbt(&["build"]);
        let named = |model: &str| shop.write("syncs/customers.yaml", &CUSTOMERS.replace("dbt: customers", model));
        let mapped = |model: &str, columns: &str| {
            let id = CUSTOMERS.replace("from: customer_id", "from: id").replace("dbt: customers", model);
            shop.write("syncs/customers.yaml", &id.replace("from: email", columns));
        };
        // Ephemeral, with a key of its own; versions; a seed.
        mapped("dbt: recent", "from: name");
        shop.sluice(&["check"]).said(0, &["ephemeral", "[id], from meta.sluicegate.key"]);
        shop.sluice(&["run", "customers"]).said(0, &["complete"]);
        assert_eq!(shop.customers().len(), 2);
        for (model, kind) in [("orders", "new"), ("shop.orders.v1", "old"), ("orders.v2", "new")] {
            mapped(&format!("dbt: {model}, key: [id]"), "from: kind");
            shop.sluice(&["run", "customers"]).said(0, &["complete"]);
            assert_eq!(shop.customers()[0].1, kind, "{model}");
        }
        mapped("dbt: raw_customers, key: [id]", "from: email");
        shop.sluice(&["run", "customers"]).said(0, &["complete"]);
        // What is not there.
        named("dbt: custmers");
        shop.sluice(&["check"]).said(1, &["Did you mean `customers`?"]);
        mapped("dbt: orders", "from: kind");
        shop.sluice(&["check"]).said(1, &["has no primary key, and the sync names no key"]);
        named("dbt: customers, kye: [id]");
        shop.sluice(&["check"]).said(1, &["line 2", "kye", "did you mean `key`"]);
        named("dbt: customers");
        shop.connections(|connections| connections["analytics"]["database"] = json!("prod"));
        shop.sluice(&["check"]).said(1, &["the manifest is of the database `", "the sync reads the database `prod`"]);
        shop.connections(|connections| connections["analytics"]["type"] = json!("mysql"));
        shop.sluice(&["check"]).said(1, &["the manifest is one of postgres", "a connection of type mysql"]);
        shop.connections(|connections| drop(connections.as_object_mut().unwrap().remove("dbt")));
        shop.sluice(&["check"]).said(1, &["does not say where dbt keeps its manifest"]);
        shop.connections(|connections| connections["dbt"]["manifst"] = json!("x"));
        shop.sluice(&["check"]).failed(1, &["did you mean `manifest`?"]);
        shop.connections(|_| ());
        shop.write(
            "dbt/target/manifest.json",
            "{\"metadata\":{\"dbt_schema_version\":\"https://x/manifest/v9.json\"},\"nodes\":{}}",
        );
        shop.sluice(&["check"]).said(1, &["manifest/v9.json, which is not known here", "dbt 1.8 or newer"]);
        shop.write("dbt/target/manifest.json", "{\"metadata\":");
        shop.sluice(&["check"]).said(1, &["is no artifact of dbt"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL and dbt: ./tests/run"]
async fn exposures_are_written_and_compared() {
    for program in programs() {
        let shop = Shop::new(&program).await;
        shop.dbt(&["build"]);
        let said = shop.sluice(&["dbt", "exposures"]);
        said.said(0, &["sluicegate_customers", "ref('shop', 'customers')"]);
        let file = shop.folder.path().join("dbt/models/sluicegate.yml");
        let check = ["dbt", "exposures", "--check", file.to_str().unwrap()];
        shop.sluice(&check).failed(1, &["is not what `sluice dbt exposures` writes now", "sluice dbt exposures >"]);
        std::fs::write(&file, &said.out).unwrap();
        shop.sluice(&check).said(0, &["up to date: 1 exposures"]);
        // dbt takes the file, and has the exposure depend on the model.
        let (said, well) = shop.dbt(&["parse"]);
        assert!(well, "{said}");
        let manifest = std::fs::read_to_string(shop.folder.path().join("dbt/target/manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let exposure = &manifest["exposures"]["exposure.shop.sluicegate_customers"];
        assert_eq!(exposure["depends_on"]["nodes"], json!(["model.shop.customers"]), "{exposure}");
        assert_eq!(exposure["owner"]["email"], "data@shop.test");
        assert_eq!(exposure["config"]["meta"]["sluicegate"]["columns"]["email"], "email", "{exposure}");
        shop.write("syncs/customers.yaml", &CUSTOMERS.replace("from: email, to: email", "from: email, to: country"));
        shop.sluice(&check).failed(1, &["is not what"]);
        // Versions, and a sync that cannot be read.
        let orders = CUSTOMERS.replace("dbt: customers", "dbt: orders, key: [id]").replace("customer_id", "id");
        shop.write("syncs/customers.yaml", &orders.replace("from: email", "from: kind"));
        let said = shop.sluice(&["dbt", "exposures"]);
        said.said(0, &["ref('shop', 'orders', v=2)"]);
        std::fs::write(&file, &said.out).unwrap();
        let (said, well) = shop.dbt(&["parse"]);
        assert!(well, "{said}");
        shop.write("syncs/broken.yaml", "name: broken\nmodel: { warehouse: analytics, dbt: customers }\n");
        shop.sluice(&["dbt", "exposures"]).failed(1, &["broken.yaml is not valid"]);
        std::fs::remove_file(shop.folder.path().join("syncs/broken.yaml")).unwrap();
        shop.connections(|connections| drop(connections["dbt"].as_object_mut().unwrap().remove("owner")));
        shop.sluice(&check).failed(1, &["names no owner"]);
    }
}
