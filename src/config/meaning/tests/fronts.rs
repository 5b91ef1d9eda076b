//! Who may speak for clients.

use super::{VALID, changed, read, refused, settings};
use crate::accept::ProxyProtocol;
use crate::request::{CertificateEncoding, CertificateField, ForwardedFields, OriginalRequest};
use crate::routes::Access;

const TRUSTED: &str = "    trusted_proxies: [10.0.0.7, 10.1.0.0/16, '2001:db8::/32']";

fn listener(more: &str) -> String {
    format!("{TRUSTED}\n    {more}")
}

#[test]
fn what_is_said_about_proxies_is_meant() {
    let front = |yaml: &str| settings("listener", yaml).listeners.remove(0).front;
    let nobody = settings("listener", "    mode: proxy\n    trusted_proxies: []\n    proxy_protocol: off");
    let nobody = &nobody.listeners[0];
    assert!(nobody.front.trusted.is_empty() && nobody.front.asks.is_none() && nobody.front.certificate.is_none());
    assert_eq!((nobody.proxy_protocol, nobody.front.forwarded), (ProxyProtocol::Off, ForwardedFields::Off));
    let some = front(TRUSTED);
    for (address, trusted) in
        [("10.0.0.7", true), ("10.0.0.8", false), ("10.1.255.1", true), ("2001:db8::1", true), ("::1", false)]
    {
        assert_eq!(some.trusts(address.parse().unwrap()), trusted, "{address}");
    }
    assert_eq!(front(&listener("forwarded_headers: forwarded")).forwarded, ForwardedFields::Rfc7239);
    assert_eq!(
        settings("listener", &listener("proxy_protocol: required")).listeners[0].proxy_protocol,
        ProxyProtocol::Required
    );
    let certificate = |yaml: &str| front(&listener(&format!("client_certificate_header: {yaml}"))).certificate.unwrap();
    assert_eq!(certificate("client-cert"), CertificateField::ClientCert);
    assert_eq!(certificate("x-forwarded-client-cert"), CertificateField::Xfcc);
    let name = http::HeaderName::from_static("x-ssl-cert");
    for (word, encoding) in [
        ("url-pem", CertificateEncoding::UrlPem),
        ("pem", CertificateEncoding::Pem),
        ("base64-der", CertificateEncoding::Base64Der),
    ] {
        let named = certificate(&format!("{{ name: X-SSL-Cert, encoding: {word} }}"));
        assert_eq!(named, CertificateField::Named { name: name.clone(), encoding });
    }
}

#[test]
fn a_decision_endpoint_needs_no_upstream() {
    let yaml = |more: &str| {
        changed("listener", &listener(&format!("mode: forward_auth\n    {more}")))
            .replace("  - upstream: http://127.0.0.1:8080\n", "  - name: api\n")
    };
    for (more, asks, forwarded) in [
        ("", OriginalRequest::XForwarded, ForwardedFields::XForwarded),
        ("original_request: x-original", OriginalRequest::XOriginal, ForwardedFields::Off),
        ("original_request: request", OriginalRequest::Request, ForwardedFields::Off),
        (
            "original_request: request\n    forwarded_headers: x-forwarded",
            OriginalRequest::Request,
            ForwardedFields::XForwarded,
        ),
    ] {
        let (settings, _) = read(&yaml(more)).unwrap_or_else(|report| panic!("{more}\n{}", report.render(false)));
        let front = &settings.listeners[0].front;
        assert_eq!((front.asks, front.forwarded, settings.routes[0].upstream), (Some(asks), forwarded, None), "{more}");
    }
    let (settings, _) = read(&yaml("request_id_header: X-Request-Id")).unwrap();
    assert_eq!(settings.listeners[0].front.request_id.as_ref().unwrap(), "x-request-id");
    // One listener that passes requests on needs to know where to.
    let mixed = yaml("").replacen("issuers:", "  - address: 127.0.0.2:0\nissuers:", 1);
    let report = read(&mixed).expect_err("no upstream").render(false);
    assert!(report.contains("routes[0].upstream: missing"), "{report}");
}

#[test]
fn nobody_speaks_where_nobody_is_trusted() {
    let needs = "needs `trusted_proxies`";
    refused(&[
        ("listener", "    mode: forward_auth", "listeners[0].mode", needs),
        ("listener", "    proxy_protocol: optional", "listeners[0].proxy_protocol", needs),
        ("listener", "    forwarded_headers: x-forwarded", "listeners[0].forwarded_headers", needs),
        ("listener", "    client_certificate_header: client-cert", "listeners[0].client_certificate_header", needs),
    ]);
    // Nobody asks here, and nobody would be believed.
    let none = "has no meaning here";
    refused(&[
        ("listener", "    original_request: x-original", "listeners[0].original_request", none),
        ("listener", "    request_id_header: X-Id", "listeners[0].request_id_header", none),
    ]);
}

#[test]
fn mistakes_about_proxies_are_told() {
    let place = "listeners[0].trusted_proxies[0]";
    refused(&[
        ("listener", "    trusted_proxies: [everybody]", place, "an address or a network"),
        ("listener", "    trusted_proxies: [0.0.0.0/0]", place, "smaller than everybody"),
        ("listener", "    trusted_proxies: ['::/0']", place, "smaller than everybody"),
        ("listener", "    trusted_proxies: [10.0.0.7/8]", place, "without bits of a host"),
        ("listener", "    trusted_proxies: [10.0.0.0/33]", place, "an address or a network"),
        (
            "listener",
            &listener("client_certificate_header: { name: Authorization, encoding: pem }"),
            "listeners[0].client_certificate_header.name",
            "no client has to send",
        ),
        (
            "listener",
            &listener("client_certificate_header: { name: X-Cert }"),
            "listeners[0].client_certificate_header.encoding",
            "missing",
        ),
        (
            "listener",
            &listener("client_certificate_header: xfcc"),
            "listeners[0].client_certificate_header",
            "`client-cert` or `x-forwarded-client-cert`",
        ),
        ("listener", &listener("original_request: request"), "listeners[0].original_request", "has no meaning here"),
        ("listener", &listener("request_id_header: X-Id"), "listeners[0].request_id_header", "has no meaning here"),
        (
            "listener",
            &listener("mode: forward_auth\n    forwarded_headers: forwarded"),
            "listeners[0].forwarded_headers",
            "`x-forwarded`",
        ),
    ]);
}

#[test]
fn observing_is_warned_of() {
    let (settings, warnings) = read(&changed("route", "    access: { mode: observe, scopes: [read] }")).unwrap();
    let Access::Observe(policy) = &settings.routes[0].access else { panic!("enforced") };
    assert_eq!(policy.scopes, ["read"]);
    assert!(warnings.render(false).contains("routes[0].access.mode: refuses nothing"));
    assert!(VALID.contains("issuers:"), "an observing route still needs somebody's tokens");
    let report = read(&VALID.replace("    # route", "    access: { mode: observe }").replacen(
        "issuers:\n  - issuer: https://auth.example.com\n    audiences: [https://api.example.com]\n",
        "",
        1,
    ));
    assert!(report.expect_err("no issuer").render(false).contains("nobody's are accepted"));
}
