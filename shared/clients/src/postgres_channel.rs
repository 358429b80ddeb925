//! Messages of PostgreSQL's protocol over a socket, or over TLS on one: sent and received one by one.

use std::convert::Infallible;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use domain::fault::Fault;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_postgres::config::Host;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::SentSql;
use crate::postgres::Connector;
use crate::postgres_fault::{ServerError, local, said};

/// What is read from the socket at once.
const READ_BYTES: usize = 64 * 1024;
/// A longer message is none of this protocol; a row of Redshift has 16 MB in its largest column.
const MAX_MESSAGE_BYTES: usize = 1 << 30;
/// How long a connection is silent before the system asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// A socket, or TLS over one.
trait WireStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> WireStream for S {}

/// One connection to a server. Nothing is read ahead of what is asked for, but for what the socket had at once.
pub(crate) struct MessageChannel {
    stream: Box<dyn WireStream>,
    /// What came and is not taken yet.
    pub(crate) received: BytesMut,
    pub(crate) connector: Connector,
}

impl MessageChannel {
    /// Connects; nothing is said yet.
    pub(crate) async fn open(connector: &Connector) -> Result<Self, Fault> {
        let stream = open_stream(connector).await?;
        Ok(Self { stream, received: BytesMut::new(), connector: connector.clone() })
    }

    pub(crate) async fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.stream.write_all(message).await.map_err(|e| self.broken(&e))?;
        self.stream.flush().await.map_err(|e| self.broken(&e))
    }

    /// The next message that answers something; what the server refuses is a fault.
    pub(crate) async fn receive(&mut self, sent: Option<SentSql<'_>>) -> Result<Message, Fault> {
        loop {
            self.fill().await?;
            match Message::parse(&mut self.received).map_err(|e| self.malformed(&e))? {
                Some(Message::ErrorResponse(body)) => {
                    return Err(self.refused(&body, sent));
                }
                Some(Message::NoticeResponse(_) | Message::ParameterStatus(_) | Message::NotificationResponse(_))
                | None => {}
                Some(message) => return Ok(message),
            }
        }
    }

    /// Reads until a whole message lies in `received`.
    pub(crate) async fn fill(&mut self) -> Result<(), Fault> {
        loop {
            let mut missing = READ_BYTES;
            if let Some(mut length) = self.received.get(1..5) {
                let length = length.get_u32() as usize + 1;
                if length > MAX_MESSAGE_BYTES {
                    return Err(self.malformed(&std::io::Error::other("a message is longer than 1 GB")));
                }
                if self.received.len() >= length {
                    return Ok(());
                }
                missing = missing.max(length - self.received.len());
            }
            self.received.reserve(missing);
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(local(&self.connector.context(None), "connection closed")),
                Ok(_) => {}
                Err(e) => return Err(self.broken(&e)),
            }
        }
    }

    /// Closes, after what was sent has gone.
    pub(crate) async fn shutdown(&mut self) -> Result<(), Fault> {
        self.stream.shutdown().await.map_err(|e| self.broken(&e))
    }

    /// Waits until the server closes.
    pub(crate) async fn closed(&mut self) {
        let _ = self.stream.read_u8().await;
    }

    fn refused(&self, body: &ErrorResponseBody, sent: Option<SentSql<'_>>) -> Fault {
        let mut fields: Vec<(u8, String)> = Vec::new();
        let mut told = body.fields();
        while let Ok(Some(field)) = told.next() {
            fields.push((field.type_(), String::from_utf8_lossy(field.value_bytes()).into_owned()));
        }
        let field = |kind: u8| fields.iter().find(|(k, _)| *k == kind).map(|(_, text)| text.as_str());
        let position = field(b'P').and_then(|at| at.parse::<usize>().ok()?.checked_sub(1));
        let error = ServerError {
            state: field(b'C').unwrap_or_default(),
            message: field(b'M').unwrap_or_default(),
            hint: field(b'H'),
            position,
        };
        said(&self.connector.context(sent), &error)
    }

    fn broken(&self, error: &std::io::Error) -> Fault {
        local(&self.connector.context(None), &error.to_string())
    }

    pub(crate) fn malformed(&self, error: &std::io::Error) -> Fault {
        local(&self.connector.context(None), &format!("the server answers in another form than is documented: {error}"))
    }
}

async fn open_stream(connector: &Connector) -> Result<Box<dyn WireStream>, Fault> {
    let unreached = |e: std::io::Error| local(&connector.context(None), &format!("error connecting to server: {e}"));
    let insecure = |why: String| local(&connector.context(None), &format!("error performing TLS handshake: {why}"));
    let [Host::Tcp(host)] = connector.settings.get_hosts() else {
        return Err(connector.place().invalid("`host` is a host name or an address."));
    };
    let port = connector.settings.get_ports().first().copied().unwrap_or(5432);
    let mut socket = TcpStream::connect((host.as_str(), port)).await.map_err(unreached)?;
    socket.set_nodelay(true).map_err(unreached)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive).map_err(unreached)?;
    let Some(tls) = &connector.tls else { return Ok(Box::new(socket)) };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(unreached)?;
    if socket.read_u8().await.map_err(unreached)? != b'S' {
        return Err(insecure("server does not support TLS".into()));
    }
    let mut tls = tls.clone();
    let made: Result<_, Infallible> =
        <MakeRustlsConnect as MakeTlsConnect<TcpStream>>::make_tls_connect(&mut tls, host);
    let Ok(connect) = made;
    Ok(Box::new(connect.connect(socket).await.map_err(|e| insecure(e.to_string()))?))
}
