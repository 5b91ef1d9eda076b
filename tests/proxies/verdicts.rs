//! Proxies that ask for a verdict and forward themselves: product by product, the same answers.

use std::net::SocketAddr;

use crate::product::{Kind, Product, adapted, free_port};
use crate::stage::{Gateway, Stage, message};
use crate::support::upstream::Upstream;
use crate::support::wire::{Answer, Dialer, Http, Message, client_tls};
use crate::support::{AUDIENCE, HOST, ISSUER};
use crate::terminators::run;

/// A gateway as `deploy/keybound-forward-auth.yaml` has it, that demands nonces.
async fn gateway(stage: &Stage, kind: Kind, port: u16) -> Gateway {
    let original_request = match kind {
        Kind::Nginx => "x-original",
        Kind::Caddy => "x-forwarded",
        Kind::Envoy | Kind::Apache | Kind::Haproxy => "request",
    };
    let keys = format!("audiences: [{AUDIENCE}]\n    keys: {{ jwks_uri: '{}' }}", stage.issuer.jwks_uri());
    let text = adapted(
        "keybound-forward-auth.yaml",
        &[
            ("127.0.0.1:9180", "127.0.0.1:0"),
            ("public_url: https://api.example.com", &format!("public_url: https://{HOST}:{port}")),
            ("original_request: x-original ", &format!("original_request: {original_request} ")),
            ("https://auth.example.com", ISSUER),
            ("audiences: [https://api.example.com]", &keys),
        ],
    );
    // These ask once.
    let text = if original_request == "request" {
        text.lines().filter(|line| !line.contains("request_id_header")).flat_map(|line| [line, "\n"]).collect()
    } else {
        text
    };
    run(stage, &format!("{text}admin: {{ address: '127.0.0.1:0' }}\ndpop: {{ nonce: {{ mode: required }} }}\n")).await
}

struct Scene {
    stage: Stage,
    upstream: Upstream,
    gateway: Gateway,
    product: Product,
    kind: Kind,
}

/// The API's path and method of every call here.
const TARGET: &str = "/orders/7?expand=lines";

impl Scene {
    /// `more` changes the product's file, once the addresses of gateway and API are known.
    async fn set(kind: Kind, file: &str, more: impl FnOnce(SocketAddr, SocketAddr) -> Vec<(String, String)>) -> Self {
        let (stage, upstream, port) = (Stage::set().await, Upstream::start().await, free_port());
        let gateway = gateway(&stage, kind, port).await;
        let more = more(gateway.address, upstream.address);
        let more: Vec<(&str, &str)> = more.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        let api = Some(upstream.address);
        let product = Product::start_with(kind, file, &stage, gateway.address, api, port, &more).await;
        Self { stage, upstream, gateway, product, kind }
    }

    /// A POST through the product, as a client sees it: its URL has the port.
    fn call(&self, nonce: Option<&str>) -> Message {
        let token = self.stage.token().compact();
        let mut proof = self.stage.proof(&token, "POST", "");
        proof.claims.insert("htu".into(), format!("https://{HOST}:{}/orders/7", self.product.address.port()).into());
        if let Some(nonce) = nonce {
            proof.claims.insert("nonce".into(), nonce.into());
        }
        let mut call = message(TARGET, &[("Authorization", &format!("DPoP {token}")), ("DPoP", &proof.compact())]);
        call.method = "POST".to_owned();
        call.host = Some(format!("{HOST}:{}", self.product.address.port()));
        call.body = b"{\"amount\":1}".to_vec();
        call
    }

    async fn send(&self, http: Http, message: &Message) -> Answer {
        let tls = Some(client_tls(None));
        let dialer = Dialer { address: self.product.address, tls, server_name: HOST.to_owned(), announce: Vec::new() };
        let answer = dialer.send(http, message).await;
        answer.unwrap_or_else(|error| panic!("{:?}: {error}: {}", self.kind, self.product.log()))
    }

    /// What it answers, and that the API saw nothing.
    async fn refused(&self, http: Http, message: &Message, error: &str) -> Answer {
        let before = self.upstream.count();
        let answer = self.send(http, message).await;
        let context = format!("{:?} {http:?} {answer:?} {}", self.kind, self.product.log());
        assert_eq!(answer.status, 401, "{context}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert!(challenge.contains(&format!("error=\"{error}\"")), "{context}");
        assert_eq!(self.upstream.count(), before, "{context}");
        answer
    }

    async fn allowed(&self, http: Http, message: &Message) {
        let before = self.upstream.count();
        let answer = self.send(http, message).await;
        assert_eq!(answer.status, 200, "{:?} {http:?} {answer:?} {}", self.kind, self.product.log());
        assert_eq!(self.upstream.count(), before + 1);
        let seen = self.upstream.last();
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str(), &seen.body[..]),
            ("POST", TARGET, &b"{\"amount\":1}"[..])
        );
        let token = message.headers.iter().find(|(name, _)| name == "Authorization").unwrap();
        let token = std::str::from_utf8(&token.1).unwrap().replacen("DPoP ", "Bearer ", 1);
        assert_eq!(seen.all("authorization"), [token]);
        assert_eq!(seen.all("x-auth-subject"), ["alice"], "{:?}", self.kind);
        assert_eq!(seen.header("dpop"), None);
    }
}

/// Fields by which another product would tell another request.
fn lies() -> Vec<(String, Vec<u8>)> {
    [
        ("X-Auth-Subject", "mallory"),
        ("X-Original-Method", "GET"),
        ("X-Original-URL", "https://rs.example/open"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/open"),
        ("X-Forwarded-Host", "liar.example"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("Forwarded", "for=192.0.2.1;host=liar.example;proto=http"),
        ("X-Request-Id", "0123456789abcdef0123456789abcdef"),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .to_vec()
}

/// The row of one product.
async fn decides(kind: Kind, file: &str) {
    let scene = Scene::set(kind, file, |_, _| Vec::new()).await;
    for http in [Http::One, Http::Two] {
        if http == Http::Two && kind == Kind::Nginx {
            continue; // Its example does not switch HTTP/2 on.
        }
        // Nonce: wanted, handed out, taken.
        let answer = scene.refused(http, &scene.call(None), "use_dpop_nonce").await;
        let nonce = answer.header("dpop-nonce").unwrap_or_else(|| panic!("{kind:?}: {answer:?}")).to_owned();
        let good = || scene.call(Some(&nonce));
        // Allowed.
        scene.allowed(http, &good()).await;
        // Refused.
        let mut bare = good();
        bare.headers.retain(|(name, _)| name != "DPoP");
        scene.refused(http, &bare, "invalid_dpop_proof").await;
        let mut other_method = good();
        other_method.method = "PUT".to_owned();
        scene.refused(http, &other_method, "invalid_dpop_proof").await;
        let mut other_path = good();
        other_path.target = "/orders/8".to_owned();
        scene.refused(http, &other_path, "invalid_dpop_proof").await;
        let mut downgraded = bare.clone();
        downgraded.headers[0].1 =
            String::from_utf8(downgraded.headers[0].1.clone()).unwrap().replace("DPoP", "Bearer").into();
        scene.refused(http, &downgraded, "invalid_token").await;
        // Replayed, under every name.
        let spent = good();
        scene.allowed(http, &spent).await;
        scene.refused(http, &spent, "invalid_dpop_proof").await;
        // Lies change nothing: neither for the thief nor for whoever has a proof.
        for stolen in [&bare, &spent, &downgraded] {
            let mut lying = stolen.clone();
            lying.headers.extend(lies());
            let answer = scene.send(http, &lying).await;
            assert_eq!(answer.status, 401, "{kind:?} {http:?} {answer:?}");
        }
        let mut lying = good();
        lying.headers.extend(lies());
        scene.allowed(http, &lying).await;
        let before = scene.upstream.count();
        assert_eq!(scene.send(http, &lying).await.status, 401, "{kind:?}: the id of a request is the proxy's to give");
        assert_eq!(scene.upstream.count(), before);
    }
    // Underscores: dropped, or the whole request with them, by the product or by its example.
    let answer = scene.refused(Http::One, &scene.call(None), "use_dpop_nonce").await;
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let (mut folded, before) = (scene.call(Some(&nonce)), scene.upstream.count());
    folded.headers.push(("X_Auth_Subject".to_owned(), b"mallory".to_vec()));
    folded.headers.push(("X-HTTP-Method-Override".to_owned(), b"DELETE".to_vec()));
    let answer = scene.send(Http::One, &folded).await;
    assert!(
        matches!((kind, answer.status), (Kind::Envoy, 400) | (Kind::Nginx | Kind::Caddy, 200)),
        "{kind:?} {answer:?}"
    );
    if scene.upstream.count() > before {
        let seen = scene.upstream.last();
        assert_eq!((seen.header("x_auth_subject"), seen.header("x-http-method-override")), (None, None), "{kind:?}");
    }
    // A host that is not served, and one that would hide the path.
    let port = scene.product.address.port();
    let mut hosts = vec![format!("liar.example:{port}")];
    if kind == Kind::Nginx {
        hosts.extend([format!("{HOST}?"), format!("{HOST}#"), format!("{HOST}:{port}?a=")]);
    }
    for host in hosts {
        let (mut call, before) = (scene.call(Some(&nonce)), scene.upstream.count());
        call.host = Some(host.clone());
        let answer = scene.send(Http::One, &call).await;
        assert!(answer.status >= 400 || answer.text().is_empty(), "{kind:?} {host}: {answer:?}");
        assert_eq!(scene.upstream.count(), before, "{kind:?} {host}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_asks() {
    decides(Kind::Nginx, "nginx/forward-auth.conf").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_asks() {
    decides(Kind::Caddy, "caddy/forward-auth.Caddyfile").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_asks() {
    decides(Kind::Envoy, "envoy/forward-auth.yaml").await;
}

/// The same proof in the same request, asked about twice, and in another one refused.
async fn asks_twice(scene: &Scene) {
    let answer = scene.refused(Http::One, &scene.call(None), "use_dpop_nonce").await;
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let call = scene.call(Some(&nonce));
    let answer = scene.send(Http::One, &call).await;
    assert_eq!(answer.status, 200, "{:?} {answer:?} {}", scene.kind, scene.product.log());
    let scrape = scene.gateway.admin("/metrics").await.text();
    let allowed = "keybound_requests_total{binding=\"dpop\",code=\"200\",decision=\"allow\",route=\"/\"} 2";
    assert!(scrape.contains(allowed), "two verdicts: {scrape}");
    scene.refused(Http::One, &call, "invalid_dpop_proof").await;
}

/// nginx asks again after an internal redirect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_asks_twice_about_one_request() {
    let scene = Scene::set(Kind::Nginx, "nginx/forward-auth.conf", |_, api| {
        let nonce = "add_header DPoP-Nonce $keybound_nonce always;";
        let again = format!("{nonce}\n        proxy_intercept_errors on;\n        error_page 404 = @again;");
        let question = "location = /_keybound {";
        let location =
            format!("location @again {{ auth_request /_keybound; proxy_pass http://{api}; }}\n    {question}");
        vec![(nonce.to_owned(), again), (question.to_owned(), location)]
    })
    .await;
    let first = std::sync::atomic::AtomicBool::new(true);
    scene.upstream.replies(move |_| {
        let missing = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        http::Response::builder().status(if missing { 404 } else { 200 }).body(bytes::Bytes::new().into()).unwrap()
    });
    asks_twice(&scene).await;
    assert_eq!(scene.upstream.count(), 2, "the first answer was 404");
}

/// Caddy asks in two places of its configuration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_asks_twice_about_one_request() {
    let scene = Scene::set(Kind::Caddy, "caddy/forward-auth.Caddyfile", |gateway, _| {
        let copied = "copy_headers Authorization X-Auth-Subject";
        let id = "header_up X-Request-Id {http.request.uuid}";
        let again = format!("forward_auth {gateway} {{\n\t\t\turi /\n\t\t\t{id}\n\t\t}}\n\t\treverse_proxy");
        // The first verdict's field would hide the token from the second question.
        let only_subject = "copy_headers X-Auth-Subject";
        vec![(copied.to_owned(), only_subject.to_owned()), ("reverse_proxy".to_owned(), again)]
    })
    .await;
    asks_twice(&scene).await;
}
