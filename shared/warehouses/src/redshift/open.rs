//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::sync::Arc;

use clients::DatabasePlace;
use clients::http::detail::RecordingSecrets;
use clients::http::{Http, HttpSettings, Url};
use domain::config::{self, SecretSource, Setting};
use domain::fault::Fault;
use domain::ports::{OpenArgs, OpenFuture, Warehouse};
use serde_json::json;

use super::RedshiftWarehouse;
use super::api::DataApi;
use super::config::Config;
use crate::settings;

pub(super) fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let secrets = RecordingSecrets::new(opening.secrets);
        let mut target = json!({ "Database": config.database.resolve(&secrets).await? });
        let named = match (&config.workgroup, &config.cluster) {
            (Some(workgroup), None) => {
                let name = workgroup.resolve(&secrets).await?;
                target["WorkgroupName"] = name.clone().into();
                format!("the workgroup {name}")
            }
            (None, Some(cluster)) => {
                let name = cluster.resolve(&secrets).await?;
                target["ClusterIdentifier"] = name.clone().into();
                format!("the cluster {name}")
            }
            _ => return Err(place.invalid("give one of `workgroup` (serverless) and `cluster` (provisioned).")),
        };
        match (&config.db_user, &config.secret_arn) {
            (Some(_), Some(_)) => return Err(place.invalid("give at most one of `db_user` and `secret_arn`.")),
            (Some(_), None) if config.cluster.is_none() => {
                return Err(place.invalid("`db_user` is for a `cluster`; in a workgroup the IAM identity is the user."));
            }
            (Some(user), None) => target["DbUser"] = user.resolve(&secrets).await?.into(),
            (None, Some(arn)) => target["SecretArn"] = arn.resolve(&secrets).await?.into(),
            (None, None) => {}
        }
        if config.timeout.0.is_zero() || config.statement_timeout.0.is_zero() {
            return Err(place.invalid("`timeout` and `statement_timeout` must be more than 0."));
        }
        let region = resolved(config.region.as_ref(), &secrets).await?;
        let written = match &config.url {
            Some(url) => url.resolve(&secrets).await?,
            None => {
                let region = region.clone().or_else(|| settings::aws_credentials().ok().map(|known| known.region));
                let region = region.ok_or_else(|| {
                    place
                        .invalid("`region` is missing, and AWS_REGION is not set.")
                        .with_next("add `region`, such as eu-west-1")
                })?;
                format!("https://redshift-data.{region}.amazonaws.com")
            }
        };
        let base =
            Url::parse(written.trim()).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        let base =
            base.ok_or_else(|| place.invalid("`url` is not valid: it begins with https:// and names a host."))?;
        let credentials = match &config.credentials {
            Some(_) if region.is_none() => {
                return Err(place.invalid("`credentials` need a `region`: add it, such as eu-west-1."));
            }
            Some(keys) => {
                let session = match &keys.session_token {
                    Some(token) => Some(token.resolve(&secrets).await?),
                    None => None,
                };
                Some((
                    keys.access_key_id.resolve(&secrets).await?,
                    keys.secret_access_key.resolve(&secrets).await?,
                    session,
                ))
            }
            None => None,
        };
        let http = HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            clock: Arc::clone(opening.clock),
            ..HttpSettings::default()
        };
        let api = DataApi {
            http: Http::new(http)?,
            base,
            place,
            region,
            credentials,
            target,
            named,
            statement_timeout: config.statement_timeout,
            retry_pause: config.retry_pause.0,
        };
        Ok(Arc::new(RedshiftWarehouse { api: Arc::new(api) }) as Arc<dyn Warehouse>)
    })
}

async fn resolved(setting: Option<&Setting>, secrets: &dyn SecretSource) -> Result<Option<String>, Fault> {
    match setting {
        Some(setting) => Ok(Some(setting.resolve(secrets).await?)),
        None => Ok(None),
    }
}
