use super::*;
use http::HeaderValue;
use proptest::prelude::*;

fn parse(uri: &str, host: &str) -> Result<Target, Refusal> {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
    let uri: Uri = uri.parse().unwrap();
    Target::parse(&Method::GET, &uri, Version::HTTP_11, &headers, Seen::directly(ListenerScheme::Https, None))
}

#[test]
fn the_external_url_is_normalized_and_the_forwarded_path_is_not() {
    let target = parse("/%7eann/%2a/a%2Db?q=%41", "RS.Example:443").unwrap();
    assert_eq!(target.external_url(), "https://rs.example/~ann/%2A/a-b");
    assert_eq!(target.path_and_query().as_str(), "/%7eann/%2a/a%2Db?q=%41");
    assert_eq!((target.external_scheme(), target.external_authority()), ("https", "rs.example"));
    assert_eq!(target.normalized_path(), "/~ann/%2A/a-b");
}

#[test]
fn ambiguous_paths_are_refused() {
    for path in [
        "/a/../b",
        "/a/./b",
        "/..",
        "/a/%2e%2E/b",
        "/a/..;x/b",
        "/a/.%2e;/b",
        "/..%3bx/",
        "/a%2fb",
        "/a%5Cb",
        "/a\\b",
        "//a",
        "/a%00",
        "/a%7f",
        "/%c0%ae",
        "/a%zz",
        "/a%4",
    ] {
        let refusal = parse(path, "rs.example").expect_err(path);
        assert_eq!(refusal.reason(), Reason::TargetInvalid, "{path}");
    }
}

#[test]
fn harmless_paths_pass() {
    for path in ["/", "/a//b", "/a;x=1/b", "/a..b", "/.well-known/x", "/a%20b", "/%E2%82%AC", "/a/...", "/a:b@c"] {
        assert!(parse(path, "rs.example").is_ok(), "{path}");
    }
}

#[test]
fn only_hosts_are_hosts() {
    for host in
        ["rs.example", "RS.EXAMPLE:443", "[::1]:8443", "127.0.0.1:80", "localhost", "rs.example.", "a_b.example"]
    {
        assert!(parse("/", host).is_ok(), "{host}");
    }
    for host in [
        "",
        ":80",
        "rs.example/other",
        "user@rs.example",
        "rs.example#",
        "rs example",
        "a,b",
        "rs..example",
        ".example",
        "rs.example:0443",
        "rs.example:65536",
        "rs.example:-1",
        "[::1",
        "[::1]x",
        "[::g]",
        "2130706433",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "rs.example:80:80",
        "rs.example:8a",
    ] {
        let refusal = parse("/", host).expect_err(host);
        assert_eq!(refusal.reason(), Reason::HostInvalid, "{host}");
    }
}

#[test]
fn a_host_is_written_in_one_way() {
    for (host, https, http, upstream) in [
        ("RS.Example", "rs.example", "rs.example", "rs.example"),
        ("rs.example:", "rs.example", "rs.example", "rs.example"),
        ("rs.example:443", "rs.example", "rs.example:443", "rs.example:443"),
        ("rs.example:80", "rs.example:80", "rs.example", "rs.example:80"),
        ("rs.example.:8443", "rs.example.:8443", "rs.example.:8443", "rs.example:8443"),
        ("[0:0:0:0:0:0:0:1]:8443", "[::1]:8443", "[::1]:8443", "[::1]:8443"),
        ("[::1]:", "[::1]", "[::1]", "[::1]"),
    ] {
        let parsed = Host::parse(host.as_bytes()).unwrap();
        for (scheme, wanted) in [(ListenerScheme::Https, https), (ListenerScheme::Http, http)] {
            let mut text = String::new();
            parsed.write(scheme, &mut text);
            assert_eq!(text, wanted, "{host}");
        }
        // What the upstream hears, and nothing else, is a Host field that can stay.
        let target = parse("/", host).unwrap();
        assert!(target.is_spelled(upstream.as_bytes()), "{host}");
        assert_eq!(target.is_spelled(host.as_bytes()), host == upstream, "{host}");
        assert!(!target.is_spelled(format!("{upstream}0").as_bytes()), "{host}");
    }
}

#[test]
fn a_port_may_be_left_out_if_it_is_the_default() {
    let same = |a: &str, b: &str| {
        let [a, b] = [a, b].map(|host| Host::parse(host.as_bytes()).unwrap());
        a.same(&b, ListenerScheme::Https)
    };
    assert!(same("rs.example", "RS.EXAMPLE:443") && same("rs.example:8443", "rs.example:8443"));
    assert!(!same("rs.example", "rs.example:8443") && !same("rs.example", "rs.example."));
}

proptest! {
    /// A proxy that puts a URL together from what its client sent: whatever `Host` holds, the path is the one that the
    /// proxy forwards, or there is none.
    #[test]
    fn no_host_changes_the_path(host in "[ -~]{0,30}", path in "/[ -~]{0,30}") {
        prop_assume!(!host.contains('/'));
        if let Some((_, _, uri)) = split_url(&format!("https://{host}{path}")) {
            prop_assert_eq!(uri.to_string(), path);
        }
    }
}

#[test]
fn a_url_has_a_path_and_no_fragment() {
    let path = |text: &str| split_url(text).map(|(_, _, uri)| uri.to_string());
    assert_eq!(path("https://rs.example:8443/a?b#"), None);
    assert_eq!(path("https://rs.example:8443/a?b=/c"), Some("/a?b=/c".to_owned()));
    for wrong in [
        "https://rs.example",
        "https://rs.example?/a",
        "https://rs.example#/a",
        "https://rs.example/a#/b",
        "ftp://rs.example/",
        "/a",
    ] {
        assert_eq!(path(wrong), None, "{wrong}");
    }
}

#[test]
fn a_public_url_decides_what_clients_see() {
    let url = PublicUrl::parse("https://api.example.com:443/").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("10.0.0.7:8080"));
    let uri = Uri::from_static("/x");
    let target =
        Target::parse(&Method::GET, &uri, Version::HTTP_11, &headers, Seen::directly(ListenerScheme::Http, Some(&url)))
            .unwrap();
    assert_eq!(target.external_url(), "https://api.example.com/x");
    assert_eq!((target.host(), target.port()), ("10.0.0.7", Some(8080)));
    for bad in ["api.example.com", "ftp://x", "https://x/y", "https://u@x", "https://"] {
        assert!(PublicUrl::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_host_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(host) = Host::parse(&bytes) {
            let mut text = String::new();
            host.write(ListenerScheme::Https, &mut text);
            prop_assert!(Host::parse(text.as_bytes()).unwrap().same(&host, ListenerScheme::Https));
        }
    }
}
