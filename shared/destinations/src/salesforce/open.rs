//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::sync::Arc;

use domain::config;
use domain::fault::{Code, Fault};
use domain::ports::{Destination, Limits, OpenArgs, OpenFuture};
use domain::sync::Target;
use serde::Deserialize as _;

use super::SalesforceDestination;
use super::config::{Auth, Config, Options};
use super::name::is_name;
use super::session::{Grant, Session};
use clients::http::detail::RecordingSecrets;
use clients::http::tls::Certificates;
use clients::http::{HeaderMap, HeaderValue, Http, HttpSettings, Url};

/// Most bytes of records in one request.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

pub(super) fn open<'a>(opening: OpenArgs<'a>, target: &'a Target) -> OpenFuture<'a, dyn Destination> {
    Box::pin(async move {
        let salesforce: Arc<dyn Destination> = Arc::new(connect(opening, target).await?);
        Ok(salesforce)
    })
}

async fn connect(opening: OpenArgs<'_>, target: &Target) -> Result<SalesforceDestination, Fault> {
    let about = format!("connection {}", opening.name);
    let invalid = |what: String| Fault::new(Code::ConnectionInvalid, format!("{about}: {what}."));
    let config: Config = config::read(&about, opening.config)?;
    let options = Options::deserialize(serde_json::Value::Object(target.options.clone()))
        .map_err(|e| Fault::new(Code::SyncInvalid, format!("destination.options: {e}.")))?;
    check(&config).map_err(invalid)?;
    if !is_name(&target.object) {
        let what = format!(
            "destination.object of a sync to {}: `{}` is not the API name of an sObject.",
            target.connection, target.object
        );
        return Err(Fault::new(Code::SyncInvalid, what).with_next("Name the object as `Contact` or `Invoice__c`."));
    }
    let secrets = RecordingSecrets::new(opening.secrets);
    let domain = config.domain.resolve(&secrets).await?;
    let domain = Url::parse(&domain)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| invalid("`domain` is not an address such as https://acme.my.salesforce.com".into()))?;
    let grant = match &config.auth {
        Auth::ClientCredentials { client_id, client_secret } => Grant::Secret {
            client_id: client_id.resolve(&secrets).await?,
            client_secret: client_secret.resolve(&secrets).await?,
        },
        Auth::JwtBearer { client_id, username, private_key, audience } => {
            let pem = private_key.resolve(&secrets).await?;
            let (client_id, username) = (client_id.resolve(&secrets).await?, username.resolve(&secrets).await?);
            Grant::signed(client_id, username, audience.clone(), &pem).map_err(invalid)?
        }
    };
    let mut headers = HeaderMap::new();
    // Without this header assignment rules fire.
    headers.insert(
        "sforce-auto-assign",
        HeaderValue::from_static(if options.assignment_rules { "TRUE" } else { "FALSE" }),
    );
    if options.allow_duplicates {
        headers.insert("sforce-duplicate-rule-header", HeaderValue::from_static("allowSave=true"));
    }
    let tls = Certificates::read(&about, config.ca.as_ref(), config.client_certificate.as_ref(), &secrets).await?;
    let http = Http::new(HttpSettings {
        timeout: config.timeout.0,
        allow_private: config.allow_private,
        redactor: secrets.redactor(),
        tls,
        clock: Arc::clone(opening.clock),
    })?;
    let limits = Limits {
        batch_records: config.batch_size,
        batch_bytes: BATCH_BYTES,
        concurrency: config.concurrency,
        rate: config.rate,
        first_pause: config.retry_pause.0,
    };
    let session = Session::new(http, domain, grant, headers, &config);
    Ok(SalesforceDestination {
        about,
        object: target.object.clone(),
        session,
        limits,
        config,
        options,
        prefix: tokio::sync::OnceCell::new(),
    })
}

/// Numbers that cannot be meant.
fn check(config: &Config) -> Result<(), String> {
    let version = config.api_version.strip_prefix('v').and_then(|v| v.split_once('.'));
    match config {
        _ if version.is_none_or(|(major, minor)| major.parse::<u16>().is_err() || minor.parse::<u16>().is_err()) => {
            Err(format!("`api_version` is `{}`; write one like `v67.0`", config.api_version))
        }
        c if !(1..=200).contains(&c.batch_size) => Err("`batch_size` must be 1 to 200".into()),
        c if !(1..=100_000).contains(&c.job_records) => Err("`job_records` must be 1 to 100000".into()),
        c if c.concurrency == 0 => Err("`concurrency` must be more than 0".into()),
        c if c.timeout.0.is_zero() => Err("`timeout` must be more than 0".into()),
        c if c.rate.is_some_and(|r| r.requests == 0 || r.per.0.is_zero()) => Err("`rate` must be more than 0".into()),
        _ => Ok(()),
    }
}
