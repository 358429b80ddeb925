//! What the errors of the Data API and of Redshift mean to a person.

use clients::DatabasePlace;
use domain::fault::Fault;

use crate::sql::Statement;

/// What a call was refused with.
#[derive(Debug, Clone, Default)]
pub(super) struct DataApiError {
    pub(super) status: u16,
    /// The exception's name, without what goes before it.
    pub(super) name: String,
    pub(super) message: String,
}

impl DataApiError {
    /// True for what is worth asking again.
    pub(super) fn passes(&self) -> bool {
        let passing = [
            "ThrottlingException",
            "TooManyRequestsException",
            "ActiveStatementsExceededException",
            "ActiveSessionsExceededException",
            "ActiveWaitingRequestsExceededException",
            "InternalServerException",
        ];
        self.status == 429 || self.status >= 500 || passing.contains(&self.name.as_str())
    }

    /// The fault of a call.
    pub(super) fn fault(&self, place: &DatabasePlace, host: &str, target: &str) -> Fault {
        let said = self.message.trim_end_matches('.');
        match self.name.as_str() {
            "AccessDeniedException" => place.denied(format!("access refused: {said}.")).with_next(format!(
                "allow the role redshift-data:ExecuteStatement, DescribeStatement, GetStatementResult and CancelStatement, and redshift-serverless:GetCredentials (redshift:GetClusterCredentialsWithIAM for a cluster) on {target}"
            )),
            "UnrecognizedClientException" | "ExpiredTokenException" | "InvalidSignatureException" | "IncompleteSignatureException" | "MissingAuthenticationTokenException" => place
                .denied(format!("AWS refuses the credentials: {said}."))
                .with_next("renew the AWS credentials of this process, and check its clock"),
            "ResourceNotFoundException" => place
                .invalid(format!("{said}."))
                .with_next("check `workgroup` or `cluster`, `database` and `region`"),
            _ if self.passes() => place.unreachable(format!("{host} answers {} ({}): {said}.", self.name, self.status)),
            _ => place.invalid(format!("the Data API refuses the request ({}): {said}.", self.name)),
        }
    }
}

/// The fault of a statement that failed; `user` is who the statement ran as, where it is known.
pub(super) fn failed(place: &DatabasePlace, message: &str, sent: &Statement) -> Fault {
    let said = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = said.trim_start_matches("ERROR: ");
    let position = position(said, sent);
    let words = said.split(" Position:").next().unwrap_or(said).trim_end_matches([';', '.']);
    if words.contains("permission denied") {
        return place
            .denied(format!("access refused: {words}."))
            .with_next("GRANT USAGE ON SCHEMA … TO \"IAMR:ROLE\"; GRANT SELECT ON … TO \"IAMR:ROLE\" (the user of an IAM role is called so)");
    }
    if words.contains("exceeds the maximum size") || words.contains("exceeded the maximum") {
        return place
            .failed(format!("the result is larger than the Data API gives out (500 MB): {words}."))
            .with_next("select less columns or rows in the model, or give the sync a `cursor`");
    }
    place.failed(format!("the model's SQL fails{position}: {words}."))
}

/// ` at line 2, column 3`, of the person's own text: Redshift tells the character, from 1.
fn position(said: &str, sent: &Statement) -> String {
    let Some(at) =
        said.rsplit_once("Position: ").and_then(|(_, at)| at.trim_end_matches([';', '.']).parse::<usize>().ok())
    else {
        return String::new();
    };
    let Some(index) = at.checked_sub(1 + sent.before) else { return String::new() };
    let own: String = sent.text.get(sent.before..).unwrap_or_default().chars().take(index).collect();
    let line = own.matches('\n').count() + 1;
    let column = own.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!(" at line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fault::Code;

    #[test]
    fn every_error_has_its_words() {
        let place = DatabasePlace::warehouse("red");
        let sent = Statement { text: "select * from (\nselect 1 as a,\n  nope\n) as model".into(), before: 16 };
        for (message, code, part) in [
            (
                "ERROR: column \"nope\" does not exist Position: 34;",
                Code::ModelFailed,
                "at line 2, column 3: column \"nope\" does not exist.",
            ),
            ("ERROR: relation \"t\" does not exist", Code::ModelFailed, "relation \"t\" does not exist"),
            ("ERROR: permission denied for relation t", Code::WarehouseDenied, "IAMR:ROLE"),
        ] {
            let fault = failed(&place, message, &sent);
            assert_eq!(fault.code, code, "{fault}");
            assert!(fault.to_string().contains(part), "{fault}");
        }
        for (name, status, code, part) in [
            ("AccessDeniedException", 400, Code::WarehouseDenied, "GetCredentials"),
            ("ExpiredTokenException", 400, Code::WarehouseDenied, "renew"),
            ("ResourceNotFoundException", 400, Code::ConnectionInvalid, "`workgroup`"),
            ("ThrottlingException", 400, Code::WarehouseUnreachable, "Throttling"),
            ("ValidationException", 400, Code::ConnectionInvalid, "refuses the request"),
        ] {
            let error = DataApiError { status, name: name.into(), message: "m".into() };
            let fault = error.fault(&place, "h", "t");
            assert_eq!(fault.code, code, "{fault}");
            assert!(fault.to_string().contains(part), "{fault}");
        }
    }
}
