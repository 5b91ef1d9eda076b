//! Is `htu` this request's URI? (RFC 9449 §4.3 step 9, RFC 3986 §6.2.2 and §6.2.3)

use fluent_uri::Uri;

/// Longest `htu` that is looked at, in bytes.
const MAX_HTU_BYTES: usize = 4 * 1024;

/// Compares `htu` with the normalized external URL of a request, query and fragment ignored.
///
/// Equal are other cases of scheme and host, the default port named or not, an empty path and `/`, other
/// spellings of unreserved characters, dot segments. Different are another case of the path, a slash more or
/// less, reserved characters decoded, `http` for `https`. User information is never accepted.
pub fn same_target(htu: &str, external_url: &str) -> bool {
    // Before anything looks at it: what is ignored decides nothing, whichever way the rest is spelled.
    let htu = htu.split(['?', '#']).next().unwrap_or_default();
    // Nearly every client sends the normal form.
    htu == external_url || normalized(htu).is_some_and(|normal| normal == external_url)
}

fn normalized(htu: &str) -> Option<String> {
    if htu.len() > MAX_HTU_BYTES {
        return None;
    }
    let uri = Uri::parse(htu).ok()?;
    let authority = uri.authority()?;
    if authority.has_userinfo() {
        return None;
    }
    // The normalizer would drop `:0443` as the default port; nobody honest writes it.
    let port = authority.port().map(fluent_uri::pct_enc::EStr::as_str).unwrap_or_default();
    if port.starts_with('0') || (!port.is_empty() && port.parse::<u16>().is_err()) {
        return None;
    }
    let uri = uri.normalize();
    let authority = uri.authority()?;
    let path = match uri.path().as_str() {
        "" => "/",
        path => path,
    };
    Some(format!("{}://{}{path}", uri.scheme().as_str(), authority.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URL: &str = "https://rs.example/api/item";

    #[test]
    fn equal_by_rfc_3986() {
        for htu in [
            URL,
            "https://rs.example/api/item?q=1#frag",
            "HTTPS://RS.EXAMPLE/api/item",
            "https://rs.example:443/api/item",
            "https://rs.example:/api/item",
            "https://rs.example/api/./item",
            "https://rs.example/api/x/../item",
            "https://rs.example/%61pi/item",
            "https://rs.example/api/item?",
            "https://rs.example/api/item#",
        ] {
            assert!(same_target(htu, URL), "{htu}");
        }
        assert!(same_target("https://rs.example", "https://rs.example/"));
        assert!(same_target("https://rs.example/%7eann/%2f", "https://rs.example/~ann/%2F"));
        assert!(same_target("https://[0:0:0:0:0:0:0:1]:8443/", "https://[::1]:8443/"));
    }

    #[test]
    fn different_all_the_same() {
        for htu in [
            "",
            ":::*;",
            "/api/item",
            "//rs.example/api/item",
            "https:rs.example/api/item",
            "https://rs.example/api/ item",
            "https://rs.example\\api\\item",
            "https://other.example/api/item",
            "https://rs.example/api/item/ohno",
            "https://rs.example/api",
            "http://rs.example/api/item",
            "wss://rs.example/api/item",
            "https://rs.example:8443/api/item",
            "https://rs.example:80/api/item",
            "https://rs.example/api/item/",
            "https://rs.example/API/item",
            "https://user@rs.example/api/item",
            "https://rs.example@evil/api/item",
            "https://@rs.example/api/item",
            "https://rs.example/api%2Fitem",
            "https://rs.example/%2561pi/item",
            "https://rs.example/%zz",
            "https://rs.example/api/item%",
            "https://rs.example/%c0%ae",
            "https://rs.example//api/item",
            "https://rs.example./api/item",
            "https://rs\u{ff0e}example/api/item",
            "https://rs.example:0443/api/item",
            "https://rs.example:65536/api/item",
            "https://rs.example:-1/api/item",
            "https://rs.example/api/\u{7f}item",
        ] {
            assert!(!same_target(htu, URL), "{htu}");
        }
        assert!(!same_target(&format!("{URL}?{}", "x".repeat(5000)).to_uppercase(), URL));
    }

    /// What is ignored is ignored in each spelling of the rest, even if no URL could hold it.
    #[test]
    fn query_and_fragment_decide_nothing() {
        for ignored in ["", "?", "#", "?a=b#c", "#\u{15}66.?x", "?\u{e9} %zz", "#a#b"] {
            for htu in ["https://rs.example/", "https://rs.example", "HTTPS://RS.EXAMPLE:443/"] {
                assert!(same_target(&format!("{htu}{ignored}"), "https://rs.example/"), "{htu}{ignored}");
                assert!(!same_target(&format!("{htu}{ignored}"), "https://rs.example/a"), "{htu}{ignored}");
            }
        }
    }

    #[test]
    fn only_so_much_is_brought_into_its_normal_form() {
        let of_length =
            |length: usize| format!("HTTPS://rs.example/{}", "x".repeat(length - "https://rs.example/".len()));
        for (length, same) in [(MAX_HTU_BYTES, true), (MAX_HTU_BYTES + 1, false)] {
            assert_eq!(same_target(&of_length(length), &of_length(length).to_lowercase()), same);
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_what_is_normal_stays(htu in "\\PC{0,60}", path in "(/[a-z0-9._~-]{0,6}){0,4}") {
            let _ = same_target(&htu, URL);
            if let Some(once) = normalized(&format!("https://rs.example{path}")) {
                prop_assert_eq!(normalized(&once), Some(once));
            }
        }
    }
}
