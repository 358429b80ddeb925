//! A connection over PostgreSQL's protocol that is answered in text, and that tells columns by the numbers of their types: for
//! Redshift, whose own types a client of PostgreSQL looks for in catalogues that Redshift does not have.
//!
//! One statement at a time. Rows are read from the socket as they are taken, so that no more of a result than one message lies
//! in memory. After a fault the connection is of no more use.
//! <https://www.postgresql.org/docs/8.0/protocol.html>

use std::time::Duration;

use bytes::BytesMut;
use domain::fault::Fault;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::IsNull;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;

use crate::SentSql;
use crate::postgres::Connector;
use crate::postgres_channel::MessageChannel;
use crate::postgres_login::{CancelKey, login};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextColumn {
    /// Its name.
    pub name: String,
    /// The number of its type.
    pub oid: u32,
}

/// A statement as the server describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextStatement {
    /// The columns of its result.
    pub columns: Vec<TextColumn>,
    /// How many parameters (`$1`) it has.
    pub parameters: usize,
}

/// One row: texts in the session's settings.
pub struct TextRow(DataRowBody);

impl TextRow {
    /// The texts of the columns, `None` for null. They end early where the row is not as it should be.
    pub fn cells(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let cell = |range| self.0.buffer().get::<std::ops::Range<usize>>(range).unwrap_or_default();
        self.0.ranges().iterator().map_while(Result::ok).map(move |range| range.map(cell))
    }
}

/// A connection in use. Dropped while a statement runs, it asks the server to stop it.
pub struct TextConnected {
    channel: MessageChannel,
    key: Option<CancelKey>,
    /// A statement runs.
    busy: bool,
}

impl Connector {
    /// Connects and logs in.
    pub async fn connect_text(&self) -> Result<TextConnected, Fault> {
        let connecting = async {
            let mut channel = MessageChannel::open(self).await?;
            let key = login(&mut channel).await?;
            Ok(TextConnected { channel, key, busy: false })
        };
        tokio::time::timeout(self.connect_timeout, connecting).await.unwrap_or_else(|_| Err(self.too_slow()))
    }

    /// Asks the server to stop what runs in the connection of this key.
    async fn cancel_text(&self, key: CancelKey) -> Result<(), Fault> {
        let cancelling = async {
            let mut channel = MessageChannel::open(self).await?;
            let mut request = BytesMut::new();
            frontend::cancel_request(key.process, key.secret, &mut request);
            channel.send(&request).await?;
            // The server closes when it has done so.
            channel.closed().await;
            Ok(())
        };
        tokio::time::timeout(self.connect_timeout, cancelling).await.unwrap_or_else(|_| Err(self.too_slow()))
    }
}

impl TextConnected {
    /// Runs a statement that returns no rows.
    pub async fn run(&mut self, sql: &str) -> Result<(), Fault> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(|e| self.unsendable(&e))?;
        self.begin(&message).await?;
        while !matches!(self.receive(None).await?, Message::ReadyForQuery(_)) {}
        self.busy = false;
        Ok(())
    }

    /// Has a statement checked and described; it does not run. The server refuses more than one statement here.
    pub async fn prepare(&mut self, sql: &str, sent: SentSql<'_>) -> Result<TextStatement, Fault> {
        let mut message = BytesMut::new();
        frontend::parse("", sql, [], &mut message).map_err(|e| self.unsendable(&e))?;
        frontend::describe(b'S', "", &mut message).map_err(|e| self.unsendable(&e))?;
        frontend::sync(&mut message);
        self.begin(&message).await?;
        let mut statement = TextStatement::default();
        loop {
            match self.receive(Some(sent)).await? {
                Message::ParameterDescription(body) => {
                    statement.parameters = body.parameters().count().map_err(|e| self.channel.malformed(&e))?;
                }
                Message::RowDescription(body) => {
                    let column = body.fields().map(|f| Ok(TextColumn { name: f.name().into(), oid: f.type_oid() }));
                    statement.columns = column.collect().map_err(|e| self.channel.malformed(&e))?;
                }
                Message::ReadyForQuery(_) => break,
                _ => {}
            }
        }
        self.busy = false;
        Ok(statement)
    }

    /// Begins to run the statement that was prepared last. Its rows are those of [`Self::row`].
    pub async fn execute(&mut self) -> Result<(), Fault> {
        let mut message = BytesMut::new();
        // No formats are text for every column.
        let bound = frontend::bind("", "", [], Vec::<()>::new(), |(), _| Ok(IsNull::Yes), [], &mut message);
        bound.map_err(|_| self.unsendable(&std::io::Error::other("nothing can be bound")))?;
        frontend::execute("", 0, &mut message).map_err(|e| self.unsendable(&e))?;
        frontend::sync(&mut message);
        self.begin(&message).await
    }

    /// The next row of the statement that runs, `None` after the last one. May be given up and asked again.
    pub async fn row(&mut self, sent: SentSql<'_>) -> Result<Option<TextRow>, Fault> {
        loop {
            match self.receive(Some(sent)).await? {
                Message::DataRow(row) => return Ok(Some(TextRow(row))),
                Message::ReadyForQuery(_) => {
                    self.busy = false;
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    /// Says goodbye to the server; waits a second at most.
    pub async fn close(mut self) {
        self.busy = false;
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        let goodbye = async {
            self.channel.send(&message).await?;
            self.channel.shutdown().await
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }

    async fn begin(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.busy = true;
        self.channel.send(message).await
    }

    async fn receive(&mut self, sent: Option<SentSql<'_>>) -> Result<Message, Fault> {
        let received = self.channel.receive(sent).await;
        // After a fault there is nothing left to stop.
        self.busy &= received.is_ok();
        received
    }

    fn unsendable(&self, error: &std::io::Error) -> Fault {
        self.channel.connector.place().failed(format!("the SQL cannot be sent: {error}."))
    }
}

impl Drop for TextConnected {
    fn drop(&mut self) {
        let (true, Some(key)) = (self.busy, self.key.take()) else { return };
        // Without a runtime there is nothing left to talk to the server with; it notices the closed connection.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connector = self.channel.connector.clone();
        runtime.spawn(async move {
            if let Err(fault) = connector.cancel_text(key).await {
                tracing::debug!(%fault, "a statement could not be cancelled");
            }
        });
    }
}
