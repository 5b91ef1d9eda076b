//! What the gateway is told about an issuer.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;

use super::discovery;
use crate::verify::IssuerRules;

/// One authorization server whose tokens are accepted.
#[derive(Debug)]
pub struct IssuerSettings {
    /// What its tokens must look like.
    pub rules: IssuerRules,
    /// Where its keys come from.
    pub source: KeySource,
    /// Certificate authorities for fetching them, instead of the system's.
    pub roots: Option<Arc<rustls::RootCertStore>>,
}

/// Where an issuer's public keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The issuer's metadata names a `jwks_uri`: RFC 8414 first, then OpenID Connect Discovery.
    Discover,
    /// A JWK set behind this URL: `https`, or `http` on a loopback address.
    Uri(Uri),
    /// A JWK set in this file.
    File(PathBuf),
}

impl KeySource {
    /// Whether keys may be fetched from there: over `https`, or over `http` from this very host. Whoever can
    /// change a JWK set on its way can sign tokens.
    ///
    /// # Errors
    /// What was expected, as a phrase.
    pub fn check_uri(uri: &Uri) -> Result<(), &'static str> {
        const EXPECTED: &str = "expected an https URL, or an http URL of a loopback address";
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(EXPECTED)?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("expected a URL without user name and password");
        }
        match uri.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if is_loopback(host) => Ok(()),
            _ => Err(EXPECTED),
        }
    }

    /// Whether the metadata of `issuer` has an address (RFC 8414 §2, §3) from which it may be fetched.
    ///
    /// # Errors
    /// What was expected, as a phrase.
    pub fn check_discovery(issuer: &str) -> Result<(), &'static str> {
        discovery::well_known(issuer)?.iter().try_for_each(Self::check_uri)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_or_from_this_host() {
        for good in [
            "https://as.example/jwks",
            "https://as.example:8443/jwks?x=1",
            "http://127.0.0.1/jwks",
            "http://127.9.9.9:81/",
            "http://[::1]:8080/jwks",
            "http://localhost:3000/jwks",
            "http://LOCALHOST/jwks",
        ] {
            assert_eq!(KeySource::check_uri(&good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in [
            "http://as.example/jwks",
            "http://10.0.0.1/jwks",
            "http://0.0.0.0/jwks",
            "http://localhost.as.example/jwks",
            "http://127.0.0.1.as.example/jwks",
            "http://[2001:db8::1]/jwks",
            "http://127.0.0.1:80@as.example/jwks",
            "https://user:secret@as.example/jwks",
            "ftp://127.0.0.1/jwks",
            "file:///etc/jwks",
            "/jwks",
            "as.example:443",
        ] {
            assert!(bad.parse().map_or(true, |uri| KeySource::check_uri(&uri).is_err()), "{bad}");
        }
    }
}
