//! What the errors of Athena mean to a person.
//! <https://docs.aws.amazon.com/athena/latest/ug/error-reference.html>

use clients::DatabasePlace;
use domain::fault::Fault;

use crate::aws_json::AwsRefusal;
use crate::aws_login::refused_credentials;
use crate::lake::S3Location;
use crate::sql::Statement;

/// How a query ended that did not succeed.
pub(super) struct QueryFailure<'a> {
    pub(super) reason: &'a str,
    /// 1: of the system, 2: of the person, 3: of something else; 0 where it does not say.
    pub(super) category: u8,
    pub(super) retryable: bool,
}

/// The fault of a call.
pub(super) fn fault(
    refusal: &AwsRefusal,
    place: &DatabasePlace,
    host: &str,
    workgroup: &str,
    sent: &Statement,
) -> Fault {
    let said = refusal.message.trim_end_matches('.');
    if let Some(fault) = refused_credentials(place, &refusal.name, said) {
        return fault;
    }
    match refusal.name.as_str() {
        "AccessDeniedException" => {
            let action = action(said)
                .unwrap_or("athena:StartQueryExecution, GetQueryExecution, GetQueryResults and StopQueryExecution");
            place
                .denied(format!("access refused: {said}."))
                .with_next(format!("allow the role {action} on the workgroup {workgroup}"))
        }
        name if refusal.passes() => place.unreachable(format!("{host} answers {name} ({}): {said}.", refusal.status)),
        "InvalidRequestException" if position(said, sent).is_some() => QueryFailure::of(said).model(place, sent),
        "InvalidRequestException" if said.to_lowercase().contains("workgroup") => {
            place.invalid(format!("{said}.")).with_next("check `workgroup` and `region`")
        }
        "InvalidRequestException" if mentions(said, &["output", "bucket", "OutputLocation"]) => place
            .denied(format!("Athena cannot write where `output` says: {said}."))
            .with_next("check `output`, and allow the role s3:GetBucketLocation, s3:ListBucket and s3:PutObject there"),
        name => place.invalid(format!("Athena refuses the request ({name}): {said}.")),
    }
}

fn mentions(said: &str, words: &[&str]) -> bool {
    words.iter().any(|word| said.contains(word))
}

/// The action of `… is not authorized to perform: glue:GetTable on resource: …`.
fn action(said: &str) -> Option<&str> {
    let action = said.split_once("to perform: ")?.1.split_whitespace().next()?;
    Some(action.trim_end_matches([',', '.', ')']))
}

/// The resource of the same.
fn resource(said: &str) -> Option<&str> {
    let resource = said.split_once("on resource: ")?.1.split_whitespace().next()?;
    Some(resource.trim_end_matches([',', '.', ')']))
}

impl<'a> QueryFailure<'a> {
    fn of(reason: &'a str) -> Self {
        Self { reason, category: 2, retryable: false }
    }

    /// The fault of a query that somebody else ended.
    pub(super) fn cancelled(&self, place: &DatabasePlace, workgroup: &str) -> Fault {
        let said = self.words();
        if said.to_lowercase().contains("bytes scanned limit") {
            return place
                .failed(format!("the workgroup {workgroup} stops queries that read so much: {said}."))
                .with_next("read less (partitions, fewer columns, a `cursor`), or raise the workgroup's limit of bytes for each query");
        }
        let why = if said.is_empty() { String::new() } else { format!(": {said}") };
        place.timeout(format!("the query was cancelled at Athena{why}."))
    }

    /// The fault of a query that failed; it wrote below `output`.
    pub(super) fn failed(&self, place: &DatabasePlace, sent: &Statement, output: &S3Location) -> Fault {
        let said = self.words();
        let lower = said.to_lowercase();
        if lower.contains("lake formation") || lower.contains("lakeformation") {
            let next = "grant the role SELECT on the table and DESCRIBE on its database in Lake Formation (aws lakeformation grant-permissions), and allow it lakeformation:GetDataAccess";
            return place.denied(format!("access refused: {said}.")).with_next(next);
        }
        if let Some(action) = action(&said) {
            let on = resource(&said).map_or_else(|| "the catalog and the data of the tables".to_owned(), str::to_owned);
            return place
                .denied(format!("access refused: {said}."))
                .with_next(format!("allow the role {action} on {on}"));
        }
        if ["access denied", "accessdenied", "status code: 403", "permission_denied"]
            .iter()
            .any(|word| lower.contains(word))
        {
            let next = if said.contains(&output.bucket) || lower.contains("writing") {
                format!("allow the role s3:PutObject, s3:ListBucket and s3:AbortMultipartUpload on {}", output.arn())
            } else {
                "allow the role s3:GetObject and s3:ListBucket where the tables' data lies (kms:Decrypt where it is encrypted), and glue:GetDatabase, GetTable and GetPartitions".to_owned()
            };
            return place.denied(format!("access refused: {said}.")).with_next(next);
        }
        let passes = self.retryable
            || self.category == 1
            || mentions(&said, &["INTERNAL_ERROR", "SlowDown", "reduce your request rate", "HIVE_PATH_ALREADY_EXISTS"]);
        if passes {
            return place.unreachable(format!("the query failed within Athena: {said}."));
        }
        self.model(place, sent)
    }

    /// The fault of the person's SQL.
    fn model(&self, place: &DatabasePlace, sent: &Statement) -> Fault {
        let said = self.words();
        let (at, words) = match position(&said, sent) {
            Some((at, words)) => (at, words.to_owned()),
            None => (String::new(), said.clone()),
        };
        let fault = place.failed(format!("the model's SQL fails{at}: {words}."));
        if words.contains("Table") && words.contains("does not exist") {
            return fault.with_next(
                "check its name, `database` and `catalog`; a table that the role may not see (glue:GetTable, SELECT in Lake Formation) is told of so, too",
            );
        }
        fault
    }

    fn words(&self) -> String {
        let line = self.reason.split_whitespace().collect::<Vec<_>>().join(" ");
        line.trim_end_matches('.').to_owned()
    }
}

/// ` at line 2, column 3`, of the person's own text, and what is said of it; `None` where no place is told.
fn position<'s>(said: &'s str, sent: &Statement) -> Option<(String, &'s str)> {
    let (line, after) = said.split_once("line ")?.1.split_once(':')?;
    let (column, words) = after.split_once(": ")?;
    let (line, column) = (line.parse::<usize>().ok()?, column.parse::<usize>().ok()?);
    let before = sent.text.get(..sent.before).unwrap_or_default();
    // What goes before the model ends with its own line.
    let own = line.checked_sub(before.matches('\n').count()).filter(|line| *line > 0);
    Some((own.map_or_else(String::new, |line| format!(" at line {line}, column {column}")), words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::fault::Code;

    #[test]
    fn every_failure_has_its_words() {
        let place = DatabasePlace::warehouse("lake");
        let sent = Statement { text: "-- x\nselect * from (\nselect 1 as a,\n  nope\n) as model".into(), before: 21 };
        let output = S3Location::parse("s3://results/athena/").unwrap();
        for (reason, category, code, part) in [
            (
                "COLUMN_NOT_FOUND: line 4:3: Column 'nope' cannot be resolved or requester is not authorized to access requested resources",
                2,
                Code::ModelFailed,
                "at line 2, column 3: Column 'nope' cannot be resolved",
            ),
            (
                "TABLE_NOT_FOUND: line 3:1: Table 'awsdatacatalog.d.t' does not exist",
                2,
                Code::ModelFailed,
                "glue:GetTable",
            ),
            ("DIVISION_BY_ZERO: Division by zero", 2, Code::ModelFailed, "fails: DIVISION_BY_ZERO"),
            (
                "Insufficient Lake Formation permission(s): Required Select on orders",
                2,
                Code::WarehouseDenied,
                "grant the role SELECT",
            ),
            (
                "Insufficient permissions to execute the query. User: arn:aws:sts::1:assumed-role/r is not authorized to perform: glue:GetTable on resource: arn:aws:glue:eu-west-1:1:catalog",
                2,
                Code::WarehouseDenied,
                "allow the role glue:GetTable on arn:aws:glue:eu-west-1:1:catalog",
            ),
            (
                "Access denied when writing output to url: s3://results/athena/x. Please ensure you are allowed to access the S3 bucket",
                2,
                Code::WarehouseDenied,
                "s3:PutObject, s3:ListBucket and s3:AbortMultipartUpload on arn:aws:s3:::results/athena/*",
            ),
            (
                "HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split s3://data/x (offset=0): Access Denied (Service: Amazon S3; Status Code: 403)",
                2,
                Code::WarehouseDenied,
                "s3:GetObject and s3:ListBucket where the tables' data lies",
            ),
            ("GENERIC_INTERNAL_ERROR: null", 1, Code::WarehouseUnreachable, "within Athena"),
            ("Query exhausted resources at this scale factor", 2, Code::ModelFailed, "exhausted resources"),
        ] {
            let failure = QueryFailure { reason, category, retryable: false };
            let fault = failure.failed(&place, &sent, &output);
            assert_eq!(fault.code, code, "{fault}");
            assert!(fault.to_string().contains(part), "{fault}");
        }
        let ended = |reason| QueryFailure::of(reason).cancelled(&place, "primary");
        assert_eq!(ended("Query cancelled by user").code, Code::ModelTimeout);
        let limited = ended("Query cancelled! : Bytes scanned limit was exceeded");
        assert!(limited.code == Code::ModelFailed && limited.to_string().contains("workgroup's limit"), "{limited}");
    }

    #[test]
    fn every_refused_call_has_its_words() {
        let place = DatabasePlace::warehouse("lake");
        let sent = Statement { text: "select * from (\nselect".into(), before: 16 };
        for (name, status, message, code, part) in [
            (
                "AccessDeniedException",
                400,
                "You are not authorized to perform: athena:StartQueryExecution on the resource. After your AWS administrator has updated your permissions, please try again.",
                Code::WarehouseDenied,
                "allow the role athena:StartQueryExecution on the workgroup w",
            ),
            ("ExpiredTokenException", 400, "m", Code::WarehouseDenied, "renew"),
            ("TooManyRequestsException", 400, "m", Code::WarehouseUnreachable, "TooManyRequests"),
            ("InternalServerException", 500, "m", Code::WarehouseUnreachable, "500"),
            ("InvalidRequestException", 400, "WorkGroup w is not found.", Code::ConnectionInvalid, "check `workgroup`"),
            (
                "InvalidRequestException",
                400,
                "line 2:7: mismatched input '<EOF>'",
                Code::ModelFailed,
                "at line 1, column 7",
            ),
            (
                "InvalidRequestException",
                400,
                "Unable to verify/create output bucket results",
                Code::WarehouseDenied,
                "s3:GetBucketLocation",
            ),
            ("InvalidRequestException", 400, "QueryString is empty", Code::ConnectionInvalid, "refuses the request"),
        ] {
            let refusal = AwsRefusal { status, name: name.into(), message: message.into() };
            let fault = fault(&refusal, &place, "h", "w", &sent);
            assert_eq!(fault.code, code, "{fault}");
            assert!(fault.to_string().contains(part), "{fault}");
        }
    }
}
