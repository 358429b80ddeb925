//! Logging in over PostgreSQL's protocol with a password: in clear (over TLS), by MD5, or by SHA-256 as Redshift asks for it.

use bytes::{Buf as _, BufMut as _, BytesMut};
use domain::fault::Fault;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use ring::digest::{Context, Digest, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::postgres_channel::MessageChannel;

/// The number of Redshift's own way of logging in, and of the only digest that it has for it.
const EXTENSIBLE_DIGEST: u32 = 13;
const WITH_SHA256: u32 = 0;

/// What a request to stop a statement names.
#[derive(Clone, Copy)]
pub(crate) struct CancelKey {
    pub(crate) process: i32,
    pub(crate) secret: i32,
}

/// Redshift's question: it keeps a salted digest of the password.
struct DigestQuestion {
    salt: Vec<u8>,
    nonce: Vec<u8>,
}

/// Says who we are, and waits until the server is ready. Tells what stops a statement of this connection.
pub(crate) async fn login(channel: &mut MessageChannel) -> Result<Option<CancelKey>, Fault> {
    let settings = channel.connector.settings.clone();
    let user = settings.get_user().unwrap_or_default();
    let database = settings.get_dbname().unwrap_or_default();
    let mut message = BytesMut::new();
    let parameters =
        [("client_encoding", "UTF8"), ("user", user), ("database", database), ("application_name", "sluicegate")];
    frontend::startup_message(parameters, &mut message).map_err(|e| channel.malformed(&e))?;
    channel.send(&message).await?;
    let mut key = None;
    loop {
        channel.fill().await?;
        if let Some(question) = question(&channel.received) {
            let question = question.map_err(|why| refused(channel, why))?;
            let message = answer(&question, password(channel)?.as_slice(), &nonce(channel)?);
            channel.received.advance(1 + (&channel.received[1..5]).get_u32() as usize);
            channel.send(&message).await?;
            continue;
        }
        match channel.receive(None).await? {
            Message::AuthenticationCleartextPassword if channel.connector.tls.is_none() => {
                return Err(refused(channel, "the server asks for the password in clear, without TLS"));
            }
            Message::AuthenticationCleartextPassword => {
                let password = password(channel)?;
                send_password(channel, &password).await?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(user.as_bytes(), &password(channel)?, body.salt());
                send_password(channel, hash.as_bytes()).await?;
            }
            Message::BackendKeyData(body) => {
                key = Some(CancelKey { process: body.process_id(), secret: body.secret_key() });
            }
            Message::AuthenticationOk => {}
            Message::ReadyForQuery(_) => return Ok(key),
            _ => return Err(refused(channel, "the server asks for another way of logging in than by a password")),
        }
    }
}

fn refused(channel: &MessageChannel, why: &str) -> Fault {
    let connector = &channel.connector;
    connector.place().denied(format!("logging in to {} failed: {why}.", connector.address()))
}

fn password(channel: &MessageChannel) -> Result<Vec<u8>, Fault> {
    let password = channel.connector.settings.get_password().map(<[u8]>::to_vec);
    password.ok_or_else(|| refused(channel, "the server asks for a password, and the connection has none"))
}

async fn send_password(channel: &mut MessageChannel, password: &[u8]) -> Result<(), Fault> {
    let mut message = BytesMut::new();
    frontend::password_message(password, &mut message).map_err(|e| channel.malformed(&e))?;
    channel.send(&message).await
}

/// Digits, as the vendor's drivers send them.
fn nonce(channel: &MessageChannel) -> Result<String, Fault> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| refused(channel, "this machine has no random numbers"))?;
    Ok(u64::from_be_bytes(bytes).to_string())
}

/// Redshift's own question, where the message is that one.
fn question(message: &[u8]) -> Option<Result<DigestQuestion, &'static str>> {
    let mut rest = message;
    if rest.len() < 9 || rest.get_u8() != b'R' {
        return None;
    }
    let length = rest.get_u32() as usize;
    (rest.get_u32() == EXTENSIBLE_DIGEST).then(|| {
        let mut rest = message.get(9..1 + length).unwrap_or_default();
        if rest.try_get_u32() != Ok(WITH_SHA256) {
            return Err("the server keeps the password by another digest than SHA-256");
        }
        let mut part = || {
            let length = rest.try_get_u32().ok()? as usize;
            let (part, left) = rest.split_at_checked(length)?;
            rest = left;
            Some(part.to_vec())
        };
        let (salt, nonce) = (part(), part());
        salt.zip(nonce)
            .map(|(salt, nonce)| DigestQuestion { salt, nonce })
            .ok_or("the server asks for a digest in another form than its drivers know")
    })
}

/// The message that answers: the digest and our own nonce, each after its length.
fn answer(question: &DigestQuestion, password: &[u8], nonce: &str) -> BytesMut {
    let digest = digest(question, password, nonce);
    let mut message = BytesMut::new();
    message.put_u8(b'd');
    message.put_u32((12 + digest.as_ref().len() + nonce.len()) as u32);
    for part in [digest.as_ref(), nonce.as_bytes()] {
        message.put_u32(part.len() as u32);
        message.put_slice(part);
    }
    message
}

fn digest(question: &DigestQuestion, password: &[u8], nonce: &str) -> Digest {
    let of = |parts: &[&[u8]]| {
        let mut context = Context::new(&SHA256);
        parts.iter().for_each(|part| context.update(part));
        context.finish()
    };
    let kept = of(&[password, &question.salt]);
    of(&[kept.as_ref(), &question.nonce, nonce.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatabasePlace;
    use crate::postgres::Connector;
    use domain::fault::Code;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    fn message(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), &body].concat()
    }

    /// What the vendor's Python driver (2.2.0) makes of the same password, salt and nonces.
    #[test]
    fn the_digest_is_that_of_the_vendors_driver() {
        let parts: [&[u8]; 6] = [
            &13u32.to_be_bytes(),
            &0u32.to_be_bytes(),
            &7u32.to_be_bytes(),
            b"\x01\x02salt\xff",
            &12u32.to_be_bytes(),
            b"server-nonce",
        ];
        let asked = question(&message(b'R', &parts)).unwrap().unwrap_or_else(|why| panic!("{why}"));
        let hex: String = digest(&asked, "My passé".as_bytes(), "1767225600000")
            .as_ref()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hex, "a9af3f2431c96c0cf327df7ea0465764a6ef130a6549d9f3b1d889f944ff62a3");
        assert!(question(&message(b'R', &parts[..5])).unwrap().is_err(), "a part that is missing");
        assert!(question(&message(b'R', &[&0u32.to_be_bytes()])).is_none(), "another message");
    }

    async fn connector(listener: &TcpListener) -> Connector {
        let port = listener.local_addr().unwrap().port();
        let config =
            serde_json::json!({ "host": "127.0.0.1", "port": port, "user": "u", "database": "d", "tls": "disable" });
        let config: crate::postgres::PostgresConfig = serde_json::from_value(config).unwrap();
        struct NoSecrets;
        #[async_trait::async_trait]
        impl domain::config::SecretSource for NoSecrets {
            async fn get(&self, reference: &domain::config::Reference) -> Result<String, Fault> {
                Err(Fault::new(Code::SecretMissing, reference.to_string()))
            }
        }
        let place = DatabasePlace::warehouse("w");
        let mut connector = config.resolve(place, std::path::Path::new("."), &NoSecrets).await.unwrap();
        connector.settings.password("geheim");
        connector
    }

    /// The tag and the rest of the next message of the client.
    async fn next(socket: &mut TcpStream, tagged: bool) -> (u8, Vec<u8>) {
        let tag = if tagged { socket.read_u8().await.unwrap() } else { 0 };
        let mut body = vec![0; socket.read_u32().await.unwrap() as usize - 4];
        socket.read_exact(&mut body).await.unwrap();
        (tag, body)
    }

    #[tokio::test]
    async fn every_way_of_asking_for_a_password_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connector = connector(&listener).await;
        let md5 = message(b'R', &[&5u32.to_be_bytes(), &[1, 2, 3, 4]]);
        let digest = message(
            b'R',
            &[&13u32.to_be_bytes(), &0u32.to_be_bytes(), &2u32.to_be_bytes(), b"sa", &1u32.to_be_bytes(), b"n"],
        );
        for (asks, ready) in [(md5, true), (digest, true), (message(b'R', &[&3u32.to_be_bytes()]), false)] {
            let server = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (_, startup) = next(&mut socket, false).await;
                assert!(startup.windows(7).any(|w| w == b"user\0u\0"));
                socket.write_all(&asks).await.unwrap();
                if !ready {
                    return (0, Vec::new());
                }
                let answered = next(&mut socket, true).await;
                let key = message(b'K', &[&7u32.to_be_bytes(), &9u32.to_be_bytes()]);
                let ok = message(b'R', &[&0u32.to_be_bytes()]);
                socket.write_all(&[ok, key, message(b'Z', &[b"I"])].concat()).await.unwrap();
                answered
            };
            let (key, (tag, answered)) =
                tokio::join!(async { login(&mut MessageChannel::open(&connector).await?).await }, server);
            match tag {
                b'p' => assert_eq!(answered, [md5_hash(b"u", b"geheim", [1, 2, 3, 4]).as_bytes(), b"\0"].concat()),
                b'd' => {
                    let nonce = std::str::from_utf8(&answered[40..]).unwrap();
                    let asked = DigestQuestion { salt: b"sa".into(), nonce: b"n".into() };
                    assert_eq!(answered, super::answer(&asked, b"geheim", nonce)[5..]);
                }
                _ => {
                    let fault = key.err().unwrap();
                    assert!(fault.code == Code::WarehouseDenied && fault.what.contains("in clear"), "{fault}");
                    continue;
                }
            }
            assert_eq!(key.unwrap().map(|key| (key.process, key.secret)), Some((7, 9)));
        }
    }
}
