//! From settings to an open connection: references resolved, everything checked that needs no network.

use std::sync::Arc;

use domain::config;
use domain::fault::{Code, Fault};
use domain::ports::{Destination, OpenArgs, OpenFuture};
use domain::sync::Target;
use jiff::tz::TimeZone;
use serde::Deserialize as _;
use serde_json::Value;

use super::HubSpotDestination;
use super::api::Api;
use super::auth::Tokens;
use super::config::{Config, MAX_INPUTS, Options, URL};
use super::object::KnownObject;
use super::quota::HubSpotQuota;
use clients::http::detail::RecordingSecrets;
use clients::http::tls::Certificates;
use clients::http::{Http, HttpSettings, Url};

pub(super) fn open<'a>(opening: OpenArgs<'a>, target: &'a Target) -> OpenFuture<'a, dyn Destination> {
    Box::pin(async move {
        let hubspot: Arc<dyn Destination> = Arc::new(HubSpotDestination::open(opening, target).await?);
        Ok(hubspot)
    })
}

impl HubSpotDestination {
    pub(super) async fn open(opening: OpenArgs<'_>, target: &Target) -> Result<Self, Fault> {
        let about = format!("connection {}", opening.name);
        let invalid = |what: String| Fault::new(Code::ConnectionInvalid, format!("{about}: {what}."));
        let config: Config = config::read(&about, opening.config)?;
        let options = Options::deserialize(Value::Object(target.options.clone()))
            .map_err(|e| Fault::new(Code::SyncInvalid, format!("destination.options: {e}.")))?;
        let object = target.object.trim();
        if object.is_empty() {
            let next = "name the object type: contacts, companies, deals, or a custom object such as p123_cars";
            return Err(Fault::new(Code::SyncInvalid, "destination.object is empty, and HubSpot has many objects.")
                .with_next(next));
        }
        check(&config).map_err(invalid)?;
        let zone = TimeZone::get(&config.timezone)
            .map_err(|_| invalid(format!("`timezone: {}` is no IANA time zone", config.timezone)))?;

        let secrets = RecordingSecrets::new(opening.secrets);
        let url = match &config.url {
            Some(url) => url.resolve(&secrets).await?,
            None => URL.to_owned(),
        };
        let base = Url::parse(url.trim()).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        let base =
            base.ok_or_else(|| invalid("`url` is not valid: it begins with https:// and names a host".into()))?;
        let tokens = match (&config.token, &config.oauth) {
            (Some(token), None) => Tokens::Fixed(token.resolve(&secrets).await?),
            (None, Some(oauth)) => {
                let default = if config.version == "v3" {
                    "/oauth/v1/token".to_owned()
                } else {
                    format!("/oauth/{}/token", config.version)
                };
                let mut url = base.clone();
                url.set_path(
                    &(base.path().trim_end_matches('/').to_owned() + oauth.token_path.as_deref().unwrap_or(&default)),
                );
                let (id, secret) =
                    (oauth.client_id.resolve(&secrets).await?, oauth.client_secret.resolve(&secrets).await?);
                Tokens::minted(url, &id, &secret, &oauth.refresh_token.resolve(&secrets).await?)
            }
            _ => return Err(invalid("give either `token` (a service key or a private app's token) or `oauth`".into())),
        };
        let tls = Certificates::read(&about, config.ca.as_ref(), config.client_certificate.as_ref(), &secrets).await?;
        let settings = HttpSettings {
            timeout: config.timeout.0,
            allow_private: config.allow_private,
            redactor: secrets.redactor(),
            tls,
            clock: Arc::clone(opening.clock),
        };
        let api = Api {
            http: Http::new(settings)?,
            base,
            version: config.version.clone(),
            tokens,
            quota: HubSpotQuota::new(config.rate, zone),
        };
        Ok(Self { about, object: object.to_owned(), options, api, known: KnownObject::default(), config })
    }
}

/// Settings that cannot be meant.
fn check(config: &Config) -> Result<(), String> {
    let dated = |version: &str| {
        version.len() == 7
            && version.bytes().enumerate().all(|(at, b)| if at == 4 { b == b'-' } else { b.is_ascii_digit() })
    };
    match config {
        c if c.version != "v3" && !dated(&c.version) => {
            Err(format!("`version: {}` is neither `v3` nor a date such as `2026-09`", c.version))
        }
        c if c.batch_size == 0 || c.batch_size > MAX_INPUTS => {
            Err(format!("`batch_size` is 1 to {MAX_INPUTS}: HubSpot takes no more"))
        }
        c if c.concurrency == 0 => Err("`concurrency` must be more than 0".into()),
        c if c.timeout.0.is_zero() => Err("`timeout` must be more than 0".into()),
        c if c.rate.is_some_and(|r| r.requests == 0 || r.per.0.is_zero()) => Err("`rate` must be more than 0".into()),
        _ => Ok(()),
    }
}
