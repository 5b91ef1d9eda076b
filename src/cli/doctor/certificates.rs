//! How long certificates are good, and whether a chain is in order.

use keybound::time::UnixTime;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::finding::{Finding, Subject};

/// From here on somebody should renew it; the alert `KeyboundCertificateExpiring` has the same number.
const SOON_DAYS: i64 = 14;

const DAY: i64 = 86_400;

/// Certificates that can be read.
pub fn read<'c>(chain: &'c [CertificateDer<'_>]) -> Vec<X509Certificate<'c>> {
    chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)).collect()
}

/// Whether all of a chain is good now and for a while. `words` goes before how long.
pub fn validity(subject: Subject, what: &str, words: &str, chain: &[CertificateDer<'_>], now: UnixTime) -> Finding {
    let certificates = read(chain);
    let begins = certificates.iter().map(|certificate| certificate.validity().not_before.timestamp()).max();
    let ends = certificates.iter().map(|certificate| certificate.validity().not_after.timestamp()).min();
    let (Some(begins), Some(ends)) = (begins, ends) else {
        return subject.fail(what, "a certificate", "none that can be read", "give it another one");
    };
    let date = |seconds| UnixTime::from_secs(seconds).rfc3339().as_str().get(..10).unwrap_or_default().to_owned();
    let (left, day) = (ends - now.secs(), date(ends));
    if begins > now.secs() {
        let found = format!("one that is valid from {} on", date(begins));
        return subject.fail(what, "a certificate that is valid now", found, "wait, or set this host's clock");
    }
    if left < 0 {
        let found = format!("one that expired on {day}");
        return subject.fail(what, "a certificate that is valid now", found, "renew it");
    }
    let days = left / DAY;
    let plural = if days == 1 { "" } else { "s" };
    let found = format!("{words}valid for {days} day{plural}, until {day}");
    if days < SOON_DAYS { subject.warn(what, found, "renew it in time") } else { subject.ok(what, found) }
}

/// What is wrong with the order of a chain: each certificate must have been issued by the next (RFC 8446 §4.4.2).
pub fn disorder(chain: &[CertificateDer<'_>]) -> Option<String> {
    let certificates = read(chain);
    let mut pairs = certificates.iter().zip(certificates.iter().skip(1)).enumerate();
    let wrong = |(at, (one, next)): (usize, (&X509Certificate<'_>, &X509Certificate<'_>))| {
        let issued = one.issuer().as_raw() == next.subject().as_raw();
        (!issued).then(|| format!("certificate {} is not issued by certificate {}", at + 1, at + 2))
    };
    pairs.find_map(wrong)
}

/// Whether clients let the first certificate of a chain stand for a server (RFC 5280 §4.2.1.12).
pub fn may_serve(chain: &[CertificateDer<'_>]) -> bool {
    let certificates = read(chain);
    let usage = certificates.first().and_then(|leaf| leaf.extended_key_usage().ok().flatten());
    usage.is_none_or(|usage| usage.value.server_auth || usage.value.any)
}

/// Why a handshake failed, as far as the words of the TLS library tell, and what helps.
pub fn advice(error: &str) -> &'static str {
    if error.contains("expired") {
        "renew the certificate there, or set this host's clock"
    } else if error.contains("not valid yet") {
        "set this host's clock"
    } else if error.contains("UnknownIssuer") || error.contains("BadSignature") {
        "name its authority in `ca_file` (for `--through`: `--cacert`), and see that it sends its intermediate certificates"
    } else if error.contains("not valid for name") || error.contains("NotValidForName") {
        "use a name that its certificate has"
    } else if error.contains("certificate") {
        "give it a certificate that verifies"
    } else if error.contains("refused") || error.contains("none within") || error.contains("unreachable") {
        "start it, or correct address, port and firewall"
    } else {
        "see what listens at this address"
    }
}
