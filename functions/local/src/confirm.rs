//! Asking a person before something is done that cannot be taken back. Without a terminal there is nobody to ask.

use std::io::{BufRead, IsTerminal, Write};

use crate::output::Out;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    Yes,
    No,
    /// There is nobody to ask.
    Nobody,
}

/// Asks for `word` to be typed.
pub fn confirm(question: &str, word: &str, out: &Out) -> Confirmation {
    if out.is_json() || !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Confirmation::Nobody;
    }
    // Nobody reads the question when standard error is closed, and then nobody answers it.
    let _ = write!(std::io::stderr(), "{question} Type `{word}` to go on: ");
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(_) if line.trim() == word => Confirmation::Yes,
        _ => Confirmation::No,
    }
}
