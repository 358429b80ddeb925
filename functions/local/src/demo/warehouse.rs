//! `sluice demo --warehouse NAME`: the demo's customers are read from a double of a warehouse, which holds them in a table and
//! speaks the service's wire format, in this process. Nothing is read from the service itself.

use std::path::Path;

use domain::fault::{Code, Fault};
use doubles::athena::{AthenaDouble, AthenaWorkgroup};
use doubles::bigquery::{BigQueryDouble, BigQueryProject};
use doubles::databricks::{DatabricksDouble, DatabricksWorkspace};
use doubles::redshift::{RedshiftDouble, RedshiftWorkgroup};
use doubles::s3::{S3Buckets, S3Double};
use doubles::snowflake::{SnowflakeAccount, SnowflakeDouble};
use doubles::sql::{Database, SqlValue};
use rusqlite::Connection;

use crate::cli::DemoWarehouse;

/// What the demo's doubles take for a secret.
const SECRET: &str = "demo-secret";

/// A double of a warehouse, running.
pub(super) enum WarehouseDouble {
    Snowflake(SnowflakeDouble),
    BigQuery(BigQueryDouble),
    Databricks(DatabricksDouble),
    Redshift(RedshiftDouble),
    Athena(AthenaDouble, S3Double),
}

/// Starts one, without a table yet.
pub(super) fn start(name: DemoWarehouse) -> Result<WarehouseDouble, Fault> {
    let broken = |e: rusqlite::Error| Fault::new(Code::Internal, format!("The demo's warehouse cannot be made: {e}."));
    let failed = |e: std::io::Error| {
        Fault::new(Code::Internal, format!("The demo's warehouse cannot listen on 127.0.0.1: {e}."))
    };
    Ok(match name {
        DemoWarehouse::Snowflake => {
            let mut account = SnowflakeAccount::new("demo-account").map_err(broken)?;
            account.tokens.insert(SECRET.into());
            WarehouseDouble::Snowflake(SnowflakeDouble::start(account).map_err(failed)?)
        }
        DemoWarehouse::Bigquery => {
            let mut project = BigQueryProject::new("demo-project").map_err(broken)?;
            project.tokens.insert(SECRET.into());
            WarehouseDouble::BigQuery(BigQueryDouble::start(project).map_err(failed)?)
        }
        DemoWarehouse::Databricks => {
            let mut workspace = DatabricksWorkspace::new("demo0123").map_err(broken)?;
            workspace.tokens.insert(SECRET.into());
            WarehouseDouble::Databricks(DatabricksDouble::start(workspace).map_err(failed)?)
        }
        DemoWarehouse::Redshift => {
            let mut workgroup = RedshiftWorkgroup::new("demo").map_err(broken)?;
            workgroup.secret_key = SECRET.into();
            WarehouseDouble::Redshift(RedshiftDouble::start(workgroup).map_err(failed)?)
        }
        DemoWarehouse::Athena => {
            let mut buckets = S3Buckets::new(&["demo-results"]);
            buckets.secret_key = SECRET.into();
            let s3 = S3Double::start(buckets).map_err(failed)?;
            let mut workgroup = AthenaWorkgroup::new("primary", s3.buckets().clone()).map_err(broken)?;
            workgroup.secret_key = SECRET.into();
            WarehouseDouble::Athena(AthenaDouble::start(workgroup).map_err(failed)?, s3)
        }
    })
}

impl WarehouseDouble {
    /// What it is called.
    pub(super) fn title(&self) -> &'static str {
        match self {
            WarehouseDouble::Snowflake(_) => "Snowflake",
            WarehouseDouble::BigQuery(_) => "BigQuery",
            WarehouseDouble::Databricks(_) => "Databricks",
            WarehouseDouble::Redshift(_) => "Redshift",
            WarehouseDouble::Athena(..) => "Athena",
        }
    }

    /// Its connection as a person writes it, under the name `warehouse`.
    pub(super) fn connection(&self) -> String {
        let double = "# the demo's double; leave it out for the service itself";
        match self {
            WarehouseDouble::Snowflake(service) => format!(
                "warehouse:\n  type: snowflake\n  account: demo-account\n  token: ${{env:SNOWFLAKE_TOKEN}}     # or a key pair\n  role: READER\n  \
                 warehouse: WH\n  url: {}      {double}\n  allow_private: true\n",
                service.url()
            ),
            WarehouseDouble::BigQuery(service) => format!(
                "warehouse:\n  type: bigquery\n  project: demo-project\n  access_token: ${{env:BIGQUERY_TOKEN}}     # or service_account\n  \
                 url: {}      {double}\n  allow_private: true\n",
                service.url()
            ),
            WarehouseDouble::Databricks(service) => format!(
                "warehouse:\n  type: databricks\n  host: {}      # the demo's double; yours is dbc-….cloud.databricks.com\n  \
                 warehouse: /sql/1.0/warehouses/demo0123\n  token: ${{env:DATABRICKS_TOKEN}}     # or oauth\n  allow_private: true\n",
                service.url()
            ),
            WarehouseDouble::Redshift(service) => format!(
                "warehouse:\n  type: redshift\n  workgroup: demo\n  database: dev\n  region: eu-west-1\n  \
                 credentials: {{ access_key_id: AKIDEXAMPLE, secret_access_key: \"${{env:AWS_SECRET}}\" }}     # without: the role of the process\n  \
                 url: {}      {double}\n  allow_private: true\n",
                service.url()
            ),
            WarehouseDouble::Athena(service, s3) => format!(
                "warehouse:\n  type: athena\n  output: s3://demo-results/sluicegate/\n  region: eu-west-1\n  \
                 credentials: {{ access_key_id: AKIDEXAMPLE, secret_access_key: \"${{env:AWS_SECRET}}\" }}     # without: the role of the process\n  \
                 url: {}      {double}\n  s3_url: {}   # and this\n  allow_private: true\n",
                service.url(),
                s3.url()
            ),
        }
    }

    /// The secret that the connection refers to: its variable, and its value.
    pub(super) fn secret(&self) -> (&'static str, &'static str) {
        let variable = match self {
            WarehouseDouble::Snowflake(_) => "SNOWFLAKE_TOKEN",
            WarehouseDouble::BigQuery(_) => "BIGQUERY_TOKEN",
            WarehouseDouble::Databricks(_) => "DATABRICKS_TOKEN",
            WarehouseDouble::Redshift(_) | WarehouseDouble::Athena(..) => "AWS_SECRET",
        };
        (variable, SECRET)
    }

    /// Fills its table of customers with those of the sample.
    pub(super) fn load(&self, sample: &Path) -> Result<(), Fault> {
        let failed = |e: rusqlite::Error| {
            Fault::new(Code::Internal, format!("The demo's customers cannot be loaded into {}: {e}.", self.title()))
        };
        let rows = rows(sample).map_err(failed)?;
        let table = |database: &Database, name: &str, columns: [(&str, &str); 7]| database.table(name, &columns, rows);
        match self {
            WarehouseDouble::Snowflake(double) => {
                let columns = [
                    ("ID", "NUMBER(18,0)"),
                    ("EMAIL", "VARCHAR"),
                    ("FIRST_NAME", "VARCHAR"),
                    ("PLAN", "VARCHAR"),
                    ("LIFETIME_VALUE", "NUMBER(12,2)"),
                    ("SIGNED_UP", "DATE"),
                    ("PROFILE", "VARIANT"),
                ];
                table(&double.account().database, "CUSTOMERS", columns)
            }
            WarehouseDouble::BigQuery(double) => table(
                &double.project().database,
                "customers",
                columns(["number(18,0)", "string", "numeric(12,2)", "date", "json"]),
            ),
            WarehouseDouble::Databricks(double) => table(
                &double.workspace().database,
                "customers",
                columns(["number(18,0)", "string", "decimal(12,2)", "date", "json"]),
            ),
            WarehouseDouble::Redshift(double) => table(
                &double.workgroup().database,
                "customers",
                columns(["number(18,0)", "varchar", "numeric(12,2)", "date", "super"]),
            ),
            WarehouseDouble::Athena(double, _) => table(
                &double.workgroup().database,
                "customers",
                columns(["number(18,0)", "varchar", "decimal(12,2)", "date", "json"]),
            ),
        }
        .map_err(failed)
    }
}

/// The columns, by the types of the key, texts, the value, the date and the document.
fn columns(types: [&'static str; 5]) -> [(&'static str, &'static str); 7] {
    let [key, text, value, date, document] = types;
    [
        ("id", key),
        ("email", text),
        ("first_name", text),
        ("plan", text),
        ("lifetime_value", value),
        ("signed_up", date),
        ("profile", document),
    ]
}

/// The sample's customers.
fn rows(sample: &Path) -> rusqlite::Result<Vec<Vec<SqlValue>>> {
    let connection = Connection::open(sample)?;
    let sql = "select id, email, first_name, plan, lifetime_value, signed_up, profile from customers";
    let mut prepared = connection.prepare(sql)?;
    let typed =
        |kind: &str, text: Option<String>| text.and_then(|text| SqlValue::of(kind, &text)).unwrap_or(SqlValue::Null);
    let read = prepared.query_map([], |row| {
        let value: Option<f64> = row.get(4)?;
        Ok(vec![
            row.get::<_, Option<i64>>(0)?.map_or(SqlValue::Null, SqlValue::Int),
            typed("text", row.get(1)?),
            typed("text", row.get(2)?),
            typed("text", row.get(3)?),
            typed("number(12,2)", value.map(|value| format!("{value:.2}"))),
            typed("date", row.get(5)?),
            typed("json", row.get(6)?),
        ])
    })?;
    read.collect()
}
