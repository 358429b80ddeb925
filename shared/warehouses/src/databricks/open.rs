//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clients::DatabasePlace;
use clients::http::detail::RecordingSecrets;
use clients::http::tls::Certificates;
use clients::http::{Http, HttpSettings, Url};
use domain::config::{self, SecretSource, Setting};
use domain::fault::Fault;
use domain::ports::{OpenArgs, OpenFuture, Warehouse};

use super::DatabricksWarehouse;
use super::api::{DatabricksApi, DatabricksLogin};
use super::config::Config;
use crate::token::{TokenCache, TokenRequest};

pub(super) fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let secrets = RecordingSecrets::new(opening.secrets);
        let host = config.host.resolve(&secrets).await?;
        let written = if host.contains("://") { host.trim().to_owned() } else { format!("https://{}", host.trim()) };
        let base = Url::parse(&written).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        let base = base.ok_or_else(|| {
            place.invalid(format!("`host: {host}` is no workspace, such as `dbc-….cloud.databricks.com`."))
        })?;
        let warehouse = config.warehouse.resolve(&secrets).await?;
        let warehouse = warehouse.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        if warehouse.is_empty() {
            return Err(
                place.invalid("`warehouse` is empty: copy it from SQL Warehouses → Connection details → HTTP path.")
            );
        }
        if config.timeout.0.is_zero() || config.statement_timeout.0.is_zero() {
            return Err(place.invalid("`timeout` and `statement_timeout` must be more than 0."));
        }
        let login = match (&config.token, &config.oauth) {
            (Some(token), None) => DatabricksLogin::Given(token.resolve(&secrets).await?),
            (None, Some(oauth)) => {
                let id = oauth.client_id.resolve(&secrets).await?;
                let secret = oauth.client_secret.resolve(&secrets).await?;
                let url = base.join("/oidc/v1/token").map_err(|e| place.invalid(format!("`host`: {e}.")))?;
                DatabricksLogin::Principal(TokenRequest {
                    url,
                    form: "grant_type=client_credentials&scope=all-apis".into(),
                    basic: Some(format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))),
                    advice: "check `oauth`: the service principal's client id and secret (it may have ended), and that it belongs to the workspace",
                })
            }
            _ => return Err(place.invalid("give one of `oauth` (a service principal) and `token`.")),
        };
        let http = HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            tls: Certificates::read(&place.to_string(), config.ca.as_ref(), None, &secrets).await?,
            clock: Arc::clone(opening.clock),
        };
        let api = DatabricksApi {
            http: Http::new(http)?,
            base,
            login,
            tokens: TokenCache::default(),
            place,
            warehouse,
            catalog: resolved(config.catalog.as_ref(), &secrets).await?,
            schema: resolved(config.schema.as_ref(), &secrets).await?,
            statement_timeout: config.statement_timeout,
            retry_pause: config.retry_pause.0,
        };
        Ok(Arc::new(DatabricksWarehouse { api: Arc::new(api), chunks: config.chunks }) as Arc<dyn Warehouse>)
    })
}

async fn resolved(setting: Option<&Setting>, secrets: &dyn SecretSource) -> Result<Option<String>, Fault> {
    match setting {
        Some(setting) => Ok(Some(setting.resolve(secrets).await?)),
        None => Ok(None),
    }
}
