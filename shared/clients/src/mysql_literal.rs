//! Texts and names in SQL for MySQL and MariaDB.

/// A quoted text; a backslash escapes in the sessions that are made here.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Bytes as they are.
pub fn bytes(bytes: &[u8]) -> String {
    format!("x'{}'", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())
}

/// A name in back quotes.
pub fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
