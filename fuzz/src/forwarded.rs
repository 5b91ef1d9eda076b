//! `X-Forwarded-For` and `Forwarded` (RFC 7239): whatever a client writes, the address that its proxy saw counts. The first
//! line says which field and how the proxy adds to it, others are the client's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request, header};
use keybound::request::{ForwardedFields, Front, Inbound, Peer, RequestId};

use super::oracle;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

pub fn run(data: &[u8]) {
    let [how, rest] = oracle::lines::<2>(data);
    let (name, forwarded, genuine) = match how.first() {
        Some(b'x') => ("x-forwarded-for", ForwardedFields::XForwarded, "198.51.100.7"),
        Some(b'f') => ("forwarded", ForwardedFields::Rfc7239, "for=198.51.100.7;proto=https;host=rs.example"),
        Some(b'q') => {
            ("forwarded", ForwardedFields::Rfc7239, "for=\"198.51.100.7:80\";host=\"rs.example\";proto=\"https\"")
        }
        _ => return,
    };
    let mut lines: Vec<Vec<u8>> = rest.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    match (how.get(1), lines.last_mut()) {
        (Some(b'+'), Some(last)) if !last.is_empty() => last.extend_from_slice(format!(", {genuine}").as_bytes()),
        _ => lines.push(genuine.as_bytes().to_vec()),
    }
    let mut request = Request::builder().uri("/").header(header::HOST, "internal.example");
    if forwarded == ForwardedFields::XForwarded {
        request = request.header("x-forwarded-proto", "https").header("x-forwarded-host", "rs.example");
    }
    for line in &lines {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        request = request.header(HeaderName::from_static(name), value);
    }
    let Ok(request) = request.body(()) else { return };
    let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
    let front = Front { trusted, forwarded, ..Front::default() };
    let peer = Arc::new(Peer::new(SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 4711)), None));
    let Ok(inbound) = Inbound::read(request, peer, &front, RequestId::new(1, 1)) else {
        // The last in the list is never looked behind.
        let readable = lines.iter().all(|line| line.iter().all(|byte| (0x20..0x7F).contains(byte) || *byte == b'\t'));
        assert!(forwarded == ForwardedFields::Rfc7239 || !readable, "an honest client's list is read");
        return;
    };
    assert_eq!(inbound.client(), CLIENT);
    assert_eq!(inbound.target().external_url(), "https://rs.example/");
}
