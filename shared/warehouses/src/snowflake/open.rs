//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::path::Path;
use std::sync::Arc;

use clients::DatabasePlace;
use clients::http::detail::RecordingSecrets;
use clients::http::tls::Certificates;
use clients::http::{Http, HttpSettings, Url};
use domain::config::{self, SecretSource, Setting};
use domain::fault::Fault;
use domain::ports::{OpenArgs, OpenFuture, Warehouse};

use super::SnowflakeWarehouse;
use super::api::{SessionSettings, SnowflakeApi};
use super::auth::{self, BearerTokens, SnowflakeLogin};
use super::config::{Config, SnowflakeOAuth};
use super::key::SigningKey;

pub(super) fn open<'a>(opening: OpenArgs<'a>) -> OpenFuture<'a, dyn Warehouse> {
    Box::pin(async move {
        let place = DatabasePlace::warehouse(opening.name);
        let config: Config = config::read(&place.to_string(), opening.config)?;
        let secrets = RecordingSecrets::new(opening.secrets);
        let account = config.account.resolve(&secrets).await?;
        let account = account_name(&account).map_err(|why| place.invalid(why))?;
        let base = base(&place, &config, &account, &secrets).await?;
        let login = login(&place, &config, &account, &base, opening.folder, &secrets).await?;
        if config.timeout.0.is_zero() || config.statement_timeout.0.is_zero() {
            return Err(place.invalid("`timeout` and `statement_timeout` must be more than 0."));
        }
        let about = place.to_string();
        let settings = HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            tls: Certificates::read(&about, config.ca.as_ref(), None, &secrets).await?,
            clock: Arc::clone(opening.clock),
        };
        let api = SnowflakeApi {
            http: Http::new(settings)?,
            base,
            tokens: BearerTokens::new(login, place.clone()),
            place,
            session: SessionSettings {
                role: resolved(config.role.as_ref(), &secrets).await?,
                warehouse: resolved(config.warehouse.as_ref(), &secrets).await?,
                database: resolved(config.database.as_ref(), &secrets).await?,
                schema: resolved(config.schema.as_ref(), &secrets).await?,
            },
            statement_timeout: config.statement_timeout,
            retry_pause: config.retry_pause.0,
        };
        let warehouse = SnowflakeWarehouse { api: Arc::new(api), partitions: config.partitions };
        Ok(Arc::new(warehouse) as Arc<dyn Warehouse>)
    })
}

async fn resolved(setting: Option<&Setting>, secrets: &dyn SecretSource) -> Result<Option<String>, Fault> {
    match setting {
        Some(setting) => Ok(Some(setting.resolve(secrets).await?)),
        None => Ok(None),
    }
}

/// An account's identifier, without what people copy along with it. The error is a sentence.
fn account_name(written: &str) -> Result<String, String> {
    let name = written.trim().trim_start_matches("https://").trim_end_matches('/');
    let name = name.trim_end_matches(".snowflakecomputing.com");
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if !fits {
        return Err(format!(
            "`account: {written}` is no account identifier: write ORGANISATION-ACCOUNT, as the account's URL begins."
        ));
    }
    Ok(name.to_owned())
}

async fn base(place: &DatabasePlace, config: &Config, account: &str, secrets: &dyn SecretSource) -> Result<Url, Fault> {
    let written = match &config.url {
        Some(url) => url.resolve(secrets).await?,
        // Underscores are no part of a host's name; Snowflake answers to hyphens.
        None => format!("https://{}.snowflakecomputing.com", account.to_lowercase().replace('_', "-")),
    };
    Url::parse(written.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
        .ok_or_else(|| place.invalid("`url` is not valid: it begins with https:// and names a host."))
}

async fn login(
    place: &DatabasePlace,
    config: &Config,
    account: &str,
    base: &Url,
    folder: &Path,
    secrets: &dyn SecretSource,
) -> Result<SnowflakeLogin, Fault> {
    let pem =
        match (&config.private_key, &config.private_key_file) {
            (Some(_), Some(_)) => return Err(place.invalid("give either `private_key` or `private_key_file`.")),
            (Some(key), None) => Some(key.resolve(secrets).await?),
            (None, Some(file)) => {
                let file = folder.join(file);
                let read = std::fs::read_to_string(&file);
                Some(read.map_err(|e| {
                    place.invalid(format!("`private_key_file`: {} cannot be read: {e}.", file.display()))
                })?)
            }
            (None, None) => None,
        };
    match (pem, &config.token, &config.oauth) {
        (Some(pem), None, None) => {
            let Some(user) = &config.user else {
                return Err(place.invalid("`user` is missing: a key belongs to a user."));
            };
            let user = user.resolve(secrets).await?;
            let passphrase = match &config.private_key_passphrase {
                Some(passphrase) => Some(passphrase.resolve(secrets).await?),
                None => None,
            };
            let key = SigningKey::read(account, user.trim(), &pem, passphrase.as_deref())
                .map_err(|why| place.invalid(format!("{why}.")))?;
            Ok(SnowflakeLogin::Key(Box::new(key)))
        }
        (None, Some(token), None) => {
            Ok(SnowflakeLogin::Given { token: token.resolve(secrets).await?, kind: "PROGRAMMATIC_ACCESS_TOKEN" })
        }
        (None, None, Some(oauth)) => self::oauth(place, oauth, base, secrets).await,
        _ => Err(place.invalid("give one of `private_key` (or `private_key_file`), `token` and `oauth`.")),
    }
}

async fn oauth(
    place: &DatabasePlace,
    oauth: &SnowflakeOAuth,
    base: &Url,
    secrets: &dyn SecretSource,
) -> Result<SnowflakeLogin, Fault> {
    if let Some(token) = &oauth.access_token {
        return Ok(SnowflakeLogin::Given { token: token.resolve(secrets).await?, kind: "OAUTH" });
    }
    let (Some(id), Some(secret)) = (&oauth.client_id, &oauth.client_secret) else {
        return Err(place.invalid("`oauth` needs either `access_token`, or `client_id` and `client_secret`."));
    };
    let (id, secret) = (id.resolve(secrets).await?, secret.resolve(secrets).await?);
    let refresh = match &oauth.refresh_token {
        Some(token) => Some(token.resolve(secrets).await?),
        None => None,
    };
    let scope = resolved(oauth.scope.as_ref(), secrets).await?;
    let url = match &oauth.token_url {
        Some(url) => Url::parse(url.resolve(secrets).await?.trim()).ok(),
        None => base.join("/oauth/token-request").ok(),
    };
    let url = url.filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    let url =
        url.ok_or_else(|| place.invalid("`oauth.token_url` is not valid: it begins with https:// and names a host."))?;
    Ok(SnowflakeLogin::Minted(auth::grant(url, &id, &secret, refresh.as_deref(), scope.as_deref())))
}
