//! 3.1: what must pass. Cases about one subject stand with it; these are the rest.

use keybound::refusal::Reason;
use keybound::routes::AuthorizationForward;
use serde_json::json;

use crate::support::wire::Http;
use crate::support::{Identity, Plan, public_route, world};

#[tokio::test]
async fn pos_01_the_baseline() {
    let world = world().await;
    world.passes(&world.good()).await;
    let seen = world.upstream.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/api/item?q=1"));
}

#[tokio::test]
async fn pos_02_every_method() {
    let world = world().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        world.passes(&world.good().method(method).body("x")).await;
        assert_eq!((world.upstream.last().method.as_str(), &world.upstream.last().body[..]), (method, &b"x"[..]));
    }
    world.passes(&world.good().method("HEAD")).await;
}

#[tokio::test]
async fn pos_03_to_06_spellings_of_fields_and_schemes() {
    let world = world().await;
    for name in ["DPOP", "dpop", "dPoP"] {
        let shot = world.good();
        let token = shot.token_text();
        let proof = shot.proof_compact(&token).unwrap();
        let shot = shot.with(|shot| {
            shot.token_text = Some(token);
            shot.proof_lines = Some(Vec::new());
        });
        world.passes_over(Http::One, &shot.header(name, format!("  {proof} \t"))).await;
    }
    for scheme in ["dpop", "DPOP", "dpOp"] {
        world.passes(&world.good().scheme(scheme)).await;
    }
    world.passes_over(Http::One, &world.good().authorization(&["DPoP    {}"])).await;
}

#[tokio::test]
async fn pos_09_and_10_unknown_members_and_shuffled_keys() {
    let world = world().await;
    let shot =
        world.good().proof_header("x", json!({"a": [1]})).proof_claim("nbf", 1).proof_claim("y", json!({"z": null}));
    world.passes(&shot).await;
    let jwk = world.k1.jwk();
    let shuffled = format!(
        r#"{{"jwk":{{"y":{},"ext":true,"use":"sig","kid":"7","key_ops":["verify"],"alg":"ES256","x5c":["MIIB"],"x":{},"crv":"P-256","kty":"EC"}},"alg":"ES256","typ":"dpop+jwt"}}"#,
        jwk["y"], jwk["x"]
    );
    let shot = world.good().with(|shot| shot.proof.as_mut().unwrap().header_text = Some(shuffled.into_bytes()));
    world.passes(&shot).await;
}

#[tokio::test]
async fn pos_32_a_nonce_that_nobody_asked_for() {
    let world = world().await;
    world.passes(&world.good().proof_claim("nonce", "from-a-sibling")).await;
}

#[tokio::test]
async fn pos_48_a_good_request_after_bad_ones_on_the_same_connection() {
    use tokio::io::AsyncWriteExt as _;
    let world = world().await;
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    for shot in [
        world.good().no_proof(),
        world.good().proof_claim("htm", "PUT"),
        world.good().method("POST").no_proof().body("abc"),
    ] {
        stream.write_all(&shot.message().to_bytes()).await.unwrap();
        assert_eq!(crate::support::wire::read_answer(&mut *stream, false).await.unwrap().status, 401);
    }
    stream.write_all(&world.good().message().to_bytes()).await.unwrap();
    assert_eq!(crate::support::wire::read_answer(&mut *stream, false).await.unwrap().status, 200);
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test]
async fn pos_59_scope_and_authentication_suffice() {
    let mut plan = Plan::default();
    plan.policy.scopes = vec!["read".to_owned()];
    plan.policy.acr_values = vec!["phr".to_owned(), "phrh".to_owned()];
    let world = plan.start().await;
    world.passes(&world.good().claim("acr", "phrh")).await;
}

#[tokio::test]
async fn pos_60_parameters_that_only_look_like_tokens() {
    let world = world().await;
    for query in ["access_tokens=1", "filter=access_token", "xaccess_token=1", "access-token=1"] {
        let shot = world.good().with(|shot| shot.target = format!("/api/item?{query}"));
        world.passes(&shot).await;
        assert_eq!(world.upstream.last().target, format!("/api/item?{query}"));
    }
}

#[tokio::test]
async fn pos_61_and_neg_250_what_the_upstream_sees() {
    let mut plan = Plan::mtls();
    plan.forward.claims = vec![("x-auth-subject".parse().unwrap(), "sub".to_owned())];
    plan.forward.headers = vec![("x-gateway".parse().unwrap(), "keybound".parse().unwrap())];
    let world = plan.start().await;
    let identity = Identity::self_signed();
    let token_as = |shot: crate::support::shot::Shot| shot.frozen();
    let shot = token_as(world.good().dial(world.dial_as(&identity)));
    let spoofed = [
        ("X-Auth-Subject", "mallory"),
        ("x_auth_subject", "mallory"),
        ("X-Auth.Subject", "mallory"),
        ("X-Gateway", "x"),
        ("Client-Cert", ":AQ==:"),
        ("Client-Cert-Chain", ":AQ==:"),
        ("X-Forwarded-Client-Cert", "Hash=00"),
        ("X-SSL-Client-Cert", "x"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "ftp"),
        ("X-Forwarded-Host", "evil"),
        ("X_Forwarded_For", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Real-IP", "6.6.6.6"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
        ("Proxy-Authorization", "Basic x"),
        ("Keep-Alive", "timeout=1"),
        ("X-Request-Id", "mine"),
        ("Authorization_", "x"),
    ];
    let shot = spoofed.iter().fold(shot, |shot, (name, value)| shot.header(name, value)).header("Via", "1.0 edge");
    let token = shot.token_text();
    world.passes_over(Http::One, &shot).await;
    let seen = world.upstream.last();
    assert_eq!(seen.all("authorization"), [format!("Bearer {token}")]);
    assert_eq!(seen.all("x-auth-subject"), ["alice"]);
    assert_eq!(seen.all("x-gateway"), ["keybound"]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-host"), ["rs.example"]);
    assert_eq!(seen.all("forwarded"), [r#"for=127.0.0.1;host="rs.example";proto=https"#]);
    assert_eq!(seen.all("via"), ["1.0 edge, 1.1 keybound"]);
    assert_eq!(seen.all("host"), ["rs.example"]);
    assert_eq!(seen.all("x-request-id").len(), 1);
    assert_ne!(seen.header("x-request-id"), Some("mine"));
    for gone in [
        "dpop",
        "client-cert",
        "client-cert-chain",
        "x-forwarded-client-cert",
        "x-ssl-client-cert",
        "x_auth_subject",
        "x-auth.subject",
        "x_forwarded_for",
        "x-real-ip",
        "x-original-url",
        "x-rewrite-url",
        "proxy-authorization",
        "keep-alive",
        "authorization_",
        "connection",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn neg_250_no_claim_leaves_no_room_for_a_lie() {
    let mut plan = Plan::default();
    plan.forward.claims = vec![("x-auth-tenant".parse().unwrap(), "tenant".to_owned())];
    let world = plan.start().await;
    let spoofed = || world.good().header("X-Auth-Tenant", "mine").header("X_AUTH_TENANT", "mine");
    for absent in [spoofed(), spoofed().claim("tenant", serde_json::Value::Null), spoofed().claim("tenant", "a\r\nb")] {
        world.passes_over(Http::One, &absent).await;
        let seen = world.upstream.last();
        assert_eq!((seen.header("x-auth-tenant"), seen.header("x_auth_tenant")), (None, None));
    }
    world.passes_over(Http::Two, &spoofed().claim("tenant", "blue")).await;
    assert_eq!(world.upstream.last().all("x-auth-tenant"), ["blue"]);
}

#[tokio::test]
async fn pos_61_authorization_as_the_route_says() {
    for (forward, expected) in [
        (AuthorizationForward::Bearer, Some("Bearer ")),
        (AuthorizationForward::Keep, Some("DPoP ")),
        (AuthorizationForward::Strip, None),
    ] {
        let mut plan = Plan::default();
        plan.forward.authorization = forward;
        let world = plan.start().await;
        let shot = world.good().frozen();
        world.passes_over(Http::Two, &shot).await;
        let seen = world.upstream.last();
        let expected = expected.map(|scheme| format!("{scheme}{}", shot.token_text()));
        assert_eq!(seen.header("authorization").map(str::to_owned), expected);
        assert_eq!(seen.header("dpop"), None);
    }
}

#[tokio::test]
async fn pos_64_no_nonce_is_ever_handed_out_where_none_is_required() {
    let world = world().await;
    for http in [Http::One, Http::Two] {
        let answer = world.passes_over(http, &world.good()).await;
        assert_eq!(answer.header("dpop-nonce"), None);
    }
}

#[tokio::test]
async fn a_public_route_forwards_no_credentials() {
    let mut plan = Plan::default();
    plan.routes_before.push(public_route("open", "/open"));
    let world = plan.start().await;
    let answer = world.good().no_proof().authorization(&[]).target_only("/open/x").send(Http::One).await;
    assert_eq!(answer.status, 200);
    let stolen = world.good().scheme("Bearer").no_proof().target_only("/open/x");
    world.passes(&stolen).await;
    let seen = world.upstream.last();
    assert_eq!((seen.header("authorization"), seen.header("dpop")), (None, None));
    let in_query = world.good().authorization(&[]).no_proof().target_only("/open/x?access_token=abc").on_route("open");
    world.refuses(Reason::TokenInQuery, &in_query).await;
    assert!(
        world
            .metrics()
            .contains(r#"keybound_requests_total{binding="none",code="200",decision="public",route="open"}"#)
    );
}

#[tokio::test]
async fn pos_53_websocket() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = echo.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = echo.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        use futures_util::{SinkExt as _, StreamExt as _};
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let world = Plan { upstream: Some(address), ..Plan::default() }.start().await;
    let shot = world.good().header("Connection", "Upgrade").header("Upgrade", "websocket");
    let shot = shot.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    stream.write_all(&shot.message().to_bytes()).await.unwrap();
    let answer = crate::support::wire::read_one(&mut *stream, false).await.unwrap();
    assert_eq!((answer.status, answer.header("sec-websocket-accept")), (101, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    // A masked text frame "hi", and the server's echo of it (RFC 6455 §5.7).
    stream.write_all(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await.unwrap();
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, &[0x81, 2, b'h', b'i']);
    task.abort();
}
