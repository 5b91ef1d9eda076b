//! Ways round: what a route forbids must not be reached by another spelling, another route or another part of the
//! message (NEG-250, DEF-05, HTTP-21 to HTTP-24).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use keybound::refusal::Reason;
use keybound::routes::{Access, Described, Forwarding, Match, Policy, Route};
use tokio::io::AsyncWriteExt as _;

use crate::support::wire::{Answer, Http, Message, read_one};
use crate::support::{HOST, Plan, World, public_route, world};

fn identity() -> Forwarding {
    let claims = vec![
        ("x-auth-subject".parse().unwrap(), "sub".to_owned()),
        ("x-auth-groups".parse().unwrap(), "groups".to_owned()),
    ];
    Forwarding { claims, ..Forwarding::default() }
}

fn strict_route(path_prefix: &str, hosts: &[&str]) -> Route {
    let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
    Route {
        name: format!("strict{}", path_prefix.len()),
        matches: Match { path_prefix: path_prefix.to_owned(), hosts, methods: Vec::<Method>::new() },
        access: Access::Enforce(Arc::new(Policy::default())),
        upstream: Some(0),
        forward: Forwarding::default(),
        cors: None,
        metadata: Described::default(),
    }
}

/// A request without credentials.
async fn bare(world: &World, target: &str, host: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let message = Message {
        method: "GET".to_owned(),
        target: target.to_owned(),
        host: Some(host.to_owned()),
        headers,
        body: Vec::new(),
    };
    world.dialer.send(Http::One, &message).await.unwrap()
}

#[tokio::test]
async fn neg_250_identity_of_one_route_cannot_be_claimed_through_another() {
    let plan = Plan { forward: identity(), routes_before: vec![public_route("open", "/open")], ..Plan::default() };
    let world = plan.start().await;
    let answer = bare(&world, "/open/x", HOST, &[("X-Auth-Subject", "admin"), ("X_Auth_Groups", "admin")]).await;
    assert_eq!(answer.status, 200);
    let seen = world.upstream.last();
    assert_eq!((seen.header("x-auth-subject"), seen.header("x_auth_groups")), (None, None));
}

#[tokio::test]
async fn neg_250_nor_in_a_trailer() {
    let world = Plan { forward: identity(), ..Plan::default() }.start().await;
    let text = String::from_utf8(world.good().method("POST").message().to_bytes()).unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    let chunked = format!(
        "{text}Transfer-Encoding: chunked\r\nTrailer: X-Auth-Subject, X-Sum, Cookie\r\n\r\n5\r\nhello\r\n0\r\n\
         X-Auth-Subject: admin\r\nCookie: a=1\r\nX-Sum: 1\r\n\r\n"
    );
    assert_eq!(world.dialer.send_bytes(chunked.as_bytes(), false).await.unwrap().status, 200);
    let trailers = world.upstream.last().trailers.unwrap();
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
}

#[tokio::test]
async fn a_path_that_a_lenient_upstream_reads_as_a_protected_one_is_refused() {
    let routes_before =
        vec![strict_route("/open/admin", &[]), strict_route("/open/users:all", &[]), public_route("open", "/open")];
    let world = Plan { routes_before, ..Plan::default() }.start().await;
    for path in [
        "/open//admin",
        "/open/;/admin",
        "/open/admin;x=1",
        "/open/admin%3bx",
        "/open;x/admin",
        "/open/users%3Aall",
        "/open///admin",
    ] {
        let before = world.refusals("none", Reason::TargetInvalid);
        assert_eq!(bare(&world, path, HOST, &[]).await.status, 400, "{path}");
        assert_eq!(world.refusals("none", Reason::TargetInvalid), before + 1, "{path}");
    }
    for path in ["/open/admin", "/open/%61dmin", "/open/users:all"] {
        assert_eq!(bare(&world, path, HOST, &[]).await.status, 401, "{path}");
    }
    assert_eq!(world.upstream.count(), 0);
    for path in ["/open/x;y=1", "/open//x", "/open/x%20y", "/opener"] {
        let answer = bare(&world, path, HOST, &[]).await;
        assert_eq!(answer.status, if path == "/opener" { 401 } else { 200 }, "{path}");
    }
}

#[tokio::test]
async fn a_final_dot_does_not_make_another_host() {
    let world = Plan { routes_before: vec![strict_route("/", &[HOST]), public_route("open", "/")], ..Plan::default() };
    let world = world.start().await;
    for host in [HOST, "rs.example.", "RS.example.:443"] {
        assert_eq!(bare(&world, "/x", host, &[]).await.status, 401, "{host}");
    }
    assert_eq!(world.upstream.count(), 0);
    assert_eq!(bare(&world, "/x", "localhost.", &[]).await.status, 200);
    assert_eq!(world.upstream.last().all("host"), ["localhost"]);
}

#[tokio::test]
async fn a_stripped_prefix_is_stripped_in_every_spelling_or_refused() {
    let mut route = public_route("open", "/open");
    route.forward.strip_prefix = Some("/open".to_owned());
    let world = Plan { routes_before: vec![route], ..Plan::default() }.start().await;
    for (target, seen) in
        [("/open/x?y", "/x?y"), ("/%6fpen/x", "/x"), ("/open", "/"), ("/open?y", "/?y"), ("/o%70en", "/")]
    {
        assert_eq!(bare(&world, target, HOST, &[]).await.status, 200, "{target}");
        assert_eq!(world.upstream.last().target, seen);
    }
    let before = world.upstream.count();
    for target in ["/open//evil.example/x", "/open//"] {
        assert_eq!(bare(&world, target, HOST, &[]).await.status, 400, "{target}");
    }
    assert_eq!(world.upstream.count(), before);
}

#[tokio::test]
async fn targets_of_another_form_or_scheme_are_refused() {
    let world = Plan { routes_before: vec![public_route("open", "/")], ..Plan::default() }.start().await;
    for (target, status) in [
        ("rs.example", 400),
        ("rs.example:443", 400),
        ("ftp://rs.example/x", 400),
        ("http://rs.example/x", 421),
        ("*", 400),
        ("https://rs.example/x", 200),
    ] {
        assert_eq!(bare(&world, target, HOST, &[]).await.status, status, "{target}");
    }
    assert_eq!(world.upstream.count(), 1);
    // The same over HTTP/2: `:scheme` is part of the target (RFC 9113 §8.3.1).
    let message = Message { target: "http://rs.example/x".to_owned(), ..world.good().message() };
    assert_eq!(world.dialer.send(Http::Two, &message).await.unwrap().status, 421);
    assert_eq!(world.upstream.count(), 1);
}

#[tokio::test]
async fn tokens_in_the_query_under_names_that_upstreams_fold() {
    let world = Plan { routes_before: vec![public_route("open", "/open")], ..Plan::default() }.start().await;
    for query in [
        "access.token=a",
        "access+token=a",
        "access%20token=a",
        "access_token[]=a",
        "+access_token=a",
        "access_token%00=a",
        "ACCESS_TOKEN=a",
        "%20access_token=a",
        "x&access_token=a",
        "x;access_token=a",
    ] {
        assert_eq!(bare(&world, &format!("/open/x?{query}"), HOST, &[]).await.status, 400, "{query}");
    }
    assert_eq!((world.upstream.count(), world.refusals("open", Reason::TokenInQuery)), (0, 10));
}

#[tokio::test]
async fn facts_about_clients_and_proxies_come_from_the_gateway_alone() {
    let world = Plan { routes_before: vec![public_route("open", "/open")], ..Plan::default() }.start().await;
    for name in [
        "Proxy",
        "Remote-User",
        "X-Remote-User",
        "X-Authenticated-User",
        "True-Client-IP",
        "X-Client-IP",
        "X-Host",
        "Front-End-Https",
        "X-SSL-Subject",
        "X-Envoy-Original-Path",
        "X-Url-Scheme",
        "X-HTTP-Path-Override",
        "HTTP2-Settings",
        "X-Original-Host",
        "Max-Forwards",
        "Content_Length",
        "X-HTTP-Method",
        "X.Forwarded.For",
    ] {
        assert_eq!(bare(&world, "/open/x", HOST, &[(name, "3")]).await.status, 200, "{name}");
        assert_eq!(world.upstream.last().header(&name.to_ascii_lowercase()), None, "{name}");
    }
}

#[tokio::test]
async fn cookies_of_http_2_are_one_line_in_http_1() {
    let world = world().await;
    world.passes_over(Http::Two, &world.good().header("cookie", "a=1").header("cookie", "b=2")).await;
    assert_eq!(world.upstream.last().all("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn te_names_itself_and_via_names_what_came() {
    let world = world().await;
    world.passes_over(Http::Two, &world.good().header("te", "trailers")).await;
    let seen = world.upstream.last();
    assert_eq!(
        (seen.header("te"), seen.header("connection"), seen.header("via")),
        (Some("trailers"), Some("te"), Some("2.0 keybound"))
    );
}

#[tokio::test]
async fn http_24_a_joined_dpop_challenge_of_the_upstream_is_dropped() {
    let world = world().await;
    world.upstream.replies(|_| {
        let joined = "Bearer realm=\"api\", DPoP error=\"use_dpop_nonce\"";
        Response::builder().status(401).header("WWW-Authenticate", joined).body(Full::new(Bytes::new())).unwrap()
    });
    let answer = world.good().send(Http::One).await;
    assert_eq!((answer.status, answer.all("www-authenticate").len()), (401, 0));
}

#[tokio::test]
async fn claims_that_a_field_would_change_are_left_out() {
    let world = Plan { forward: identity(), ..Plan::default() }.start().await;
    let shot = world.good().claim("sub", " alice ").claim("groups", serde_json::json!(["users,admin"]));
    world.passes_over(Http::One, &shot).await;
    let seen = world.upstream.last();
    assert_eq!((seen.header("x-auth-subject"), seen.header("x-auth-groups")), (None, None));
    world.passes_over(Http::One, &world.good().claim("groups", serde_json::json!(["users", "staff"]))).await;
    assert_eq!(world.upstream.last().header("x-auth-groups"), Some("users,staff"));
}

#[tokio::test]
async fn a_client_that_stalls_its_upload_is_told_so() {
    use tokio::io::AsyncWriteExt as _;
    let world = Plan { response_timeout: Duration::from_millis(300), ..Plan::default() }.start().await;
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    let message = world.good().method("POST").header("Content-Length", "10").message();
    stream.write_all(&message.to_bytes()).await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    let answer = crate::support::wire::read_answer(&mut *stream, false).await.unwrap();
    assert_eq!((answer.status, world.refusals("api", Reason::ClientSlow)), (408, 1));
}

#[tokio::test]
async fn a_proof_that_policy_refuses_is_spent_and_counted() {
    let mut plan = Plan::default();
    plan.policy.scopes = vec!["orders".to_owned()];
    let world = plan.start().await;
    let shot = world.good().frozen();
    assert_eq!((shot.send(Http::One).await.status, world.spent()), (403, 1));
    assert_eq!(shot.send(Http::One).await.status, 401);
    assert_eq!((world.refusals("api", Reason::ProofReplayed), world.upstream.count()), (1, 0));
}

/// An answer may come before its request is through. Whatever comes late is the rest of that request and never another
/// one, however long it takes.
#[tokio::test]
async fn the_body_of_an_answered_request_is_no_request() {
    let world = world().await;
    let other = world.good().message().to_bytes();
    let refused = String::from_utf8(world.good().method("POST").no_proof().message().to_bytes()).unwrap();
    let refused = format!("{}Content-Length: {}\r\n\r\n", refused.strip_suffix("\r\n").unwrap(), other.len());
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    stream.write_all(refused.as_bytes()).await.unwrap();
    assert_eq!(read_one(&mut *stream, false).await.unwrap().status, 401);
    // Longer than it takes until a connection rests.
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    stream.write_all(&other).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(300), read_one(&mut *stream, false)).await;
    assert!(answer.is_err(), "the body was taken for a request: {:?}", answer.unwrap().map(|answer| answer.status));
    assert_eq!(world.upstream.count(), 0);
    stream.write_all(&world.good().message().to_bytes()).await.unwrap();
    assert_eq!(read_one(&mut *stream, false).await.unwrap().status, 200);
}
