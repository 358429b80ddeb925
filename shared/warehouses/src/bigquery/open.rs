//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clients::DatabasePlace;
use clients::http::detail::RecordingSecrets;
use clients::http::tls::Certificates;
use clients::http::{Http, HttpSettings, Url};
use domain::config::{self, SecretSource, Setting};
use domain::fault::Fault;
use domain::ports::{OpenArgs, OpenFuture, Warehouse};

use super::BigQueryWarehouse;
use super::api::BigQueryApi;
use super::config::{Config, ReadApi, WorkloadIdentity};
use super::job::QuerySettings;
use super::login::{Federation, GoogleLogin, GoogleTokens, ServiceAccount};
use super::storage::StorageApi;

const URL: &str = "https://bigquery.googleapis.com";
const STORAGE_URL: &str = "https://bigquerystorage.googleapis.com";

pub(super) fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let secrets = RecordingSecrets::new(opening.secrets);
        let project = config.project.resolve(&secrets).await?.trim().to_owned();
        if project.is_empty()
            || !project.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '_'))
        {
            return Err(place.invalid(format!("`project: {project}` is no project id, such as `acme-analytics`.")));
        }
        if config.page_rows == 0 || config.timeout.0.is_zero() || config.statement_timeout.0.is_zero() {
            return Err(place.invalid("`page_rows`, `timeout` and `statement_timeout` must be more than 0."));
        }
        let base = address(&place, "url", config.url.as_ref(), URL, &secrets).await?;
        let storage_base = match (config.read_api, &config.url, &config.storage_url) {
            (ReadApi::Rest, ..) | (ReadApi::Auto, Some(_), None) => None,
            (ReadApi::Storage, Some(_), None) => {
                return Err(place.invalid("`read_api: storage` beside `url` needs a `storage_url`."));
            }
            (_, _, written) => Some(address(&place, "storage_url", written.as_ref(), STORAGE_URL, &secrets).await?),
        };
        let login = login(&place, &config, &secrets).await?;
        let dataset = match &config.dataset {
            Some(dataset) => {
                let dataset = dataset.resolve(&secrets).await?;
                let (of, name) = dataset.split_once('.').unwrap_or((&project, &dataset));
                Some((of.to_owned(), name.to_owned()))
            }
            None => None,
        };
        let location = match &config.location {
            Some(location) => Some(location.resolve(&secrets).await?),
            None => None,
        };
        let http = HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            tls: Certificates::read(&place.to_string(), config.ca.as_ref(), None, &secrets).await?,
            clock: Arc::clone(opening.clock),
        };
        let api = Arc::new(BigQueryApi {
            http: Http::new(http.clone())?,
            base,
            tokens: GoogleTokens::new(login, place.clone()),
            place,
            project,
            statement_timeout: config.statement_timeout,
            retry_pause: config.retry_pause.0,
        });
        let storage = match storage_base {
            Some(base) => {
                let http = Http::http2(http)?;
                Some(Arc::new(StorageApi { http, base, api: Arc::clone(&api), streams: config.pages }))
            }
            None => None,
        };
        let settings = QuerySettings {
            location,
            dataset,
            maximum_bytes_billed: config.maximum_bytes_billed,
            labels: config.labels,
            page_rows: config.page_rows,
        };
        let (read_api, pages) = (config.read_api, config.pages);
        Ok(Arc::new(BigQueryWarehouse { api, settings, pages, read_api, storage, refused: AtomicBool::new(false) })
            as Arc<dyn Warehouse>)
    })
}

async fn address(
    place: &DatabasePlace,
    name: &str,
    written: Option<&Setting>,
    default: &str,
    secrets: &dyn SecretSource,
) -> Result<Url, Fault> {
    let written = match written {
        Some(url) => url.resolve(secrets).await?,
        None => default.to_owned(),
    };
    Url::parse(written.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
        .ok_or_else(|| place.invalid(format!("`{name}` is not valid: it begins with https:// and names a host.")))
}

async fn login(place: &DatabasePlace, config: &Config, secrets: &RecordingSecrets<'_>) -> Result<GoogleLogin, Fault> {
    match (&config.service_account, &config.workload_identity, &config.access_token) {
        (Some(key), None, None) => {
            let account = ServiceAccount::read(&key.resolve(secrets).await?);
            Ok(GoogleLogin::Account(Box::new(account.map_err(|why| place.invalid(format!("{why}.")))?)))
        }
        (None, Some(identity), None) => federation(place, identity, secrets).await,
        (None, None, Some(token)) => Ok(GoogleLogin::Given(token.resolve(secrets).await?)),
        (None, None, None) if config.url.is_some() => Ok(GoogleLogin::None),
        _ => Err(place.invalid("give one of `service_account`, `workload_identity` and `access_token`.")),
    }
}

async fn federation(
    place: &DatabasePlace,
    identity: &WorkloadIdentity,
    secrets: &dyn SecretSource,
) -> Result<GoogleLogin, Fault> {
    let audience = identity.audience.resolve(secrets).await?.trim().to_owned();
    let token_url =
        address(place, "token_url", identity.token_url.as_ref(), "https://sts.googleapis.com/v1/token", secrets)
            .await?;
    let impersonation = match &identity.service_account {
        Some(account) => {
            let account = account.resolve(secrets).await?;
            let default = "https://iamcredentials.googleapis.com";
            let base = address(place, "credentials_url", identity.credentials_url.as_ref(), default, secrets).await?;
            let path = format!("/v1/projects/-/serviceAccounts/{}:generateAccessToken", account.trim());
            Some(base.join(&path).map_err(|e| place.invalid(format!("`service_account`: {e}.")))?)
        }
        None => None,
    };
    Ok(GoogleLogin::Federated(Federation { audience, token_url, impersonation }))
}
