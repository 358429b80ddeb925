//! Connecting, once: to databases (settings, TLS, timeouts, and what a database's errors mean) and over HTTP. Used by
//! warehouses and destinations.
//!
//! Not here: what is read or written over a connection, and what became of a single record.

use std::fmt;

use domain::fault::{Code, Fault};

pub mod http;
pub mod jwt;
pub mod mysql;
mod mysql_fault;
pub mod mysql_literal;
pub mod postgres;
mod postgres_channel;
mod postgres_fault;
mod postgres_login;
pub mod postgres_text;
mod postgres_tls;
#[cfg(feature = "sqlite")]
pub mod sqlite;

/// What a connection is used as: it decides the codes of its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Models are read from it.
    Warehouse,
    /// Records are written to it.
    Destination,
}

/// A connection as people know it: what it is used as, and its name in `connections.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabasePlace {
    /// What it is used as.
    pub role: Role,
    pub name: String,
}

impl DatabasePlace {
    /// The warehouse of this name.
    pub fn warehouse(name: impl Into<String>) -> Self {
        Self { role: Role::Warehouse, name: name.into() }
    }

    /// The destination of this name.
    pub fn destination(name: impl Into<String>) -> Self {
        Self { role: Role::Destination, name: name.into() }
    }

    /// It does not answer.
    pub fn unreachable(&self, what: impl fmt::Display) -> Fault {
        self.fault(Code::WarehouseUnreachable, Code::DestinationUnreachable, what)
    }

    /// It refuses the credentials or the access.
    pub fn denied(&self, what: impl fmt::Display) -> Fault {
        self.fault(Code::WarehouseDenied, Code::DestinationUnauthorized, what)
    }

    /// A statement took longer than its timeout.
    pub fn timeout(&self, what: impl fmt::Display) -> Fault {
        self.fault(Code::ModelTimeout, Code::DestinationUnreachable, what)
    }

    /// A statement is wrong: the model's SQL, or what a destination was asked to do.
    pub fn failed(&self, what: impl fmt::Display) -> Fault {
        self.fault(Code::ModelFailed, Code::DestinationMisconfigured, what)
    }

    /// A setting of the connection is wrong.
    pub fn invalid(&self, what: impl fmt::Display) -> Fault {
        Fault::new(Code::ConnectionInvalid, format!("{self}: {what}"))
    }

    fn fault(&self, warehouse: Code, destination: Code, what: impl fmt::Display) -> Fault {
        let code = match self.role {
            Role::Warehouse => warehouse,
            Role::Destination => destination,
        };
        Fault::new(code, format!("{self}: {what}"))
    }
}

impl fmt::Display for DatabasePlace {
    /// `warehouse analytics`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Warehouse => "warehouse",
            Role::Destination => "destination",
        };
        write!(f, "{role} {}", self.name)
    }
}

/// SQL as a person wrote it, and how much was put before it when it was sent: what turns the database's
/// position into a line and a column of the person's own text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentSql<'a> {
    /// The SQL as written.
    pub sql: &'a str,
    /// Bytes that were sent before it; all of them ASCII.
    pub before: usize,
}

impl<'a> SentSql<'a> {
    /// SQL that was sent as it is.
    pub fn plain(sql: &'a str) -> Self {
        Self { sql, before: 0 }
    }

    /// ` at line 2, column 5` for the character at `index` (from 0) of what was sent; nothing when that is
    /// outside the person's own text.
    pub(crate) fn position(&self, index: usize) -> String {
        match index.checked_sub(self.before) {
            Some(index) if index <= self.sql.chars().count() => {
                let read: String = self.sql.chars().take(index).collect();
                let line = read.matches('\n').count() + 1;
                let column = read.rsplit('\n').next().unwrap_or("").chars().count() + 1;
                format!(" at line {line}, column {column}")
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_the_persons_own_text() {
        let sent = SentSql { sql: "select\n  é, x", before: 10 };
        assert_eq!(sent.position(10), " at line 1, column 1");
        assert_eq!(sent.position(10 + 12), " at line 2, column 6");
        assert_eq!(sent.position(3), "", "inside what was put before it");
        assert_eq!(sent.position(99), "");
    }

    #[test]
    fn the_role_decides_the_code() {
        let fault = DatabasePlace::warehouse("analytics").unreachable("gone");
        assert_eq!((fault.code, fault.what.as_str()), (Code::WarehouseUnreachable, "warehouse analytics: gone"));
        assert_eq!(DatabasePlace::destination("app").failed("no such table").code, Code::DestinationMisconfigured);
    }
}
