//! An issuer that fails later: NEG-186.

use serde_json::json;

use super::*;

/// Asks until an attempt that began after the call has ended.
async fn refresh(gateway: &Gateway) -> bool {
    gateway.clock.advance(Duration::from_secs(5));
    gateway.issuer().refresh_for_unknown_key().await
}

#[tokio::test]
async fn keys_that_were_loaded_serve_through_an_outage() {
    let outages = [
        (Answer::status("500 Internal Server Error"), "found 500"),
        (Answer::status("301 Moved Permanently"), "redirects are not followed"),
        (Answer::Bytes(ok("<html>maintenance")), "an HTML or XML page"),
        (Answer::Bytes(ok("{")), "a JWK set"),
        (Answer::Bytes(ok("{}")), "expected an array under \"keys\""),
        (Answer::jwks(&[]), "no usable key: it is empty"),
        (Answer::jwks(&[json!({"kty": "oct", "k": "AAAA"})]), "no usable key: keys[0]: it holds private or symmetric"),
        (Answer::Endless, "expected at most 524288 bytes"),
        (Answer::Stuck(String::new()), "no complete answer"),
    ];
    let server = publishing(&[ec("one")]).await;
    let slow = Pace { first_retry: Duration::from_hours(1), last_retry: Duration::from_hours(1), ..pace() };
    let gateway = Gateway::run_at(slow, "https://as.example", jwks_of(&server));
    gateway.loaded().await;
    for (outage, expected) in outages {
        server.answer("/jwks", outage);
        assert!(!refresh(&gateway).await, "{expected}");
        assert_eq!(gateway.knows("one"), 1, "{expected}");
        assert!(gateway.last_error().contains(expected), "{}", gateway.last_error());
        assert!(gateway.issuers.all_loaded(), "a later failure is told in words");
        assert_eq!(gateway.events.results().last(), Some(&RefreshResult::Failed));
    }
    drop(server);
    assert!(!refresh(&gateway).await);
    assert_eq!(gateway.knows("one"), 1);
    assert!(gateway.last_error().contains("refused"), "{}", gateway.last_error());
}

#[tokio::test]
async fn a_key_that_the_issuer_removed_is_gone_with_the_next_success() {
    let server = publishing(&[ec("one"), ec("two")]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    let held = gateway.issuer().keys().unwrap();
    server.answer("/jwks", Answer::jwks(&[ec("two")]));
    assert!(refresh(&gateway).await);
    assert_eq!((gateway.knows("one"), gateway.knows("two")), (0, 1));
    assert_eq!(held.candidates(Some("one"), Algorithm::Es256).count(), 1, "a decision under way is not disturbed");
    assert_eq!(gateway.events.results(), [RefreshResult::Loaded, RefreshResult::Loaded]);
}

#[tokio::test]
async fn age_counts_from_the_last_confirmation() {
    let server = publishing(&[ec("one")]).await;
    let slow = Pace { first_retry: Duration::from_hours(1), last_retry: Duration::from_hours(1), ..pace() };
    let gateway = Gateway::run_at(slow, "https://as.example", jwks_of(&server));
    gateway.loaded().await;
    let age = || gateway.issuer().status().age.map(|age| age.as_secs());
    assert_eq!(age(), Some(0));
    gateway.clock.advance(Duration::from_secs(100));
    assert_eq!(age(), Some(100));
    assert_eq!(gateway.issuer().status().to_string(), "https://as.example: 1 key, 100 s old");
    assert!(refresh(&gateway).await);
    assert_eq!((age(), gateway.events.results().last()), (Some(0), Some(&RefreshResult::Unchanged)));
    server.answer("/jwks", Answer::status("503 Service Unavailable"));
    assert!(!refresh(&gateway).await);
    assert_eq!(age(), Some(5));
    gateway.clock.set(START);
    assert_eq!(age(), Some(0), "a clock that was set back makes no negative age");
}

#[tokio::test]
async fn nothing_of_a_document_is_told() {
    let server = TestIssuer::start().await;
    server.answer("/jwks", Answer::jwks(&[json!({"kty": "oct", "kid": "secret-kid", "k": "c2VjcmV0"})]));
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    until(|| !gateway.last_error().is_empty()).await;
    let told = format!("{} {:?} {:?}", gateway.issuer().status(), gateway.issuers, gateway.issuer().status());
    assert!(!told.contains("c2VjcmV0") && !told.contains("secret-kid"), "{told}");
}
