//! What a person sees, and the same for machines.

use std::io::{IsTerminal, Write};

use comfy_table::{CellAlignment, Table, presets};
use domain::clock::Millis;
use domain::fault::Fault;
use domain::finding::Finding;
use domain::readback::Differing;
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

    /// What to do next, to standard error, in either form of output.
    pub fn hint(&self, text: &str) {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A fault: to standard error for people, as an object for machines.
    pub fn fault(&self, fault: &Fault) {
        if self.json {
            self.value(&serde_json::json!({ "error": fault }));
        } else {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(
                std::io::stderr(),
                "{}: {}\n{}: {}  [{}]",
                paint("error", "31;1"),
                fault.what,
                paint(" next", "36"),
                fault.next_step(),
                fault.code
            );
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
        let row = |f: &Finding| {
            vec![
                if f.is_error() { "error" } else { "warning" }.to_owned(),
                f.about.clone(),
                f.what.clone(),
                f.fix.clone(),
            ]
        };
        self.table(&["", "about", "finding", "what to do"], findings.iter().map(row).collect());
    }

    /// The report of a run: one table, then what went wrong, then what to do.
    pub fn report(&self, run: &Run) {
        if self.json {
            return self.value(run);
        }
        // A run that ended before it had a plan has no numbers to show.
        if run.plan_hash.is_some() || run.fault.is_none() {
            write_line(&runs_table(&[run], &RUN, &[]));
        }
        notes(run).iter().for_each(|n| write_line(&format!("  {n}")));
        if run.tally.rejected + run.tally.exhausted + run.refused.held > 0 {
            write_line(&format!("  look at them: sluice dead-letters list {}", run.sync));
        }
        if let Some(fault) = &run.fault {
            self.fault(fault);
        }
    }

    /// Runs that belong together, for people: one table. What was accepted is what was planned and not rejected.
    pub fn runs(&self, runs: &[&Run]) {
        if !self.json {
            write_line(&runs_table(runs, &RUN[..8], &RUN[9..]));
        }
    }

    /// What went wrong in runs that belong together, for people. What is said of all of them is said once; faults
    /// are left to the caller.
    pub fn notes(&self, runs: &[&Run]) {
        let mut said: Vec<(String, Vec<&str>)> = Vec::new();
        for run in runs {
            for note in notes(run) {
                match said.iter_mut().find(|(known, _)| *known == note) {
                    Some((_, syncs)) => syncs.push(&run.sync),
                    None => said.push((note, vec![&run.sync])),
                }
            }
        }
        for (note, syncs) in said {
            let whose = if syncs.len() == runs.len() { String::new() } else { format!("{}: ", syncs.join(", ")) };
            self.line(format!("  {whose}{note}"));
        }
    }
}

/// A column of the table of runs.
type RunColumn = (&'static str, fn(&Run) -> String);

const RUN: [RunColumn; 12] = [
    ("sync", |run| run.sync.clone()),
    ("run", status),
    ("added", |run| thousands(run.counts.added)),
    ("changed", |run| thousands(run.counts.changed)),
    ("removed", |run| thousands(run.counts.removed)),
    ("unchanged", |run| thousands(run.counts.unchanged)),
    ("held", |run| thousands(run.counts.held)),
    ("invalid", |run| thousands(run.counts.invalid)),
    ("accepted", |run| thousands(run.tally.accepted())),
    ("rejected", |run| thousands(run.tally.rejected + run.tally.exhausted)),
    ("requests", |run| thousands(run.tally.requests)),
    ("time", duration),
];

fn runs_table(runs: &[&Run], left: &[RunColumn], right: &[RunColumn]) -> String {
    let columns: Vec<&RunColumn> = left.iter().chain(right).collect();
    let head: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    table(&head, runs.iter().map(|run| columns.iter().map(|(_, cell)| cell(run)).collect()).collect())
}

/// What a run's numbers do not say, a sentence each.
fn notes(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    for (code, reason) in &run.tally.reasons {
        let detail = if reason.detail.is_empty() { String::new() } else { format!(": {}", reason.detail) };
        notes.push(format!("{} × {code}{detail} (first: key {})", reason.count, reason.key));
    }
    if run.tally.skipped > 0 {
        notes.push(format!("{} skipped on purpose", thousands(run.tally.skipped)));
    }
    if run.refused.held > 0 {
        notes.push(format!(
            "{} were refused by earlier runs and are held until they change, or for a while",
            thousands(run.refused.held)
        ));
    }
    for invalid in run.invalid.iter().take(5) {
        notes.push(format!(
            "invalid: key {}: `{}` {} (got {})",
            invalid.key, invalid.why.field, invalid.why.rule, invalid.why.got
        ));
    }
    if run.invalid.len() > 5 {
        notes.push(format!("… and {} more invalid records", thousands(run.counts.invalid.saturating_sub(5))));
    }
    notes.extend(run.notes.iter().cloned());
    if !run.usage.is_empty() {
        notes.push(format!("the warehouse: {}", run.usage.in_words()));
    }
    let read_back = &run.tally.read_back;
    if read_back.checked > 0 {
        notes.push(format!(
            "read back: {} of {} sampled records landed as they were sent",
            read_back.landed, read_back.checked
        ));
    }
    for differing in read_back.differing.iter().take(5) {
        let what = match differing {
            Differing { still_there: true, .. } => "was deleted and is still there".to_owned(),
            Differing { fields, .. } if fields.is_empty() => "is not there".to_owned(),
            Differing { fields, .. } => format!("differs in {}", fields.join(", ")),
        };
        notes.push(format!("accepted, but key {} {what}; both sides: sluice explain {} KEY", differing.key, run.sync));
    }
    if run.tally.unsent > 0 {
        notes.push(format!("{} were not delivered; the next run plans them again", thousands(run.tally.unsent)));
    }
    notes
}

fn write_line(text: &str) {
    // A closed pipe (`sluice … | head`) is no error of ours.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A table without frills: numbers to the right.
pub fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    let numeric: Vec<bool> = (0..head.len())
        .map(|i| {
            rows.iter().all(|r| r.get(i).is_some_and(|c| c.starts_with(|c: char| c.is_ascii_digit()) && c.len() < 12))
        })
        .collect();
    for row in rows {
        table.add_row(row);
    }
    for (index, _) in numeric.iter().enumerate().filter(|(_, numeric)| **numeric) {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    color_statuses(&table.to_string(), paint)
}

/// `12,345`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A run's status in a word.
pub fn status(run: &Run) -> String {
    let word = match run.status {
        Status::Running => "running",
        Status::Complete => "complete",
        Status::Partial => "partial",
        Status::Blocked => "blocked",
        Status::Incomplete => "incomplete",
        Status::Failed => "failed",
        Status::Skipped => "skipped",
    };
    word.to_owned()
}

/// Words of [`status`] and their colors.
const COLORS: [(&str, &str); 7] = [
    ("running", "36"),
    ("complete", "32"),
    ("partial", "33"),
    ("blocked", "31"),
    ("incomplete", "33"),
    ("failed", "31"),
    ("skipped", "90"),
];

/// Colors the column `run` of a table. Afterwards, because what cannot be seen would count as width.
fn color_statuses(table: &str, paint: impl Fn(&str, &str) -> String) -> String {
    let Some(at) = table.lines().nth(1).and_then(|head| head.find(" run ")) else { return table.to_owned() };
    let line = |line: &str| {
        let (before, rest) = line.split_at_checked(at + 1)?;
        let (word, color) = COLORS.iter().find(|(word, _)| rest.starts_with(word))?;
        Some(format!("{before}{}{}", paint(word, color), &rest[word.len()..]))
    };
    table.lines().map(|text| line(text).unwrap_or_else(|| text.to_owned())).collect::<Vec<_>>().join("\n")
}

/// How long a run took.
pub fn duration(run: &Run) -> String {
    let ended = run.ended.unwrap_or(run.progress);
    let took = ended.since(run.started);
    if took.as_secs() < 100 {
        format!("{:.2} s", took.as_secs_f64())
    } else {
        format!("{} min {} s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

/// A point in time for people.
pub fn when(at: Millis) -> String {
    at.to_string().replace('T', " ").trim_end_matches('Z').to_owned()
}

fn paint(text: &str, color: &str) -> String {
    if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
        format!("\u{1b}[{color}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
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
    #[test]
    fn colors_move_no_column() {
        let rows = [("crm", "partial", "1"), ("product-customers", "blocked", "20")]
            .map(|(sync, run, n)| [sync, run, n].map(String::from).to_vec());
        let plain = table(&["sync", "run", "added"], rows.to_vec());
        let colored = color_statuses(&plain, |word, _| format!("<{word}>"));
        assert!(colored.contains(" <partial> ") && colored.contains(" <blocked> "), "{colored}");
        assert_eq!(colored.replace(['<', '>'], ""), plain);
        let other = table(&["key"], vec![vec!["failed".into()]]);
        assert_eq!(color_statuses(&other, |_, _| "!".into()), other);
    }
}
