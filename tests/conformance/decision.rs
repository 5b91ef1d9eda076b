//! A decision endpoint: trusted proxies ask, and forward themselves what is allowed.

use std::time::Duration;

use http::HeaderName;
use keybound::limits::{Per, Rate, RouteLimits};
use keybound::refusal::Reason;
use keybound::request::{Front, OriginalRequest};
use keybound::routes::{Forwarding, Policy, Route};
use keybound::verify::Accepted;

use crate::support::shot::Shot;
use crate::support::wire::{Answer, Http};
use crate::support::{Identity, Plan, World, public_route};

fn plan(asks: OriginalRequest) -> Plan {
    let front = Front {
        trusted: vec!["127.0.0.0/8".parse().unwrap()],
        forwarded: match asks {
            OriginalRequest::XForwarded => keybound::request::ForwardedFields::XForwarded,
            OriginalRequest::XOriginal | OriginalRequest::Request => keybound::request::ForwardedFields::Off,
        },
        asks: Some(asks),
        request_id: Some(HeaderName::from_static("x-request-id")),
        ..Front::default()
    };
    let claims = [("x-auth-subject", "sub"), ("x-auth-tenant", "tenant")];
    let claims = claims.map(|(name, claim)| (HeaderName::from_static(name), claim.to_owned())).to_vec();
    Plan { front, tls: false, forward: Forwarding { claims, ..Forwarding::default() }, ..Plan::default() }
}

/// The question about a request, as a proxy asks it.
#[derive(Clone)]
struct Question {
    asks: OriginalRequest,
    shot: Shot,
    id: Option<&'static str>,
}

impl Question {
    async fn ask(&self, http: Http) -> Answer {
        let mut message = self.shot.message();
        let (method, target) = (message.method.clone(), message.target.clone());
        let fields = match self.asks {
            OriginalRequest::Request => vec![],
            OriginalRequest::XForwarded => vec![
                ("X-Forwarded-Method", method),
                ("X-Forwarded-Proto", "https".to_owned()),
                ("X-Forwarded-Host", "rs.example".to_owned()),
                ("X-Forwarded-Uri", target),
            ],
            OriginalRequest::XOriginal => {
                vec![("X-Original-Method", method), ("X-Original-URL", format!("https://rs.example{target}"))]
            }
        };
        if self.asks != OriginalRequest::Request {
            message.method = "GET".to_owned();
            message.target = "/verdict".to_owned();
            message.host = Some("keybound.internal:8080".to_owned());
        }
        let id = self.id.map(|id| ("X-Request-Id", id.to_owned()));
        let fields = fields.into_iter().chain(id).map(|(name, value)| (name.to_owned(), value.into_bytes()));
        message.headers.extend(fields);
        self.shot.dialer().send(http, &message).await.unwrap()
    }
}

const ASKS: [OriginalRequest; 3] = [OriginalRequest::XForwarded, OriginalRequest::XOriginal, OriginalRequest::Request];

async fn world(asks: OriginalRequest) -> World {
    let plan = plan(asks);
    // Envoy asks in the request's own words, but for the scheme.
    let public_url = (asks == OriginalRequest::Request).then_some("https://rs.example");
    Plan { public_url, ..plan }.start().await
}

fn question(world: &World, asks: OriginalRequest) -> Question {
    Question { asks, shot: world.good().method("POST"), id: Some("0123456789abcdef") }
}

#[tokio::test]
async fn a_verdict_holds_what_the_upstream_should_get() {
    for asks in ASKS {
        let world = world(asks).await;
        for http in [Http::One, Http::Two] {
            let question = question(&world, asks);
            let frozen = question.shot.clone().frozen();
            let answer = Question { shot: frozen.clone(), ..question }.ask(http).await;
            assert_eq!(answer.status, 200, "{asks:?} {answer:?}");
            assert_eq!(answer.header("authorization"), Some(&*format!("Bearer {}", frozen.token_text())));
            assert_eq!(answer.all("x-auth-subject"), ["alice"]);
            assert_eq!(answer.all("x-auth-tenant"), [""], "so that a client's own is overwritten");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(answer.header("x-request-id").is_some() && answer.text().is_empty());
        }
        assert_eq!(world.upstream.count(), 0, "nothing is forwarded");
        assert_eq!(
            world.metric(r#"keybound_requests_total{binding="dpop",code="200",decision="allow",route="api"}"#),
            2
        );
    }
}

#[tokio::test]
async fn what_is_refused_is_refused_with_the_same_words() {
    for asks in ASKS {
        let world = world(asks).await;
        let good = question(&world, asks);
        for (shot, reason) in [
            (good.shot.clone().no_proof(), Reason::ProofMissing),
            (good.shot.clone().proof_claim("htm", "GET"), Reason::ProofMethod),
            (good.shot.clone().proof_claim("htu", "https://rs.example/verdict"), Reason::ProofTarget),
            (good.shot.clone().proof_claim("htu", "https://keybound.internal:8080/verdict"), Reason::ProofTarget),
            (good.shot.clone().scheme("Bearer").no_proof(), Reason::DpopTokenAsBearer),
        ] {
            let before = world.refusals("api", reason);
            let answer = Question { shot: shot.clone(), ..good.clone() }.ask(Http::One).await;
            assert_eq!(answer.status, 401, "{asks:?} {answer:?}");
            assert_eq!(world.refusals("api", reason), before + 1, "{asks:?} {}", reason.slug());
            // What clients are told elsewhere would lead to the proxy here.
            let shot = shot.with(|shot| shot.resource_metadata = None);
            crate::support::shape::assert_refusal(&answer, reason, &shot);
            for name in ["authorization", "x-auth-subject"] {
                assert_eq!(answer.header(name), None);
            }
        }
        assert_eq!(good.ask(Http::One).await.status, 200);
    }
}

/// Between two questions lies nothing but the id that the proxy gave to the request.
#[tokio::test]
async fn neg_134_a_proxy_may_ask_twice_about_one_request_and_nobody_else_may() {
    for asks in ASKS {
        let world = world(asks).await;
        let good = question(&world, asks);
        let first = Question { shot: good.shot.clone().frozen(), ..good };
        let mut refused = 0;
        assert_eq!(first.ask(Http::One).await.status, 200);
        assert_eq!(first.ask(Http::One).await.status, 200, "the same question");
        for id in [Some("fedcba9876543210"), Some("short"), Some(""), None] {
            let answer = Question { id, ..first.clone() }.ask(Http::One).await;
            refused += 1;
            assert_eq!((answer.status, world.refusals("api", Reason::ProofReplayed)), (401, refused), "{id:?}");
        }
        let twice = first.clone().shot.header("X-Request-Id", "0123456789abcdef");
        assert_eq!(Question { shot: twice, ..first.clone() }.ask(Http::One).await.status, 401, "named twice");
        // The proof is for one request all the same.
        let elsewhere = first.shot.clone().target_only("/api/other");
        assert_eq!(Question { shot: elsewhere, ..first.clone() }.ask(Http::One).await.status, 401);
        assert_eq!(first.ask(Http::Two).await.status, 200, "and still the same question");
        assert_eq!(world.spent(), 3, "a question that is asked again counts as decided again");
        world.set_clock(world.now() + 11);
        assert_eq!(first.ask(Http::One).await.status, 401, "nobody asks that late");
    }
}

/// Asking again is no other request of the caller's.
#[tokio::test]
async fn the_second_question_takes_nothing_of_the_limits() {
    let asks = OriginalRequest::XOriginal;
    let rate = Rate::new(1, Duration::from_secs(1), 1);
    let limits = Some(RouteLimits { per: Per::Thumbprint, rate: Some(rate), concurrent: None });
    let plan = plan(asks);
    let world = Plan { policy: Policy { limits, ..plan.policy }, ..plan }.start().await;
    let good = question(&world, asks);
    let first = Question { shot: good.shot.clone().frozen(), ..good.clone() };
    assert_eq!((first.ask(Http::One).await.status, first.ask(Http::One).await.status), (200, 200));
    let other = Question { id: Some("fedcba9876543210"), ..good };
    assert_eq!((other.ask(Http::One).await.status, world.refusals("api", Reason::LimitRate)), (429, 1));
}

/// The proxy would forward a request for them; a challenge must not lead to a place where nobody answers.
#[tokio::test]
async fn challenges_do_not_lead_to_metadata() {
    let asks = OriginalRequest::Request;
    let world = world(asks).await;
    let answer = Question { shot: world.good().no_proof(), ..question(&world, asks) }.ask(Http::One).await;
    assert!(!answer.header("www-authenticate").unwrap().contains("resource_metadata"), "{answer:?}");
    let document = world.good().no_proof().authorization(&[]).target_only("/.well-known/oauth-protected-resource");
    let answer = Question { shot: document, ..question(&world, asks) }.ask(Http::One).await;
    assert_eq!(answer.status, 401, "a request like every other");
}

/// A proxy that adds its own would say it twice, which browsers take for none.
#[tokio::test]
async fn a_verdict_leaves_cors_to_the_proxy() {
    let asks = OriginalRequest::XOriginal;
    let world = Plan { cors: Plan::cors().cors, ..plan(asks) }.start().await;
    let good = question(&world, asks);
    let from = |shot: Shot| Question { shot: shot.header("Origin", crate::support::APP), ..good.clone() };
    for (shot, status) in [
        (world.good().method("POST"), 200),
        (world.good().method("POST").no_proof(), 401),
        (world.good().method("OPTIONS").header("Access-Control-Request-Method", "POST").no_proof(), 401),
        (world.good().target_only("/a/../b"), 400),
    ] {
        let answer = from(shot).ask(Http::One).await;
        assert_eq!(answer.status, status, "{answer:?}");
        for name in ["access-control-allow-origin", "access-control-expose-headers", "vary"] {
            assert_eq!(answer.header(name), None, "{status}");
        }
    }
}

#[tokio::test]
async fn an_id_that_is_too_short_names_nothing() {
    let world = world(OriginalRequest::Request).await;
    let good = question(&world, OriginalRequest::Request);
    let short = Question { id: Some("0123456"), shot: good.shot.clone().frozen(), ..good };
    assert_eq!((short.ask(Http::One).await.status, short.ask(Http::One).await.status), (200, 401));
}

#[tokio::test]
async fn fields_that_tell_nothing_certain_are_400() {
    for (asks, names) in [
        (
            OriginalRequest::XForwarded,
            &["X-Forwarded-Method", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri"][..],
        ),
        (OriginalRequest::XOriginal, &["X-Original-Method", "X-Original-URL"]),
    ] {
        let world = world(asks).await;
        let good = question(&world, asks);
        for (count, name) in names.iter().enumerate() {
            // A second line is the client's, or the first one is.
            let twice = Question { shot: good.shot.clone().header(name, "x"), ..good.clone() };
            assert_eq!(twice.ask(Http::One).await.status, 400, "{name}");
            world.refused("none", Reason::HopMalformed, count as u64 + 1).await;
        }
        // None at all: somebody asks as another product would.
        let other = Question { asks: OriginalRequest::Request, ..good.clone() };
        assert_eq!(other.ask(Http::One).await.status, 400);
        assert_eq!(good.ask(Http::One).await.status, 200);
        assert_eq!(world.upstream.count(), 0);
    }
}

/// What a product does not set, its clients may. Another product's fields change nothing.
#[tokio::test]
async fn the_fields_of_other_products_change_nothing() {
    let lies = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/open"),
        ("X-Forwarded-Host", "liar.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Original-Method", "GET"),
        ("X-Original-URL", "https://rs.example/open"),
        ("X-Original-URI", "/open"),
        ("X-Rewrite-URL", "/open"),
        ("Forwarded", "host=liar.example;proto=http"),
        ("X-HTTP-Method-Override", "GET"),
    ];
    for (asks, own) in [
        (OriginalRequest::XForwarded, "X-Forwarded"),
        (OriginalRequest::XOriginal, "X-Original-"),
        (OriginalRequest::Request, "-"),
    ] {
        let plan = plan(asks);
        let public_url = (asks == OriginalRequest::Request).then_some("https://rs.example");
        let routes_before = vec![public_route("open", "/open")];
        let world = Plan { public_url, routes_before, ..plan }.start().await;
        let good = question(&world, asks);
        let spoken = |name: &str| name.starts_with(own) && name != "X-Original-URI";
        let shot =
            |shot: Shot| lies.iter().filter(|(name, _)| !spoken(name)).fold(shot, |shot, (n, v)| shot.header(n, v));
        let lied = Question { shot: shot(good.shot.clone()), ..good.clone() };
        assert_eq!(lied.ask(Http::One).await.status, 200, "{asks:?}: a good request with lies is a good request");
        let stolen = Question { shot: shot(good.shot.clone().no_proof()), ..good.clone() };
        assert_eq!(stolen.ask(Http::One).await.status, 401, "{asks:?}");
        assert_eq!(world.refusals("api", Reason::ProofMissing), 1);
    }
}

#[tokio::test]
async fn only_trusted_proxies_may_ask() {
    for asks in ASKS {
        let plan = plan(asks);
        let front = Front { trusted: vec!["10.0.0.0/8".parse().unwrap()], ..plan.front };
        let public_url = Some("https://rs.example");
        let world = Plan { front, public_url, ..plan }.start().await;
        let answer = question(&world, asks).ask(Http::One).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (403, None));
        world.refused("none", Reason::HopUntrusted, 1).await;
        assert_eq!(world.spent(), 0);
    }
}

/// nginx lets `?` and `#` stand in Host, and puts the URL together from it.
#[tokio::test]
async fn a_host_does_not_hide_the_path() {
    let asks = OriginalRequest::XOriginal;
    let world = Plan { routes_before: vec![public_route("open", "/open")], ..plan(asks) }.start().await;
    let shot = world.good().no_proof();
    for (count, url) in
        ["https://rs.example?/api/item", "https://rs.example#/api/item", "https://rs.example/open#/../api/item"]
            .into_iter()
            .enumerate()
    {
        let mut message = shot.message();
        let fields = [("X-Original-Method", "GET"), ("X-Original-URL", url)];
        message.headers.extend(fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        assert_eq!(shot.dialer().send(Http::One, &message).await.unwrap().status, 400, "{url}");
        world.refused("none", Reason::HopMalformed, count as u64 + 1).await;
    }
}

/// An API behind the proxy believes these fields on every route, so they are told on every route.
#[tokio::test]
async fn fields_of_other_routes_are_emptied_too() {
    let asks = OriginalRequest::XForwarded;
    let forward = Forwarding {
        claims: vec![(HeaderName::from_static("x-auth-admin"), "admin".to_owned())],
        headers: vec![(HeaderName::from_static("x-zone"), http::HeaderValue::from_static("inner"))],
        client_certificate: true,
        ..Forwarding::default()
    };
    let admin = Route { forward, ..public_route("admin", "/admin") };
    let routes_before = vec![admin, public_route("open", "/open")];
    let world = Plan { routes_before, ..plan(asks) }.start().await;
    let good = question(&world, asks);
    let open = Question { shot: good.shot.clone().target_only("/open/x").no_proof(), ..good.clone() };
    for answer in [good.ask(Http::One).await, open.ask(Http::One).await] {
        assert_eq!(answer.status, 200);
        for name in ["x-auth-admin", "x-zone", "client-cert"] {
            assert_eq!(answer.all(name), [""], "{name}");
        }
    }
}

/// The proxy's own certificate, in the handshake in which it asks, is nobody else's.
#[tokio::test]
async fn a_proxy_that_asks_lends_nobody_its_certificate() {
    let asks = OriginalRequest::XForwarded;
    let accepted = Accepted { dpop: true, mtls: true, unbound: false };
    let policy = Policy { accepted, ..Policy::default() };
    let world = Plan { tls: true, client_certificates: true, policy, ..plan(asks) }.start().await;
    let proxy = Identity::self_signed();
    let stolen = Question { shot: world.good_mtls(&proxy), ..question(&world, asks) };
    assert_eq!(stolen.ask(Http::One).await.status, 401);
    assert_eq!(world.refusals("api", Reason::CertificateMissing), 1);
}

#[tokio::test]
async fn where_it_only_observes_the_token_stays_as_it_came() {
    let asks = OriginalRequest::XForwarded;
    let world = Plan { observe: true, ..plan(asks) }.start().await;
    let good = question(&world, asks);
    for lines in [&["Bearer legacy"][..], &["Bearer one", "Bearer two"], &[]] {
        let legacy = Question { shot: good.shot.clone().no_proof().authorization(lines), ..good.clone() };
        let answer = legacy.ask(Http::One).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.all("authorization"), if lines.is_empty() { &[""][..] } else { lines });
        assert_eq!(answer.all("x-auth-subject"), [""]);
    }
}

#[tokio::test]
async fn a_public_route_is_allowed_and_proves_nobody() {
    let asks = OriginalRequest::XForwarded;
    let world = Plan { routes_before: vec![public_route("open", "/open")], ..plan(asks) }.start().await;
    let good = question(&world, asks);
    let open = Question { shot: good.shot.target_only("/open/x").no_proof(), ..good };
    let answer = open.ask(Http::One).await;
    assert_eq!((answer.status, answer.all("authorization")), (200, vec![""]));
}
