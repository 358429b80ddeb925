//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::sync::Arc;

use clients::DatabasePlace;
use clients::http::detail::RecordingSecrets;
use clients::http::{Http, HttpSettings};
use domain::config::{self, SecretSource, Setting};
use domain::fault::Fault;
use domain::ports::{OpenArgs, OpenFuture, Warehouse};
use tokio::sync::Mutex;

use super::AthenaWarehouse;
use super::api::AthenaApi;
use super::config::Config;
use crate::aws_json::{AwsJsonApi, endpoint};
use crate::aws_login::AwsIdentity;
use crate::lake::{S3Client, S3Location};

pub(super) fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let secrets = RecordingSecrets::new(opening.secrets);
        if config.timeout.0.is_zero() || config.statement_timeout.0.is_zero() {
            return Err(place.invalid("`timeout` and `statement_timeout` must be more than 0."));
        }
        let written = config.output.resolve(&secrets).await?;
        let output = S3Location::folder(&written).ok_or_else(|| {
            place.invalid(format!("`output: {written}` is no folder in S3, such as `s3://my-results/sluicegate/`."))
        })?;
        let identity =
            AwsIdentity::resolve(&place, config.region.as_ref(), config.credentials.as_ref(), &secrets).await?;
        let written = match &config.url {
            Some(url) => url.resolve(&secrets).await?,
            None => format!("https://athena.{}.amazonaws.com", identity.region()?),
        };
        let base = endpoint(&place, "url", &written)?;
        let s3_url = match resolved(config.s3_url.as_ref(), &secrets).await? {
            Some(written) => Some(endpoint(&place, "s3_url", &written)?),
            None => None,
        };
        let http = Http::new(HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            clock: Arc::clone(opening.clock),
            ..HttpSettings::default()
        })?;
        let s3 = S3Client {
            http: http.clone(),
            place: place.clone(),
            identity: identity.clone(),
            endpoint: s3_url,
            retry_pause: config.retry_pause.0,
        };
        let json = AwsJsonApi {
            http,
            base,
            place: place.clone(),
            identity,
            service: "athena",
            target: "AmazonAthena",
            retry_pause: config.retry_pause.0,
        };
        let or = |setting: Option<String>, default: &str| setting.unwrap_or_else(|| default.to_owned());
        let api = AthenaApi {
            json,
            place,
            workgroup: or(resolved(config.workgroup.as_ref(), &secrets).await?, "primary"),
            catalog: or(resolved(config.catalog.as_ref(), &secrets).await?, "AwsDataCatalog"),
            database: resolved(config.database.as_ref(), &secrets).await?,
            statement_timeout: config.statement_timeout,
        };
        let described = Mutex::new(None);
        Ok(Arc::new(AthenaWarehouse { api: Arc::new(api), s3: Arc::new(s3), output, described }) as Arc<dyn Warehouse>)
    })
}

async fn resolved(setting: Option<&Setting>, secrets: &dyn SecretSource) -> Result<Option<String>, Fault> {
    match setting {
        Some(setting) => Ok(Some(setting.resolve(secrets).await?)),
        None => Ok(None),
    }
}
