//! A rustls client whose records are changed on their way, and what else may come before a handshake is through.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::clients::{self, VERSIONS};
use crate::eventually;
use crate::ground::{Door, Ground, issued, last, open};
use crate::support::HOST;

pub const ALERT: u8 = 21;
pub const CHANGE_CIPHER_SPEC: u8 = 20;
pub const HANDSHAKE: u8 = 22;

pub fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3], &length[..], content].concat()
}

/// How long a read may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client that waits.
pub struct Slow {
    pub connection: ClientConnection,
    pub socket: TcpStream,
    /// What its records become.
    rewrite: Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>,
}

impl Slow {
    pub fn connect(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        rewrite: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let connection = ClientConnection::new(Arc::clone(config), HOST.try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { connection, socket, rewrite: Box::new(rewrite) }
    }

    /// Writes whatever there is to write.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            let mut bytes = Vec::new();
            self.connection.write_tls(&mut bytes)?;
            self.socket.write_all(&(self.rewrite)(bytes))?;
        }
        Ok(())
    }

    /// Reads once; how much plain text came.
    pub fn read(&mut self, text: &mut Vec<u8>) -> io::Result<usize> {
        let read = self.connection.read_tls(&mut self.socket)?;
        let processed = self.connection.process_new_packets();
        let _ = self.flush();
        processed.map_err(io::Error::other)?;
        let before = text.len();
        match self.connection.reader().read_to_end(text) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(text.len() - before) }
    }

    pub fn handshake(&mut self) -> io::Result<()> {
        self.flush()?;
        while self.connection.is_handshaking() {
            self.read(&mut Vec::new())?;
            self.flush()?;
        }
        Ok(())
    }

    /// Sends a request behind the handshake, and reads to the end.
    pub fn ask(mut self, request: &[u8]) -> io::Result<String> {
        self.handshake()?;
        self.connection.writer().write_all(request)?;
        self.flush()?;
        let mut text = Vec::new();
        while self.read(&mut text).is_ok() {}
        if text.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Every record of a handshake that is not encrypted yet becomes many, of this size; `between` comes before each.
fn in_pieces(size: usize, between: Vec<u8>) -> impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static {
    let mut encrypted = false;
    move |bytes| {
        let (mut rest, mut out) = (&bytes[..], Vec::new());
        while let [kind, _, _, high, low, behind @ ..] = rest {
            let (content, behind) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
            encrypted |= *kind == CHANGE_CIPHER_SPEC;
            if *kind == HANDSHAKE && !encrypted {
                for piece in content.chunks(size) {
                    out.extend(&between);
                    out.extend(record(HANDSHAKE, piece));
                }
            } else {
                out.extend(record(*kind, content));
            }
            rest = behind;
        }
        assert!(rest.is_empty());
        out
    }
}

/// Runs what blocks.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_handshake_may_come_in_pieces() {
    let ground = Ground::set().await;
    let identity = issued(&ground.clients, |_| {});
    for version in VERSIONS {
        for size in [1, 2, 3, 5, 100] {
            let seen = ground.stage.api.count();
            let tls = clients::rustls(&ground, Door::Authorities, version, &identity).tls.unwrap();
            let (address, request) = (ground.address(Door::Authorities), last(&ground.call(&identity)));
            let answer = apart(move || Slow::connect(address, &tls, in_pieces(size, Vec::new())).ask(&request)).await;
            let answer = answer.unwrap_or_else(|error| panic!("{version:?} in pieces of {size}: {error}"));
            assert!(answer.starts_with("HTTP/1.1 200"), "{version:?} in pieces of {size}: {answer}");
            assert_eq!(ground.stage.api.count(), seen + 1);
        }
    }
}

/// Records that may not stand between the pieces of a handshake message, or not so often.
#[tokio::test]
async fn nothing_comes_between_the_pieces() {
    let ground = Ground::set().await;
    let identity = issued(&ground.clients, |_| {});
    let records = [
        ("nothing in a record", record(HANDSHAKE, &[]), "InvalidEmptyPayload"),
        // user_canceled, which nobody answers.
        ("a warning", record(ALERT, &[1, 90]), "MessageInterleavedWithHandshakeMessage"),
        ("an alert of nothing", record(ALERT, &[]), "InvalidEmptyPayload"),
        ("a fatal alert", record(ALERT, &[2, 40]), "received fatal alert"),
        ("a change of the cipher", record(CHANGE_CIPHER_SPEC, &[1]), "got ChangeCipherSpec"),
        ("a change of something else", record(CHANGE_CIPHER_SPEC, &[2]), "InvalidCcs"),
        ("data", record(23, b"GET /open/between HTTP/1.1\r\nHost: rs.example\r\n\r\n"), "got ApplicationData"),
        ("a heartbeat", record(24, &[1, 0x40, 0]), "InvalidContentType"),
        ("an unknown record", record(99, &[1]), "InvalidContentType"),
        ("a record that is too large", record(HANDSHAKE, &[1; 20_000]), "MessageTooLarge"),
    ];
    crate::documented(&format!("5 sizes and {} records, over", records.len()));
    for (name, between, reason) in records {
        for version in VERSIONS {
            let (seen, failed) = (ground.stage.api.count(), ground.failures().len());
            let tls = clients::rustls(&ground, Door::Authorities, version, &identity).tls.unwrap();
            let (address, request) = (ground.address(Door::Authorities), last(&ground.call(&identity)));
            let between = between.clone();
            let answer = apart(move || Slow::connect(address, &tls, in_pieces(10, between)).ask(&request)).await;
            assert!(answer.is_err(), "{name}, {version:?}: {answer:?}");
            let found = ground.failure(failed).await;
            assert!(found.contains(reason), "{name}, {version:?}: {found}");
            assert_eq!(ground.stage.api.count(), seen, "{name}, {version:?}");
            ground.is_well(name).await;
        }
    }
}

/// The time for a handshake is for all of it, however often a byte comes.
#[tokio::test]
async fn a_handshake_that_crawls_is_cut() {
    const TIME: Duration = Duration::from_secs(1);
    let ground =
        Ground::set_with(90, |configuration| configuration.limits = "{ handshake_timeout: 1s }".to_owned()).await;
    for version in VERSIONS {
        let identity = issued(&ground.clients, |_| {});
        let tls = clients::rustls(&ground, Door::Any, version, &identity).tls.unwrap();
        let mut connection = ClientConnection::new(tls, HOST.try_into().unwrap()).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();
        let before = ground.handshakes("timeout").await;
        let mut socket = tokio::net::TcpStream::connect(ground.address(Door::Any)).await.unwrap();
        let began = Instant::now();
        let mut written = 0;
        for byte in hello {
            let mut answer = [0; 1];
            let pause = tokio::time::timeout(Duration::from_millis(20), socket.read(&mut answer)).await;
            if matches!(pause, Ok(Ok(0) | Err(_))) || socket.write_all(&[byte]).await.is_err() {
                break;
            }
            written += 1;
        }
        let took = began.elapsed();
        println!("{version:?}: {written} bytes in {took:?}");
        assert!(took >= TIME && took < 5 * TIME, "after {took:?}");
        eventually("it is counted", async || (ground.handshakes("timeout").await == before + 1.0).then_some(())).await;
        assert_eq!(ground.stage.api.count(), 0);
    }
    let answer = ground.dialer(Door::Silent, None).send(crate::support::wire::Http::One, &open("/open/item")).await;
    assert_eq!(answer.unwrap().status, 200);
}
