//! RFC 8414 §3, OpenID Connect Discovery §4.

use serde_json::json;

use super::*;

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn rfc_8414_comes_first() {
    let server = publishing(&[ec("one")]).await;
    server.metadata(OAUTH, &server.name()).metadata(OPENID, &server.name());
    let gateway = Gateway::run(&server.name(), KeySource::Discover);
    assert_eq!(gateway.loaded().await.knows("one"), 1);
    assert_eq!(server.asked(), [OAUTH, "/jwks"]);
}

#[tokio::test]
async fn an_issuer_with_a_path_has_its_metadata_in_between() {
    let server = publishing(&[ec("one")]).await;
    let name = server.url("/tenant");
    server.metadata(&format!("{OAUTH}/tenant"), &name);
    let gateway = Gateway::run(&name, KeySource::Discover);
    gateway.loaded().await;
    assert_eq!(server.asked(), [&format!("{OAUTH}/tenant"), "/jwks"]);
}

#[tokio::test]
async fn openid_discovery_comes_second_whatever_was_wrong_with_the_first() {
    let useless = [
        Answer::status("404 Not Found"),
        Answer::status("500 Internal Server Error"),
        Answer::status("302 Found\r\nLocation: /login"),
        Answer::Bytes(ok("<html>")),
        Answer::json(&json!({"issuer": "https://other.example", "jwks_uri": "https://other.example/jwks"})),
        Answer::Stuck(String::new()),
    ];
    for useless in useless {
        let server = publishing(&[ec("one")]).await;
        server.answer(OAUTH, useless).metadata(OPENID, &server.name());
        let gateway = Gateway::run(&server.name(), KeySource::Discover);
        assert_eq!(gateway.loaded().await.knows("one"), 1);
        assert_eq!(server.asked(), [OAUTH, OPENID, "/jwks"]);
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_used() {
    let server = publishing(&[ec("one")]).await;
    let name = server.name();
    for other in [format!("{name}/"), name.to_uppercase(), "https://other.example".to_owned(), String::new()] {
        server.metadata(OAUTH, &other).metadata(OPENID, &other).asked();
        let gateway = Gateway::run(&name, KeySource::Discover);
        until(|| gateway.events.results().len() > 1).await;
        assert!(!gateway.issuer().is_loaded(), "{other}");
        assert!(!server.asked().contains(&"/jwks".to_owned()), "{other}");
        let error = gateway.last_error();
        assert!(error.contains("(RFC 8414 §3.3), found "), "{error}");
        // And the right one afterwards.
        server.metadata(OAUTH, &name);
        gateway.loaded().await;
    }
}

#[tokio::test]
async fn metadata_without_a_safe_place_for_keys_is_not_used() {
    let server = publishing(&[ec("one")]).await;
    let name = server.name();
    let cases = [
        (json!({"issuer": name}), "expected a \"jwks_uri\", found none"),
        (json!({"issuer": name, "jwks_uri": 1}), "expected a \"jwks_uri\", found none"),
        (json!({"issuer": name, "jwks_uri": "::"}), "expected a URL as \"jwks_uri\""),
        (
            json!({"issuer": name, "jwks_uri": "http://192.0.2.1/jwks"}),
            "expected an https URL, or an http URL of a loopback",
        ),
        (json!({"issuer": name, "jwks_uri": "ftp://127.0.0.1/jwks"}), "expected an"),
        (json!({"issuer": [name.clone()]}), "(RFC 8414 §3.3), found none"),
    ];
    for (metadata, expected) in cases {
        server.answer(OAUTH, Answer::json(&metadata)).answer(OPENID, Answer::json(&metadata));
        let gateway = Gateway::run(&name, KeySource::Discover);
        until(|| !gateway.events.results().is_empty()).await;
        assert!(gateway.last_error().contains(expected), "{}", gateway.last_error());
        assert!(!gateway.issuer().is_loaded());
    }
    // A name that comes twice could be read either way.
    let twice = format!(r#"{{"issuer":"{name}","issuer":"{name}","jwks_uri":"{}"}}"#, server.url("/jwks"));
    server.answer(OAUTH, Answer::Bytes(ok(&twice))).answer(OPENID, Answer::Bytes(ok(&twice)));
    let gateway = Gateway::run(&name, KeySource::Discover);
    until(|| gateway.last_error().contains("strict JSON")).await;
}

#[tokio::test]
async fn an_issuer_may_move_its_keys() {
    let server = publishing(&[ec("one")]).await;
    server.metadata(OAUTH, &server.name());
    let gateway = Gateway::run(&server.name(), KeySource::Discover);
    gateway.loaded().await;
    let moved = json!({"issuer": server.name(), "jwks_uri": server.url("/moved")});
    server.answer(OAUTH, Answer::json(&moved)).answer("/moved", Answer::jwks(&[ec("two")]));
    assert!(gateway.issuer().refresh_for_unknown_key().await);
    assert_eq!((gateway.knows("one"), gateway.knows("two")), (0, 1));
}
