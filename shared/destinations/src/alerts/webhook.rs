//! Tells an alert to any address that takes JSON, by POST. The body is [`Alert::json`].

use std::sync::Arc;

use async_trait::async_trait;
use domain::alert_settings::WebhookChannel;
use domain::config::SecretSource;
use domain::fault::{Code, Fault};
use domain::monitoring::alert::Alert;
use domain::ports::Notifier;

use super::TIMEOUT;
use clients::http::detail::RecordingSecrets;
use clients::http::{HeaderMap, HeaderName, HeaderValue, Http, HttpRequest, HttpSettings, Method, Url};

struct WebhookNotifier {
    http: Http,
    url: Url,
    headers: HeaderMap,
    name: String,
}

pub(super) async fn open(
    settings: &WebhookChannel,
    name: String,
    secrets: &dyn SecretSource,
) -> Result<Arc<dyn Notifier>, Fault> {
    let invalid = |what: String| Fault::new(Code::ConnectionInvalid, format!("alerts, {name}: {what}."));
    let secrets = RecordingSecrets::new(secrets);
    let url = Url::parse(settings.url.resolve(&secrets).await?.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http"));
    let url = url.ok_or_else(|| invalid("`url` is not an address that begins with https:// or http://".into()))?;
    let mut headers =
        HeaderMap::from_iter([(HeaderName::from_static("content-type"), HeaderValue::from_static("application/json"))]);
    for (written, value) in &settings.headers {
        let header = HeaderName::from_bytes(written.as_bytes())
            .map_err(|_| invalid(format!("`{written}` is not a header's name")))?;
        let mut value = HeaderValue::from_bytes(value.resolve(&secrets).await?.as_bytes()).map_err(|_| {
            invalid(format!("header `{written}` has a value that cannot be sent, perhaps a line break at its end"))
        })?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    let http = Http::new(HttpSettings {
        timeout: TIMEOUT,
        allow_private: settings.allow_private,
        redactor: secrets.redactor(),
        ..HttpSettings::default()
    })?;
    Ok(Arc::new(WebhookNotifier { http, url, headers, name }))
}

#[async_trait]
impl Notifier for WebhookNotifier {
    fn name(&self) -> &str {
        &self.name
    }

    async fn notify(&self, alert: &Alert) -> Result<(), Fault> {
        let body = alert.json().to_string().into_bytes();
        let reply = self
            .http
            .send(HttpRequest { method: Method::POST, url: self.url.clone(), headers: self.headers.clone(), body })
            .await?;
        match reply.status {
            200..=299 => Ok(()),
            401 | 403 => Err(Fault::new(
                Code::DestinationUnauthorized,
                format!("The address for alerts answers {}.", reply.status),
            )),
            status => {
                Err(Fault::new(Code::DestinationMisconfigured, format!("The address for alerts answers {status}.")))
            }
        }
    }
}
