//! Reading a warehouse in a test: all of it, or up to its fault.

use std::time::Duration;

use domain::fault::Fault;
use domain::ports::{Query, Warehouse};
use domain::row::RowBatch;
use domain::value::Value;
use futures_util::StreamExt as _;

pub fn query(sql: &str) -> Query {
    Query { sql: sql.into(), ..Query::default() }
}

/// All batches, or the batches before the fault and the fault. Nothing may come after a fault.
pub async fn collect(warehouse: &dyn Warehouse, query: &Query) -> Result<Vec<RowBatch>, (Vec<RowBatch>, Fault)> {
    let mut batches = Vec::new();
    let mut rows = warehouse.rows(query).await.map_err(|fault| (Vec::new(), fault))?;
    while let Some(item) = rows.next().await {
        match item {
            Ok(batch) => batches.push(batch),
            Err(fault) => {
                assert!(rows.next().await.is_none(), "a fault is the last item");
                return Err((batches, fault));
            }
        }
    }
    Ok(batches)
}

pub async fn read(warehouse: &dyn Warehouse, sql: &str) -> Result<Vec<RowBatch>, (Vec<RowBatch>, Fault)> {
    collect(warehouse, &query(sql)).await
}

pub fn numbers(batches: &[RowBatch]) -> Vec<i64> {
    let int = |value| if let Value::Int(v) = value { v } else { panic!("{value:?} is no integer") };
    batches.iter().flat_map(|b| b.rows().map(|r| int(r.value(0))).collect::<Vec<_>>()).collect()
}

/// Waits until it holds. The limit is far beyond anything a working machine needs.
pub async fn eventually(holds: impl AsyncFn() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to hold");
}
