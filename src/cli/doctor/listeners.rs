//! Certificates of listeners, and authorities of their clients.

use keybound::accept::tls::{ClientTrust, ServerCertificate};
use keybound::accept::{ClientCertificates, ListenerSettings, TlsSettings};
use keybound::time::UnixTime;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificates;
use super::finding::{Finding, Subject};
use super::names::bare;

const HERE: Subject = Subject::Listeners;

/// What there is to say about one listener.
pub fn check(listener: &ListenerSettings, now: UnixTime) -> Vec<Finding> {
    let what = format!("listener {}", listener.address);
    let Some(tls) = &listener.tls else {
        let behind = if listener.front.public_url.is_some() { "TLS ends in front of it" } else { "no TLS" };
        return vec![HERE.ok(what, behind)];
    };
    let mut findings = Vec::new();
    for certificate in &tls.certificates {
        findings.extend(shown(certificate, &what, now));
    }
    if let Some(url) = &listener.front.public_url {
        findings.push(covers(tls, &url.origin(), &what));
    }
    if let ClientCertificates::Request(ClientTrust::Authorities { roots, crls })
    | ClientCertificates::Require(ClientTrust::Authorities { roots, crls }) = &tls.client_certificates
    {
        let plural = if roots.len() == 1 { "y" } else { "ies" };
        findings.push(HERE.ok(format!("{what}, clients"), format!("{} authorit{plural} can be read", roots.len())));
        let each = crls.iter().enumerate();
        findings
            .extend(each.map(|(at, crl)| revocation_list(crl, &format!("{what}, revocation list {}", at + 1), now)));
    }
    findings
}

/// A certificate that is shown to clients. That its key is the right one was found out when it was read.
fn shown(certificate: &ServerCertificate, listener: &str, now: UnixTime) -> Vec<Finding> {
    let (chain, names) = (&certificate.key().cert, certificate.names().join(", "));
    let what = format!("{listener}, certificate for {}", if names.is_empty() { "no name" } else { &names });
    let length = if chain.len() == 1 { "alone".to_owned() } else { format!("chain of {}", chain.len()) };
    let words = format!("{length}, with its key, ");
    let mut findings = vec![certificates::validity(HERE, &what, &words, chain, now)];
    if names.is_empty() {
        let advice = "have the host names that clients call put into it (subjectAltName)";
        findings.push(HERE.fail(&what, "a certificate for a name", "none in it", advice));
    }
    if !certificates::may_serve(chain) {
        let advice = "get one whose extended key usage has serverAuth: this one is for clients";
        findings.push(HERE.fail(&what, "a certificate for a server", "one without serverAuth", advice));
    }
    if let Some(disorder) = certificates::disorder(chain) {
        let advice = "write the server's certificate first, and below each the one that issued it";
        findings.push(HERE.fail(&what, "a chain in order", disorder, advice));
    }
    if certificates::read(chain).first().is_some_and(|leaf| leaf.is_ca()) {
        let advice = "some clients refuse that; make one with CA:FALSE";
        findings.push(HERE.warn(&what, "it is an authority's own (CA:TRUE)", advice));
    }
    findings
}

/// Whether the host that clients ask for is one that a certificate is for.
fn covers(tls: &TlsSettings, origin: &str, listener: &str) -> Finding {
    let authority = origin.split("://").nth(1).unwrap_or_default();
    let host = authority.parse::<http::uri::Authority>().map_or(String::new(), |it| bare(it.host()).to_owned());
    let names: Vec<&str> =
        tls.certificates.iter().flat_map(|certificate| certificate.names()).map(String::as_str).collect();
    let what = format!("{listener}, public_url {origin}");
    if names.iter().any(|name| is_for(name, &host)) {
        return HERE.ok(what, "covered by a certificate");
    }
    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let advice = "have the name put into the certificate (subjectAltName), or correct `public_url`";
    HERE.fail(what, format!("a certificate for {host}"), format!("names {found}"), advice)
}

/// RFC 9525 §6.3: a wildcard stands for one label, the first.
fn is_for(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
        None => name == host,
    }
}

/// After `nextUpdate` a list refuses every client.
fn revocation_list(der: &[u8], what: &str, now: UnixTime) -> Finding {
    let Ok((_, list)) = CertificateRevocationList::from_der(der) else {
        return HERE.fail(what, "a certificate revocation list", "something else", "fetch it anew");
    };
    let Some(next) = list.next_update() else { return HERE.ok(what, "says nothing of a next one") };
    let left = next.timestamp() - now.secs();
    let date = UnixTime::from_secs(next.timestamp()).rfc3339();
    if left < 0 {
        let advice = "fetch a new one: with this one every client certificate is refused";
        return HERE.fail(what, "one that is still good", format!("nextUpdate {}", date.as_str()), advice);
    }
    HERE.ok(what, format!("good until {}", date.as_str()))
}

#[cfg(test)]
mod tests {
    use super::is_for;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (name, host, fits) in [
            ("api.example.com", "api.example.com", true),
            ("*.example.com", "api.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("example.com", "api.example.com", false),
        ] {
            assert_eq!(is_for(name, host), fits, "{name} {host}");
        }
    }
}
