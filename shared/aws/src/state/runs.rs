//! Runs in the table: `d`, the run as JSON, in the order of their ids.

use domain::fault::Fault;
use domain::run::Run;

use super::DynamoState;
use super::item::{Item, expires, get_text, item_with_ttl, number, text};
use super::table::Range;
use crate::keys::{self, TTL};

/// Days until DynamoDB removes a run.
const DAYS: u64 = 90;

impl DynamoState {
    pub(super) async fn write_run(&self, run: &Run) -> Result<(), Fault> {
        let data = serde_json::to_string(run).map_err(|_| self.table.corrupt(format!("Run {}", run.id)))?;
        let key = keys::run(&run.sync, &run.id);
        if run.status.is_closed() {
            let mut item = item_with_ttl(&key, DAYS);
            item.extend([("d".into(), text(data)), ("e".into(), number(1))]);
            return self.table.put(item).await.map(drop);
        }
        let request = self
            .table
            .update(&key)
            .update_expression("SET d = :d, #ttl = :ttl")
            .condition_expression("attribute_not_exists(e)");
        let request = request.expression_attribute_names("#ttl", TTL);
        let request =
            request.expression_attribute_values(":d", text(data)).expression_attribute_values(":ttl", expires(DAYS));
        // Refused: it is closed, and stays so.
        self.table.write(request).await.map(drop)
    }

    pub(super) async fn read_run(&self, sync: &str, id: &str) -> Result<Option<Run>, Fault> {
        self.table.get(&keys::run(sync, id)).await?.map(|item| self.decode_run(&item)).transpose()
    }

    pub(super) async fn newest_runs(&self, sync: &str, most: usize) -> Result<Vec<Run>, Fault> {
        let items = self.table.query(&keys::runs(sync), Range::All, false, most).await?;
        items.iter().map(|item| self.decode_run(item)).collect()
    }

    fn decode_run(&self, item: &Item) -> Result<Run, Fault> {
        get_text(item, "d").and_then(|data| serde_json::from_str(data).ok()).ok_or_else(|| self.table.corrupt("A run"))
    }
}
