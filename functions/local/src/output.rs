//! What a person sees, and the same for machines.

use std::io::{IsTerminal, Write};

use comfy_table::{CellAlignment, Table, presets};
use domain::clock::Millis;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::run::{Run, Status};
use serde::Serialize;

/// Where output goes, and in which form.
pub struct Out {
    json: bool,
}

impl Out {
    /// Output as JSON or for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// True when machines read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A line for people.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            write_line(text.as_ref());
        }
    }

    /// A value for machines, on one line.
    pub fn value(&self, value: &impl Serialize) {
        if self.json {
            write_line(&serde_json::to_string(value).unwrap_or_default());
        }
    }

    /// A fault: to standard error for people, as an object for machines.
    pub fn fault(&self, fault: &Fault) {
        if self.json {
            self.value(&serde_json::json!({ "error": fault }));
        } else {
            // Nobody is left to tell when standard error is closed.
            let _ =
                writeln!(std::io::stderr(), "{}: {}\n{}: {}  [{}]", paint("error", "31;1"), fault.what, paint(" next", "36"), fault.next_step(), fault.code);
        }
    }

    /// A table for people; nothing when it has no rows.
    pub fn table(&self, head: &[&str], rows: Vec<Vec<String>>) {
        if !self.json && !rows.is_empty() {
            write_line(&table(head, rows));
        }
    }

    /// Findings of preflight as a table.
    pub fn findings(&self, findings: &[Finding]) {
        let row = |f: &Finding| vec![if f.is_error() { "error" } else { "warning" }.to_owned(), f.about.clone(), f.what.clone(), f.fix.clone()];
        self.table(&["", "about", "finding", "what to do"], findings.iter().map(row).collect());
    }

    /// The report of a run: one table, then what went wrong, then what to do.
    pub fn report(&self, run: &Run) {
        if self.json {
            return self.value(run);
        }
        let counts = &run.counts;
        let numbers = [counts.added, counts.changed, counts.removed, counts.unchanged, counts.held, counts.invalid];
        let mut row = vec![run.sync.clone(), status(run)];
        row.extend(numbers.iter().map(|n| thousands(*n)));
        row.extend([run.tally.accepted(), run.tally.rejected + run.tally.exhausted, run.tally.requests].iter().map(|n| thousands(*n)));
        row.push(duration(run));
        let head = ["sync", "run", "added", "changed", "removed", "unchanged", "held", "invalid", "accepted", "rejected", "requests", "time"];
        write_line(&table(&head, vec![row]));
        let mut notes = Vec::new();
        for reason in run.tally.reasons.iter().map(|(code, r)| (code, r.count, &r.detail, &r.key)) {
            let (code, count, detail, key) = reason;
            let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            notes.push(format!("  {count} × {code}{detail} (first: key {key})"));
        }
        if run.tally.skipped > 0 {
            notes.push(format!("  {} skipped on purpose", thousands(run.tally.skipped)));
        }
        for invalid in run.invalid.iter().take(5) {
            notes.push(format!("  invalid: key {}: `{}` {} (got {})", invalid.key, invalid.why.field, invalid.why.rule, invalid.why.got));
        }
        if run.invalid.len() > 5 {
            notes.push(format!("  … and {} more invalid records", thousands(counts.invalid.saturating_sub(5))));
        }
        if run.tally.unsent > 0 {
            notes.push(format!("  {} were not delivered; the next run plans them again", thousands(run.tally.unsent)));
        }
        if run.tally.rejected + run.tally.exhausted > 0 {
            notes.push(format!("  look at them: sluice dead-letters list {}", run.sync));
        }
        notes.iter().for_each(|n| write_line(n));
        if let Some(fault) = &run.fault {
            self.fault(fault);
        }
    }
}

fn write_line(text: &str) {
    // A closed pipe (`sluice … | head`) is no error of ours.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A table without frills: numbers to the right.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    let numeric: Vec<bool> =
        (0..head.len()).map(|i| rows.iter().all(|r| r.get(i).is_some_and(|c| c.starts_with(|c: char| c.is_ascii_digit()) && c.len() < 12))).collect();
    for row in rows {
        table.add_row(row);
    }
    for (index, _) in numeric.iter().enumerate().filter(|(_, numeric)| **numeric) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `12,345`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A run's status in a word.
pub fn status(run: &Run) -> String {
    let (word, color) = match run.status {
        Status::Running => ("running", "36"),
        Status::Complete => ("complete", "32"),
        Status::Partial => ("partial", "33"),
        Status::Blocked => ("blocked", "31"),
        Status::Incomplete => ("incomplete", "33"),
        Status::Failed => ("failed", "31"),
    };
    paint(word, color)
}

/// How long a run took.
pub fn duration(run: &Run) -> String {
    let ended = run.ended.unwrap_or(run.progress);
    let took = ended.since(run.started);
    if took.as_secs() < 100 { format!("{:.2} s", took.as_secs_f64()) } else { format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60) }
}

/// A point in time for people.
pub fn when(at: Millis) -> String {
    at.to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

fn paint(text: &str, color: &str) -> String {
    if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_thousands() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(thousands(n), text);
        }
    }
}
