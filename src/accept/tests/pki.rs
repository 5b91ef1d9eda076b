//! Keys, certificates, and clients that hold them.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType};
use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion, version};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::accept::tls::{ClientTrust, ServerCertificate};
use crate::accept::{ClientCertificates, TlsSettings};

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server certificate as PEM, with its key.
pub fn server_pem(authority: &Authority, names: &[&str]) -> (String, String) {
    let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

pub fn server(authority: &Authority, names: &[&str]) -> Arc<ServerCertificate> {
    let (certificate, key) = server_pem(authority, names);
    Arc::new(ServerCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap())
}

/// TLS settings of a server called `rs.example`, and the authority that vouches for it.
pub fn settings(client_certificates: ClientCertificates) -> (TlsSettings, Authority) {
    let authority = authority("server authority");
    let certificates = vec![server(&authority, &["rs.example"])];
    (TlsSettings { certificates, only_tls13: false, client_certificates, keep_certificates: false }, authority)
}

/// A client certificate with its key.
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Identity {
    pub fn self_signed() -> Self {
        let key = KeyPair::generate().unwrap();
        Self { certificate: CertificateParams::default().self_signed(&key).unwrap().der().clone(), key }
    }

    pub fn issued(authority: &Authority, serial: u64, adjust: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        adjust(&mut params);
        Self { certificate: params.signed_by(&key, authority).unwrap().der().clone(), key }
    }

    pub fn thumbprint(&self) -> String {
        super::hex(&Sha256::digest(&self.certificate))
    }
}

/// Trusts what `authority` issued and did not revoke. `None`: there is no revocation list at all.
pub fn trust(authority: &Authority, revoked: Option<&[u64]>) -> ClientTrust {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let crls = revoked.map(|serials| revocation_list(authority, serials, 2100)).into_iter().collect();
    ClientTrust::Authorities { roots: Arc::new(roots), crls }
}

pub fn revocation_list(
    authority: &Authority,
    serials: &[u64],
    good_until: i32,
) -> CertificateRevocationListDer<'static> {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: rcgen::date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(good_until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(authority).unwrap().der().clone()
}

pub const TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
pub const TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// A TLS client that trusts `server` and may hold a certificate. It keeps sessions.
pub fn client(
    server: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Identity>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(server.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
            let key = provider.key_provider.load_private_key(key).unwrap();
            // Unlike `with_client_auth_cert` this does not ask whether the two belong together.
            let shown = CertifiedKey::new(vec![identity.certificate.clone()], key);
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
        }
    }
}

pub async fn connect(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_over(TcpStream::connect(address).await?, client, name).await
}

pub async fn connect_over(
    socket: TcpStream,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name).unwrap();
    super::within(TlsConnector::from(Arc::clone(client)).connect(name, socket)).await
}

/// A client's eye for the certificate it is shown, whatever that is.
#[derive(Debug, Default)]
pub struct Unverified(std::sync::Mutex<Option<CertificateDer<'static>>>);

impl Unverified {
    pub fn leaf(&self) -> CertificateDer<'static> {
        self.0.lock().unwrap().clone().unwrap()
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = Some(end_entity.clone().into_owned());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
