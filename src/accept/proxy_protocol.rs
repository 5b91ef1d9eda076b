//! Who connects through a proxy that only passes bytes on: HAProxy's PROXY protocol, versions 1 and 2.
//!
//! The header stands before everything else, TLS included. It is read from trusted proxies alone, within bounds, and
//! never further than its end. A proxy that speaks for itself (`LOCAL`) keeps its own address. A client that it does not
//! name has none: it must not pass for the proxy, which may be trusted with more than this.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::settings::ProxyProtocol;
use crate::refusal::Reason;

/// Longest header that is accepted: version 2 with the certificates that some proxies add.
const LONGEST: usize = 4096;

/// Longest header of version 1 (section 2.1 of its specification). The library minds it only in what came in pieces.
const LONGEST_1: usize = 107;

/// How long until a header that came in pieces is looked at again, at first and at last. It stays in the socket until it
/// is whole, and a socket that has something to read is never waited for.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];

/// The address of a client that has none.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What headers begin with.
const VERSION_1: &[u8] = b"PROXY ";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Who may announce connections, and whether they must.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    mode: ProxyProtocol,
    trusted: Vec<IpNet>,
}

impl Announced {
    pub(super) const fn new(mode: ProxyProtocol, trusted: Vec<IpNet>) -> Self {
        Self { mode, trusted }
    }

    /// Whether there is nothing to read, whoever connects.
    pub(super) fn is_off(&self) -> bool {
        self.mode == ProxyProtocol::Off
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Reads the header and tells who connects. No deadline of its own.
    ///
    /// # Errors
    /// [`Reason::HopUntrusted`] for strangers where a header is required, [`Reason::HopMalformed`] for anything else
    /// than one header.
    pub(super) async fn client(&self, socket: &mut TcpStream, peer: SocketAddr) -> Result<SocketAddr, Reason> {
        match self.mode {
            ProxyProtocol::Optional | ProxyProtocol::Required if self.trusts(peer.ip()) => {}
            ProxyProtocol::Off | ProxyProtocol::Optional => return Ok(peer),
            ProxyProtocol::Required => return Err(Reason::HopUntrusted),
        }
        let mut room = vec![0; LONGEST];
        let [mut pause, longest] = PAUSES;
        loop {
            let seen = socket.peek(&mut room).await.map_err(|_| Reason::HopMalformed)?;
            let head = room.get(..seen).unwrap_or_default();
            match read(head) {
                Header::None if self.mode == ProxyProtocol::Optional && !head.is_empty() => return Ok(peer),
                Header::None => return Err(Reason::HopMalformed),
                Header::Whole { source, length } => {
                    let taken = socket.read_exact(room.get_mut(..length).unwrap_or_default()).await;
                    return taken.map(|_| source.unwrap_or(peer)).map_err(|_: io::Error| Reason::HopMalformed);
                }
                // What is still to come would not fit.
                Header::Begun if seen == LONGEST => return Err(Reason::HopMalformed),
                // An end that has closed meanwhile looks just like this; the deadline ends it.
                Header::Begun => {
                    tokio::time::sleep(pause).await;
                    pause = longest.min(pause * 2);
                }
            }
        }
    }
}

/// What the first bytes of a connection are.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    /// No header of this protocol, or a broken one.
    None,
    /// The beginning of one.
    Begun,
    /// All of one.
    Whole {
        /// Whom it speaks for; `None`: for its sender.
        source: Option<SocketAddr>,
        /// Its bytes.
        length: usize,
    },
}

pub fn read(bytes: &[u8]) -> Header {
    let begins = |with: &[u8]| bytes.starts_with(with) || with.starts_with(bytes);
    if bytes.is_empty() || !(begins(VERSION_1) || begins(VERSION_2)) {
        return Header::None;
    }
    // Whatever else it carries is nobody's business here.
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(bytes, config) {
        Ok((_, length)) if bytes.starts_with(VERSION_1) && length > LONGEST_1 => Header::None,
        Ok((header, length)) => {
            match header.proxied_address() {
                None if is_local(bytes) => Header::Whole { source: None, length },
                None => Header::Whole { source: Some(NOBODY), length },
                Some(told) if told.protocol == Protocol::Stream => {
                    let address = SocketAddr::new(told.source.ip().to_canonical(), told.source.port());
                    Header::Whole { source: Some(address), length }
                }
                // Nobody speaks HTTP over datagrams here.
                Some(_) => Header::None,
            }
        }
        Err(Error::BufferTooShort) => Header::Begun,
        Err(_) => Header::None,
    }
}

/// Whether the command of a header of version 2 is `LOCAL`.
fn is_local(bytes: &[u8]) -> bool {
    bytes.starts_with(VERSION_2) && bytes.get(VERSION_2.len()).is_some_and(|byte| byte.trailing_zeros() >= 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::ProxiedAddress;

    use super::*;

    fn version_2(source: &str) -> Vec<u8> {
        let told = ProxiedAddress::stream(source.parse().unwrap(), "[2001:db8::2]:443".parse().unwrap());
        let mut bytes = Vec::new();
        ProxyHeader::with_address(told).encode_v2(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn both_versions_are_read_to_their_end_and_no_further() {
        let first = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
        let second = version_2("[2001:db8::7]:4711");
        for (header, source) in [(&first[..], "192.0.2.7:4711"), (&second, "[2001:db8::7]:4711")] {
            let source = Some(source.parse().unwrap());
            let with_more = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(read(&with_more), Header::Whole { source, length: header.len() });
            for end in 1..header.len() {
                assert_eq!(read(&header[..end]), Header::Begun, "{end} bytes");
            }
        }
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
        assert_eq!(read(local), Header::Whole { source: None, length: local.len() });
        for nobody in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN 192.0.2.7 192.0.2.1 4711 443\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00",
        ] {
            assert_eq!(read(nobody), Header::Whole { source: Some(NOBODY), length: nobody.len() });
        }
    }

    /// The same in one piece and in several.
    #[test]
    fn a_line_that_is_too_long_is_none() {
        let line = |spaces: usize| format!("PROXY UNKNOWN{}\r\n", " ".repeat(spaces)).into_bytes();
        let (longest, longer) = (line(LONGEST_1 - 15), line(LONGEST_1 - 14));
        assert_eq!(read(&longest), Header::Whole { source: Some(NOBODY), length: LONGEST_1 });
        assert_eq!(read(&longer), Header::None);
        assert_eq!(read(&longer[..LONGEST_1 - 1]), Header::Begun);
        assert_eq!(read(&longer[..LONGEST_1]), Header::None);
    }

    #[test]
    fn anything_else_is_none() {
        for other in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"POST / HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n",
            b"\x16\x03\x01",
            b"PROXYX TCP4 192.0.2.7 192.0.2.1 4711 443\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 70000\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r.",
            b"PROXY UDP4 192.0.2.7 192.0.2.1 4711 443\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00",
            b"",
        ] {
            assert_eq!(read(other), Header::None, "{}", String::from_utf8_lossy(other));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), start in 0..3_usize) {
            let all = [[&b""[..], VERSION_1, VERSION_2][start], &bytes].concat();
            if let Header::Whole { length, .. } = read(&all) {
                prop_assert!(length <= all.len());
            }
        }
    }
}
