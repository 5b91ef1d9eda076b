//! What these tests play on: one gateway, and four doors to it whose clients prove themselves differently.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType, IsCa, KeyPair};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;

use crate::eventually;
use crate::stage::{Configuration, Gateway, Stage, message, now};
use crate::support::wire::{Dialer, Http, Message, client_tls};
use crate::support::{HOST, Identity};

pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// The listeners, in the configuration's order. All lead to the same routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Asks for a certificate and takes any.
    Any,
    /// Asks for one, which an authority must vouch for.
    Authorities,
    /// Demands one and takes any.
    Required,
    /// Asks for none: what a listener does if nothing else is said.
    Silent,
}

/// What the gateway is called beside [`HOST`], with a certificate of its own.
pub const OTHER_HOST: &str = "other.example";

pub struct Ground {
    pub stage: Stage,
    pub gateway: Gateway,
    /// Vouches for clients.
    pub clients: Authority,
    doors: Vec<SocketAddr>,
}

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate as public authorities make them, and its key.
fn server(authority: &Authority, names: &[&str], days: u64) -> (String, String) {
    const DAY: u64 = 24 * 60 * 60;
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    let today = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now() as u64);
    params.not_before = today - Duration::from_secs(DAY);
    params.not_after = today + Duration::from_secs(days * DAY);
    params.distinguished_name.push(DnType::CommonName, names[0]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points =
        vec![CrlDistributionPoint { uris: vec!["http://ca.example/revoked.crl".to_owned()] }];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

/// A client's certificate, issued as it should be but for the change.
pub fn issued(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    issued_to(&KeyPair::generate().unwrap(), authority, change)
}

pub fn issued_to(key: &KeyPair, authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let certificate = params.signed_by(key, authority).unwrap();
    Identity { chain: vec![certificate.der().clone()], key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
}

/// One gateway for all doors: `clients` says what the first asks of its clients.
pub fn doors(configuration: &mut Configuration, first: &str) {
    let tls = |clients: &str| {
        let other = "additional: [{ certificate_file: other.pem, key_file: other.key }]";
        format!("{{ certificate_file: server.pem, key_file: server.key, {other}{clients} }}")
    };
    let asking = |clients: &str| tls(&format!(", client_certificates: {{ {clients} }}"));
    configuration.tls = asking(first);
    for tls in [asking("mode: request, trust: { ca_file: clients.pem }"), asking("mode: require"), tls("")] {
        configuration.more_listeners += &format!(", {{ address: '127.0.0.1:0', tls: {tls} }}");
    }
    // Why handshakes fail is told there alone.
    configuration.telemetry = "{ log: { level: debug } }".to_owned();
}

impl Ground {
    pub async fn set() -> Self {
        Self::set_with(90, |_| {}).await
    }

    /// With a server certificate that is good for so many days.
    pub async fn set_with(days: u64, change: impl FnOnce(&mut Configuration)) -> Self {
        let stage = Stage::set().await;
        let (servers, clients) = (authority("server authority"), authority("client authority"));
        let (certificate, key) = server(&servers, &[HOST, "localhost"], days);
        let (other_certificate, other_key) = server(&servers, &[OTHER_HOST], days);
        for (name, text) in [
            ("servers.pem", servers.pem()),
            ("clients.pem", clients.pem()),
            ("server.pem", certificate),
            ("server.key", key),
            ("other.pem", other_certificate),
            ("other.key", other_key),
        ] {
            fs::write(stage.file(name), text).unwrap();
        }
        let gateway = stage
            .gateway_with(|configuration| {
                doors(configuration, "mode: request");
                change(configuration);
            })
            .await;
        let lines = gateway.program.lines().into_iter().filter(|line| line["message"] == "listening");
        let doors: Vec<SocketAddr> = lines.map(|line| line["address"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!(doors.len(), 4);
        Self { stage, gateway, clients, doors }
    }

    pub fn address(&self, door: Door) -> SocketAddr {
        self.doors[door as usize]
    }

    pub fn dialer(&self, door: Door, identity: Option<&Identity>) -> Dialer {
        let tls = Some(client_tls(identity.map(Identity::pair)));
        Dialer { address: self.address(door), tls, server_name: HOST.to_owned(), announce: Vec::new() }
    }

    /// A good request of this holder of a certificate, or of one whose token is bound to it.
    pub fn call(&self, identity: &Identity) -> Message {
        self.stage.call_bound_to("/api/item", identity)
    }

    /// A request that needs nothing, on a connection of its own, is answered, and one that needs a certificate too.
    pub async fn is_well(&self, after: &str) {
        let before = self.stage.api.count();
        let identity = issued(&self.clients, |_| {});
        for door in [Door::Any, Door::Authorities] {
            let answer = self.dialer(door, Some(&identity)).send(Http::One, &self.call(&identity)).await.unwrap();
            assert_eq!(answer.status, 200, "a good client after {after}");
        }
        assert_eq!(self.stage.api.count(), before + 2, "after {after}");
    }

    /// Why handshakes failed so far.
    pub fn failures(&self) -> Vec<String> {
        let lines = self.gateway.program.lines().into_iter();
        let failed = lines.filter(|line| line["message"] == "TLS handshake failed");
        failed.map(|line| line["error"].as_str().unwrap().to_owned()).collect()
    }

    /// Why one more handshake failed than so many.
    pub async fn failure(&self, but: usize) -> String {
        eventually("a handshake fails", async || self.failures().get(but).cloned()).await
    }

    /// How many handshakes ended like this.
    pub async fn handshakes(&self, result: &str) -> f64 {
        self.gateway.scrape().await.sum("keybound_tls_handshakes_total", &[("result", result)])
    }

    /// Why a request was refused, by the answer's id.
    pub async fn reason(&self, request_id: &str) -> String {
        self.gateway.access_line(request_id).await["reason"].as_str().unwrap_or_default().to_owned()
    }
}

/// An open request, for whoever has nothing to prove.
pub fn open(path: &str) -> Message {
    message(path, &[])
}

/// The bytes of a request after which the connection ends.
pub fn last(message: &Message) -> Vec<u8> {
    let mut message = message.clone();
    message.headers.push(("Connection".to_owned(), b"close".to_vec()));
    message.to_bytes()
}
