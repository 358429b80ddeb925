//! What a request that came to nothing means, for sends and jobs alike. Decides only; whoever sent it acts.

use std::time::Duration;

use domain::fault::Code;
use domain::outcome::WriteError;

/// Records that are tried alone before their refusals are taken for a refusal of the whole run.
pub(super) const PROBES: u32 = 5;
/// So many requests in a row that are refused for one and the same reason end the run.
pub(super) const MAX_REFUSALS_IN_A_ROW: u32 = 100;

/// What is known when a request comes to nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorContext {
    /// Records of the request.
    pub records: usize,
    /// There may be newer credentials that were not tried yet.
    pub renewable: bool,
    /// Something of this run was accepted, by whichever writer.
    pub passed: bool,
    /// Records that were refused alone, this one among them, since something was accepted last.
    pub alone: u32,
    /// The record was refused alone before, and something else has passed since.
    pub to_blame: bool,
    /// Records that the run sends.
    pub planned: u64,
    /// Requests in a row that were refused with these very words, this one among them.
    pub in_a_row: u32,
    /// Real attempts of the batch before this one.
    pub attempts: u32,
    /// This is the batch's last attempt.
    pub last: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reaction {
    /// The record to blame is known.
    Reject {
        /// A short stable code.
        code: String,
        /// What the destination said.
        detail: String,
    },
    /// One of several records is to blame: each half is sent apart.
    Halve,
    /// Nothing has passed yet, so it may be the records or everything: some records are tried alone.
    Probe,
    /// One record, and nobody knows yet whether it is to blame: it is once something else has passed.
    Suspect {
        /// A short stable code.
        code: String,
        /// What the destination said.
        detail: String,
    },
    /// Everyone of the connection waits.
    Wait {
        /// At least so long.
        after: Option<Duration>,
    },
    /// What is left of this attempt waits for the next.
    Fail {
        /// At least so long.
        after: Option<Duration>,
        /// What happened.
        detail: String,
    },
    /// Newer credentials are to be tried.
    Renew,
    /// The run ends.
    Stop {
        /// Why.
        code: Code,
        /// In words that follow the destination's name.
        detail: String,
    },
}

/// The table.
pub(super) fn on_error(error: WriteError, facts: &ErrorContext) -> Reaction {
    let (code, fault, what, detail) = match error {
        WriteError::Throttled { after } => return Reaction::Wait { after },
        WriteError::Unavailable { after, detail } => return Reaction::Fail { after, detail },
        WriteError::Unauthorized { .. } if facts.renewable => return Reaction::Renew,
        WriteError::Refused { code, detail } if facts.in_a_row >= MAX_REFUSALS_IN_A_ROW => {
            let detail = format!(
                "refused {MAX_REFUSALS_IN_A_ROW} requests in a row for one and the same reason ({code}): {detail}"
            );
            return Reaction::Stop { code: Code::DestinationMisconfigured, detail };
        }
        WriteError::Refused { code, detail } if facts.records == 1 => return Reaction::Reject { code, detail },
        WriteError::Refused { .. } => return Reaction::Halve,
        WriteError::Unauthorized { detail } => {
            ("unauthorized", Code::DestinationUnauthorized, "refuses the credentials", detail)
        }
        WriteError::Misconfigured { detail } => {
            ("misconfigured", Code::DestinationMisconfigured, "cannot be written to as configured", detail)
        }
    };
    let stop = |detail: String| Reaction::Stop { code: fault, detail: format!("{what}: {detail}") };
    let all_there_are = u64::from(facts.alone) >= facts.planned.min(u64::from(PROBES));
    match facts.records {
        _ if facts.in_a_row >= MAX_REFUSALS_IN_A_ROW => stop(detail),
        0 | 1 if facts.to_blame => Reaction::Reject { code: code.into(), detail },
        0 | 1 if all_there_are => stop(detail),
        0 | 1 if facts.passed && (facts.attempts >= 2 || facts.last) => Reaction::Reject { code: code.into(), detail },
        0 | 1 if facts.last => stop(detail),
        0 | 1 => Reaction::Suspect { code: code.into(), detail },
        _ if facts.passed => Reaction::Halve,
        _ => Reaction::Probe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: ErrorContext = ErrorContext {
        records: 100,
        renewable: false,
        passed: false,
        alone: 0,
        to_blame: false,
        planned: 1000,
        in_a_row: 1,
        attempts: 0,
        last: false,
    };

    fn letter(error: &WriteError, facts: ErrorContext) -> char {
        match on_error(error.clone(), &facts) {
            Reaction::Reject { .. } => 'X',
            Reaction::Halve => 'H',
            Reaction::Probe => 'P',
            Reaction::Suspect { .. } => '?',
            Reaction::Wait { .. } => 'W',
            Reaction::Fail { .. } => 'F',
            Reaction::Renew => 'N',
            Reaction::Stop { code: Code::DestinationUnauthorized, .. } => 'U',
            Reaction::Stop { code: Code::DestinationMisconfigured, .. } => 'M',
            Reaction::Stop { .. } => 'S',
        }
    }

    #[test]
    fn every_error_in_every_situation() {
        let (after, detail) = (None, || "said".to_owned());
        let errors = [
            WriteError::Throttled { after },
            WriteError::Unavailable { after, detail: detail() },
            WriteError::Refused { code: "c".into(), detail: detail() },
            WriteError::Unauthorized { detail: detail() },
            WriteError::Misconfigured { detail: detail() },
        ];
        let one = ErrorContext { records: 1, alone: 1, ..QUIET };
        for (situation, facts, expected) in [
            ("several records, nothing has passed", QUIET, "WFHPP"),
            ("several records, others have passed", ErrorContext { passed: true, ..QUIET }, "WFHHH"),
            ("credentials may be old", ErrorContext { renewable: true, ..QUIET }, "WFHNP"),
            ("one record, the first to be refused", one, "WFX??"),
            ("one record, others have passed", ErrorContext { passed: true, ..one }, "WFX??"),
            (
                "one record for the third time, others have passed",
                ErrorContext { passed: true, attempts: 2, ..one },
                "WFXXX",
            ),
            (
                "one record for the last time, others have passed",
                ErrorContext { passed: true, last: true, ..one },
                "WFXXX",
            ),
            ("one record for the last time, nothing has passed", ErrorContext { last: true, ..one }, "WFXUM"),
            (
                "one record for the second time, others have passed since",
                ErrorContext { passed: true, to_blame: true, alone: PROBES, ..one },
                "WFXXX",
            ),
            ("the only record of the run", ErrorContext { planned: 1, ..one }, "WFXUM"),
            ("the last of the probes", ErrorContext { alone: PROBES, ..one }, "WFXUM"),
            (
                "the last of the probes, though others have passed before",
                ErrorContext { alone: PROBES, passed: true, ..one },
                "WFXUM",
            ),
            (
                "for one reason again and again",
                ErrorContext { in_a_row: MAX_REFUSALS_IN_A_ROW, passed: true, ..QUIET },
                "WFMUM",
            ),
            (
                "for one reason again and again, alone",
                ErrorContext { in_a_row: MAX_REFUSALS_IN_A_ROW, passed: true, ..one },
                "WFMUM",
            ),
        ] {
            assert_eq!(errors.iter().map(|error| letter(error, facts)).collect::<String>(), expected, "{situation}");
        }
    }
}
