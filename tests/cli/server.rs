//! An API behind TLS that says what it is told to say.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::PATIENCE;

type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

/// A request that reached the server.
pub struct Seen {
    /// Method, target and version.
    pub line: String,
    /// In lower case, in order.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: String,
    /// What the client showed in the handshake.
    pub certificate: Option<Vec<u8>>,
}

impl Seen {
    /// The first field of a name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Gives its answers in order, one a connection, and the last one for ever.
pub struct Server {
    /// Without a slash at its end.
    pub url: String,
    seen: Receiver<Seen>,
}

impl Server {
    /// Writes its certificate to `ca.pem` in the folder; demands client certificates that `client` vouches for.
    pub fn start(folder: &TempDir, client: Option<&Path>, answers: &[&str]) -> Self {
        let config = Arc::new(config(folder, client));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (sender, seen) = channel();
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        std::thread::spawn(move || {
            let last = answers.last().unwrap().clone();
            let mut answers = answers.into_iter();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                // Some clients are meant to fail in the handshake.
                let Ok(request) = receive(&mut stream) else { continue };
                if sender.send(request).is_err() {
                    return;
                }
                let stream = stream.get_mut();
                let _ = stream.write_all(answers.next().unwrap_or_else(|| last.clone()).as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { url, seen }
    }

    /// What arrived since the last time; to be asked when the client is done.
    pub fn all(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }

    /// The same, when it must be one.
    pub fn only(&self) -> Seen {
        let mut all = self.all();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

fn config(folder: &TempDir, client: Option<&Path>) -> ServerConfig {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    builder.with_single_cert(vec![made.cert.into()], key.into()).unwrap()
}

fn receive(stream: &mut Stream) -> io::Result<Seen> {
    let mut next = || {
        let mut line = String::new();
        stream.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let line = next()?;
    let mut fields = Vec::new();
    while let Some((name, value)) = next()?.split_once(": ") {
        fields.push((name.to_owned(), value.to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    stream.read_exact(&mut body)?;
    let certificate = stream.get_ref().conn.peer_certificates().map(|chain| chain[0].to_vec());
    Ok(Seen { line, fields, body: String::from_utf8(body).unwrap(), certificate })
}
