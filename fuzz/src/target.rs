//! Request targets (RFC 9112 §3.2): one reading for all, and no other reading by whoever decodes more. Lines: method,
//! target, host, and `2` for HTTP/2.

use http::{Method, Version};
use keybound::request::{ListenerScheme, Target};

use super::{oracle, url};

pub fn run(data: &[u8]) {
    let [method, uri, host, version] = oracle::lines::<4>(data);
    let (Ok(method), Ok(uri)) = (Method::from_bytes(method), std::str::from_utf8(uri)) else { return };
    let version = if version == b"2" { Version::HTTP_2 } else { Version::HTTP_11 };
    let host = (host != b"-").then_some(host);
    let Some(target) = url::target(&method, uri, host, version, ListenerScheme::Https) else { return };
    assert!(method != Method::CONNECT && method != Method::TRACE);
    let path = target.normalized_path();
    is_unambiguous(path);
    if let Some(loosest) = target.loosest_path() {
        assert!(loosest.starts_with('/') && !loosest.contains("//") && loosest != path);
        assert!(!loosest.split('/').any(|segment| matches!(segment, "." | "..")), "{loosest}");
    }
    // Reading it again changes nothing.
    let again = url::target(&method, target.external_url(), None, Version::HTTP_2, ListenerScheme::Https);
    assert_eq!(again.as_ref().map(Target::external_url), Some(target.external_url()));
    let written = target.path_and_query().path();
    assert_eq!(
        url::decoded(written).iter().filter(|byte| **byte == b'/').count(),
        written.matches('/').count(),
        "{written}"
    );
    // Whoever reads the client's own bytes as browsers do arrives at the same path.
    let raw = format!("https://rs.example{written}");
    let theirs = ::url::Url::parse(&raw).expect("a URL");
    assert_eq!(url::decoded(theirs.path()), url::decoded(path), "{raw}");
    prefixes(&target, path);
}

fn is_unambiguous(path: &str) {
    assert!(path.starts_with('/') && !path.starts_with("//") && path.bytes().all(|byte| (0x21..0x7F).contains(&byte)));
    let decoded = url::decoded(path);
    assert!(!decoded.contains(&b'\\') && !decoded.iter().any(|byte| *byte < 0x20 || *byte == 0x7F));
    assert_eq!(decoded.iter().filter(|byte| **byte == b'/').count(), path.matches('/').count(), "no hidden slash");
    assert!(!decoded.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b"..")), "{path}");
}

/// What is left of a path behind a prefix is the rest of it.
fn prefixes(target: &Target, path: &str) {
    for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
        let prefix = &path[..at];
        let Some(rest) = target.without_prefix(prefix) else { continue };
        let rest =
            url::target(&Method::GET, rest.as_str(), Some(b"rs.example"), Version::HTTP_11, ListenerScheme::Https);
        let rest = rest.expect("a target");
        let left = &path[at..];
        assert_eq!(rest.normalized_path(), if left.is_empty() { "/" } else { left }, "{path} without {prefix}");
        assert_eq!(rest.path_and_query().query(), target.path_and_query().query());
    }
}
