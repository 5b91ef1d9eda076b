//! A request whose target was read, before anyone asked whether it may pass.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Version, header};

use super::connection::check_nominations;
use super::credentials::Taken;
use super::{ClientCertificate, Credentials, Front, Onward, Peer, Scheme, Seen, Shown, Target};
use crate::refusal::{Reason, Refusal};

/// Names one request in logs, in the answer and at the upstream: who gave the number, in 16 hexadecimal digits, and
/// the number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; Self::LONGEST],
    length: u8,
}

impl RequestId {
    const LONGEST: usize = 16 + 1 + 16;

    /// The id of a request: `giver` tells processes apart, `number` the requests of one.
    pub fn new(giver: u64, number: u64) -> Self {
        let hex = |value: u64, place: u32| b"0123456789abcdef"[(value >> (4 * place) & 0xF) as usize];
        let places = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
        let (mut text, mut length) = ([0; Self::LONGEST], 0);
        let bytes = (0..16).rev().map(|place| hex(giver, place)).chain([b'-']);
        for (room, byte) in text.iter_mut().zip(bytes.chain((0..places).rev().map(|place| hex(number, place)))) {
            *room = byte;
            length += 1;
        }
        Self { text, length }
    }

    /// The id: digits and a hyphen.
    pub fn as_str(&self) -> &str {
        self.text.get(..self.length.into()).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequestId").field(&self.as_str()).finish()
    }
}

/// A request with its peer and its one reading of the target.
///
/// It travels through every stage, so it is kept in one place and only the pointer is handed on.
pub struct Inbound<B>(Box<Parts<B>>);

struct Parts<B> {
    request: Request<B>,
    peer: Arc<Peer>,
    target: Target,
    id: RequestId,
    scheme_used: Option<Scheme>,
    kept: Vec<HeaderValue>,
    client: IpAddr,
    /// Whether that is a proxy's address, and who asks through it was not told.
    speaks_for_many: bool,
    shown: Shown,
    onward: Option<Onward>,
}

impl<B> Inbound<B> {
    /// Reads the target and checks what concerns the message as a whole. At a decision endpoint the request becomes the
    /// one that is asked about.
    ///
    /// # Errors
    /// The refusal and the request, untouched.
    pub fn read(
        mut request: Request<B>,
        peer: Arc<Peer>,
        front: &Front,
        id: RequestId,
    ) -> Result<Self, Box<(Refusal, Request<B>)>> {
        match look(&request, &peer, front) {
            Ok(Read { target, method, client, speaks_for_many, shown }) => {
                if let Some(method) = method {
                    *request.method_mut() = method;
                }
                let (scheme_used, kept, onward) = (None, Vec::new(), None);
                let parts =
                    Parts { request, peer, target, id, scheme_used, kept, client, speaks_for_many, shown, onward };
                Ok(Self(Box::new(parts)))
            }
            Err(refusal) => Err(Box::new((refusal, request))),
        }
    }

    /// Says what the upstream is told of the request's trace; `None`: what the client sent passes.
    pub fn goes_on(&mut self, onward: Option<Onward>) {
        self.0.onward = onward;
    }

    /// What the upstream is told of the request's trace, if that is not what the client sent.
    pub fn onward(&self) -> Option<Onward> {
        self.0.onward
    }

    /// Keeps `Authorization` as it came, so that [`Self::return_authorization`] can put it back.
    pub fn keep_authorization(&mut self) {
        let Parts { request, kept, .. } = &mut *self.0;
        *kept = request.headers().get_all(header::AUTHORIZATION).iter().cloned().collect();
    }

    /// Puts back what [`Self::keep_authorization`] kept.
    pub fn return_authorization(&mut self) {
        let Parts { request, kept, .. } = &mut *self.0;
        for value in kept.drain(..) {
            request.headers_mut().append(header::AUTHORIZATION, value);
        }
    }

    /// Takes the credentials out of the request, and remembers the scheme that was used.
    pub fn take_credentials(&mut self) -> Result<Credentials, Refusal> {
        let inbound = &mut *self.0;
        let query = inbound.target.path_and_query().query();
        let Taken { scheme, credentials } =
            Credentials::take(inbound.request.headers_mut(), query, &inbound.peer.last_shown);
        inbound.scheme_used = scheme;
        credentials
    }

    /// The request as received.
    pub fn request(&self) -> &Request<B> {
        &self.0.request
    }

    /// Who asks.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.0.peer
    }

    /// Whose address it is that asks: the other end's, or whom it speaks for.
    pub fn client(&self) -> IpAddr {
        self.0.client
    }

    /// Whose address a request that fails counts against: the client's, where it is known. Behind a proxy that does not
    /// tell, nobody's: the proxy's address is every client's.
    pub fn sender(&self) -> Option<IpAddr> {
        (!self.0.speaks_for_many).then_some(self.0.client)
    }

    /// The certificate whose possession the client proved, in the handshake with us or with a trusted proxy.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        match &self.0.shown {
            Shown::InHandshake => self.0.peer.certificate(),
            Shown::ByProxy(certificate) => certificate.as_ref(),
        }
    }

    /// What is asked.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// Names the request.
    pub fn id(&self) -> &RequestId {
        &self.0.id
    }

    /// The scheme that the client used, once credentials were taken.
    pub fn scheme_used(&self) -> Option<Scheme> {
        self.0.scheme_used
    }

    /// Gives the parts away.
    pub fn into_parts(self) -> (Request<B>, Arc<Peer>, Target, RequestId) {
        let Parts { request, peer, target, id, .. } = *self.0;
        (request, peer, target, id)
    }
}

/// What a head says.
struct Read {
    target: Target,
    /// The method, if it is another than the message's.
    method: Option<Method>,
    client: IpAddr,
    speaks_for_many: bool,
    shown: Shown,
}

fn look<B>(request: &Request<B>, peer: &Peer, front: &Front) -> Result<Read, Refusal> {
    let (address, headers) = (peer.address.ip(), request.headers());
    let told = front.listen(address, headers)?;
    let (client, scheme) = (told.client(address), told.scheme.unwrap_or(peer.scheme()));
    let elsewhere = told.host.is_some();
    let seen = Seen { scheme, host: told.host, public_url: front.public_url.as_ref() };
    let (target, method) = match told.request {
        Some((method, uri)) => {
            let target = Target::parse(&method, &uri, Version::HTTP_11, headers, seen)?;
            (target, Some(method))
        }
        None => (Target::parse(request.method(), request.uri(), request.version(), headers, seen)?, None),
    };
    check_nominations(headers)?;
    if !elsewhere {
        serves(peer, &target)?;
    }
    Ok(Read { target, method, client, speaks_for_many: front.trusts(client), shown: told.shown })
}

/// RFC 9110 §7.4: an authority that another certificate answers for does not belong on this connection.
fn serves(peer: &Peer, target: &Target) -> Result<(), Refusal> {
    let Some(tls) = &peer.tls else { return Ok(()) };
    let shown = tls.names.certificate_for(tls.server_name.as_deref());
    // A client that asked for no name took the first certificate, whatever host it meant.
    if tls.server_name.is_none() || tls.names.certificate_for(Some(target.host())) == shown {
        return Ok(());
    }
    Err(Refusal::new(Reason::AuthorityMisdirected)
        .expected(format!("an authority of the certificate for {}", tls.server_name.as_deref().unwrap_or("no name")))
        .found(target.host().to_owned()))
}

impl<B> fmt::Debug for Inbound<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("id", &self.0.id).field("target", &self.0.target).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RequestId;

    proptest! {
        #[test]
        fn an_id_is_two_hexadecimal_numbers(giver: u64, number: u64, shift in 0..64_u32) {
            for number in [number >> shift, 0, u64::MAX] {
                let id = RequestId::new(giver, number);
                prop_assert_eq!(id.as_str(), format!("{giver:016x}-{number:x}"));
                prop_assert_eq!(id.to_string(), id.as_str());
            }
        }
    }
}
