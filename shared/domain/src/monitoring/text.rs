//! The words of an alert: what each problem is, the title, the commands. No record and no secret is in them; what a
//! destination said of a record is, shortened.

use super::alert::{Alert, AlertCounts, AlertInput, AlertKind, AlertSeverity, ReasonCount, ReportedProblem};
use super::cost;
use crate::alert_settings::{KnownProblem, Problem};
use crate::readback::Differing;
use crate::run::{Run, Status};

/// Reasons in an alert.
const REASONS: usize = 5;
/// Characters of a reason's detail.
const DETAIL: usize = 200;

/// The problems that the run shows, with the fault's code where there is one, and in words.
pub(super) fn problems(facts: &AlertInput<'_>) -> Vec<(Problem, Option<String>, String)> {
    let run = facts.run;
    let mut out = Vec::new();
    let ended = match run.status {
        Status::Failed => Some(Problem::Failed),
        Status::Blocked => Some(Problem::Blocked),
        Status::Incomplete => Some(Problem::Incomplete),
        _ => None,
    };
    if let Some(problem) = ended {
        let code = run.fault.as_ref().map(|fault| fault.code.to_string());
        let unsent = if run.tally.unsent > 0 {
            format!("{} records were not delivered.", run.tally.unsent)
        } else {
            String::new()
        };
        let what = run.fault.as_ref().map_or(unsent, |fault| format!("{}\nNext: {}", fault.what, fault.next_step()));
        out.push((problem, code, what));
    }
    if matches!(run.status, Status::Complete | Status::Partial) {
        out.extend(partial(facts).map(|what| (Problem::Partial, None, what)));
        out.extend(held(facts).map(|what| (Problem::Held, None, what)));
    }
    out.extend(stale(facts).map(|what| (Problem::Stale, None, what)));
    let read_back = &run.tally.read_back;
    if read_back.landed < read_back.checked {
        let missed = read_back.checked - read_back.landed;
        let mut fields: Vec<&str> =
            read_back.differing.iter().flat_map(|d| d.fields.iter().map(String::as_str)).collect();
        fields.sort_unstable();
        fields.dedup();
        let (stayed, gone) = (|d: &&Differing| d.still_there, |d: &&Differing| d.fields.is_empty() && !d.still_there);
        let (stayed, gone) =
            (read_back.differing.iter().filter(stayed).count(), read_back.differing.iter().filter(gone).count());
        let mut what = format!(
            "Of {} accepted records that were read back, {missed} are not there as they were sent",
            read_back.checked
        );
        if gone > 0 {
            what.push_str(&format!("; {gone} are not there at all"));
        }
        if stayed > 0 {
            what.push_str(&format!("; {stayed} were deleted and are still there"));
        }
        if !fields.is_empty() {
            what.push_str(&format!("; fields that differ: {}", fields.join(", ")));
        }
        out.push((Problem::NotLanded, None, format!("{what}.")));
    }
    let costly = cost::costly(&run.usage, &facts.usual, facts.settings.costly_above());
    out.extend(costly.map(|what| (Problem::Costly, None, what)));
    out.extend(seen(facts));
    out
}

/// What a watch sees and no run can tell.
fn seen(facts: &AlertInput<'_>) -> Vec<(Problem, Option<String>, String)> {
    let Some(seen) = facts.seen else { return Vec::new() };
    let mut out = Vec::new();
    if let Some(overdue) = seen.overdue {
        let next = match facts.stack {
            Some(stack) => format!(
                "\nNext: `sluice apply --stack {stack}` makes the schedule as the project has it; what failed before a run began is in the extractor's log."
            ),
            None => String::new(),
        };
        out.push((Problem::Overdue, None, format!("{}{next}", overdue.in_words())));
    }
    if let Some(stalled) = &seen.stalled {
        let next = format!(
            "Next: look at the destination's queue and at the writer's log. The next run of {} takes over.",
            facts.run.sync
        );
        out.push((Problem::Stalled, None, format!("{}\n{next}", stalled.in_words())));
    }
    out
}

/// A share of the records that the sync has, not of those that one run sends: else one held record that is tried
/// again in an idle hour would be 100 percent.
fn partial(facts: &AlertInput<'_>) -> Option<String> {
    let (counts, tally) = (&facts.run.counts, &facts.run.tally);
    let failing = tally.rejected + tally.exhausted + counts.invalid + facts.run.refused.held;
    let records = (counts.to_send() + counts.unchanged + counts.held + counts.invalid).max(facts.records).max(failing);
    let percent = 100.0 * failing as f64 / records.max(1) as f64;
    let above = facts.settings.partial_above();
    (percent > above).then(|| {
        format!(
            "{failing} of {records} records ({percent:.1} %) are rejected, held or invalid; at most {above} % may be."
        )
    })
}

fn held(facts: &AlertInput<'_>) -> Option<String> {
    let refused = facts.run.refused;
    let records = refused.held + facts.run.tally.rejected;
    let since = refused.since.filter(|_| records > 0)?;
    let most = facts.settings.held_at_most();
    (facts.now.since(since) > most.0).then(|| {
        format!("{records} rejected records are held, the first of them since {since}; at most {most} are allowed.")
    })
}

fn stale(facts: &AlertInput<'_>) -> Option<String> {
    let (most, delivered) = (facts.settings.freshness?, facts.delivered?);
    (facts.now.since(delivered) > most.0)
        .then(|| format!("The last run that delivered began at {delivered}; at most {most} are allowed."))
}

/// A problem that this run says nothing about.
pub(super) fn still(told: &KnownProblem) -> String {
    format!("As before, since {}; this run does not say whether it is over.", told.since)
}

pub(super) fn alert(
    facts: &AlertInput<'_>,
    kind: AlertKind,
    problems: Vec<ReportedProblem>,
    over: Vec<Problem>,
) -> Alert {
    let run = facts.run;
    let error = |said: &ReportedProblem| {
        use Problem::{Blocked, Failed, Incomplete, Overdue, Stalled};
        matches!(said.problem, Failed | Blocked | Incomplete | Overdue | Stalled)
    };
    let severity = match problems.iter().any(error) {
        true => AlertSeverity::Error,
        false if problems.is_empty() => AlertSeverity::Resolved,
        false => AlertSeverity::Warning,
    };
    Alert {
        kind,
        severity,
        sync: run.sync.clone(),
        stack: facts.stack.map(str::to_owned),
        run: run.id.clone(),
        status: run.status,
        at: facts.now.to_string(),
        title: title(run, kind, &problems, &over),
        commands: commands(facts, &problems),
        problems,
        over,
        numbers: numbers(run),
        reasons: reasons(run),
    }
}

fn title(run: &Run, kind: AlertKind, problems: &[ReportedProblem], over: &[Problem]) -> String {
    let named = |said: &ReportedProblem| match &said.code {
        Some(code) => format!("{} ({code})", said.problem.name()),
        None => said.problem.name().to_owned(),
    };
    let list = |new: bool| problems.iter().filter(|said| said.new == new).map(named).collect::<Vec<_>>().join(", ");
    match kind {
        AlertKind::Problem => format!("Sync {}: {}", run.sync, list(true)),
        AlertKind::Recovery => {
            let over: Vec<&str> = over.iter().map(|p| p.name()).collect();
            let still = if problems.is_empty() { String::new() } else { format!("; still {}", list(false)) };
            format!("Sync {}: no longer {}{still}", run.sync, over.join(", "))
        }
    }
}

fn numbers(run: &Run) -> AlertCounts {
    let (counts, tally) = (&run.counts, &run.tally);
    AlertCounts {
        planned: counts.to_send(),
        accepted: tally.accepted(),
        rejected: tally.rejected + tally.exhausted,
        invalid: counts.invalid,
        held: counts.held,
        unsent: tally.unsent,
        checked: tally.read_back.checked,
        landed: tally.read_back.landed,
    }
}

fn reasons(run: &Run) -> Vec<ReasonCount> {
    let mut out: Vec<ReasonCount> = run
        .tally
        .reasons
        .iter()
        .map(|(code, reason)| ReasonCount { code: code.clone(), count: reason.count, detail: short(&reason.detail) })
        .collect();
    if let Some(first) = run.invalid.first() {
        // Which rule, and not which value: that would be the record's.
        let detail = format!("`{}` {} (the first of them)", first.why.field, first.why.rule);
        out.push(ReasonCount { code: "invalid".into(), count: run.counts.invalid, detail: short(&detail) });
    }
    out.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    out.truncate(REASONS);
    out
}

fn short(text: &str) -> String {
    match text.char_indices().nth(DETAIL) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn commands(facts: &AlertInput<'_>, problems: &[ReportedProblem]) -> Vec<String> {
    let sync = &facts.run.sync;
    let stack = facts.stack.map(|stack| format!(" --stack {stack}")).unwrap_or_default();
    let mut out: Vec<String> = Vec::new();
    let verbs = problems.iter().map(|said| match said.problem {
        Problem::Blocked => format!("sluice plan {sync}{stack}"),
        Problem::Partial | Problem::Held => format!("sluice dead-letters list {sync}{stack}"),
        Problem::NotLanded => {
            let key = facts.run.tally.read_back.differing.first().map_or("KEY".to_owned(), |d| quoted(&d.key));
            format!("sluice explain {sync} {key}{stack}")
        }
        Problem::Costly => format!("sluice check {sync}{stack}"),
        Problem::Failed | Problem::Incomplete | Problem::Stale | Problem::Overdue | Problem::Stalled => {
            format!("sluice runs {sync}{stack}")
        }
    });
    for command in verbs.chain([format!("sluice runs {sync}{stack}")]) {
        if !out.contains(&command) {
            out.push(command);
        }
    }
    out
}

/// A key as one word of a shell.
fn quoted(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.,:@+".contains(c);
    if !key.is_empty() && !key.starts_with('-') && key.chars().all(plain) {
        key.to_owned()
    } else {
        format!("'{}'", key.replace('\'', r"'\''"))
    }
}

impl Alert {
    /// The whole of it as plain text: the title, then what happened, how many, why, and where to look.
    pub fn text(&self) -> String {
        let mut lines = vec![self.title.clone()];
        for said in &self.problems {
            lines.push(if said.new {
                said.what.clone()
            } else {
                format!("Still {}: {}", said.problem.name(), said.what)
            });
        }
        if self.kind == AlertKind::Problem && !self.over.is_empty() {
            lines.push(format!("No longer {}.", self.over.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ")));
        }
        lines.push(self.numbers.text());
        for reason in &self.reasons {
            let detail = if reason.detail.is_empty() { String::new() } else { format!(": {}", reason.detail) };
            lines.push(format!("  {} × {}{detail}", reason.count, reason.code));
        }
        lines.extend(self.commands.iter().map(|command| format!("Look further: {command}")));
        lines.push(format!("Run {} at {}", self.run, self.at));
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    /// The alert as JSON, `text` included.
    pub fn json(&self) -> serde_json::Value {
        // Plain data with text keys: it always serialises.
        let mut json = serde_json::to_value(self).unwrap_or_default();
        json["text"] = self.text().into();
        json
    }
}

impl AlertCounts {
    fn text(&self) -> String {
        let AlertCounts { planned, accepted, rejected, invalid, held, unsent, checked, landed } = *self;
        let mut parts = vec![format!("{planned} to send"), format!("{accepted} accepted")];
        for (count, name) in [(rejected, "rejected"), (invalid, "invalid"), (held, "held"), (unsent, "not delivered")] {
            if count > 0 {
                parts.push(format!("{count} {name}"));
            }
        }
        if checked > 0 {
            parts.push(format!("{landed} of {checked} read back as sent"));
        }
        parts.join(" · ")
    }
}
