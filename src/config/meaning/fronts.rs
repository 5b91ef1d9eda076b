//! What stands in front of a listener: who may speak for clients, and in which fields.

use http::HeaderName;
use ipnet::IpNet;

use super::values;
use crate::accept::ProxyProtocol;
use crate::config::reading::{Field, Reading};
use crate::config::written::{self, CertificateHeader, CertificateName, Configuration, Listener, ListenerMode};
use crate::request::{CertificateEncoding, CertificateField, ForwardedFields, Front, OriginalRequest, PublicUrl};

/// Fields of HTTP and of this gateway that cannot hold what a proxy tells.
const NOT_A_PROXYS: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dpop",
    "forwarded",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether a listener answers questions about requests instead of passing them on.
pub fn decides(written: &Listener) -> bool {
    written.mode.value() == Some(&ListenerMode::ForwardAuth)
}

/// Whether nothing is ever passed on, so that routes need no upstream.
pub fn only_decide(written: &Configuration) -> bool {
    let mut listeners = values(&written.listeners).peekable();
    listeners.peek().is_some() && listeners.all(|(_, listener)| decides(listener))
}

/// Whether a proxy tells under which scheme clients see the listener.
pub fn tells_scheme(written: &Listener) -> bool {
    let forwarded = written.forwarded_headers.value().is_some_and(|which| *which != written::ForwardedHeaders::Off);
    forwarded || (decides(written) && written.original_request.value() != Some(&written::OriginalRequest::Request))
}

pub fn proxy_protocol(written: &Listener) -> ProxyProtocol {
    match written.proxy_protocol.value() {
        Some(written::ProxyProtocol::Optional) => ProxyProtocol::Optional,
        Some(written::ProxyProtocol::Required) => ProxyProtocol::Required,
        Some(written::ProxyProtocol::Off) | None => ProxyProtocol::Off,
    }
}

pub fn front(written: &Listener, public_url: Option<PublicUrl>, reading: &mut Reading<'_>) -> Front {
    let trusted = networks(&written.trusted_proxies, reading);
    need_proxies(written, reading);
    let asks = decides(written).then(|| match written.original_request.value() {
        Some(written::OriginalRequest::XOriginal) => OriginalRequest::XOriginal,
        Some(written::OriginalRequest::Request) => OriginalRequest::Request,
        Some(written::OriginalRequest::XForwarded) | None => OriginalRequest::XForwarded,
    });
    let forwarded = match (written.forwarded_headers.value(), asks) {
        (Some(written::ForwardedHeaders::XForwarded), _) | (None, Some(OriginalRequest::XForwarded)) => {
            ForwardedFields::XForwarded
        }
        (Some(_), Some(OriginalRequest::XForwarded)) => {
            written.forwarded_headers.refuse("`x-forwarded`, which `original_request: x-forwarded` reads", reading);
            ForwardedFields::XForwarded
        }
        (Some(written::ForwardedHeaders::Forwarded), _) => ForwardedFields::Rfc7239,
        (Some(written::ForwardedHeaders::Off) | None, _) => ForwardedFields::Off,
    };
    Front {
        public_url,
        trusted,
        forwarded,
        certificate: written.client_certificate_header.value().and_then(|header| certificate(header, reading)),
        asks,
        request_id: written.request_id_header.meaning(reading, |name| field_name(name)),
    }
}

fn networks(written: &Field<Vec<Field<String>>>, reading: &mut Reading<'_>) -> Vec<IpNet> {
    let network = |text: &str| -> Result<IpNet, &'static str> {
        let network: Option<IpNet> =
            text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
        let network = network.ok_or("an address or a network, such as `10.0.0.7` or `10.0.0.0/24`")?;
        if network.prefix_len() == 0 {
            return Err("a network that is smaller than everybody: whoever is trusted may claim any certificate");
        }
        if network.addr() != network.network() {
            return Err("a network without bits of a host behind its prefix");
        }
        Ok(network)
    };
    values(written).filter_map(|(item, _)| item.meaning(reading, |text| network(text))).collect()
}

/// What is said for clients needs somebody who may say it, and a decision endpoint somebody who asks.
fn need_proxies(written: &Listener, reading: &mut Reading<'_>) {
    let asked = [
        (written.original_request.is_given(), written.original_request.place, &written.original_request.path),
        (written.request_id_header.is_given(), written.request_id_header.place, &written.request_id_header.path),
    ];
    for (given, place, path) in asked {
        if given && !decides(written) {
            reading
                .error(place, path, "has no meaning here: this listener passes requests on", "no effect")
                .help("it belongs to `mode: forward_auth`");
        }
    }
    let proxies = &written.trusted_proxies;
    if proxies.is_wrong() || proxies.value().is_some_and(|list| !list.is_empty()) {
        return;
    }
    let wanted = [
        (decides(written), written.mode.place, &written.mode.path),
        (proxy_protocol(written) != ProxyProtocol::Off, written.proxy_protocol.place, &written.proxy_protocol.path),
        (
            written.forwarded_headers.value().is_some_and(|which| *which != written::ForwardedHeaders::Off),
            written.forwarded_headers.place,
            &written.forwarded_headers.path,
        ),
        (
            written.client_certificate_header.is_given(),
            written.client_certificate_header.place,
            &written.client_certificate_header.path,
        ),
    ];
    for (wants, place, path) in wanted {
        if wants {
            reading
                .error(place, path, "needs `trusted_proxies`: nobody is believed without", "nobody may speak here")
                .help("name the addresses of your proxies, for example `trusted_proxies: [10.0.0.0/24]`");
        }
    }
}

fn certificate(written: &CertificateHeader, reading: &mut Reading<'_>) -> Option<CertificateField> {
    let named = match written {
        CertificateHeader::Known(CertificateName::ClientCert) => return Some(CertificateField::ClientCert),
        CertificateHeader::Known(CertificateName::Xfcc) => return Some(CertificateField::Xfcc),
        CertificateHeader::Named(named) => named,
    };
    named.name.required("for example `name: X-SSL-Cert`", reading);
    named.encoding.required("`url-pem`, `pem` or `base64-der`", reading);
    let name = named.name.meaning(reading, |name| field_name(name))?;
    let encoding = match named.encoding.value()? {
        written::CertificateEncoding::UrlPem => CertificateEncoding::UrlPem,
        written::CertificateEncoding::Pem => CertificateEncoding::Pem,
        written::CertificateEncoding::Base64Der => CertificateEncoding::Base64Der,
    };
    Some(CertificateField::Named { name, encoding })
}

/// A field that only a proxy writes.
fn field_name(text: &str) -> Result<HeaderName, &'static str> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "the name of a header field (RFC 9110 §5.1)")?;
    if NOT_A_PROXYS.contains(&name.as_str()) {
        return Err("a field that no client has to send");
    }
    Ok(name)
}
