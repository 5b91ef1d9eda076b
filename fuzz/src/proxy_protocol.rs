//! The PROXY protocol, versions 1 and 2: what is taken for a header, and nothing behind it.

use std::net::{IpAddr, SocketAddr};

use keybound::fuzzing::{ProxyHeader, proxy_header};
use proxy_header::{ProxiedAddress, ProxyHeader as Written};

pub fn run(data: &[u8]) {
    let ProxyHeader::Whole { source, length } = proxy_header(data) else { return };
    assert!(length > 0 && length <= data.len());
    let header = &data[..length];
    assert_eq!(proxy_header(header), ProxyHeader::Whole { source, length }, "nothing behind it matters");
    for end in (0..length).rev().take(64).chain((1..length).take(64)) {
        let begun = proxy_header(&header[..end]);
        assert_eq!(begun, if end == 0 { ProxyHeader::None } else { ProxyHeader::Begun }, "{end} of {length} bytes");
    }
    match (source, header.starts_with(b"PROXY ")) {
        (source, true) => assert_eq!(source, version_1(header), "version 1"),
        (source, false) => assert_eq!(source, version_2(header), "version 2"),
    }
    // Written by the library's other half, it is the same.
    let Some(source) = source.filter(|source| !source.ip().is_unspecified()) else { return };
    let other = if source.is_ipv4() { "192.0.2.1:443" } else { "[2001:db8::1]:443" };
    let told = || Written::with_address(ProxiedAddress::stream(source, other.parse().expect("an address")));
    let (mut first, mut second) = (Vec::new(), Vec::new());
    told().encode_v1(&mut first).expect("a header");
    told().encode_v2(&mut second).expect("a header");
    for written in [first, second] {
        assert_eq!(proxy_header(&written), ProxyHeader::Whole { source: Some(source), length: written.len() });
    }
}

fn nobody() -> Option<SocketAddr> {
    Some("0.0.0.0:0".parse().expect("an address"))
}

/// Section 2.1 of the specification, in other words.
fn version_1(header: &[u8]) -> Option<SocketAddr> {
    assert!(header.len() <= 107 && header.iter().filter(|byte| **byte == b'\r').count() == 1);
    // Behind UNKNOWN may stand anything, which is not looked at.
    if header.starts_with(b"PROXY UNKNOWN") {
        return nobody();
    }
    let line = std::str::from_utf8(header).expect("ASCII").strip_suffix("\r\n").expect("one line");
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [_, family, source, destination, port, other] => {
            let (source, destination): (IpAddr, IpAddr) =
                (source.parse().expect("one"), destination.parse().expect("one"));
            assert!(source.is_ipv4() == (family == "TCP4") && destination.is_ipv4() == source.is_ipv4());
            other.parse::<u16>().expect("a port");
            Some(SocketAddr::new(source.to_canonical(), port.parse().expect("a port")))
        }
        _ => panic!("{line}: no header"),
    }
}

/// Section 2.2.
fn version_2(header: &[u8]) -> Option<SocketAddr> {
    assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
    let (command, family) = (header[12], header[13]);
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    assert_eq!(length + 16, header.len());
    match (command, family) {
        (0x20, _) => None,
        (0x21, 0x11) => {
            let octets: [u8; 4] = header[16..20].try_into().expect("four");
            Some(SocketAddr::new(octets.into(), u16::from_be_bytes([header[24], header[25]])))
        }
        (0x21, 0x21) => {
            let octets: [u8; 16] = header[16..32].try_into().expect("sixteen");
            Some(SocketAddr::new(IpAddr::from(octets).to_canonical(), u16::from_be_bytes([header[48], header[49]])))
        }
        // Of a family without an address, or with one that is no network's.
        (0x21, _) => nobody(),
        _ => panic!("neither PROXY nor LOCAL"),
    }
}
