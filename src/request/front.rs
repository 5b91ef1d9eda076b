//! What stands in front of a listener: the URL that clients see, and the proxies that may speak for them.
//!
//! A field of a request is worth what its writer is worth. Only a trusted proxy may say who asks, for what, and with
//! which certificate, and only in the fields that the operator named: a proxy passes on what it does not know, so any
//! other field may still be the client's.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, Method, Uri};
use ipnet::IpNet;

use super::certificate::CertificateField;
use super::forwarded::{self, Client};
use super::target::{Host, ListenerScheme, PublicUrl};
use crate::refusal::{Reason, Refusal};
use crate::request::ClientCertificate;

/// How a listener is seen from outside. By default clients connect to it directly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Front {
    /// Scheme and authority that clients see, if other than the listener's scheme and the request's host.
    pub public_url: Option<PublicUrl>,
    /// Addresses that may speak for a client.
    pub trusted: Vec<IpNet>,
    /// Which of their fields say who asks, and where.
    pub forwarded: ForwardedFields,
    /// Which of their fields holds the client's certificate. What a proxy shows in the handshake is then its own, and
    /// never a client's.
    pub certificate: Option<CertificateField>,
    /// At a decision endpoint: where the request is told that is to be decided about.
    pub asks: Option<OriginalRequest>,
    /// At a decision endpoint: the field in which the proxy names each request of a client by an id of its own, so that
    /// it may ask about it more than once.
    pub request_id: Option<HeaderName>,
}

/// Which fields of a trusted proxy say who asks, and where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedFields {
    /// None.
    #[default]
    Off,
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
}

/// Where a proxy that asks for a decision tells method and URL of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalRequest {
    /// `X-Forwarded-Method`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Uri` (Traefik, Caddy).
    XForwarded,
    /// `X-Original-Method` and `X-Original-URL` (nginx).
    XOriginal,
    /// It asks with the request's own method and target (Envoy).
    Request,
}

/// Where a client's certificate is to be seen.
#[derive(Debug, Default)]
pub enum Shown {
    /// In the handshake of this connection.
    #[default]
    InHandshake,
    /// By a trusted proxy, if its client had one.
    ByProxy(Option<ClientCertificate>),
}

/// What a trusted proxy said about a request.
#[derive(Debug, Default)]
pub struct Told {
    /// Who asks.
    pub client: Option<IpAddr>,
    /// Under which scheme.
    pub scheme: Option<ListenerScheme>,
    /// At which authority.
    pub(super) host: Option<Host>,
    /// Its method and target, where they are told.
    pub request: Option<(Method, Uri)>,
    /// Where the client's certificate is to be seen.
    pub shown: Shown,
}

impl Front {
    /// Of a listener that clients connect to directly, and know by this URL.
    pub fn direct(public_url: Option<PublicUrl>) -> Self {
        Self { public_url, ..Self::default() }
    }

    /// Whether this address may speak for a client.
    pub fn trusts(&self, address: IpAddr) -> bool {
        !self.trusted.is_empty() && self.trusted.iter().any(|network| network.contains(&address))
    }

    /// What is told about a request that comes from `peer`. Strangers tell nothing; a decision endpoint does not listen
    /// to them at all.
    ///
    /// # Errors
    /// [`Reason::HopUntrusted`], [`Reason::HopMalformed`].
    pub fn listen(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Told, Refusal> {
        if !self.trusts(peer) {
            return match self.asks {
                None => Ok(Told::default()),
                Some(_) => {
                    Err(Refusal::new(Reason::HopUntrusted).expected("one of trusted_proxies").found(peer.to_string()))
                }
            };
        }
        let mut told = match self.forwarded {
            ForwardedFields::Off => Told::default(),
            ForwardedFields::XForwarded => forwarded::x_forwarded(headers, |address| self.trusts(address))?,
            ForwardedFields::Rfc7239 => forwarded::rfc_7239(headers, |address| self.trusts(address))?,
        };
        match self.asks {
            None | Some(OriginalRequest::Request) => {}
            Some(OriginalRequest::XForwarded) => told.request = Some(forwarded::x_forwarded_request(headers)?),
            Some(OriginalRequest::XOriginal) => {
                let (method, url) = forwarded::x_original_request(headers)?;
                let (scheme, host, uri) = super::target::split_url(&url)
                    .ok_or_else(|| malformed("an http URL in X-Original-URL", "something else"))?;
                (told.scheme, told.host) = (Some(scheme), Some(host));
                told.request = Some((method, uri));
            }
        }
        match &self.certificate {
            Some(field) => told.shown = Shown::ByProxy(field.read(headers)?),
            // Whoever only asks shows its own certificate, if any.
            None if self.asks.is_some() => told.shown = Shown::ByProxy(None),
            None => {}
        }
        Ok(told)
    }
}

impl Told {
    /// Who asks: whom the proxy names, or the other end of the connection.
    pub fn client(&self, peer: IpAddr) -> IpAddr {
        self.client.unwrap_or(peer)
    }
}

impl From<Client> for Option<IpAddr> {
    fn from(client: Client) -> Self {
        match client {
            Client::Known(address) => Some(address),
            Client::Unknown => None,
        }
    }
}

/// A field of a trusted proxy that says nothing, or two things.
pub(super) fn malformed(expected: &'static str, found: &'static str) -> Refusal {
    Refusal::new(Reason::HopMalformed).expected(expected).found(found)
}
