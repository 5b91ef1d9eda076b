//! Whatever clients send and whatever goes wrong: no token, proof, key or secret is ever written anywhere.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::collector::{Collector, Mood as Taking};
use crate::in_time;
use crate::issuer::Mood;
use crate::process::Ended;
use crate::stage::{Gateway, Stage, message, now};
use crate::support::keys::{Key, b64};
use crate::support::mint::{Jws, jti};
use crate::support::wire::{Http, Message};
use crate::support::{Identity, jwks_of};

/// Everything that must not turn up again.
#[derive(Default)]
struct Secrets(BTreeSet<String>);

impl Secrets {
    /// A new one.
    fn make(&mut self) -> String {
        let secret = format!("sesame{}", jti());
        self.0.insert(secret.clone());
        secret
    }

    /// A text that holds one or more, such as a token with its segments.
    fn keep(&mut self, text: &str) -> String {
        self.0.extend(text.split(['.', ' ', ',', '=', '&', '?']).filter(|part| part.len() > 20).map(str::to_owned));
        text.to_owned()
    }

    fn keep_message(&mut self, message: &Message) {
        self.keep(message.target.split_once('?').map_or("", |(_, query)| query));
        self.keep(&String::from_utf8_lossy(&message.body));
        for (name, value) in &message.headers {
            if !name.starts_with("Sec-") {
                self.keep(&String::from_utf8_lossy(value));
            }
        }
    }

    fn found_in<'a>(&'a self, text: &str) -> Vec<&'a str> {
        self.0.iter().map(String::as_str).filter(|secret| text.contains(secret)).collect()
    }
}

struct Battery<'a> {
    stage: &'a Stage,
    gateway: &'a Gateway,
    secrets: Secrets,
    /// Of keys and certificates. The access log tells them where they do not fit; people are shown their beginnings.
    thumbprints: Vec<String>,
    sent: usize,
}

impl Battery<'_> {
    /// Over both versions of HTTP. What is answered is not the subject here, nor whether.
    async fn send(&mut self, message: &Message) {
        self.secrets.keep_message(message);
        for http in [Http::One, Http::Two] {
            let answer = self.gateway.dialer().send(http, message).await;
            if let Ok(answer) = answer {
                let told = format!("{:?} {}", answer.headers, answer.text());
                assert!(self.secrets.found_in(&told).is_empty(), "{told}");
            }
            self.sent += 1;
        }
    }

    /// Bytes that are no good request.
    async fn send_raw(&mut self, bytes: &[u8]) {
        self.secrets.keep(&String::from_utf8_lossy(bytes).replace(['\r', '\n', '\0'], " "));
        let mut connection = self.gateway.connect().await;
        connection.write_all(bytes).await.unwrap();
        let _ = in_time("an answer", connection.read_u8()).await;
    }

    async fn send_token(&mut self, change: impl FnOnce(&mut Jws)) {
        let mut token = self.stage.token();
        change(&mut token);
        self.send(&self.stage.call_with("/api/item", &token.compact())).await;
    }

    async fn send_proof(&mut self, change: impl FnOnce(&mut Jws)) {
        let token = self.stage.token().compact();
        let mut proof = self.stage.proof(&token, "GET", "/api/item");
        change(&mut proof);
        let proof = proof.compact();
        self.send_fields("/api/item", &[("Authorization", &format!("DPoP {token}")), ("DPoP", &proof)]).await;
    }

    async fn send_fields(&mut self, target: &str, fields: &[(&str, &str)]) {
        self.send(&message(target, fields)).await;
    }
}

async fn good_and_nearly_good(battery: &mut Battery<'_>) {
    let stage = battery.stage;
    for path in ["/api/item", "/api/item?q=1", "/admin-api/item", "/down/item", "/nonsense/item", "/elsewhere"] {
        battery.send(&stage.call(path)).await;
    }
    battery.send(&stage.call_for_socket()).await;
    let identity = Identity::self_signed();
    let bound = stage.call_bound_to("/api/item", &identity);
    battery.send(&bound).await;
    battery.gateway.dialer_of(&identity).send(Http::One, &bound).await.unwrap();
    let another = Identity::self_signed();
    battery.gateway.dialer_of(&another).send(Http::One, &bound).await.unwrap();
    let key = Key::es256();
    battery.thumbprints.extend([stage.key.thumbprint(), key.thumbprint(), identity.x5t(), another.x5t()]);
    battery
        .send_proof(|proof| {
            proof.header.insert("jwk".into(), key.jwk());
            proof.key = key.into();
        })
        .await;
    let mut post = stage.call("/api/item");
    post.body = format!("access_token={}&password={}", stage.token().compact(), battery.secrets.make()).into_bytes();
    battery.send(&post).await;

    let token = stage.token().compact();
    let proof = || stage.proof(&token, "GET", "/api/item").compact();
    let dpop = format!("DPoP {token}");
    battery.send_fields("/api/item", &[("Authorization", &dpop)]).await;
    battery.send_fields("/api/item", &[("Authorization", &format!("Bearer {token}"))]).await;
    battery.send_fields("/api/item", &[("Authorization", &dpop), ("DPoP", &proof()), ("DPoP", &proof())]).await;
    let joined = format!("{}, {}", proof(), proof());
    battery.send_fields("/api/item", &[("Authorization", &dpop), ("DPoP", &joined)]).await;
    battery.send_fields("/api/item", &[("Authorization", &dpop), ("Authorization", &dpop), ("DPoP", &proof())]).await;
    let joined = format!("{dpop}, {dpop}");
    battery.send_fields("/api/item", &[("Authorization", &joined), ("DPoP", &proof())]).await;
    battery.send_fields("/api/item", &[("DPoP", &proof())]).await;
    battery.send_fields("/api/item", &[("Authorization", &token), ("DPoP", &proof())]).await;
    battery.send_fields("/api/item", &[("Authorization", &format!("DPoP {}", proof())), ("DPoP", &token)]).await;
}

async fn tokens_in_the_wrong_place(battery: &mut Battery<'_>) {
    let token = battery.stage.token().compact();
    for target in [
        format!("/api/item?access_token={token}"),
        format!("/open/item?access_token={token}"),
        format!("/open/item?token={token}&key={}", battery.secrets.make()),
        format!("/down/item?access_token={token}"),
        format!("/elsewhere?access_token={token}"),
        format!("/api/../item?access_token={token}"),
        format!("/api//%00?access_token={token}"),
        format!("https://rs.example/api/item?access_token={token}"),
        format!("https://other.example/api/item?access_token={token}"),
        format!("https://user:{}@rs.example/api/item", battery.secrets.make()),
    ] {
        let mut call = battery.stage.call_with("/api/item", &token);
        call.target = target;
        battery.send(&call).await;
        call.headers.clear();
        battery.send(&call).await;
    }
    let (basic, other) = (b64(format!("user:{}", battery.secrets.make())), battery.secrets.make());
    for (name, value) in [
        ("Authorization", format!("Basic {basic}")),
        ("Authorization", format!("Negotiate {other}")),
        ("Authorization", format!("DPoP \"{other}\"")),
        ("Authorization", other.clone()),
        ("Proxy-Authorization", format!("Basic {basic}")),
        ("Cookie", format!("session={other}")),
        ("X-Api-Key", other.clone()),
        ("X-Request-Id", other.clone()),
        ("Referer", format!("https://rs.example/?access_token={other}")),
        ("Connection", other.clone()),
        ("Upgrade", other.clone()),
        ("Expect", other.clone()),
        ("Content-Length", other.clone()),
        ("Transfer-Encoding", other.clone()),
    ] {
        battery.send_fields("/api/item", &[(name, &value)]).await;
        battery.send_fields("/open/item", &[(name, &value)]).await;
    }
}

async fn malformed_tokens_and_proofs(battery: &mut Battery<'_>) {
    let token = battery.stage.token().compact();
    let without_end = token.rsplit_once('.').unwrap().0.to_owned();
    let bad = [
        without_end.clone(),
        format!("{without_end}."),
        format!("{token}.{token}"),
        format!("{token}A"),
        format!("{token}="),
        token[1..].to_owned(),
        token.replace('.', "~"),
        b64(&token),
        "eyJ".repeat(9_000),
    ];
    for bad in &bad {
        battery.send(&battery.stage.call_with("/api/item", bad)).await;
        let fields = [("Authorization", &*format!("DPoP {token}")), ("DPoP", bad)];
        battery.send_fields("/api/item", &fields).await;
    }
    let secret = battery.secrets.make();
    for member in ["typ", "alg", "kid", "crit", "jku", "x5u", "jwk"] {
        battery.send_token(|token| drop(token.header.insert(member.into(), json!(secret)))).await;
        battery.send_proof(|proof| drop(proof.header.insert(member.into(), json!(secret)))).await;
    }
    // Not `aud` and `scope`: the issuer signed them, and an operator is told which ones did not do.
    for claim in ["iss", "exp", "nbf", "iat", "sub", "jti", "cnf"] {
        battery.send_token(|token| drop(token.claims.insert(claim.into(), json!(secret)))).await;
    }
    for claim in ["htm", "ath", "iat", "exp", "jti", "nonce"] {
        battery.send_proof(|proof| drop(proof.claims.insert(claim.into(), json!(secret)))).await;
    }
    for htu in [format!("https://rs.example/other?access_token={secret}"), format!("https://rs.example/x#{secret}")] {
        battery.send_proof(|proof| drop(proof.claims.insert("htu".into(), json!(htu)))).await;
    }
    for cnf in [json!({"jkt": secret}), json!({"x5t#S256": secret}), json!({"jwk": {"k": secret}}), json!([secret])] {
        battery.send_token(|token| drop(token.claims.insert("cnf".into(), cnf))).await;
    }
    // A client that shows its private key, whole or in part.
    for member in ["d", "p", "k", "oth"] {
        let private = battery.secrets.make();
        battery.send_proof(|proof| proof.header["jwk"][member] = json!(private)).await;
    }
    battery.send_proof(|proof| proof.header["jwk"]["x"] = json!(secret)).await;
    battery.send_proof(|proof| proof.key = Key::es256().into()).await;
    battery.send_token(|token| token.key = Key::es256().into()).await;
    battery.send_token(|token| token.claims["exp"] = json!(now() - 600)).await;
    battery.send_proof(|proof| proof.claims["iat"] = json!(now() - 600)).await;
}

async fn what_is_no_http(battery: &mut Battery<'_>) {
    let token = battery.stage.token().compact();
    let proof = battery.stage.proof(&token, "GET", "/api/item").compact();
    let fields = format!("Host: rs.example\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}\r\n");
    for text in [
        format!("{token}\r\n\r\n"),
        format!("GET /api/item?access_token={token} HTTP/9.9\r\n{fields}\r\n"),
        format!("GET /api/item?access_token={token} with spaces HTTP/1.1\r\n{fields}\r\n"),
        format!("GET /api/item HTTP/1.1\r\n{fields}Authorization DPoP {token}\r\n\r\n"),
        format!("GET /api/item HTTP/1.1\r\n{fields}{token}\r\n\r\n"),
        format!("GET /api/item HTTP/1.1\r\n{fields}X: \0{token}\r\n\r\n"),
        format!("GET /api/item HTTP/1.1\r\n{fields}X: {}\r\n\r\n", token.repeat(200)),
        format!("GET /api/item HTTP/1.1\r\n{fields}{}\r\n", format!("X: {token}\r\n").repeat(150)),
        format!("POST /api/item HTTP/1.1\r\n{fields}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{token}"),
        format!("POST /api/item HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{token}\r\n"),
        format!("CONNECT {token}:443 HTTP/1.1\r\n{fields}\r\n"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{token}{token}"),
    ] {
        battery.send_raw(text.as_bytes()).await;
    }
    // In the clear, where TLS is spoken.
    let mut plain = TcpStream::connect(battery.gateway.address).await.unwrap();
    plain.write_all(format!("GET /api/item HTTP/1.1\r\n{fields}\r\n").as_bytes()).await.unwrap();
    let _ = in_time("the end", plain.read_to_end(&mut Vec::new())).await;
}

/// An upstream whose answer is no HTTP.
async fn babbler(secret: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reply = format!("HTTP/1.1 200 OK\r\nSet-Cookie session={secret}\r\n\r\n{secret}");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    address.to_string()
}

/// Whatever the admin port remembers of these requests.
async fn nothing_secret_is_ever_shown(gateway: &Gateway, secrets: &Secrets, thumbprints: &[String]) {
    let json = [("Accept", "application/json")];
    let mut shown = vec![gateway.admin_with("/", &[("Accept", "text/html")]).await.text()];
    for path in ["/state.json", "/observed", "/metrics", "/readyz"] {
        shown.push(gateway.admin(path).await.text());
    }
    let mut explained = BTreeSet::new();
    for line in gateway.access_lines() {
        let path = format!("/explain/{}", line["request_id"].as_str().unwrap());
        let answer = gateway.admin_with(&path, &json).await;
        if answer.status == 200 {
            let told: Value = serde_json::from_slice(&answer.body).unwrap();
            explained.extend(told["reason"].as_str().map(str::to_owned));
            shown.extend([answer.text(), gateway.admin(&path).await.text()]);
        }
    }
    let mismatches = ["proof_key_mismatch", "certificate_mismatch"].map(str::to_owned);
    assert!(mismatches.iter().all(|reason| explained.contains(reason)), "{explained:?}");
    assert!(explained.len() > 25 && shown.len() > 100, "{} {explained:?}", shown.len());
    for text in shown {
        let found = secrets.found_in(&text);
        assert!(found.is_empty(), "{found:?} in {text}");
        assert!(!thumbprints.iter().any(|whole| text.contains(whole)) && !text.contains("alice"), "{text}");
    }
}

#[tokio::test]
async fn nothing_secret_is_ever_written() {
    let stage = Stage::set().await;
    let mut secrets = Secrets::default();
    let (of_upstream, of_header, of_uri) = (secrets.make(), secrets.make(), secrets.make());
    let (symmetric, private) = (secrets.make(), secrets.make());
    for line in std::fs::read_to_string(stage.file("server.key")).unwrap().lines() {
        secrets.keep(line);
    }
    let mut jwks = jwks_of(&[("k1", &stage.issuer_key)]);
    let keys = jwks["keys"].as_array_mut().unwrap();
    keys.push(json!({"kty": "oct", "kid": "k3", "k": symmetric}));
    let mut whole = Key::es256().jwk();
    whole["d"] = json!(private);
    keys.push(whole);
    stage.issuer.becomes(Mood::Publishes(jwks));
    let babbler = babbler(&of_upstream).await;
    let collector = Collector::start(Taking::Takes).await;
    let gateway = stage
        .gateway_with(|configuration| {
            let collector = collector.endpoint();
            configuration.telemetry = format!("{{ log: {{ level: trace }}, otlp_endpoint: '{collector}' }}");
            configuration.keys = format!("{{ jwks_uri: '{}?key={of_uri}' }}", stage.issuer.jwks_uri());
            let secret_field = format!("forward: {{ headers: {{ X-Backend-Key: '{of_header}' }} }}");
            configuration.routes += &format!(
                "\n  - {{ name: nonsense, match: {{ path_prefix: /nonsense }}, upstream: 'http://{babbler}', {secret_field} }}"
            );
        })
        .await;

    let mut battery = Battery { stage: &stage, gateway: &gateway, secrets, thumbprints: Vec::new(), sent: 0 };
    good_and_nearly_good(&mut battery).await;
    tokens_in_the_wrong_place(&mut battery).await;
    malformed_tokens_and_proofs(&mut battery).await;
    what_is_no_http(&mut battery).await;
    stage.issuer.becomes(Mood::Html);
    battery.send_token(|token| drop(token.header.insert("kid".into(), "k7".into()))).await;
    let Battery { secrets, sent, thumbprints, .. } = battery;
    nothing_secret_is_ever_shown(&gateway, &secrets, &thumbprints).await;

    // All lines are there at the end.
    gateway.program.signal("TERM");
    let Ended { code, out, err } = gateway.program.ended().await;
    assert_eq!((code, err.as_str()), (0, ""));
    // Not one of them may have been left out for want of a log.
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let warnings = lines.iter().filter(|line| line["level"] == "WARN").count();
    let lines: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    let reasons: BTreeSet<_> = lines.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert!(sent > 200 && lines.len() > 180, "{sent} requests and {} lines", lines.len());
    assert!(reasons.len() > 25, "{} reasons: {reasons:?}", reasons.len());
    assert!(warnings >= 5, "{warnings}");
    for line in out.lines() {
        let found = secrets.found_in(line);
        assert!(found.is_empty(), "{found:?} in {line}");
        assert!(!line.contains("alice"), "whose token it is belongs to the API: {line}");
    }
    assert!(secrets.0.len() > 200, "{} secrets", secrets.0.len());
    // Nor sent to the collector, in whatever encoding: a text is itself there.
    assert!(collector.names().len() > 500, "{} spans", collector.names().len());
    for received in collector.received() {
        let text = String::from_utf8_lossy(&received.body);
        let found = secrets.found_in(&text);
        assert!(found.is_empty(), "{found:?} in a batch of spans");
        assert!(!text.contains("alice") && !text.contains("/item"), "neither whose token it is nor the path");
    }
}
