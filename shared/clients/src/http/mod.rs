//! The one way out over HTTP: one client per connection, no redirects, time limits, the proxy of the
//! environment where it names one, and no connection to an address that is not public unless the connection allows it.
//!
//! A connector builds a [`HttpRequest`], sends it and gets a [`HttpReply`] with any status, or a [`SendError`] when
//! there is no answer. What a status means is in [`status`], what a body says in [`detail`]. No attempt is
//! repeated here: the engine decides that.

pub mod address;
pub mod detail;
mod error;
mod grpc;
mod percent;
mod proxy;
mod settings;
pub mod status;
mod stream;
pub mod tls;

use std::error::Error;
use std::sync::{Arc, Once};
use std::time::Duration;

use domain::clock::Millis;
use domain::fault::{Code, Fault};
use domain::finding::Finding;
use domain::ports::{Clock, SystemClock};
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, Url};
use rustls::AlertDescription;

use self::address::{BlockedAddress, Filtered};
use self::detail::Redactor;
pub use self::error::SendError;
pub use self::grpc::{GrpcCall, GrpcCode, GrpcError, GrpcStatus};
pub use self::percent::{percent_decode, percent_encode};
use self::proxy::Proxies;
pub use self::stream::HttpStream;

/// No connection within this time: the destination is unavailable.
const CONNECT: Duration = Duration::from_secs(10);
/// An idle connection is kept this long; many servers close theirs after a minute.
const IDLE: Duration = Duration::from_secs(30);
/// What one stream of HTTP/2 may send ahead of its reader …
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// … and how many streams may have done so while another one goes on: their bytes share the connection's window.
pub const MAX_STREAMS: usize = 32;
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * (MAX_STREAMS as u32 + 1);
/// A connection of HTTP/2 with nothing to say is asked this often whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A response is read to this many bytes.
pub const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// What we call ourselves.
const USER_AGENT: &str = concat!("sluicegate/", env!("CARGO_PKG_VERSION"));

/// How a connection talks.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The longest time from the first byte sent to the last byte read.
    pub timeout: Duration,
    /// Addresses that are not public may be connected to.
    pub allow_private: bool,
    /// What must never show in a message.
    pub redactor: Redactor,
    /// Certificates beyond those of the system.
    pub tls: tls::Certificates,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::default(),
            allow_private: false,
            redactor: Redactor::default(),
            tls: tls::Certificates::default(),
            clock: SystemClock::shared(),
        }
    }
}

/// A client for one connection.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    settings: HttpSettings,
    proxies: Proxies,
}

#[derive(Clone)]
pub struct HttpRequest {
    pub method: Method,
    pub url: Url,
    /// The headers; `user-agent` is added where it is missing.
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What came back, with whatever status. Prints without URL and body.
#[derive(Clone)]
pub struct HttpReply {
    /// The URL that answered.
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    /// The body, at most [`MAX_BODY_BYTES`] bytes of it.
    pub body: Vec<u8>,
    /// When it was here, by our clock.
    pub at: Millis,
}

impl std::fmt::Debug for HttpReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl HttpReply {
    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The time by the clock of whoever answered, where it told it; else ours. What it says of times is meant by its
    /// own.
    pub fn clock(&self) -> Millis {
        self.header("date").and_then(domain::retry_after::http_date).unwrap_or(self.at)
    }
}

tokio::task_local! {
    static SENT: std::cell::Cell<u32>;
}

/// Does `work`, and counts the requests that it sends.
pub async fn counted<T>(work: impl Future<Output = T>) -> (T, u32) {
    let counting = async {
        let done = work.await;
        (done, SENT.with(std::cell::Cell::get))
    };
    SENT.scope(std::cell::Cell::new(0), counting).await
}

impl Http {
    /// A client. The fault says what the system lacks (trusted certificates).
    pub fn new(settings: HttpSettings) -> Result<Self, Fault> {
        Self::speaking(settings, reqwest::ClientBuilder::http1_only)
    }

    /// A client for [`Http::call`]: HTTP/2 from the first byte on, over plain connections too.
    pub fn http2(settings: HttpSettings) -> Result<Self, Fault> {
        Self::speaking(settings, |client| {
            client
                .http2_prior_knowledge()
                .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
                .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .http2_keep_alive_timeout(CONNECT)
        })
    }

    fn speaking(
        settings: HttpSettings,
        protocol: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, Fault> {
        // The client takes the process's cryptography and panics when there is none. Someone else may have
        // installed one already; that is as good.
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let proxies = Proxies::from_environment(&settings.redactor)?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT.min(settings.timeout))
            .timeout(settings.timeout)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .user_agent(USER_AGENT)
            .dns_resolver(Filtered { allow_private: settings.allow_private, proxies: proxies.hosts() });
        let client = settings.tls.apply(proxies.apply(protocol(client)))?;
        let client = client.build().map_err(|e| {
            Fault::new(Code::DestinationMisconfigured, format!("The HTTP client cannot be built: {}.", root(&e)))
        })?;
        Ok(Self { client, settings, proxies })
    }

    /// What must never show in a message.
    pub fn redactor(&self) -> &Redactor {
        &self.settings.redactor
    }

    /// Now.
    pub fn now(&self) -> Millis {
        self.settings.clock.now()
    }

    /// Sends a request, once, and reads the answer.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpReply, SendError> {
        let url = request.url.clone();
        let sent = self.prepare(request)?;
        let mut response = self.client.execute(sent).await.map_err(|e| self.tell(&e, &url))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        decoded(&headers, status, self.redactor())?;
        while body.len() < MAX_BODY_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY_BYTES - body.len())]),
                Ok(None) => break,
                // A bad status has said what there is to say, however its body ends.
                Err(_) if !(200..300).contains(&status) => break,
                Err(e) => return Err(self.tell(&e, &url)),
            }
        }
        Ok(HttpReply { url, status, headers, body, at: self.now() })
    }

    /// The client's own form of a request, whose address passed.
    fn prepare(&self, request: HttpRequest) -> Result<reqwest::Request, SendError> {
        address::check_literal(&request.url, self.settings.allow_private)
            .map_err(|r| SendError::Address { detail: r.to_string() })?;
        let mut sent = reqwest::Request::new(request.method, request.url);
        *sent.headers_mut() = request.headers;
        *sent.body_mut() = Some(request.body.into());
        // Nobody counts outside of `counted`.
        let _ = SENT.try_with(|sent| sent.set(sent.get() + 1));
        Ok(sent)
    }

    /// Resolves the host of `url` as a request would. Findings tell of a refused address, and of plain HTTP to
    /// a public one; `about` names the connection.
    pub async fn look_at(&self, url: &Url, about: &str) -> Result<Vec<Finding>, SendError> {
        let redactor = &self.settings.redactor;
        if url.scheme() == "https"
            && self.settings.tls.is_given()
            && let Some(finding) = self.shake_hands(url, about).await
        {
            return Ok(vec![finding]);
        }
        if let Some(proxy) = self.proxies.of(url) {
            // Which address that is, the proxy decides; whether there is one is seen when something is sent.
            tracing::info!(proxy, "{about} is reached through a proxy");
            return Ok(Vec::new());
        }
        let addresses = match address::look_up(url, self.settings.allow_private).await {
            Ok(addresses) => addresses,
            Err(SendError::Address { detail }) => {
                let fix = "use a public address, or set `allow_private: true` on the connection";
                return Ok(vec![Finding::error(about, redactor.hide(&detail), fix)]);
            }
            Err(SendError::Dns { detail }) => return Err(SendError::Dns { detail: redactor.hide(&detail) }),
            Err(other) => return Err(other),
        };
        let public = addresses.iter().any(|a| address::refused(*a).is_none());
        if url.scheme() == "http" && public {
            let what =
                format!("records would travel to {} unencrypted", redactor.hide(url.host_str().unwrap_or_default()));
            return Ok(vec![Finding::warning(about, what, "use https")]);
        }
        Ok(Vec::new())
    }

    /// Tries the TLS of the host of `url`: asks for nothing but the head of its root. What else fails is seen when
    /// something is sent.
    async fn shake_hands(&self, url: &Url, about: &str) -> Option<Finding> {
        let root = url.join("/").ok()?;
        let asked =
            self.send(HttpRequest { method: Method::HEAD, url: root, headers: HeaderMap::new(), body: Vec::new() });
        let Ok(Err(SendError::Certificate { detail })) = tokio::time::timeout(CONNECT, asked).await else {
            return None;
        };
        let fix = "where the certificate is of an authority of your own, name it in `ca`; where the other side wants one of yours, in `client_certificate`";
        Some(Finding::error(about, detail, fix))
    }

    fn timed_out(&self, url: &Url) -> SendError {
        let host = self.settings.redactor.hide(url.host_str().unwrap_or_default());
        let after = domain::clock::Span(self.settings.timeout);
        SendError::Timeout { detail: format!("{host} gave no whole answer within {after}") }
    }

    /// An error of the client in our words. Its own text would repeat the URL.
    fn tell(&self, error: &reqwest::Error, url: &Url) -> SendError {
        let redactor = &self.settings.redactor;
        let mut host = redactor.hide(url.host_str().unwrap_or_default());
        if let Some(proxy) = self.proxies.of(url) {
            host = format!("{host} (through the proxy {proxy})");
        }
        if let Some(refusal) = find::<BlockedAddress>(error) {
            return SendError::Address { detail: redactor.hide(&refusal.to_string()) };
        }
        if let Some(rustls::Error::InvalidCertificate(why)) = find::<rustls::Error>(error) {
            return SendError::Certificate {
                detail: format!("the certificate of {host} is not trusted: {}", redactor.shorten(&why.to_string())),
            };
        }
        if let Some(rustls::Error::AlertReceived(alert)) = find::<rustls::Error>(error)
            && is_about_certificates(*alert)
        {
            return SendError::Certificate {
                detail: format!("{host} ends the handshake of TLS ({alert:?}): does it want a certificate of yours?"),
            };
        }
        let root = redactor.shorten(&root(error));
        if error.is_dns() {
            return SendError::Dns { detail: format!("{host} cannot be resolved: {root}") };
        }
        if error.is_connect() {
            return SendError::Connect { detail: format!("no connection to {host}: {root}") };
        }
        if error.is_timeout() {
            return self.timed_out(url);
        }
        SendError::Broken {
            detail: format!("the connection to {host} broke before the whole answer was there ({root})"),
        }
    }
}

/// What the client can decode is decoded by now, and says nothing of it any more.
fn decoded(headers: &HeaderMap, status: u16, redactor: &Redactor) -> Result<(), SendError> {
    let encoding = headers.get("content-encoding").and_then(|e| e.to_str().ok());
    match encoding.filter(|e| !e.eq_ignore_ascii_case("identity")) {
        None => Ok(()),
        Some(encoding) => Err(SendError::Encoding {
            detail: format!(
                "it answers {status} in the encoding `{}`, which nobody asked for",
                redactor.shorten(encoding)
            ),
        }),
    }
}

/// True for what the other side says of a handshake that will fail again.
fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    let settled = [
        A::CertificateRequired,
        A::BadCertificate,
        A::UnsupportedCertificate,
        A::CertificateRevoked,
        A::CertificateExpired,
    ];
    settled.contains(&alert)
        || [A::CertificateUnknown, A::UnknownCA, A::AccessDenied, A::HandshakeFailure].contains(&alert)
}

/// The innermost cause, in its own words.
fn root(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The cause of type `T` among an error's causes, also within an I/O error.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(at) = next {
        if let Some(found) = at.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = find::<T>(inner)
        {
            return Some(found);
        }
        next = at.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use domain::outcome::WriteError;

    use super::*;

    fn http(allow_private: bool) -> Http {
        Http::new(HttpSettings {
            timeout: Duration::from_secs(5),
            allow_private,
            redactor: Redactor::new(["/hush-hush"]),
            ..HttpSettings::default()
        })
        .unwrap()
    }

    async fn get(http: &Http, url: &str) -> Result<HttpReply, SendError> {
        http.send(HttpRequest {
            method: Method::GET,
            url: Url::parse(url).unwrap(),
            headers: HeaderMap::new(),
            body: Vec::new(),
        })
        .await
    }

    #[tokio::test]
    async fn a_refused_address_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
            let error = get(&http(false), &format!("http://{host}:{port}/")).await.unwrap_err();
            assert!(
                matches!(&error, SendError::Address { detail } if detail.contains("loopback")),
                "{host}: {error:?}"
            );
            assert!(matches!(WriteError::from(error), WriteError::Misconfigured { .. }));
        }
        let waiting = tokio::time::timeout(Duration::ZERO, listener.accept()).await;
        assert!(waiting.is_err(), "nobody connected");
    }

    #[tokio::test]
    async fn no_connection_and_no_name_are_told_apart() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = get(&http(true), &format!("http://{free}/hush-hush")).await.unwrap_err();
        assert!(
            matches!(&error, SendError::Connect { detail } if detail.contains("refused") && !detail.contains("hush")),
            "{error:?}"
        );
        let error = get(&http(true), "http://no-such-name.invalid/").await.unwrap_err();
        assert!(matches!(&error, SendError::Dns { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_broken_handshake_is_told_from_a_bad_certificate() {
        // A server that answers TLS with plain text.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut hello = [0; 64];
            let _ = socket.read(&mut hello).await;
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        });
        let error = get(&http(true), &format!("https://127.0.0.1:{port}/")).await.unwrap_err();
        assert!(matches!(error, SendError::Connect { .. }), "{error:?}");
        server.await.unwrap();
        let untrusted =
            std::io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        assert!(matches!(find::<rustls::Error>(&untrusted), Some(rustls::Error::InvalidCertificate(_))));
    }

    #[tokio::test]
    async fn plain_http_to_a_public_address_is_a_warning() {
        let look =
            async |allow, url: &str| http(allow).look_at(&Url::parse(url).unwrap(), "connection c").await.unwrap();
        assert!(!look(false, "http://1.1.1.1/").await[0].is_error());
        assert!(look(false, "https://1.1.1.1/").await.is_empty());
        assert!(look(true, "http://10.0.0.1/").await.is_empty());
        let refused = look(false, "https://10.0.0.1/").await;
        assert!(
            refused[0].is_error()
                && refused[0].to_string().contains("10.0.0.1")
                && refused[0].to_string().contains("allow_private")
        );
    }
}
