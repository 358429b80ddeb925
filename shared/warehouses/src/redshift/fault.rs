//! What the errors of the Data API and of Redshift mean to a person.

use clients::DatabasePlace;
use domain::fault::Fault;

use crate::aws_json::AwsRefusal;
use crate::aws_login::refused_credentials;
use crate::sql::Statement;

/// True for what is worth asking again.
fn passes(refusal: &AwsRefusal) -> bool {
    let passing = [
        "ActiveStatementsExceededException",
        "ActiveSessionsExceededException",
        "ActiveWaitingRequestsExceededException",
    ];
    refusal.passes() || passing.contains(&refusal.name.as_str())
}

/// The fault of a call.
pub(super) fn fault(refusal: &AwsRefusal, place: &DatabasePlace, host: &str, target: &str) -> Fault {
    let said = refusal.message.trim_end_matches('.');
    if let Some(fault) = refused_credentials(place, &refusal.name, said) {
        return fault;
    }
    match refusal.name.as_str() {
        "AccessDeniedException" => place.denied(format!("access refused: {said}.")).with_next(format!(
            "allow the role redshift-data:ExecuteStatement, DescribeStatement, GetStatementResult and CancelStatement, and redshift-serverless:GetCredentials (redshift:GetClusterCredentialsWithIAM for a cluster) on {target}"
        )),
        "ResourceNotFoundException" => place
            .invalid(format!("{said}."))
            .with_next("check `workgroup` or `cluster`, `database` and `region`"),
        name if passes(refusal) => place.unreachable(format!("{host} answers {name} ({}): {said}.", refusal.status)),
        name => place.invalid(format!("the Data API refuses the request ({name}): {said}.")),
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
        return place.failed(format!("the result is larger than the Data API gives out (500 MB): {words}.")).with_next(
            "set `unload: { to: s3://BUCKET/PREFIX/, role: ARN }` on the connection, or give the sync a `cursor`",
        );
    }
    if words.contains("assume IAM Role") || words.contains("get credentials of role") || words.contains("ASSUMEROLE") {
        return place.denied(format!("Redshift cannot write as `unload.role`: {words}.")).with_next(
            "attach the role to the cluster or namespace, let redshift.amazonaws.com and redshift-serverless.amazonaws.com assume it, and GRANT ASSUMEROLE ON 'ARN' TO \"IAMR:ROLE\" FOR UNLOAD",
        );
    }
    if words.contains("S3ServiceException") && (words.contains("AccessDenied") || words.contains("Status 403")) {
        return place.denied(format!("Redshift cannot write where `unload.to` says: {words}.")).with_next(
            "allow `unload.role` s3:PutObject, s3:ListBucket and s3:GetBucketLocation there (kms:GenerateDataKey where the bucket is encrypted with a key)",
        );
    }
    if words.contains("S3ServiceException") && (words.contains("PermanentRedirect") || words.contains("region")) {
        return place
            .invalid(format!("the bucket of `unload.to` lies in another region: {words}."))
            .with_next("use a bucket in the region of the warehouse");
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
            (
                "ERROR: User arn:aws:redshift:eu-west-1:1:dbuser:c/u is not authorized to assume IAM Role arn:aws:iam::1:role/r",
                Code::WarehouseDenied,
                "GRANT ASSUMEROLE",
            ),
            (
                "ERROR: S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 4,CanRetry 1",
                Code::WarehouseDenied,
                "allow `unload.role` s3:PutObject",
            ),
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
            let refusal = AwsRefusal { status, name: name.into(), message: "m".into() };
            let fault = fault(&refusal, &place, "h", "t");
            assert_eq!(fault.code, code, "{fault}");
            assert!(fault.to_string().contains(part), "{fault}");
        }
    }
}
