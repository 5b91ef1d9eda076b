//! Who may see the page for people and what it shows. What monitoring and orchestrators ask is open to whoever reaches
//! the port.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, header};
use zeroize::Zeroizing;

use crate::gateway::{AdminSettings, AdminToken};

/// Who may.
#[derive(Debug, PartialEq, Eq)]
pub enum Door<'s> {
    /// Whoever is on this machine, and calls the port by a name that only this machine can mean, or by this address. Who
    /// may open a Unix socket is the file system's to say.
    Local(Option<IpAddr>),
    /// Whoever shows the secret.
    Token(&'s AdminToken),
    /// Nobody: the port is open to others, and no secret tells them apart.
    Closed,
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shut {
    /// The secret is missing or another one.
    Token,
    /// The request is for another host: a browser may have been led here by a page from elsewhere (DNS rebinding).
    Host,
    /// Nobody may.
    Closed,
}

impl<'s> Door<'s> {
    /// The door of a port with these settings. With a secret, all must show it, on loopback too: other users may be there.
    pub const fn of(settings: &'s AdminSettings) -> Self {
        match (&settings.token, settings.address.network()) {
            (Some(token), _) => Self::Token(token),
            (None, None) => Self::Local(None),
            (None, Some(address)) if is_loopback(address) => Self::Local(Some(address.ip())),
            (None, Some(_)) => Self::Closed,
        }
    }

    /// Whether a request may pass.
    ///
    /// # Errors
    /// [`Shut`].
    pub fn ask(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Shut> {
        match self {
            Self::Closed => Err(Shut::Closed),
            Self::Token(token) if shown(headers).is_some_and(|shown| token.is(&shown)) => Ok(()),
            Self::Token(_) => Err(Shut::Token),
            Self::Local(address) if is_meant(uri, headers, *address) => Ok(()),
            Self::Local(_) => Err(Shut::Host),
        }
    }
}

const fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether the request's host is this machine's own name, one of its loopback addresses, or the address that the port was
/// given. The port in it does not matter: it may be forwarded from another.
fn is_meant(uri: &Uri, headers: &HeaderMap, own: Option<IpAddr>) -> bool {
    let mut lines = headers.get_all(header::HOST).iter();
    let authority = match (uri.authority(), lines.next(), lines.next()) {
        (Some(authority), None | Some(_), None) => Some(authority.clone()),
        (None, Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    };
    let Some(authority) = authority.filter(|authority| !authority.as_str().contains('@')) else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback() || Some(address) == own,
        // RFC 6761 §6.3: no other machine is ever meant by these.
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// The secret that a request shows: as Bearer, or as the password of Basic, which browsers ask people for.
fn shown(headers: &HeaderMap) -> Option<Zeroizing<Vec<u8>>> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let (scheme, rest) = line.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(rest.trim().as_bytes().to_vec()));
    }
    let pair = Zeroizing::new(scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(rest.trim()).ok())??);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.get(colon + 1..).map(|password| Zeroizing::new(password.to_vec()))
}

impl Shut {
    /// What to tell.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Token => "expected the secret of `admin.token_file`, as Bearer or as the password of Basic\n",
            Self::Host => {
                "expected a loopback name or address in Host, such as localhost: the page is for this machine alone\n"
            }
            Self::Closed => {
                "the page for people and what it shows are for loopback addresses alone, and `admin.address` is none: \
                 give the port an `admin.token_file`, or reach it on loopback\n"
            }
        }
    }

    /// The ways to show the secret, where that helps.
    pub fn challenges(self) -> &'static [HeaderValue] {
        static CHALLENGES: [HeaderValue; 2] = [
            HeaderValue::from_static("Basic realm=\"keybound admin\", charset=\"UTF-8\""),
            HeaderValue::from_static("Bearer realm=\"keybound admin\""),
        ];
        if self == Self::Token { &CHALLENGES } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept::Address;

    const SECRET: &[u8] = b"open sesame, open: sesame";

    fn settings(address: &str, token: bool) -> AdminSettings {
        AdminSettings {
            address: Address::Network(address.parse().unwrap()),
            token: token.then(|| AdminToken::of(SECRET)),
        }
    }

    fn headers(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn loopback_is_open_and_elsewhere_needs_a_secret() {
        for address in ["127.0.0.1:9090", "127.3.2.1:1", "[::1]:9090", "[::ffff:127.0.0.1]:9090"] {
            assert!(matches!(Door::of(&settings(address, false)), Door::Local(_)), "{address}");
        }
        for address in ["0.0.0.0:9090", "[::]:9090", "10.0.0.1:9090", "[::ffff:10.0.0.1]:9090", "192.168.1.1:1"] {
            let settings = settings(address, false);
            assert_eq!(Door::of(&settings), Door::Closed, "{address}");
            let asked = Door::of(&settings).ask(&"/".parse().unwrap(), &headers(&[(header::HOST, "localhost")]));
            assert_eq!(asked, Err(Shut::Closed));
        }
        for address in ["0.0.0.0:9090", "127.0.0.1:9090"] {
            assert!(matches!(Door::of(&settings(address, true)), Door::Token(_)), "{address}");
        }
    }

    #[test]
    fn a_unix_socket_is_of_this_machine() {
        let mut settings = settings("127.0.0.1:9090", false);
        settings.address = Address::Unix("/run/keybound/admin.sock".into());
        assert_eq!(Door::of(&settings), Door::Local(None));
        let ask = |host| Door::of(&settings).ask(&"/".parse().unwrap(), &headers(&[(header::HOST, host)]));
        // A web server in front of the socket could be reached by any name.
        assert_eq!((ask("localhost"), ask("evil.example")), (Ok(()), Err(Shut::Host)));
        settings.token = Some(AdminToken::of(SECRET));
        assert!(matches!(Door::of(&settings), Door::Token(_)));
    }

    #[test]
    fn a_page_from_elsewhere_leads_nobody_here() {
        let settings = settings("127.0.0.5:9090", false);
        let ask = |uri: &str, fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|value| (header::HOST, *value)).collect();
            let mut all = HeaderMap::new();
            for (name, value) in fields {
                all.append(name, HeaderValue::from_str(value).unwrap());
            }
            Door::of(&settings).ask(&uri.parse().unwrap(), &all)
        };
        for host in ["localhost", "LocalHost:9090", "a.localhost:1", "127.0.0.1:9090", "127.0.0.5", "[::1]:80"] {
            assert_eq!(ask("/", &[host]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xlocalhost",
            "10.0.0.1",
            "a@localhost",
            "",
        ] {
            assert_eq!(ask("/", &[host]), Err(Shut::Host), "{host}");
        }
        assert_eq!(ask("/", &[]), Err(Shut::Host));
        assert_eq!(ask("/", &["localhost", "localhost"]), Err(Shut::Host));
        assert_eq!(ask("http://evil.example/", &["localhost"]), Err(Shut::Host));
        assert_eq!(ask("http://localhost/", &["evil.example"]), Ok(()));
    }

    #[test]
    fn the_secret_opens_as_bearer_and_as_basic() {
        let settings = settings("0.0.0.0:9090", true);
        let secret = std::str::from_utf8(SECRET).unwrap();
        let ask =
            |value: &str| Door::of(&settings).ask(&"/".parse().unwrap(), &headers(&[(header::AUTHORIZATION, value)]));
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for value in [
            format!("Bearer {secret}"),
            format!("bearer {secret}"),
            basic(&format!("me:{secret}")),
            basic(&format!(":{secret}")),
        ] {
            assert_eq!(ask(&value), Ok(()), "{value}");
        }
        for value in [
            "",
            "Bearer",
            "Bearer x",
            secret,
            "Basic !",
            &basic(secret),
            &basic(&format!("{secret}:")),
            &format!("DPoP {secret}"),
        ] {
            assert_eq!(ask(value), Err(Shut::Token), "{value}");
        }
        assert_eq!(Door::of(&settings).ask(&"/".parse().unwrap(), &HeaderMap::new()), Err(Shut::Token));
        assert!(!format!("{settings:?}").contains("sesame"));
    }
}
