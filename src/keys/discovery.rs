//! From an issuer to its JWK set: authorization server metadata (RFC 8414), else OpenID Connect Discovery.

use http::Uri;

use super::fetch::{HttpClient, Place};
use super::{KeySource, LoadError};
use crate::verify::Json;

/// Where the issuer's metadata may lie: RFC 8414 §3.1 inserts between host and path, OpenID Connect Discovery
/// §4.1 appends.
pub(super) fn well_known(issuer: &str) -> Result<[Uri; 2], &'static str> {
    const EXPECTED: &str = "expected an https URL without query and fragment (RFC 8414 §2)";
    if issuer.contains(['?', '#']) {
        return Err(EXPECTED);
    }
    let (scheme, rest) = issuer.split_once("://").ok_or(EXPECTED)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = path.strip_suffix('/').unwrap_or(path);
    let oauth = format!("{scheme}://{authority}/.well-known/oauth-authorization-server{path}");
    let openid = format!("{scheme}://{authority}{path}/.well-known/openid-configuration");
    Ok([oauth.parse().map_err(|_| EXPECTED)?, openid.parse().map_err(|_| EXPECTED)?])
}

/// The issuer's `jwks_uri`. Metadata in the first place that is not usable does not hide the second place.
///
/// # Errors
/// What is wrong with both places, or with the issuer's own name.
pub async fn discover(client: &HttpClient, issuer: &str) -> Result<Uri, LoadError> {
    let [oauth, openid] =
        well_known(issuer).map_err(|expected| LoadError::Issuer { issuer: issuer.to_owned(), expected })?;
    let first = match from_metadata(client, &oauth, issuer).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    from_metadata(client, &openid, issuer)
        .await
        .map_err(|second| LoadError::Discovery { oauth: Box::new(first), openid: Box::new(second) })
}

async fn from_metadata(client: &HttpClient, place: &Uri, issuer: &str) -> Result<Uri, LoadError> {
    let document = client.get(place).await?.body;
    let content = |expected, found: &str| LoadError::Content {
        place: Place::of(place).to_string(),
        expected,
        found: found.chars().take(200).flat_map(char::escape_debug).collect(),
    };
    let metadata =
        Json::object(&document).ok_or_else(|| content("metadata as strict JSON (RFC 8414 §3.2)", "other JSON"))?;
    // RFC 8414 §3.3: other metadata must not be used. An issuer that could speak for another would own its tokens.
    let found = metadata.string("issuer").unwrap_or("none");
    if found != issuer {
        return Err(content("the configured issuer as \"issuer\" (RFC 8414 §3.3)", found));
    }
    let uri = metadata.string("jwks_uri").ok_or_else(|| content("a \"jwks_uri\"", "none"))?;
    let uri: Uri = uri.parse().map_err(|_| content("a URL as \"jwks_uri\"", "something else"))?;
    KeySource::check_uri(&uri).map_err(|expected| LoadError::Place { place: Place::of(&uri), expected })?;
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_lies_where_the_two_specifications_say() {
        let cases = [
            ("https://as.example", "", ""),
            ("https://as.example/", "", ""),
            ("https://as.example:8443/tenant", "/tenant", "/tenant"),
            ("https://as.example/a/b/", "/a/b", "/a/b"),
        ];
        for (issuer, behind, before) in cases {
            let [oauth, openid] = well_known(issuer).unwrap();
            let host = if issuer.contains("8443") { "as.example:8443" } else { "as.example" };
            assert_eq!(oauth, *format!("https://{host}/.well-known/oauth-authorization-server{behind}"), "{issuer}");
            assert_eq!(openid, *format!("https://{host}{before}/.well-known/openid-configuration"), "{issuer}");
        }
    }

    #[test]
    fn not_every_issuer_can_be_discovered() {
        for bad in ["as.example", "https://as.example/?tenant=1", "https://as.example/#x", "https://", "urn:as:1"] {
            assert!(KeySource::check_discovery(bad).is_err(), "{bad}");
        }
        assert!(KeySource::check_discovery("http://as.example").is_err());
        assert!(KeySource::check_discovery("http://127.0.0.1:9000/x").is_ok());
    }
}
