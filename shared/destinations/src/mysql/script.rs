//! Many statements in one request. The server runs them in order and stops at the first that fails.

use clients::mysql::MysqlConnected;
use domain::fault::Fault;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Error, Row, ServerError};

/// What one statement gave.
#[derive(Debug)]
pub(super) struct RanStatement {
    /// Rows that it met, whether or not they had the values already.
    pub(super) met: u64,
    /// What it selected.
    pub(super) rows: Vec<Row>,
}

/// The answers of the statements that ran, and the error of the one after them. A request has
/// `max_bytes` at most, and one statement at least. A fault is about the connection.
pub(super) async fn run(
    connection: &mut MysqlConnected,
    statements: &[String],
    max_bytes: usize,
) -> Result<(Vec<RanStatement>, Option<ServerError>), Fault> {
    let mut answers = Vec::with_capacity(statements.len());
    for request in requests(statements, max_bytes) {
        if let Some(error) = one_request(connection, request, &mut answers).await? {
            return Ok((answers, Some(error)));
        }
    }
    Ok((answers, None))
}

/// The statements, as many in one request as fit into it.
fn requests(statements: &[String], max_bytes: usize) -> impl Iterator<Item = &[String]> {
    let mut rest = statements;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let count = rest
            .iter()
            .take_while(|statement| {
                bytes += statement.len() + 1;
                bytes <= max_bytes
            })
            .count()
            // One that is longer goes alone.
            .max(1);
        let (request, left) = rest.split_at_checked(count)?;
        rest = left;
        Some(request)
    })
}

async fn one_request(
    connection: &mut MysqlConnected,
    statements: &[String],
    answers: &mut Vec<RanStatement>,
) -> Result<Option<ServerError>, Fault> {
    let connector = connection.connector().clone();
    let ran = tokio::time::timeout(connector.statement_timeout(), statements_of(connection, statements, answers)).await;
    match ran {
        Ok(Ok(())) => Ok(None),
        Ok(Err(Error::Server(error))) => Ok(Some(error)),
        Ok(Err(error)) => Err(connector.fault(&error, None)),
        Err(_) => Err(connector.place().timeout(format!(
            "{} statements took longer than {} (statement_timeout).",
            statements.len(),
            domain::clock::Span(connector.statement_timeout())
        ))),
    }
}

async fn statements_of(
    connection: &mut MysqlConnected,
    statements: &[String],
    answers: &mut Vec<RanStatement>,
) -> Result<(), Error> {
    let mut result = connection.conn.query_iter(statements.join(";")).await?;
    for _ in statements {
        // A statement that selects says nothing of rows it met.
        let selects = result.columns().is_some_and(|columns| !columns.is_empty());
        let mut answer = RanStatement { met: if selects { 0 } else { result.affected_rows() }, rows: Vec::new() };
        while let Some(row) = result.next().await? {
            answer.rows.push(row);
        }
        answers.push(answer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_as_many_statements_as_fit() {
        let statements = ["a".repeat(99), "b".into(), "c".repeat(96), "d".into()];
        let counts: Vec<usize> = requests(&statements, 100).map(<[String]>::len).collect();
        assert_eq!(counts, [1, 2, 1]);
        assert_eq!(requests(&[], 9).count(), 0);
    }
}
