//! A client that can say anything: HTTP/1.1 as bytes, HTTP/2 through hyper, over TLS or plain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ConfigBuilder, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What is sent: names and values as they are, nothing added but what HTTP cannot do without.
#[derive(Debug, Clone)]
pub struct Message {
    pub method: String,
    pub target: String,
    pub host: Option<String>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if let Some(host) = &self.host {
            bytes.extend(format!("Host: {host}\r\n").bytes());
        }
        for (name, value) in &self.headers {
            bytes.extend(name.bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        if !self.body.is_empty() {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }
}

/// How a client connects.
#[derive(Clone)]
pub struct Dialer {
    pub address: SocketAddr,
    /// `None`: plain.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub server_name: String,
    /// What a proxy sends before everything else.
    pub announce: Vec<u8>,
}

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Dialer {
    pub async fn connect(&self, http: Http) -> io::Result<Box<dyn Stream>> {
        let mut tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(&self.announce).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let mut config = (**tls).clone();
        config.alpn_protocols = match http {
            Http::One => vec![b"http/1.1".to_vec()],
            Http::Two => vec![b"h2".to_vec()],
        };
        let name = ServerName::try_from(self.server_name.clone()).unwrap();
        Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
    }

    pub async fn send(&self, http: Http, message: &Message) -> io::Result<Answer> {
        let exchange = async {
            match http {
                Http::One => self.send_bytes(&message.to_bytes(), message.method == "HEAD").await,
                Http::Two => self.send_h2(message).await,
            }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// Raw bytes over HTTP/1.1; one answer.
    pub async fn send_bytes(&self, bytes: &[u8], head: bool) -> io::Result<Answer> {
        let mut stream = self.connect(Http::One).await?;
        stream.write_all(bytes).await?;
        read_answer(&mut stream, head).await
    }

    async fn send_h2(&self, message: &Message) -> io::Result<Answer> {
        let stream = self.connect(Http::Two).await?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
        let task = tokio::spawn(connection);
        let answer = h2_exchange(&mut sender, message).await;
        drop(sender);
        task.abort();
        answer
    }
}

pub async fn h2_exchange(
    sender: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    message: &Message,
) -> io::Result<Answer> {
    let authority = message.host.clone().unwrap_or_default();
    let uri = if message.target.starts_with('/') {
        format!("https://{authority}{}", message.target)
    } else {
        message.target.clone()
    };
    let mut request = http::Request::builder().method(message.method.as_str()).uri(uri);
    for (name, value) in &message.headers {
        request = request.header(name.to_ascii_lowercase(), value.as_slice());
    }
    let request = request.body(Full::new(Bytes::from(message.body.clone()))).map_err(io::Error::other)?;
    sender.ready().await.map_err(io::Error::other)?;
    let (parts, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec();
    let headers = parts.headers.iter().map(|(name, value)| (name.to_string(), lossy(value.as_bytes()))).collect();
    Ok(Answer { status: parts.status.as_u16(), headers, body })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads one HTTP/1.1 answer.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin + ?Sized), head: bool) -> io::Result<Answer> {
    loop {
        let answer = read_one(stream, head).await?;
        if answer.status != 100 {
            return Ok(answer);
        }
    }
}

pub async fn read_one(stream: &mut (impl AsyncRead + Unpin + ?Sized), head: bool) -> io::Result<Answer> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await?);
    }
    let text = lossy(&text);
    let mut lines = text.split("\r\n");
    let status: u16 = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok()).unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer { status, headers, body: Vec::new() };
    if head || status == 204 || status == 304 || status < 200 {
        return Ok(answer);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = read_chunks(stream).await?;
    } else if let Some(length) = answer.header("content-length") {
        answer.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut answer.body).await?;
    } else {
        stream.read_to_end(&mut answer.body).await?;
    }
    Ok(answer)
}

async fn read_line(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
    }
    Ok(lossy(&line).trim_end().to_owned())
}

async fn read_chunks(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length =
            usize::from_str_radix(read_line(stream).await?.split(';').next().unwrap(), 16).map_err(io::Error::other)?;
        if length == 0 {
            while !read_line(stream).await?.is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(&mut body[start..]).await?;
        read_line(stream).await?;
    }
}

/// Client-side TLS: the server's certificate is the fixture's own and not the subject here.
pub fn client_tls(
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Arc<rustls::ClientConfig> {
    let builder = client_tls_in(rustls::ALL_VERSIONS);
    Arc::new(match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    })
}

/// The same in these versions, before it has a certificate.
pub fn client_tls_in(
    versions: &[&'static SupportedProtocolVersion],
) -> ConfigBuilder<rustls::ClientConfig, WantsClientCert> {
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
}

#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
