//! The partitions of a result. One whose body breaks off is fetched again; the rows of it that were handed on are known.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use clients::DatabasePlace;
use domain::fault::{Code, Fault};
use domain::row::RowBatch;

use super::api::{ResultSet, SnowflakeApi};
use super::scan::{RowScanner, Scanned};
use super::types::{CellDecoder, RowType};
use crate::parts::{PartReader, PartSender};
use crate::sql::Statement;

/// A partition is fetched so often before the read fails.
const ATTEMPTS: u32 = 5;

/// Reads the partitions of one result.
pub(super) struct PartitionReader {
    api: Arc<SnowflakeApi>,
    handle: String,
    statement: Statement,
    decoders: Arc<[CellDecoder]>,
    /// The rows of every partition, as the metadata promise them.
    counts: Vec<u64>,
    /// The first partition's body, until it is read.
    first: Mutex<Option<Vec<u8>>>,
}

impl PartitionReader {
    pub(super) fn new(api: Arc<SnowflakeApi>, result: ResultSet, statement: Statement) -> Self {
        let decoders = result.columns.iter().map(RowType::decoder).collect();
        let first = Mutex::new(Some(result.first));
        Self { api, handle: result.handle, statement, decoders, counts: result.partitions, first }
    }
}

#[async_trait]
impl PartReader for PartitionReader {
    fn place(&self) -> &DatabasePlace {
        &self.api.place
    }

    fn count(&self) -> usize {
        // A result without partitions has its rows in the first body all the same.
        self.counts.len().max(1)
    }

    async fn read(&self, number: usize, rows: &PartSender) -> Result<(), Fault> {
        let first = || self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(body) = (number == 0).then(first).flatten() {
            let mut scanner = RowScanner::new(Arc::clone(&self.decoders), 0);
            scanner.feed(&body);
            drop(body);
            let ended = self.drain(&mut scanner, rows, true).await.map_err(|why| self.broken(number, why))?;
            return self.complete(number, scanner.rows(), ended).map_err(|why| self.broken(number, &why));
        }
        let (mut tries, mut known) = (1, 0);
        loop {
            let mut scanner = RowScanner::new(Arc::clone(&self.decoders), known);
            let fault = match self.fetch(number, &mut scanner, rows).await {
                Ok(ended) => match self.complete(number, scanner.rows(), ended) {
                    Ok(()) => return Ok(()),
                    Err(why) => self.broken(number, &why),
                },
                Err(fault) if fault.code == Code::WarehouseUnreachable => fault,
                Err(fault) => return Err(fault),
            };
            if tries >= ATTEMPTS {
                return Err(fault);
            }
            known = known.max(scanner.rows());
            tracing::warn!(number, known, "a partition broke off and is fetched again: {}", fault.what);
            self.api.pause(tries).await;
            tries += 1;
        }
    }
}

impl PartitionReader {
    fn broken(&self, number: usize, why: &str) -> Fault {
        self.api.place.unreachable(format!("partition {number} of the result cannot be read: {why}."))
    }

    /// Reads a body as it comes; `true` when its list of rows has ended.
    async fn fetch(&self, number: usize, scanner: &mut RowScanner, rows: &PartSender) -> Result<bool, Fault> {
        let mut body = self.api.partition(&self.handle, number, &self.statement).await?;
        if body.status != 200 {
            return Err(self.broken(number, "it is not there yet"));
        }
        while let Some(piece) = body.next().await.map_err(|error| error.at(&self.api.place))? {
            scanner.feed(&piece);
            if self.drain(scanner, rows, false).await.map_err(|why| self.broken(number, why))? {
                return Ok(true);
            }
        }
        self.drain(scanner, rows, true).await.map_err(|why| self.broken(number, why))
    }

    /// Hands on the rows that are there; `true` when the list has ended, or nobody listens.
    async fn drain(&self, scanner: &mut RowScanner, rows: &PartSender, last: bool) -> Result<bool, &'static str> {
        loop {
            let mut batch = RowBatch::new(self.decoders.len());
            let scanned = if last { scanner.finish(&mut batch) } else { scanner.scan(&mut batch) }?;
            if rows.send(batch).await.is_err() {
                return Ok(true);
            }
            match scanned {
                Scanned::Full => {}
                Scanned::Hungry => return Ok(false),
                Scanned::End => return Ok(true),
            }
        }
    }

    /// Holds what was read against what the metadata promised.
    fn complete(&self, number: usize, rows: u64, ended: bool) -> Result<(), String> {
        if !ended {
            return Err("it broke off".into());
        }
        match self.counts.get(number) {
            Some(promised) if *promised != rows => Err(format!("it has {rows} rows, and {promised} were promised")),
            _ => Ok(()),
        }
    }
}
