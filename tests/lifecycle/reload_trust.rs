//! What is remembered across a change of the configuration, and what must not be.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use keybound::verify::base64url;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use std::fs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::in_time;
use crate::reload::reload;
use crate::stage::{Configuration, Gateway, RELOADED, Stage, write};
use crate::support::frames::{self, Outcome};
use crate::support::mint::jti;
use crate::support::upstream::Upstream;
use crate::support::wire::{Http, Message, read_answer, read_one};
use crate::support::{AUDIENCE, Identity};

async fn verdict(gateway: &Gateway, message: &Message) -> (u16, String) {
    let answer = gateway.send(message).await;
    let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
    (answer.status, line["reason"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

fn passed() -> (u16, String) {
    refused(200, "")
}

#[tokio::test]
async fn what_was_verified_under_other_rules_is_verified_anew() {
    let stage = Stage::set().await;
    let lenient = |configuration: &mut Configuration| configuration.keys += ", token_types: [at+jwt, JWT]";
    let gateway = stage.gateway_with(lenient).await;
    let mut token = stage.token();
    token.header.insert("typ".into(), "JWT".into());
    let (old_style, new_style) = (token.compact(), stage.token().compact());
    for token in [&old_style, &new_style] {
        assert_eq!(verdict(&gateway, &stage.call_with("/api/item", token)).await, passed());
    }
    // The same rules: nothing is verified anew.
    let misses = async || gateway.scrape().await.sum("keybound_token_cache_misses_total", &[]);
    let before = misses().await;
    reload(&stage, &gateway, 1, |configuration| {
        lenient(configuration);
        configuration.limits = "{ body_bytes: 1MiB }".to_owned();
    })
    .await;
    assert_eq!(verdict(&gateway, &stage.call_with("/api/item", &old_style)).await, passed());
    assert_eq!(misses().await, before);

    reload(&stage, &gateway, 2, |_| {}).await;
    assert_eq!(verdict(&gateway, &stage.call_with("/api/item", &old_style)).await, refused(401, "token_type"));
    assert_eq!(verdict(&gateway, &stage.call_with("/api/item", &new_style)).await, passed());
    let other = |configuration: &mut Configuration| {
        configuration.replay = "replicas: 1\ndpop: { algorithms: [PS256] }".to_owned();
    };
    reload(&stage, &gateway, 3, other).await;
    assert_eq!(verdict(&gateway, &stage.call_with("/api/item", &new_style)).await, refused(401, "proof_algorithm"));
    let answer = gateway.send(&stage.call_with("/api/item", &new_style)).await;
    assert!(answer.all("www-authenticate").iter().any(|line| line.contains(r#"algs="PS256""#)), "{answer:?}");
    assert_eq!(stage.api.count(), 4);
}

#[tokio::test]
async fn places_under_way_and_failures_are_not_forgotten() {
    let stage = Stage::set().await;
    let limited = |configuration: &mut Configuration| {
        configuration.routes =
            configuration.routes.replace("name: api,", "name: api, access: { limits: { concurrent: 1 } },");
        configuration.limits = "{ failures: { per_minute: 1, burst: 2 } }".to_owned();
    };
    let gateway = stage.gateway_with(limited).await;
    let mut held = gateway.connect().await;
    held.write_all(&stage.call("/api/hold").to_bytes()).await.unwrap();
    stage.api.sees(1).await;
    for times in 1..=2 {
        reload(&stage, &gateway, times, |configuration| {
            limited(configuration);
            configuration.telemetry = format!("{{ log: {{ level: {} }} }}", ["debug", "info"][times - 1]);
        })
        .await;
        assert_eq!(verdict(&gateway, &stage.call("/api/item")).await, refused(429, "limit_concurrent"));
    }
    stage.api.release();
    assert_eq!(in_time("an answer", read_answer(&mut *held, false)).await.unwrap().status, 200);
    crate::eventually("the place is free again", async || {
        (gateway.status(&stage.call("/api/item")).await == 200).then_some(())
    })
    .await;

    let mut other = stage.token();
    other.claims.insert("aud".into(), "https://elsewhere.example".into());
    for _ in 0..2 {
        let call = stage.call_with("/api/item", &other.compact());
        assert_eq!(verdict(&gateway, &call).await, refused(401, "token_audience"));
    }
    reload(&stage, &gateway, 3, limited).await;
    assert_eq!(verdict(&gateway, &stage.call("/api/item")).await, refused(429, "limit_failures"));
}

#[tokio::test]
async fn answers_about_opaque_tokens_are_kept_as_long_as_the_same_is_asked() {
    const SECRETS: [&str; 2] = ["an-introspection-secret-1", "an-introspection-secret-2"];
    let stage = Stage::set().await;
    let endpoint = Upstream::start().await;
    let active = json!({"active": true, "aud": AUDIENCE, "sub": "alice", "cnf": {"jkt": stage.key.thumbprint()}});
    endpoint.replies(move |_| {
        let answer = Response::builder().header("content-type", "application/json");
        answer.body(Full::new(Bytes::from(active.to_string()))).unwrap()
    });
    fs::write(stage.file("introspection.secret"), SECRETS[0]).unwrap();
    let asks = |path: &str| {
        let (keys, address) = (stage.configuration().keys, endpoint.address);
        let secret = "client_id: api, client_secret_file: introspection.secret, cache: 5m";
        format!("{keys}, introspection: {{ endpoint: 'http://{address}/{path}', {secret} }}")
    };
    let gateway = stage.gateway_with(|configuration| configuration.keys = asks("introspect")).await;
    let tokens = [jti(), jti()].map(|id| format!("opaque-token-{id}"));
    let ask = async |token: &str| verdict(&gateway, &stage.call_with("/api/item", token)).await;
    assert_eq!((ask(&tokens[0]).await, endpoint.count()), (passed(), 1));
    // Another secret, read anew, for the questions that follow.
    write(&stage.file("introspection.secret"), SECRETS[1]);
    let line = gateway.said(RELOADED, 1).await;
    assert_eq!((&line["changes"], &line["files"]), (&json!("nothing"), &json!("introspection.secret")));
    assert_eq!((ask(&tokens[0]).await, endpoint.count()), (passed(), 1));
    assert_eq!((ask(&tokens[1]).await, endpoint.count()), (passed(), 2));
    let basic = format!("Basic {}", base64_of(&format!("api:{}", SECRETS[1])));
    assert_eq!(endpoint.last().header("authorization"), Some(basic.as_str()));
    for secret in SECRETS {
        assert!(!gateway.program.everything().contains(secret));
    }
    // Elsewhere, another word.
    reload(&stage, &gateway, 2, |configuration| configuration.keys = asks("elsewhere")).await;
    assert_eq!((ask(&tokens[0]).await, endpoint.count()), (passed(), 3));
    let scrape = gateway.scrape().await;
    assert_eq!(scrape.sum("keybound_introspections_total", &[("result", "active")]), 3.0);
    assert_eq!(scrape.sum("keybound_introspection_cache_hits_total", &[]), 1.0);
}

#[tokio::test]
async fn a_request_that_waits_for_its_decision_goes_on_as_it_began() {
    let stage = Stage::set().await;
    let endpoint = Upstream::start().await;
    let active = json!({"active": true, "aud": AUDIENCE, "cnf": {"jkt": stage.key.thumbprint()}});
    endpoint.replies(move |_| {
        let answer = Response::builder().header("content-type", "application/json");
        answer.body(Full::new(Bytes::from(active.to_string()))).unwrap()
    });
    fs::write(stage.file("introspection.secret"), "an-introspection-secret").unwrap();
    let (keys, address) = (stage.configuration().keys, endpoint.address);
    let secret = "client_id: api, client_secret_file: introspection.secret";
    let keys = format!("{keys}, introspection: {{ endpoint: 'http://{address}/introspect', {secret} }}");
    let gateway = stage.gateway_with(|configuration| configuration.keys.clone_from(&keys)).await;
    endpoint.answers(false);
    let (dialer, call) = (gateway.dialer(), stage.call_with("/api/item", "an-opaque-token"));
    let waiting = tokio::spawn(async move { dialer.send(Http::One, &call).await.unwrap() });
    crate::eventually("the issuer is asked", async || (endpoint.count() == 1).then_some(())).await;
    // The first route and the first upstream are others now, and the API is nowhere.
    reload(&stage, &gateway, 1, |configuration| {
        configuration.keys = keys;
        configuration.routes =
            "[{ name: gone, upstream: 'http://127.0.0.1:1', access: { scopes: [none] } }]".to_owned();
    })
    .await;
    endpoint.answers(true);
    let answer = in_time("an answer", waiting).await.unwrap();
    assert_eq!((answer.status, stage.api.count()), (200, 1));
    let line = gateway.access_line(answer.header("x-request-id").unwrap()).await;
    assert_eq!((&line["route"], &line["decision"]), (&json!("api"), &json!("allow")));
    let scrape = gateway.scrape().await;
    assert_eq!(scrape.sum("keybound_requests_total", &[("route", "api"), ("decision", "allow")]), 1.0);
    let call = stage.call_with("/api/item", "an-opaque-token");
    assert_eq!(verdict(&gateway, &call).await, refused(403, "scope_missing"));
}

#[tokio::test]
async fn upstream_connections_are_kept() {
    let stage = Stage::set().await;
    let gateway = stage.gateway().await;
    // A connection stays on its worker, and so do the upstream connections that it uses.
    let mut connection = gateway.connect().await;
    for times in 1..=3 {
        connection.write_all(&stage.call("/api/item").to_bytes()).await.unwrap();
        assert_eq!(in_time("an answer", read_answer(&mut *connection, false)).await.unwrap().status, 200);
        reload(&stage, &gateway, times, |configuration| {
            configuration.limits = format!("{{ body_bytes: {times}MiB }}");
        })
        .await;
    }
    assert_eq!(stage.api.connections(), 1);
    let slower = "\nupstreams: { slow: { endpoints: ['http://API'], response_timeout: 9s } }";
    let slower = slower.replace("API", &stage.api.address.to_string());
    reload(&stage, &gateway, 4, |configuration| {
        configuration.limits += &slower;
        let to = format!("path_prefix: /api }}, upstream: 'http://{}'", stage.api.address);
        configuration.routes = configuration.routes.replace(&to, "path_prefix: /api }, upstream: slow");
    })
    .await;
    connection.write_all(&stage.call("/api/item").to_bytes()).await.unwrap();
    assert_eq!(in_time("an answer", read_answer(&mut *connection, false)).await.unwrap().status, 200);
    assert_eq!(stage.api.connections(), 2);
}

/// The standard alphabet, with padding.
fn base64_of(text: &str) -> String {
    let unpadded = base64url::encode(text.as_bytes()).replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - unpadded.len() % 4) % 4);
    unpadded + &padding
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn client_of(authority: &CertifiedIssuer<'_, KeyPair>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, authority).unwrap();
    Identity { chain: vec![certificate.der().clone()], key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
}

#[tokio::test]
async fn clients_of_an_authority_that_is_trusted_no_more_do_not_connect() {
    let stage = Stage::set().await;
    let (first, second) = (authority(), authority());
    let clients = [client_of(&first), client_of(&second)];
    fs::write(stage.file("ca.pem"), first.pem()).unwrap();
    let trust = |configuration: &mut Configuration| {
        configuration.tls = configuration.tls.replace("mode: request", "mode: request, trust: { ca_file: ca.pem }");
    };
    let gateway = stage.gateway_with(trust).await;
    let connects = async |client: usize| {
        let call = stage.call_bound_to("/api/item", &clients[client]);
        gateway.dialer_of(&clients[client]).send(Http::One, &call).await.is_ok_and(|answer| answer.status == 200)
    };
    assert_eq!((connects(0).await, connects(1).await), (true, false));
    let open = async |client: usize| gateway.dialer_of(&clients[client]).connect(Http::One).await.unwrap();
    let (mut idle, mut held) = (open(0).await, open(0).await);
    let call = |path: &str| stage.call_bound_to(path, &clients[0]).to_bytes();
    idle.write_all(&call("/api/item")).await.unwrap();
    assert_eq!(in_time("an answer", read_one(&mut *idle, false)).await.unwrap().status, 200);
    held.write_all(&call("/api/hold")).await.unwrap();
    // Half of a head was sent before, the rest comes after.
    let mut half = open(0).await;
    let bytes = call("/api/late");
    half.write_all(&bytes[..bytes.len() - 2]).await.unwrap();
    let mut stranger = gateway.connect().await;
    let ask = || frames::fields(&stage.call_bound_to("/api/item", &clients[0]));
    let mut stubborn = frames::Client::connect(&gateway.dialer_of(&clients[0])).await.unwrap();
    assert_eq!(stubborn.ask(&ask()).await.unwrap(), Outcome::Answered);
    stage.api.sees(4).await;
    write(&stage.file("ca.pem"), &second.pem());
    gateway.said(RELOADED, 1).await;
    assert_eq!((connects(0).await, connects(1).await), (false, true));
    // Whoever was trusted before is let go: at rest at once, else when the answer is through.
    assert!(in_time("the end of a connection", idle.read_u8()).await.is_err());
    stage.api.release();
    let answer = in_time("an answer", read_one(&mut *held, false)).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(in_time("the end of a connection", held.read_u8()).await.is_err());
    half.write_all(&bytes[bytes.len() - 2..]).await.unwrap();
    assert!(in_time("the end of a connection", half.read_u8()).await.is_err());
    // It does not obey the GOAWAY, and keeps back what the last one waits for.
    assert_eq!(stubborn.ask(&ask()).await.unwrap(), Outcome::Reset);
    // Who showed no certificate has nothing to do with it.
    stranger.write_all(&stage.call("/api/item").to_bytes()).await.unwrap();
    assert_eq!(in_time("an answer", read_one(&mut *stranger, false)).await.unwrap().status, 200);
    assert_eq!(stage.api.count(), 6);

    // Another server certificate ends nothing.
    let mut open = open(1).await;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(&stage.file("server.pem"), &made.cert.pem());
    write(&stage.file("server.key"), &made.signing_key.serialize_pem());
    gateway.said(RELOADED, 2).await;
    open.write_all(&stage.call_bound_to("/api/item", &clients[1]).to_bytes()).await.unwrap();
    let answer = in_time("an answer", read_one(&mut *open, false)).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, None));

    // Where a certificate is required from now on, nobody stays without one.
    let mode = |configuration: &mut Configuration| {
        trust(configuration);
        configuration.tls = configuration.tls.replace("mode: request", "mode: require");
    };
    reload(&stage, &gateway, 3, mode).await;
    assert!(in_time("the end of a connection", stranger.read_u8()).await.is_err());
    assert!(connects(1).await);
}

#[tokio::test]
async fn a_secret_of_nonces_rotates() {
    let stage = Stage::set().await;
    let secrets = ["1", "2"].map(|digit| digit.repeat(32));
    for (name, secret) in ["one", "two"].iter().zip(&secrets) {
        fs::write(stage.file(name), secret).unwrap();
    }
    let nonces = |files: &'static str| {
        move |configuration: &mut Configuration| {
            configuration.replay =
                format!("replicas: 1\ndpop: {{ nonce: {{ mode: required, secret_file: {files} }} }}");
        }
    };
    let gateway = stage.gateway_with(nonces("[one, two]")).await;
    let token = stage.token().compact();
    let call = |nonce: &str| {
        let mut proof = stage.proof(&token, "GET", "/api/item");
        proof.claims.insert("nonce".into(), nonce.into());
        let fields = [("Authorization", format!("DPoP {token}")), ("DPoP", proof.compact())];
        crate::stage::message("/api/item", &fields.each_ref().map(|(name, value)| (*name, value.as_str())))
    };
    let answer = gateway.send(&stage.call("/api/item")).await;
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    reload(&stage, &gateway, 1, nonces("[two, one]")).await;
    assert_eq!(verdict(&gateway, &call(&nonce)).await, passed());
    reload(&stage, &gateway, 2, nonces("two")).await;
    assert_eq!(verdict(&gateway, &call(&nonce)).await, refused(401, "proof_nonce"));
}
