//! Redshift by the protocol of PostgreSQL: one read-only transaction, its rows as texts, read from the socket as they are taken.
//!
//! What is sent is what Redshift knows: no parameter but its own, no cursor (the leader node would keep the whole result), no
//! question to a catalogue. The statement goes the extended way, as the vendor's drivers send it: the server itself refuses
//! more than one statement there.
//! <https://docs.aws.amazon.com/redshift/latest/dg/c_redshift-and-postgres-sql.html>

use async_trait::async_trait;
use clients::SentSql;
use clients::postgres::Connector;
use clients::postgres_text::TextConnected;
use domain::clock::Span;
use domain::fault::{Code, Fault};
use domain::ports::{ModelSchema, Query, QueryLabel, RowStream, Warehouse};
use domain::row::RowBatch;
use futures_util::stream::{self, StreamExt as _};

use super::cells::{self, CellReader, ColumnMetadata};
use super::{literal, schema, statement};
use crate::sql::{self, Dialect, Statement};

pub(super) struct WireWarehouse {
    pub(super) connector: Connector,
}

#[async_trait]
impl Warehouse for WireWarehouse {
    async fn describe(&self, query: &Query) -> Result<ModelSchema, Fault> {
        let model = self.model(query)?;
        let mut connected = self.begin(&query.label).await?;
        let columns = self.prepare(&mut connected, model, &sql::plain(model)).await?;
        connected.close().await;
        Ok(schema(&columns))
    }

    async fn rows(&self, query: &Query) -> Result<RowStream, Fault> {
        let model = self.model(query)?;
        let sent = statement(model, query.only.as_ref()).map_err(|why| self.connector.place().failed(why))?;
        let mut connected = self.begin(&query.label).await?;
        let columns = self.prepare(&mut connected, model, &sent).await?;
        connected.execute().await?;
        let reading = WireReading {
            connected: Some(connected),
            connector: self.connector.clone(),
            readers: columns.iter().map(ColumnMetadata::reader).collect(),
            model: model.to_owned(),
            before: sent.before,
            buffer: Vec::new(),
            last: None,
        };
        Ok(stream::unfold(reading, WireReading::next).boxed())
    }
}

impl WireWarehouse {
    fn model<'q>(&self, query: &'q Query) -> Result<&'q str, Fault> {
        sql::one_statement(&query.sql, Dialect::Postgres).map_err(|why| self.connector.place().failed(why))
    }

    /// Connects and begins the one transaction of this connection. It is never committed, so that none of its settings stays
    /// with a pooler between here and Redshift.
    async fn begin(&self, label: &QueryLabel) -> Result<TextConnected, Fault> {
        let mut connected = self.connector.connect_text().await?;
        let label = format!("sluicegate {} {}", label.sync, label.run);
        for sql in [
            "BEGIN READ ONLY".to_owned(),
            format!("SET statement_timeout TO {}", self.connector.statement_timeout().as_millis().max(1)),
            format!("SET query_group TO {}", literal::quoted(label.trim_end())),
            "SET timezone TO 'UTC'".to_owned(),
            "SET datestyle TO 'ISO, MDY'".to_owned(),
            // The most that Redshift has: a double is written with all of its digits.
            "SET extra_float_digits TO 2".to_owned(),
        ] {
            connected.run(&sql).await?;
        }
        Ok(connected)
    }

    async fn prepare(
        &self,
        connected: &mut TextConnected,
        model: &str,
        sent: &Statement,
    ) -> Result<Vec<ColumnMetadata>, Fault> {
        let place = self.connector.place();
        let prepared = connected.prepare(&sent.text, SentSql { sql: model, before: sent.before }).await;
        let prepared = prepared.map_err(|fault| advised(fault, &self.connector))?;
        if prepared.parameters > 0 {
            return Err(place.failed("the SQL has a parameter (`$1`), and a model has none; write the value itself."));
        }
        if prepared.columns.is_empty() {
            return Err(place.failed("the SQL returns no columns; a model is a query that returns rows."));
        }
        Ok(prepared.columns.into_iter().map(|column| ColumnMetadata::of_oid(column.name, column.oid)).collect())
    }
}

/// What Redshift says in its own way, with what to do.
fn advised(fault: Fault, connector: &Connector) -> Fault {
    match fault.code {
        Code::WarehouseDenied if fault.what.contains("permission denied") => fault
            .with_next("GRANT USAGE ON SCHEMA … TO the user of the connection; GRANT SELECT ON … TO it"),
        Code::ModelTimeout => fault.with_next(format!(
            "Redshift cancels what takes longer than {} (statement_timeout), and what a rule of its workload management ends: raise that of them, or make the model smaller",
            Span(connector.statement_timeout())
        )),
        _ => fault,
    }
}

/// A read under way. Dropped before its end, the connection asks Redshift to stop the statement.
struct WireReading {
    /// Gone when the read has ended.
    connected: Option<TextConnected>,
    connector: Connector,
    readers: Vec<CellReader>,
    model: String,
    before: usize,
    buffer: Vec<u8>,
    /// What is still to be told after the last rows.
    last: Option<Fault>,
}

impl WireReading {
    async fn next(mut self) -> Option<(Result<RowBatch, Fault>, Self)> {
        if let Some(fault) = self.last.take() {
            return Some((Err(fault), self));
        }
        let mut batch = RowBatch::new(self.readers.len());
        while let Some(connected) = &mut self.connected
            && !batch.is_full()
        {
            match connected.row(SentSql { sql: &self.model, before: self.before }).await {
                Ok(Some(row)) => {
                    let mut texts = row.cells();
                    for reader in &self.readers {
                        batch.push(texts.next().map_or(cells::MALFORMED, |text| reader.wire(text, &mut self.buffer)));
                    }
                }
                Ok(None) => self.close().await,
                Err(fault) => {
                    self.last = Some(advised(fault, &self.connector));
                    self.close().await;
                }
            }
        }
        if !batch.is_empty() {
            return Some((Ok(batch), self));
        }
        self.last.take().map(|fault| (Err(fault), self))
    }

    async fn close(&mut self) {
        if let Some(connected) = self.connected.take() {
            connected.close().await;
        }
    }
}
