//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::sync::Arc;

use clients::DatabasePlace;
use clients::http::detail::RecordingSecrets;
use clients::http::{Http, HttpSettings};
use clients::postgres::PostgresConfig;
use domain::clock::Span;
use domain::config;
use domain::fault::Fault;
use domain::ports::{OpenArgs, OpenFuture, Warehouse};
use serde_json::json;
use tokio::sync::Mutex;

use super::RedshiftWarehouse;
use super::api::DataApi;
use super::config::{Config, RedshiftVia};
use super::unload::UnloadTarget;
use super::wire::WireWarehouse;
use crate::aws_json::{AwsJsonApi, endpoint};
use crate::aws_login::AwsIdentity;
use crate::lake::{S3Client, S3Location};

pub(super) fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        config.via.check(&place, opening.config)?;
        if config.via == RedshiftVia::Wire {
            return wire(place, &config, &opening).await;
        }
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
        let identity =
            AwsIdentity::resolve(&place, config.region.as_ref(), config.credentials.as_ref(), &secrets).await?;
        let written = match &config.url {
            Some(url) => url.resolve(&secrets).await?,
            None => format!("https://redshift-data.{}.amazonaws.com", identity.region()?),
        };
        let base = endpoint(&place, "url", &written)?;
        let http = Http::new(HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            clock: Arc::clone(opening.clock),
            ..HttpSettings::default()
        })?;
        let unload = match &config.unload {
            None => None,
            Some(unload) => {
                let written = unload.to.resolve(&secrets).await?;
                let to = S3Location::folder(&written).ok_or_else(|| {
                    place.invalid(format!(
                        "`unload.to: {written}` is no folder in S3, such as `s3://my-results/sluicegate/`."
                    ))
                })?;
                let role = unload.role.resolve(&secrets).await?;
                if role != "default" && !role.starts_with("arn:") {
                    return Err(place.invalid(format!("`unload.role: {role}` is no ARN of a role, and not `default`.")));
                }
                let s3_url = match &config.s3_url {
                    Some(url) => Some(endpoint(&place, "s3_url", &url.resolve(&secrets).await?)?),
                    None => None,
                };
                let s3 = S3Client {
                    http: http.clone(),
                    place: place.clone(),
                    identity: identity.clone(),
                    endpoint: s3_url,
                    retry_pause: config.retry_pause.0,
                };
                Some(UnloadTarget { s3: Arc::new(s3), to, role })
            }
        };
        let json = AwsJsonApi {
            http,
            base,
            place: place.clone(),
            identity,
            service: "redshift-data",
            target: "RedshiftData",
            retry_pause: config.retry_pause.0,
        };
        let api = DataApi { json, place, target, named, statement_timeout: config.statement_timeout };
        Ok(Arc::new(RedshiftWarehouse { api: Arc::new(api), unload, described: Mutex::new(None) })
            as Arc<dyn Warehouse>)
    })
}

/// With `via: wire`.
async fn wire(place: DatabasePlace, config: &Config, opening: &OpenArgs<'_>) -> Result<Arc<dyn Warehouse>, Fault> {
    let (Some(host), Some(user)) = (&config.host, &config.user) else {
        return Err(place.invalid("with `via: wire` give `host`, `user`, `password` and `database`."));
    };
    let settings = PostgresConfig {
        host: Some(host.clone()),
        port: config.port.unwrap_or(5439),
        user: user.clone(),
        password: config.password.clone(),
        database: config.database.clone(),
        tls: config.tls.unwrap_or_default(),
        ca_file: config.ca_file.clone(),
        connect_timeout: config.connect_timeout.unwrap_or(Span::seconds(10)),
        statement_timeout: config.statement_timeout,
    };
    if settings.connect_timeout.0.is_zero() || settings.statement_timeout.0.is_zero() {
        return Err(place.invalid("`connect_timeout` and `statement_timeout` must be more than 0."));
    }
    let connector = settings.resolve(place, opening.folder, opening.secrets).await?;
    Ok(Arc::new(WireWarehouse { connector }))
}
