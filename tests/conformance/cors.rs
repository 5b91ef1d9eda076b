//! Scripts of other origins (the checklist's 2.15, Fetch): where a route has `cors`, a script of an allowed origin may send
//! a token and a proof, and can read every answer; nobody else hears a word.

use bytes::Bytes;
use http::{HeaderValue, Method, Response};
use http_body_util::Full;
use keybound::refusal::Reason;
use keybound::routes::{Access, Cors, Match, Origins, Policy, Route};
use keybound::verify::Nonces;

use crate::support::shot::Shot;
use crate::support::wire::{Answer, Http, Message};
use crate::support::{APP, HOST, NONCE_LIFE, NONCE_SECRET, NOW, Plan, World, public_route};

const NEEDED: &str = "DPoP-Nonce, WWW-Authenticate, Retry-After";

fn nonces() -> Plan {
    Plan { proofs: Plan::nonces().proofs, ..Plan::cors() }
}

fn from(shot: Shot, origin: &str) -> Shot {
    shot.header("Origin", origin)
}

/// What a browser sends before a script's request.
fn question_as(lines: &[(&str, &str)], target: &str, body: &str) -> Message {
    let headers = lines.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    let (method, host) = ("OPTIONS".to_owned(), Some(HOST.to_owned()));
    Message { method, target: target.to_owned(), host, headers, body: body.as_bytes().to_vec() }
}

async fn ask(world: &World, http: Http, target: &str, lines: &[(&str, &str)]) -> Answer {
    world.dialer.send(http, &question_as(lines, target, "")).await.unwrap()
}

async fn preflight(world: &World, http: Http, target: &str, origin: &str, method: &str) -> Answer {
    let fields = "authorization,content-type,dpop";
    let lines =
        [("Origin", origin), ("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", fields)];
    ask(world, http, target, &lines).await
}

fn said(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

fn counted(world: &World, route: &str, decision: &str, code: u16) -> u64 {
    let line = format!(
        "keybound_requests_total{{binding=\"none\",code=\"{code}\",decision=\"{decision}\",route=\"{route}\"}}"
    );
    world.metric(&line)
}

#[tokio::test]
async fn pos_44_a_preflight_is_answered_without_credentials() {
    let world = Plan::cors().start().await;
    for (http, count) in [(Http::One, 1), (Http::Two, 2)] {
        let answer = preflight(&world, http, "/api/item", APP, "PUT").await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
        assert_eq!(answer.all("access-control-allow-origin"), [APP]);
        assert_eq!(answer.all("access-control-allow-methods"), ["PUT"]);
        assert_eq!(answer.all("access-control-allow-headers"), ["Authorization, DPoP, content-type"]);
        assert_eq!(answer.all("access-control-max-age"), ["600"]);
        assert_eq!(said(&answer).len(), 4, "{answer:?}");
        assert_eq!(answer.all("vary"), ["Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]);
        assert_eq!((answer.all("www-authenticate").len(), answer.all("content-length").len()), (0, 0));
        assert_eq!(world.upstream.count(), 0, "never forwarded");
        assert_eq!(counted(&world, "api", "public", 204), count);
    }
    world.passes(&from(world.good().method("PUT"), APP)).await;
}

#[tokio::test]
async fn pos_44_the_request_follows_on_the_same_connection() {
    use tokio::io::AsyncWriteExt as _;
    let world = Plan::cors().start().await;
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    let question = [("Origin", APP), ("Access-Control-Request-Method", "GET")];
    for body in ["", "nobody sends this"] {
        stream.write_all(&question_as(&question, "/api/item", body).to_bytes()).await.unwrap();
        assert_eq!(crate::support::wire::read_answer(&mut *stream, false).await.unwrap().status, 204);
        stream.write_all(&from(world.good(), APP).message().to_bytes()).await.unwrap();
        assert_eq!(crate::support::wire::read_answer(&mut *stream, false).await.unwrap().status, 200);
    }
    assert_eq!(world.upstream.count(), 2);
}

#[tokio::test]
async fn pos_44_another_origin_is_not_told() {
    let world = Plan::cors().start().await;
    for origin in [
        "https://app.example.evil.example",
        "https://APP.example",
        "http://app.example",
        "null",
        "https://app.example:444",
        "https://app.example/",
    ] {
        let answer = preflight(&world, Http::One, "/api/item", origin, "GET").await;
        assert_eq!((answer.status, said(&answer).len()), (204, 0), "{origin} {answer:?}");
        assert!(answer.header("vary").unwrap().starts_with("Origin"));
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn pos_44_the_route_is_the_one_of_the_request_that_is_asked_about() {
    let limited = |name: &str, method: Method, cors: Option<Cors>| Route {
        matches: Match { path_prefix: "/limited".to_owned(), methods: vec![method], ..Match::default() },
        access: Access::Enforce(std::sync::Arc::new(Policy::default())),
        cors,
        ..public_route(name, "/limited")
    };
    let reads = Plan::cors().cors;
    let routes_before = vec![limited("reads", Method::GET, reads), limited("writes", Method::PUT, None)];
    let matches = Match { path_prefix: "/api".to_owned(), ..Match::default() };
    let world = Plan { routes_before, matches, ..Plan::cors() }.start().await;
    let answer = preflight(&world, Http::One, "/limited", APP, "GET").await;
    assert_eq!((answer.status, answer.all("access-control-allow-methods")), (204, vec!["GET"]));
    // A route without `cors`, and no route at all: the preflight is an ordinary request, which no route covers.
    for method in ["PUT", "DELETE"] {
        let answer = preflight(&world, Http::One, "/limited", APP, method).await;
        assert_eq!((answer.status, answer.all("access-control-allow-methods").len()), (404, 0), "{method}");
    }
    // What no script may send anyway is answered like the ordinary request that it is.
    for method in ["TRACE", "CONNECT", "P T"] {
        let answer = preflight(&world, Http::One, "/api/item", APP, method).await;
        assert_eq!((answer.status, answer.all("access-control-allow-methods").len()), (401, 0), "{method}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[tokio::test]
async fn pos_44_any_other_options_is_a_protected_request() {
    let world = Plan::cors().start().await;
    for lines in [
        &[][..],
        &[("Origin", APP)],
        &[("Access-Control-Request-Method", "GET")],
        &[("Origin", APP), ("Origin", APP), ("Access-Control-Request-Method", "GET")],
        &[("Origin", APP), ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Method", "PUT")],
    ] {
        let answer = ask(&world, Http::One, "/api/item", lines).await;
        assert_eq!((answer.status, answer.all("access-control-allow-methods").len()), (401, 0), "{lines:?}");
    }
    assert_eq!(world.upstream.count(), 0);
    world.refuses(Reason::ProofMissing, &from(world.good().method("OPTIONS"), APP).no_proof()).await;
    world.passes(&from(world.good().method("OPTIONS"), APP)).await;
}

#[tokio::test]
async fn pos_44_without_cors_a_preflight_is_a_request_like_every_other() {
    let world = Plan::default().start().await;
    let answer = preflight(&world, Http::One, "/api/item", APP, "GET").await;
    assert_eq!((answer.status, said(&answer).len(), world.upstream.count()), (401, 0, 0));
}

#[tokio::test]
async fn pos_45_a_script_can_read_what_the_api_answers() {
    let world = nonces().start().await;
    world.upstream.replies(|_| {
        let own = Response::builder().header("Access-Control-Allow-Origin", "*").header("Vary", "Accept");
        let own = own.header("Access-Control-Allow-Credentials", "true").header("Access-Control-Max-Age", "1");
        let own = own.header("Access-Control-Expose-Headers", "ETag, dpop-nonce");
        own.header("Access-Control-Expose-Headers", "X-Total").body(Full::new(Bytes::new())).unwrap()
    });
    for http in [Http::One, Http::Two] {
        let answer = world.passes_over(http, &from(world.good(), APP)).await;
        assert_eq!(answer.all("access-control-allow-origin"), [APP]);
        assert_eq!(
            answer.all("access-control-expose-headers"),
            ["ETag, dpop-nonce, X-Total, WWW-Authenticate, Retry-After"]
        );
        assert_eq!(answer.all("vary"), ["Accept", "Origin"]);
        assert_eq!(said(&answer).len(), 2, "{answer:?}");
        // The API may want to know where a script is from.
        assert_eq!(world.upstream.last().all("origin"), [APP]);
        for shot in [world.good(), from(world.good(), "https://other.example"), from(world.good(), "null")] {
            let answer = world.passes_over(http, &shot).await;
            assert_eq!((said(&answer).len(), answer.all("vary")), (0, vec!["Accept", "Origin"]), "{answer:?}");
        }
    }
    // The next nonce can be read as well.
    let half = i64::try_from(NONCE_LIFE.as_secs() / 2).unwrap();
    let old = Nonces::new([NONCE_SECRET], NONCE_LIFE).unwrap();
    let old = old.mint(keybound::time::UnixTime::from_secs(NOW - half - 1)).unwrap();
    let answer = world.passes_over(Http::One, &from(world.good(), APP).proof_claim("nonce", old)).await;
    assert_eq!((answer.all("dpop-nonce").len(), answer.all("access-control-allow-origin")), (1, vec![APP]));
}

#[tokio::test]
async fn shp_06_and_pos_45_every_refusal_can_be_read_by_scripts_that_may() {
    let mut plan = nonces();
    plan.policy.scopes = vec!["read".to_owned()];
    let world = plan.start().await;
    let good = || world.good();
    let route = |shot: Shot| shot.on_route("api");
    let refused = [
        (Reason::CredentialsMissing, good().authorization(&[])),
        (Reason::DpopTokenAsBearer, good().scheme("Bearer")),
        (Reason::CredentialsMultiple, good().authorization(&["DPoP {}", "DPoP {}"])),
        (Reason::TokenInQuery, route(good().authorization(&[]).target_only("/api/item?access_token=x"))),
        (Reason::TokenExpired, good().claim("exp", NOW - 60)),
        (Reason::ProofMissing, good().no_proof()),
        (Reason::ProofNonceMissing, good().no_proof_claim("nonce")),
        (Reason::ProofStale, good().proof_claim("iat", NOW - 303)),
        (Reason::ProofTarget, good().proof_claim("htu", "https://rs.example/other")),
        (Reason::ProofKeyMismatch, Shot::dpop(&world, &world.k2).claim("cnf", good().token.claims["cnf"].clone())),
        (Reason::TargetInvalid, good().target_only("/api/%2e%2e/item")),
        (Reason::ConnectionNominates, good().header("Connection", "authorization")),
    ];
    for (reason, shot) in refused {
        for origin in [APP, "https://other.example"] {
            let shot = from(shot.clone(), origin);
            // HTTP/2 has no such field.
            if reason == Reason::ConnectionNominates {
                world.refuses_over(Http::One, reason, &shot).await;
            } else {
                world.refuses(reason, &shot).await;
            }
        }
    }
}

#[tokio::test]
async fn shp_06_refusals_of_policy_and_of_the_upstream_can_be_read_too() {
    let mut plan = Plan::cors();
    plan.policy.scopes = vec!["admin".to_owned()];
    let world = plan.start().await;
    for origin in [APP, "https://other.example"] {
        let shot = from(world.good(), origin);
        let answer = shot.send(Http::Two).await;
        assert_eq!(answer.status, 403);
        crate::support::shape::assert_refusal(&answer, Reason::ScopeMissing, &shot);
    }
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = Plan { upstream: Some(free), ..Plan::cors() }.start().await;
    let shot = from(world.good(), APP);
    let answer = shot.send(Http::Two).await;
    assert_eq!(answer.status, 502);
    crate::support::shape::assert_refusal(&answer, Reason::UpstreamUnreachable, &shot);
}

#[tokio::test]
async fn shp_06_before_there_is_a_route_any_rule_that_allows_the_origin_counts() {
    let matches = Match { path_prefix: "/api".to_owned(), ..Match::default() };
    let world = Plan { matches, ..Plan::cors() }.start().await;
    let stray = world.good().target("/elsewhere");
    world.refuses(Reason::NoRoute, &from(stray.clone(), APP)).await;
    world.refuses(Reason::NoRoute, &from(stray.clone(), "https://other.example")).await;
    world.refuses(Reason::NoRoute, &stray).await;
}

#[tokio::test]
async fn every_origin_and_credentials() {
    let any = Cors { origins: Origins::Any, allow_credentials: false, max_age: Cors::MAX_AGE };
    let world = Plan { cors: Some(any), ..Plan::default() }.start().await;
    for shot in [world.good(), from(world.good(), "https://whoever.example"), from(world.good(), "null")] {
        let answer = world.passes_over(Http::One, &shot).await;
        assert_eq!(answer.all("access-control-allow-origin"), ["*"]);
        assert_eq!((answer.all("access-control-expose-headers"), answer.all("vary").len()), (vec![NEEDED], 0));
    }
    let answer = preflight(&world, Http::One, "/api/item", "null", "GET").await;
    assert_eq!(answer.all("access-control-allow-origin"), ["*"]);
    assert_eq!(answer.all("access-control-allow-credentials").len(), 0);

    let mut own = Plan::cors().cors.unwrap();
    own.allow_credentials = true;
    let world = Plan { cors: Some(own), ..Plan::default() }.start().await;
    let answers = [
        preflight(&world, Http::One, "/api/item", APP, "GET").await,
        world.passes_over(Http::One, &from(world.good(), APP)).await,
        from(world.good().no_proof(), APP).send(Http::One).await,
    ];
    for answer in answers {
        assert_eq!(answer.all("access-control-allow-credentials"), ["true"], "{answer:?}");
        assert_eq!(answer.all("access-control-allow-origin"), [APP], "{answer:?}");
    }
    let other = world.passes_over(Http::One, &from(world.good(), "https://other.example")).await;
    assert_eq!(said(&other), [""; 0]);
}

#[tokio::test]
async fn without_cors_the_upstream_speaks_and_only_names_are_added() {
    let routes_before = vec![public_route("open", "/open")];
    let world = Plan { routes_before, ..Plan::default() }.start().await;
    world.upstream.replies(|_| {
        let own = Response::builder().header("Access-Control-Allow-Origin", "https://its.example");
        let own = own.header("Access-Control-Allow-Credentials", "true");
        own.header("Access-Control-Expose-Headers", "ETag").body(Full::new(Bytes::new())).unwrap()
    });
    let answer = world.passes_over(Http::One, &from(world.good(), APP)).await;
    assert_eq!(answer.all("access-control-allow-origin"), ["https://its.example"]);
    assert_eq!(answer.all("access-control-allow-credentials"), ["true"]);
    assert_eq!(answer.all("access-control-expose-headers"), [format!("ETag, {NEEDED}")]);
    assert_eq!(answer.all("vary").len(), 0);
    // On a public route the gateway adds nothing that a script would need.
    let open = from(world.good().authorization(&[]).no_proof().target_only("/open"), APP).send(Http::One).await;
    assert_eq!((open.status, open.all("access-control-expose-headers")), (200, vec!["ETag"]));
    // An upstream that does not speak is not spoken for.
    world.upstream.replies(|_| Response::new(Full::new(Bytes::new())));
    assert_eq!(said(&world.passes_over(Http::One, &from(world.good(), APP)).await), [""; 0]);
}

#[tokio::test]
async fn a_public_route_can_have_cors_too() {
    let mut open = public_route("open", "/open");
    open.cors = Some(Cors {
        origins: Origins::Listed(vec![HeaderValue::from_static(APP)]),
        allow_credentials: false,
        max_age: std::time::Duration::ZERO,
    });
    let world = Plan { routes_before: vec![open], ..Plan::default() }.start().await;
    let answer = preflight(&world, Http::One, "/open", APP, "GET").await;
    assert_eq!((answer.status, answer.all("access-control-max-age"), world.upstream.count()), (204, vec!["0"], 0));
    let answer = from(world.good().authorization(&[]).no_proof().target_only("/open"), APP).send(Http::One).await;
    assert_eq!((answer.status, answer.all("access-control-allow-origin")), (200, vec![APP]));
}
