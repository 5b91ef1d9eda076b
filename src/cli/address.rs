//! The URL of a protected resource, as a client means it.

use http::Uri;
use http::uri::Scheme;

/// An absolute `http` or `https` URL without user information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Uri);

impl Address {
    /// Reads a URL; a fragment is dropped.
    ///
    /// # Errors
    /// A sentence that does not repeat the URL: it may hold secrets.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "the URL must be absolute, with http:// or https://, for example https://api.example.com/";
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the URL must consist of visible ASCII characters: a space is written %20");
        }
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or(EXPECTED)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(EXPECTED);
        }
        if authority.as_str().contains('@') {
            return Err("the URL must not hold a user name or a password; --token sends an access token");
        }
        // The parser passes over a port that is no number, and the default port would be asked instead.
        if authority.port_u16().is_none() && authority.as_str() != authority.host() {
            return Err("the port in the URL must be a number up to 65535");
        }
        Ok(Self(uri))
    }

    /// For the HTTP client.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether TLS protects what is sent there.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// Whether what is sent there never leaves this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }

    /// `htu` (RFC 9449 §4.2), in the normal form that every verifier accepts: lower case, no default port, no query.
    pub fn htu(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let host = self.0.host().unwrap_or_default().to_ascii_lowercase();
        let default = if self.is_https() { 443 } else { 80 };
        match self.0.port_u16().filter(|port| *port != default) {
            Some(port) => format!("{scheme}://{host}:{port}{}", self.0.path()),
            None => format!("{scheme}://{host}{}", self.0.path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn htu_is_the_normal_form() {
        for (url, htu) in [
            ("https://rs.example", "https://rs.example/"),
            ("HTTPS://RS.Example:443/Api?q=1#f", "https://rs.example/Api"),
            ("http://rs.example:80/a", "http://rs.example/a"),
            ("http://rs.example:443/a", "http://rs.example:443/a"),
            ("https://[::1]:8443/", "https://[::1]:8443/"),
        ] {
            assert_eq!(Address::parse(url).unwrap().htu(), htu);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        for bad in [
            "",
            "/",
            "rs.example",
            "rs.example:8443",
            "ftp://rs.example/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://:1/",
            "https://a:/",
            "https://a:65536/",
            "https://[::1]:/",
            "https://a:1x/",
            "https://[::1/",
            "https://a\\b/",
            "https://rs.example/a b",
            "https://rs.example/é",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        let refused = Address::parse("https://me:sesame@rs.example/").unwrap_err();
        assert!(!refused.contains("sesame"));
    }

    #[test]
    fn loopback_is_known_by_name_and_number() {
        for (url, loopback) in [
            ("http://localhost:1/", true),
            ("http://127.0.0.2/", true),
            ("http://[::1]/", true),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(Address::parse(url).unwrap().is_loopback(), loopback, "{url}");
        }
    }
}
