//! Fetches that requests ask for: JAT-05, POS-57, NEG-176, NEG-288.

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_key_that_is_new_is_found_with_one_fetch() {
    let server = publishing(&[ec("one")]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    server.answer("/jwks", Answer::jwks(&[ec("one"), ec("two")])).asked();
    assert_eq!(gateway.knows("two"), 0);
    assert!(gateway.issuer().refresh_for_unknown_key().await);
    assert_eq!(gateway.knows("two"), 1);
    assert_eq!(server.asked(), ["/jwks"]);
}

#[tokio::test]
async fn fifty_requests_at_once_share_one_fetch() {
    let server = publishing(&[ec("one")]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    let body = serde_json::json!({ "keys": [ec("two")] }).to_string();
    server.answer("/jwks", Answer::Late(Duration::from_millis(100), ok(&body))).asked();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (issuers, name) = (Arc::clone(&gateway.issuers), gateway.name.clone());
        requests.spawn(async move { issuers.get(&name).unwrap().refresh_for_unknown_key().await });
    }
    let answers = requests.join_all().await;
    assert_eq!((answers.len(), answers.iter().filter(|refreshed| **refreshed).count()), (50, 50));
    assert_eq!(server.asked(), ["/jwks"]);
    assert_eq!(gateway.knows("two"), 1);
}

#[tokio::test]
async fn a_flood_of_invented_keys_costs_the_issuer_almost_nothing() {
    let server = publishing(&[ec("one")]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    server.asked();
    let mut refreshed = 0;
    for _ in 0..500 {
        refreshed += usize::from(gateway.issuer().refresh_for_unknown_key().await);
    }
    assert_eq!((refreshed, server.asked().len()), (3, 3));
    // Within seconds a key that is really new comes through, and the flood still does not.
    server.answer("/jwks", Answer::jwks(&[ec("two")]));
    assert!(!gateway.issuer().refresh_for_unknown_key().await);
    gateway.clock.advance(Duration::from_secs(5));
    assert!(gateway.issuer().refresh_for_unknown_key().await);
    assert_eq!(gateway.knows("two"), 1);
    for _ in 0..500 {
        assert!(!gateway.issuer().refresh_for_unknown_key().await);
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn right_after_a_bogus_key_a_real_one_is_fetched() {
    let server = publishing(&[ec("one")]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    assert!(gateway.issuer().refresh_for_unknown_key().await);
    server.answer("/jwks", Answer::jwks(&[ec("two")]));
    assert!(gateway.issuer().refresh_for_unknown_key().await);
    assert_eq!(gateway.knows("two"), 1);
}

#[tokio::test]
async fn a_request_does_not_hang_on_a_slow_issuer() {
    let server = publishing(&[ec("one")]).await;
    let limits = Limits { total: Duration::from_secs(30), ..pace().limits };
    let patient = Pace { patience: Duration::from_millis(200), limits, ..pace() };
    let gateway = Gateway::run_at(patient, "https://as.example", jwks_of(&server));
    gateway.loaded().await;
    server.answer("/jwks", Answer::Stuck(String::new()));
    let asked = Instant::now();
    assert!(!gateway.issuer().refresh_for_unknown_key().await);
    let waited = asked.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(3)).contains(&waited), "{waited:?}");
    // Whoever comes later does not wait for what others gave up.
    let asked = Instant::now();
    assert!(!gateway.issuer().refresh_for_unknown_key().await);
    assert!(asked.elapsed() < Duration::from_millis(150));
    assert_eq!(gateway.knows("one"), 1);
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_nothing_along() {
    let server = publishing(&[ec("one")]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    let body = serde_json::json!({ "keys": [ec("two")] }).to_string();
    server.answer("/jwks", Answer::Late(Duration::from_millis(50), ok(&body))).asked();
    assert!(timeout(Duration::from_millis(5), gateway.issuer().refresh_for_unknown_key()).await.is_err());
    until(|| gateway.knows("two") == 1).await;
    assert_eq!(server.asked(), ["/jwks"]);
}

#[tokio::test]
async fn without_keys_a_request_may_ask_for_them() {
    let server = TestIssuer::start().await;
    let slow = Pace { first_retry: Duration::from_hours(1), last_retry: Duration::from_hours(1), ..pace() };
    let gateway = Gateway::run_at(slow, "https://as.example", jwks_of(&server));
    until(|| !gateway.last_error().is_empty()).await;
    server.answer("/jwks", Answer::jwks(&[ec("one")]));
    assert!(gateway.issuer().refresh_for_unknown_key().await);
    assert_eq!(gateway.knows("one"), 1);
}

#[tokio::test]
async fn without_its_task_nothing_is_refreshed_and_nobody_hangs() {
    let server = publishing(&[ec("one")]).await;
    let patient = Pace { patience: Duration::from_millis(20), ..pace() };
    let roots = Arc::new(RootCertStore::empty());
    let gateway = Gateway::idle(roots, patient, "https://as.example", jwks_of(&server));
    assert!(!gateway.issuer().refresh_for_unknown_key().await);
    assert_eq!(server.asked(), Vec::<String>::new());
}
