//! `htu` (RFC 9449 §4.3 (9)): equal here is what a second normaliser calls equal. Lines: `htu`, host, path.

use http::{Method, Version};
use keybound::request::ListenerScheme;
use keybound::verify::same_target;

use super::{oracle, url};

pub fn run(data: &[u8]) {
    let [htu, host, path] = oracle::lines::<3>(data);
    let (Ok(htu), Ok(path)) = (std::str::from_utf8(htu), std::str::from_utf8(path)) else { return };
    let (scheme, host) = match host.strip_prefix(b"!") {
        Some(host) => (ListenerScheme::Http, host),
        None => (ListenerScheme::Https, host),
    };
    let Some(target) = url::target(&Method::GET, path, Some(host), Version::HTTP_11, scheme) else { return };
    let external = target.external_url();
    assert!(
        same_target(external, external) && same_target(&format!("{external}?a=b#c"), external),
        "itself: {external}"
    );
    let bare = htu.split(['?', '#']).next().unwrap_or_default();
    let (ours, theirs) = (same_target(htu, external), url::normalized(bare));
    if ours {
        assert_eq!(theirs, url::normalized(external), "{htu} is no other URL than {external}");
        assert!(
            !bare.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().unwrap_or_default().contains('@'))
        );
    } else if url::is_plain(htu) && url::is_plain(external) {
        assert_ne!(theirs, url::normalized(external), "{htu} is another URL than {external}");
    }
    // A request to that very URL has it as its own, whichever of the two is asked for the other.
    if url::is_plain(bare)
        && let Some(other) = url::target(&Method::GET, bare, None, Version::HTTP_2, scheme)
    {
        let other = other.external_url();
        assert_eq!(same_target(other, external), other == external);
        assert_eq!(same_target(external, other), other == external, "symmetric");
        assert_eq!(ours, other == external, "{htu} means {other}, and the request was for {external}");
    }
}
