//! Scripts of other origins, and what clients are told.

use std::time::Duration;

use super::{Severity, changed, errors, is, read, refused, settings};
use crate::routes::Origins;

fn cors(more: &str) -> String {
    format!("    cors: {{ {more} }}")
}

#[test]
fn origins_are_spelled_as_browsers_spell_them() {
    let route = settings(
        "route",
        &cors(
            "allow_origins: [https://app.example.com, 'http://localhost:5173', 'https://[::1]:8443', 'capacitor://localhost']",
        ),
    );
    let cors = route.routes[0].cors.as_ref().unwrap();
    let Origins::Listed(listed) = &cors.origins else { panic!("any") };
    assert_eq!(listed.len(), 4);
    assert_eq!((cors.allow_credentials, cors.max_age), (false, Duration::from_mins(10)));
    for (origin, meant) in [
        ("https://app.example.com/", Some("https://app.example.com")),
        ("https://app.example.com/login?x", Some("https://app.example.com")),
        ("https://App.example.com", Some("https://app.example.com")),
        ("HTTPS://app.example.com", Some("https://app.example.com")),
        ("https://app.example.com:443", Some("https://app.example.com")),
        ("http://app.example.com:80", Some("http://app.example.com")),
        ("https://[0:0::1]", Some("https://[::1]")),
        ("app.example.com", Some("https://app.example.com")),
        ("https://*.example.com", None),
        ("https://me@app.example.com", None),
        ("https://", None),
        ("file://", None),
        ("https://app.example.com, https://b.example.com", None),
        ("https://app.example.com https://b.example.com", None),
    ] {
        let text = changed("route", &self::cors(&format!("allow_origins: ['{origin}']")));
        let report = read(&text).expect_err(origin);
        let [only] = errors(&report)[..] else { panic!("{origin}\n{}", report.render(false)) };
        assert!(is(only, Severity::Error, "routes[0].cors.allow_origins[0]", "as browsers send it"), "{origin}");
        if let Some(meant) = meant {
            assert_eq!(only.help(), Some(&*format!("did you mean `{meant}`?")), "{origin}");
        }
    }
}

#[test]
fn cors_is_checked() {
    let list = "routes[0].cors.allow_origins";
    let first = "routes[0].cors.allow_origins[0]";
    refused(&[
        ("route", "    cors: {}", list, "missing"),
        ("route", &cors("allow_origins: []"), list, "empty"),
        ("route", &cors("allow_origins: '*'"), list, "expected a list"),
        ("route", &cors("allow_origins: ['null']"), first, "an origin that names somebody"),
        ("route", &cors("allow_origins: ['*', 'https://x']"), first, "`*` alone"),
        ("route", &cors("allow_origins: ['*'], allow_credentials: true"), first, "a list of origins beside"),
        ("route", &cors("allow_origins: [https://x], max_age: 25h"), "routes[0].cors.max_age", "at most 1day"),
        (
            "route",
            &cors("allow_origin: [https://x], allow_origins: [https://x]"),
            "routes[0].cors.allow_origin",
            "unknown",
        ),
    ]);
    let any = settings("route", &cors("allow_origins: ['*'], max_age: 0s"));
    let any = any.routes[0].cors.as_ref().unwrap();
    assert!(matches!(any.origins, Origins::Any) && any.max_age.is_zero());
    assert!(settings("route", "    cors: null").routes[0].cors.is_none());
}

#[test]
fn metadata_are_checked() {
    let text = "    metadata: { resource_name: Orders, resource_documentation: https://docs.example.com/orders }";
    let published = changed("route", text).replace("# listener", "public_url: https://api.example.com");
    let (settings, warnings) = read(&published).unwrap();
    let told = &settings.routes[0].metadata;
    assert_eq!(told.name.as_deref(), Some("Orders"));
    assert_eq!(told.documentation.as_deref(), Some("https://docs.example.com/orders"));
    assert_eq!(warnings.findings().len(), 1);

    let (_, warnings) = read(&changed("route", text)).unwrap();
    let [_, name, documentation] = warnings.findings() else { panic!("{warnings}") };
    assert!(is(name, Severity::Warning, "routes[0].metadata.resource_name", "no effect"));
    assert!(is(documentation, Severity::Warning, "routes[0].metadata.resource_documentation", "no effect"));

    refused(&[
        ("route", "    metadata: { resource_name: '' }", "routes[0].metadata.resource_name", "not empty"),
        (
            "route",
            "    metadata: { resource_documentation: docs }",
            "routes[0].metadata.resource_documentation",
            "expected a URL",
        ),
        (
            "route",
            "    access: { mode: public }\n    metadata: { resource_name: x }",
            "routes[0].metadata.resource_name",
            "a public route checks nothing",
        ),
    ]);
}
