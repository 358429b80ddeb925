//! What a status of the Storage Read API means to a person.

use clients::DatabasePlace;
use clients::http::{GrpcCode, GrpcError};
use domain::fault::Fault;

/// True for what is worth asking again. A read that is begun again goes on at a row, so even what the other side did not mean to
/// stay is safe.
pub(super) fn passes(error: &GrpcError) -> bool {
    use GrpcCode as C;
    match error {
        GrpcError::Status(status) => matches!(
            status.code,
            C::Cancelled
                | C::Unknown
                | C::DeadlineExceeded
                | C::ResourceExhausted
                | C::Aborted
                | C::Internal
                | C::Unavailable
        ),
        GrpcError::Send(error) => {
            !matches!(error, clients::http::SendError::Address { .. } | clients::http::SendError::Certificate { .. })
        }
    }
}

/// The fault of a call that failed.
pub(super) fn storage_fault(place: &DatabasePlace, project: &str, host: &str, error: &GrpcError) -> Fault {
    let status = match error {
        GrpcError::Send(error) => return error.at(place),
        GrpcError::Status(status) => status,
    };
    let said: String = status.message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = said.trim_end_matches('.');
    let rest = "set `read_api: rest` to read page by page";
    match status.code {
        GrpcCode::Unauthenticated => place.denied(format!("Google refuses the login: {said}.")).with_next(
            "check the service account's key (it may be disabled or deleted), or the workload identity's audience",
        ),
        GrpcCode::PermissionDenied => {
            let grant = format!(
                "gcloud projects add-iam-policy-binding {project} --member serviceAccount:… --role roles/bigquery.readSessionUser, or {rest}"
            );
            place.denied(format!("the Storage Read API refuses access: {said}.")).with_next(grant)
        }
        GrpcCode::NotFound => place
            .unreachable(format!("the table of the result is gone: {said}. BigQuery keeps one for a day."))
            .with_next("run the sync again"),
        GrpcCode::FailedPrecondition => place
            .unreachable(format!("the read session has ended: {said}. BigQuery keeps one for six hours."))
            .with_next("run the sync again; select less columns or rows where it always takes so long"),
        GrpcCode::ResourceExhausted => place
            .unreachable(format!("a quota of the Storage Read API is used up: {said}."))
            .with_next(format!("wait, raise the quota under IAM & Admin → Quotas, or {rest}")),
        GrpcCode::InvalidArgument => {
            place.failed(format!("the Storage Read API refuses to read the result: {said}.")).with_next(rest)
        }
        GrpcCode::Unimplemented => place
            .invalid(format!("there is no Storage Read API at {host}: {said}."))
            .with_next(format!("correct `storage_url`, or {rest}")),
        code => place.unreachable(format!("the Storage Read API answers {code}: {said}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clients::http::{GrpcStatus, SendError};
    use domain::fault::Code;

    #[test]
    fn every_status_has_its_words() {
        let place = DatabasePlace::warehouse("bq");
        for (code, expected, part, again) in [
            (GrpcCode::Unauthenticated, Code::WarehouseDenied, "refuses the login", false),
            (GrpcCode::PermissionDenied, Code::WarehouseDenied, "--role roles/bigquery.readSessionUser", false),
            (GrpcCode::NotFound, Code::WarehouseUnreachable, "for a day", false),
            (GrpcCode::FailedPrecondition, Code::WarehouseUnreachable, "six hours", false),
            (GrpcCode::ResourceExhausted, Code::WarehouseUnreachable, "Quotas", true),
            (GrpcCode::InvalidArgument, Code::ModelFailed, "read_api: rest", false),
            (GrpcCode::Unimplemented, Code::ConnectionInvalid, "storage_url", false),
            (GrpcCode::Unavailable, Code::WarehouseUnreachable, "UNAVAILABLE: said so.", true),
            (GrpcCode::Internal, Code::WarehouseUnreachable, "INTERNAL", true),
            (GrpcCode::Other(15), Code::WarehouseUnreachable, "status 15", false),
        ] {
            let error = GrpcError::Status(GrpcStatus { code, message: "said\n so.".into() });
            let fault = storage_fault(&place, "acme", "h", &error);
            assert_eq!(fault.code, expected, "{fault}");
            assert!(fault.to_string().contains(part), "{fault}");
            assert_eq!(passes(&error), again, "{fault}");
        }
        assert!(passes(&GrpcError::Send(SendError::Broken { detail: String::new() })));
    }
}
