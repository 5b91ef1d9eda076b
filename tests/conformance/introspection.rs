//! Opaque tokens: their issuer is asked (RFC 7662), and answers in JSON or signed (RFC 9701). Section 3.13.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use keybound::gateway::Readiness;
use keybound::introspect::{AnswerForm, ClientAuthentication, IntrospectionSettings};
use keybound::keys::{IssuerSettings, KeySource};
use keybound::prover::ProofKey;
use keybound::refusal::Reason;
use keybound::routes::Policy;
use keybound::verify::{Accepted, Algorithm, IssuerRules};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::support::keys::Key;
use crate::support::mint::{self, Jws};
use crate::support::shot::Shot;
use crate::support::upstream::{Seen, Upstream};
use crate::support::wire::{Http, PATIENCE};
use crate::support::{AUDIENCE, ISSUER, Identity, NOW, Plan, World, jwks_of};

const CLIENT: &str = "gateway";
const JSON: &str = "application/json";
const SIGNED: &str = "application/token-introspection+jwt";

/// A gateway that asks, and the one who is asked.
struct Scene {
    world: World,
    issuer: Upstream,
}

impl Scene {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn signed() -> Self {
        Self::with(|settings| settings.form = AnswerForm::Jwt).await
    }

    async fn with(change: impl FnOnce(&mut IntrospectionSettings)) -> Self {
        Self::planned(Plan::mtls(), change).await
    }

    async fn planned(plan: Plan, change: impl FnOnce(&mut IntrospectionSettings)) -> Self {
        let issuer = Upstream::start().await;
        let mut settings = settings(ISSUER, &issuer);
        change(&mut settings);
        let world = Plan { introspection: vec![settings], ..plan }.start().await;
        let scene = Self { world, issuer };
        scene.says(scene.active());
        scene
    }

    /// What the issuer says of a token that is bound to K1.
    fn active(&self) -> Value {
        json!({
            "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "client_id": "app", "scope": "read write",
            "username": "Alice", "iat": NOW, "exp": NOW + 300, "cnf": { "jkt": self.world.k1.thumbprint() },
        })
    }

    /// The same with one member changed; `null` takes it away.
    fn active_but(&self, name: &str, value: Value) -> Value {
        let mut answer = self.active();
        match value {
            Value::Null => drop(answer.as_object_mut().unwrap().remove(name)),
            value => answer[name] = value,
        }
        answer
    }

    /// The signed answer around it.
    fn answer(&self, token: Value) -> Jws {
        let key = &self.world.issuer_key;
        Jws::new(
            json!({"typ": "token-introspection+jwt", "alg": key.alg, "kid": "k1"}),
            json!({"iss": ISSUER, "aud": CLIENT, "iat": self.world.now(), "token_introspection": token}),
            Arc::clone(key),
        )
    }

    fn says(&self, answer: Value) {
        self.says_text(JSON, answer.to_string());
    }

    fn says_text(&self, kind: &'static str, text: impl Into<Bytes>) {
        let text = text.into();
        self.issuer.replies(move |_| response(kind, text.clone()));
    }

    /// A good request with an opaque token that nobody has seen before.
    fn good(&self) -> Shot {
        self.world.good().with(|shot| shot.token_text = Some(opaque()))
    }

    async fn refuses(&self, reason: Reason, answer: Value) {
        self.says(answer);
        self.world.refuses(reason, &self.good()).await;
    }

    fn questions(&self, result: &str) -> u64 {
        self.world.metric(&format!("keybound_introspections_total{{issuer=\"{ISSUER}\",result=\"{result}\"}}"))
    }
}

fn settings(issuer: &str, endpoint: &Upstream) -> IntrospectionSettings {
    let uri = format!("http://{}/introspect?tenant=1", endpoint.address).parse().unwrap();
    let secret = ClientAuthentication::Secret(Zeroizing::new(b"s:e c%ret".to_vec()));
    IntrospectionSettings::new(issuer, uri, CLIENT, secret)
}

fn opaque() -> String {
    format!("opaque-{}~{}", mint::jti(), mint::jti())
}

fn response(kind: &str, text: Bytes) -> Response<Full<Bytes>> {
    Response::builder().header("content-type", kind).body(Full::new(text)).unwrap()
}

fn status(code: u16) -> Response<Full<Bytes>> {
    Response::builder().status(code).header("content-type", JSON).body(Full::new(Bytes::from_static(b"{}"))).unwrap()
}

fn form(seen: &Seen) -> Vec<(String, String)> {
    form_urlencoded::parse(&seen.body).into_owned().collect()
}

fn field<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    form.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let waits = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[tokio::test]
async fn pos_33_an_opaque_token_bound_to_a_key_or_a_certificate() {
    for form in [AnswerForm::Json, AnswerForm::Jwt] {
        let scene = Scene::with(|settings| settings.form = form).await;
        let say = |token: Value| match form {
            AnswerForm::Json => scene.says(token),
            AnswerForm::Jwt => scene.says_text(SIGNED, scene.answer(token).compact()),
        };
        say(scene.active());
        let dpop = scene.good();
        scene.world.passes(&dpop).await;
        assert_eq!(scene.issuer.count(), 1, "asked once, remembered then");
        let seen = scene.world.upstream.last();
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", dpop.token_text()).as_str()));

        let identity = Identity::self_signed();
        say(scene.active_but("cnf", json!({"x5t#S256": identity.x5t()})));
        let mtls = scene.world.good_mtls(&identity).with(|shot| shot.token_text = Some(opaque()));
        scene.world.passes(&mtls).await;
        let thief =
            scene.world.good_mtls(&Identity::self_signed()).with(|shot| shot.token_text = mtls.token_text.clone());
        assert_eq!(thief.send(Http::One).await.status, 401);
        assert_eq!(scene.world.refusals("api", Reason::CertificateMismatch), 1);
        assert_eq!((scene.issuer.count(), scene.questions("active")), (2, 2));
    }
}

#[tokio::test]
async fn pos_34_and_neg_202_whatever_token_type_says() {
    let scene = Scene::start().await;
    for kind in [Value::Null, json!("DPoP"), json!("dpop"), json!("Bearer"), json!("access_token")] {
        scene.says(scene.active_but("token_type", kind));
        let good = scene.good();
        scene.world.passes(&good).await;
        scene.world.refuses(Reason::DpopTokenAsBearer, &good.clone().scheme("Bearer").no_proof()).await;
        scene.world.refuses(Reason::ProofMissing, &good.no_proof()).await;
    }
}

/// An issuer is asked about whatever a client presents, and may know refresh tokens, too.
#[tokio::test]
async fn what_is_active_as_something_else_is_no_access_token() {
    let scene = Scene::start().await;
    for (member, kind) in [
        ("token_type", json!("refresh_token")),
        ("token_type", json!("N_A")),
        ("token_type", json!(1)),
        ("token_use", json!("refresh_token")),
        ("token_usage", json!("id_token")),
    ] {
        scene.refuses(Reason::TokenInactive, scene.active_but(member, kind)).await;
    }
    for kind in ["access_token", "access"] {
        scene.says(scene.active_but("token_use", json!(kind)));
        scene.world.passes_over(Http::One, &scene.good()).await;
    }
    // The issuer calls it bound and does not say to what: as a bearer token it would pass where those may.
    let mut answer = scene.active_but("token_type", json!("DPoP"));
    answer.as_object_mut().unwrap().remove("cnf");
    scene.says(answer);
    let bare = scene.good().scheme("Bearer").no_proof();
    assert_eq!(bare.send(Http::One).await.status, 503);
    assert_eq!(scene.world.refusals("api", Reason::IntrospectionUnavailable), 1);
}

#[tokio::test]
async fn pos_33_what_the_issuer_says_is_forwarded_and_decides() {
    let mut plan = Plan::mtls();
    plan.policy = Policy { scopes: vec!["read".to_owned()], acr_values: vec!["mfa".to_owned()], ..plan.policy };
    plan.policy.max_auth_age = Some(Duration::from_secs(100));
    for claim in ["username", "client_id", "scope", "acr"] {
        plan.forward
            .claims
            .push((http::HeaderName::try_from(format!("x-{}", claim.replace('_', "-"))).unwrap(), claim.to_owned()));
    }
    let scene = Scene::planned(plan, |_| {}).await;
    let with = |name: &str, value: Value| {
        let mut answer = scene.active();
        answer["acr"] = json!("mfa");
        answer["auth_time"] = json!(NOW - 50);
        answer[name] = value;
        answer
    };
    scene.says(with("scope", json!("read")));
    let good = scene.good();
    assert_eq!(good.send(Http::One).await.status, 200);
    let seen = scene.world.upstream.last();
    let told = ["x-username", "x-client-id", "x-scope", "x-acr"].map(|name| seen.header(name).unwrap());
    assert_eq!(told, ["Alice", "app", "read", "mfa"]);
    for (reason, answer) in [
        (Reason::ScopeMissing, with("scope", json!("write"))),
        (Reason::AuthenticationWeak, with("acr", json!("pwd"))),
        (Reason::AuthenticationOld, with("auth_time", json!(NOW - 101))),
    ] {
        scene.says(answer);
        let answer = scene.good().send(Http::One).await;
        assert_eq!((answer.status, scene.world.refusals("api", reason)), (reason.answer().status(), 1), "{reason:?}");
    }
}

#[tokio::test]
async fn the_question_holds_the_token_in_its_body_and_who_asks() {
    let scene = Scene::start().await;
    let good = scene.good();
    scene.world.passes(&good).await;
    let seen = scene.issuer.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/introspect?tenant=1"));
    let asked = form(&seen);
    assert_eq!(asked.len(), 2);
    assert_eq!(field(&asked, "token"), Some(good.token_text().as_str()));
    assert_eq!(field(&asked, "token_type_hint"), Some("access_token"));
    assert_eq!(seen.all("accept"), [JSON]);
    let basic = seen.header("authorization").unwrap().strip_prefix("Basic ").unwrap();
    let basic = base64::engine::general_purpose::STANDARD.decode(basic).unwrap();
    assert_eq!(basic, b"gateway:s%3Ae+c%25ret");
}

#[tokio::test]
async fn a_signed_assertion_shows_who_asks() {
    let key = ProofKey::generate(Algorithm::Es256).unwrap();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.public_jwk().clone()).unwrap();
    let scene = Scene::with(|settings| {
        settings.authentication = ClientAuthentication::Assertion { key: Box::new(key), kid: Some("g1".to_owned()) };
    })
    .await;
    let mut seen_ids = Vec::new();
    for _ in 0..2 {
        scene.world.passes(&scene.good()).await;
        let seen = scene.issuer.last();
        assert_eq!(seen.header("authorization"), None);
        let asked = form(&seen);
        assert_eq!(
            field(&asked, "client_assertion_type"),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
        validation.set_audience(&[ISSUER]);
        validation.set_issuer(&[CLIENT]);
        validation.sub = Some(CLIENT.to_owned());
        // The gateway's present is not this machine's.
        validation.validate_exp = false;
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let assertion = field(&asked, "client_assertion").unwrap();
        let decoded = jsonwebtoken::decode::<Value>(assertion, &decoding, &validation).unwrap();
        assert_eq!(decoded.header.kid.as_deref(), Some("g1"));
        let times = ["iat", "exp"].map(|name| decoded.claims[name].as_i64().unwrap());
        assert_eq!(times, [NOW, NOW + 60]);
        seen_ids.push(decoded.claims["jti"].as_str().unwrap().to_owned());
    }
    assert_ne!(seen_ids[0], seen_ids[1]);
}

#[tokio::test]
async fn neg_185_a_revoked_token() {
    let scene = Scene::start().await;
    let good = scene.good();
    scene.world.passes(&good).await;
    scene.says(json!({"active": false}));
    scene.world.set_clock(NOW + 59);
    let later = |seconds: i64| {
        scene.world.good().with(|shot| {
            shot.token_text = good.token_text.clone();
            assert_eq!(scene.world.now(), seconds);
        })
    };
    scene.world.passes(&later(NOW + 59)).await;
    scene.world.set_clock(NOW + 60);
    scene.world.refuses(Reason::TokenInactive, &later(NOW + 60)).await;
    assert_eq!(scene.issuer.count(), 2, "asked again when the time is over, and not again for a denied one");
    scene.says(scene.active());
    scene.world.set_clock(NOW + 64);
    scene.world.refuses(Reason::TokenInactive, &later(NOW + 64)).await;
    scene.world.set_clock(NOW + 65);
    scene.world.passes(&later(NOW + 65)).await;
    // A clock that is set back makes old words older, not younger.
    scene.says(json!({"active": false}));
    scene.world.set_clock(NOW + 1);
    scene.world.refuses(Reason::TokenInactive, &later(NOW + 1)).await;
}

#[tokio::test]
async fn neg_185_without_a_cache_each_request_asks() {
    let scene = Scene::with(|settings| settings.cache = Duration::ZERO).await;
    let good = scene.good();
    scene.world.passes(&good).await;
    assert_eq!(scene.issuer.count(), 2);
    scene.says(json!({"active": false}));
    scene.world.refuses(Reason::TokenInactive, &good).await;
}

#[tokio::test]
async fn neg_200_active() {
    let scene = Scene::start().await;
    for active in [json!(false), Value::Null, json!("true"), json!(1), json!([true]), json!({})] {
        scene.refuses(Reason::TokenInactive, scene.active_but("active", active)).await;
    }
    scene.refuses(Reason::TokenInactive, json!({})).await;
    assert_eq!(scene.questions("inactive"), 7);
}

#[tokio::test]
async fn shp_11_an_inactive_token_is_refused_for_that_whatever_its_proof() {
    let scene = Scene::start().await;
    let good = scene.good();
    scene.says(json!({"active": false}));
    let with_proof = |lines: Vec<Vec<u8>>| good.clone().with(|shot| shot.proof_lines = Some(lines));
    for shot in
        [good.clone(), good.clone().no_proof(), with_proof(vec![b"x".to_vec()]), with_proof(vec![b"x".to_vec(); 2])]
    {
        scene.world.refuses(Reason::TokenInactive, &shot).await;
    }
    scene.says(scene.active());
    scene.world.passes(&scene.good()).await;
}

#[tokio::test]
async fn neg_201_no_cnf() {
    let scene = Scene::start().await;
    scene.says(scene.active_but("cnf", Value::Null));
    let unbound = scene.good();
    scene.world.refuses(Reason::TokenNotDpopBound, &unbound).await;
    scene.world.refuses(Reason::TokenUnbound, &unbound.scheme("Bearer").no_proof()).await;
    scene.refuses(Reason::ConfirmationUnenforceable, scene.active_but("cnf", json!({"kid": "x"}))).await;
    scene.refuses(Reason::ConfirmationMalformed, scene.active_but("cnf", json!({"jkt": 1}))).await;
    scene.refuses(Reason::ConfirmationMalformed, scene.active_but("cnf", json!("x"))).await;
    let other = json!({"jkt": scene.world.k2.thumbprint()});
    scene.refuses(Reason::ProofKeyMismatch, scene.active_but("cnf", other)).await;

    let accepted = Accepted { dpop: true, mtls: false, unbound: true };
    let scene = Scene::planned(Plan::accepting(accepted), |_| {}).await;
    scene.says(scene.active_but("cnf", Value::Null));
    scene.world.passes(&scene.good().scheme("Bearer").no_proof()).await;
}

#[tokio::test]
async fn neg_203_aud() {
    let scene = Scene::start().await;
    for aud in [Value::Null, json!("https://other.example"), json!([]), json!(["a", "b"]), json!(""), json!(CLIENT)] {
        scene.refuses(Reason::TokenAudience, scene.active_but("aud", aud)).await;
    }
    scene.refuses(Reason::TokenIssuer, scene.active_but("iss", json!("https://other.example"))).await;
    scene.says(scene.active_but("aud", json!(["https://other.example", AUDIENCE])));
    scene.world.passes(&scene.good()).await;
    scene.says(scene.active_but("iss", Value::Null));
    scene.world.passes(&scene.good()).await;
}

#[tokio::test]
async fn neg_204_time() {
    let scene = Scene::start().await;
    scene.refuses(Reason::TokenExpired, scene.active_but("exp", json!(NOW - 10))).await;
    scene.refuses(Reason::TokenNotYetValid, scene.active_but("nbf", json!(NOW + 11))).await;
    scene.refuses(Reason::TokenNotYetValid, scene.active_but("iat", json!(NOW + 61))).await;
    for (name, value) in [("exp", json!(NOW - 9)), ("nbf", json!(NOW + 10)), ("iat", json!(NOW + 60))] {
        scene.says(scene.active_but(name, value));
        scene.world.passes(&scene.good()).await;
    }
    scene.says(scene.active_but("exp", Value::Null));
    scene.world.passes(&scene.good()).await;
}

type Broken = Box<dyn Fn() -> Response<Full<Bytes>> + Send + Sync>;

#[tokio::test]
async fn neg_205_the_server_fails() {
    let scene = Scene::with(|settings| settings.timeout = Duration::from_millis(300)).await;
    let good = scene.good();
    let broken: Vec<(&str, Broken)> = vec![
        ("401", Box::new(|| status(401))),
        ("403", Box::new(|| status(403))),
        ("500", Box::new(|| status(500))),
        ("204", Box::new(|| status(204))),
        (
            "found 302",
            Box::new(|| {
                let mut elsewhere = status(302);
                elsewhere.headers_mut().insert("location", "/elsewhere".parse().unwrap());
                elsewhere
            }),
        ),
        ("Content-Type application/json", Box::new(|| response("text/html", "{}".into()))),
        ("Content-Type application/json", Box::new(|| response(SIGNED, "{}".into()))),
        ("one strict JSON object", Box::new(|| response(JSON, "{\"active\":true".into()))),
        ("one strict JSON object", Box::new(|| response(JSON, "".into()))),
        ("at most 65536 bytes", Box::new(|| response(JSON, " ".repeat(65_537).into()))),
        ("exp, a date in seconds", Box::new(|| response(JSON, "{\"active\":true,\"exp\":\"x\"}".into()))),
    ];
    for (number, (found, broken)) in broken.into_iter().enumerate() {
        scene.issuer.replies(move |_| broken());
        let answer = scene.world.refuses_over(Http::One, Reason::IntrospectionUnavailable, &good).await;
        assert!(answer.header("retry-after").is_some(), "{found}");
        assert_eq!(scene.questions("unavailable"), number as u64 + 1, "nothing is remembered of a failure");
        let Readiness::Ready(notes) = scene.world.server.gateway().readiness() else { panic!("still ready") };
        assert!(
            notes.len() == 1 && notes[0].starts_with("degraded: introspection at") && notes[0].contains(found),
            "{notes:?}"
        );
    }
    scene.issuer.answers(false);
    scene.world.refuses_over(Http::Two, Reason::IntrospectionUnavailable, &good).await;
    scene.issuer.answers(true);
    scene.says(scene.active());
    scene.world.passes(&good).await;
    assert_eq!(scene.world.server.gateway().readiness(), Readiness::Ready(Vec::new()));
}

#[tokio::test]
async fn neg_205_nobody_is_there() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/introspect", gone.local_addr().unwrap()).parse().unwrap();
    drop(gone);
    let scene = Scene::with(|settings| settings.endpoint = uri).await;
    scene.world.refuses(Reason::IntrospectionUnavailable, &scene.good()).await;
    // A token that was active and is remembered outlives its issuer, for a while.
    let scene = Scene::start().await;
    let good = scene.good();
    scene.world.passes(&good).await;
    scene.issuer.replies(|_| status(503));
    scene.world.passes(&good).await;
    scene.world.set_clock(NOW + 60);
    let later = scene.world.good().with(|shot| shot.token_text = good.token_text.clone());
    scene.world.refuses(Reason::IntrospectionUnavailable, &later).await;
}

#[tokio::test]
async fn neg_205_a_kept_connection_that_the_server_just_closed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/introspect", listener.local_addr().unwrap()).parse().unwrap();
    let scene = Scene::with(|settings| settings.endpoint = uri).await;
    let body = scene.active().to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let served = tokio::spawn(async move {
        let mut connections = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections += 1;
            let mut asked = Vec::new();
            while !asked.windows(15).any(|window| window == b"token_type_hint") {
                assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            // The next question meets a server that hangs up.
            assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
            if connections == 2 {
                return;
            }
        }
    });
    scene.world.passes(&scene.good()).await;
    scene.world.passes(&scene.good()).await;
    // And when it does so again, that is all.
    assert_eq!(scene.good().send(Http::One).await.status, 503);
    tokio::time::timeout(PATIENCE, served).await.expect("two connections").unwrap();
    assert_eq!((scene.questions("active"), scene.questions("unavailable")), (2, 1));
}

#[tokio::test]
async fn neg_206_exp_passes_in_the_cache() {
    let scene = Scene::start().await;
    scene.says(scene.active_but("exp", json!(NOW + 5)));
    let good = scene.good();
    let later = |world: &World| world.good().with(|shot| shot.token_text = good.token_text.clone());
    scene.world.passes(&good).await;
    scene.world.set_clock(NOW + 4);
    scene.world.passes(&later(&scene.world)).await;
    assert_eq!(scene.issuer.count(), 1);
    scene.world.set_clock(NOW + 5);
    scene.world.passes(&later(&scene.world)).await;
    assert_eq!(scene.issuer.count(), 3, "at exp nothing is remembered any more; clock_skew is for the issuer's clock");
    scene.world.set_clock(NOW + 15);
    scene.world.refuses(Reason::TokenExpired, &later(&scene.world)).await;
}

#[tokio::test]
async fn neg_207_a_remembered_answer_is_no_verdict_about_a_proof() {
    let scene = Scene::start().await;
    let good = scene.good();
    scene.world.passes(&good).await;
    let (k2, again) = (Arc::clone(&scene.world.k2), || good.clone());
    let by_k2 = again().proof_header("jwk", k2.jwk()).with(|shot| shot.proof.as_mut().unwrap().key = k2);
    scene.world.refuses(Reason::ProofKeyMismatch, &by_k2).await;
    scene.world.refuses(Reason::ProofMissing, &again().no_proof()).await;
    scene.world.refuses(Reason::ProofMethod, &again().proof_claim("htm", "POST")).await;
    scene.world.refuses(Reason::ProofTokenHash, &again().proof_claim("ath", mint::ath("another"))).await;
    let once = again().frozen();
    assert_eq!(once.send(Http::One).await.status, 200);
    assert_eq!(once.send(Http::One).await.status, 401);
    assert_eq!(scene.world.refusals("api", Reason::ProofReplayed), 1);
    assert_eq!(scene.issuer.count(), 1);
}

#[tokio::test]
async fn neg_208_signed_answers() {
    let scene = Scene::signed().await;
    let good = || scene.answer(scene.active());
    let header = |name: &str, value: Value| {
        let mut answer = good();
        answer.header.insert(name.to_owned(), value);
        answer
    };
    let claim = |name: &str, value: Value| {
        let mut answer = good();
        match value {
            Value::Null => drop(answer.claims.remove(name)),
            value => drop(answer.claims.insert(name.to_owned(), value)),
        }
        answer
    };
    let mut flat = claim("token_introspection", Value::Null);
    flat.claims.extend(scene.active().as_object().unwrap().clone());
    let mut foreign = good();
    foreign.key = Arc::new(Key::es256());
    let mut doubled = good();
    doubled.claims_text = Some(
        format!(
            r#"{{"iss":"{ISSUER}","aud":"{CLIENT}","iat":{NOW},"token_introspection":{{"active":true,"active":true}}}}"#
        )
        .into_bytes(),
    );
    let mut untyped = good();
    untyped.header.remove("typ");
    for bad in [
        header("typ", json!("JWT")),
        header("typ", json!("at+jwt")),
        untyped,
        header("alg", json!("none")),
        header("alg", json!("HS256")),
        header("crit", json!(["x"])),
        header("kid", json!("unknown")),
        foreign,
        claim("iss", json!("https://other.example")),
        claim("iss", Value::Null),
        claim("aud", json!("somebody-else")),
        claim("aud", json!(["somebody", "else"])),
        claim("aud", Value::Null),
        claim("iat", Value::Null),
        claim("iat", json!("x")),
        claim("iat", json!(NOW - 71)),
        claim("iat", json!(NOW + 61)),
        claim("token_introspection", json!("x")),
        flat,
        doubled,
    ] {
        scene.says_text(SIGNED, bad.compact());
        scene.world.refuses_over(Http::One, Reason::IntrospectionUnavailable, &scene.good()).await;
    }
    let signed = good().compact();
    for text in
        [String::new(), "x".to_owned(), format!("{signed}.x"), signed.replace('.', ".."), scene.active().to_string()]
    {
        scene.says_text(SIGNED, text);
        scene.world.refuses_over(Http::One, Reason::IntrospectionUnavailable, &scene.good()).await;
    }
    for kind in [JSON, "application/jwt", "text/plain"] {
        scene.says_text(kind, signed.clone());
        scene.world.refuses_over(Http::One, Reason::IntrospectionUnavailable, &scene.good()).await;
    }
    assert_eq!(scene.issuer.last().all("accept"), [SIGNED]);
    for fine in [
        good(),
        claim("aud", json!(["somebody", AUDIENCE])),
        claim("iat", json!(NOW - 70)),
        claim("iat", json!(NOW + 60)),
        // RFC 9701 §5: these are the answer's, not the token's.
        claim("exp", json!(NOW - 1000)),
        claim("sub", json!("mallory")),
        header("typ", json!("application/Token-Introspection+JWT")),
    ] {
        scene.says_text("Application/Token-Introspection+JWT; charset=utf-8", fine.compact());
        scene.world.passes(&scene.good()).await;
    }
    scene.says_text(SIGNED, scene.answer(json!({"active": false})).compact());
    scene.world.refuses(Reason::TokenInactive, &scene.good()).await;
}

#[tokio::test]
async fn neg_208_a_signed_answer_by_a_new_key_is_believed_when_the_issuer_publishes_it() {
    let (old, new) = (Arc::new(Key::es256()), Arc::new(Key::es256()));
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("jwks.json");
    std::fs::write(&file, jwks_of(&[("old", &old)]).to_string()).unwrap();
    let plan = Plan { keys: Some(KeySource::File(file.clone())), ..Plan::mtls() };
    let scene = Scene::planned(plan, |settings| settings.form = AnswerForm::Jwt).await;
    let say = |kid: &str, key: &Arc<Key>| {
        let mut answer = scene.answer(scene.active());
        answer.header.insert("kid".to_owned(), kid.into());
        answer.key = Arc::clone(key);
        scene.says_text(SIGNED, answer.compact());
    };
    say("old", &old);
    scene.world.passes(&scene.good()).await;
    say("new", &new);
    let good = scene.good();
    assert_eq!(good.send(Http::One).await.status, 503);
    std::fs::write(&file, jwks_of(&[("new", &new)]).to_string()).unwrap();
    scene.world.passes(&good).await;
    say("old", &old);
    assert_eq!(scene.good().send(Http::One).await.status, 503);
    assert_eq!(scene.world.refusals("api", Reason::IntrospectionUnavailable), 2);
}

#[tokio::test]
async fn neg_209_a_signed_answer_is_no_access_token() {
    let scene = Scene::signed().await;
    let mut answer = scene.answer(scene.active());
    answer.claims.extend(scene.active().as_object().unwrap().clone());
    let stolen = scene.world.good().with(|shot| shot.token_text = Some(answer.compact()));
    scene.world.refuses(Reason::TokenType, &stolen).await;
    // Nor is anything else that begins as a JWT shown to anybody.
    scene
        .world
        .refuses(Reason::TokenMalformed, &scene.world.good().token_edit(|text| text.replacen("eyJ", "eyJ7", 1)))
        .await;
    scene
        .world
        .refuses(Reason::TokenSignature, &scene.world.good().with(|shot| shot.token.key = Arc::new(Key::es256())))
        .await;
    assert_eq!(scene.issuer.count(), 0);
}

#[tokio::test]
async fn neg_210_duplicate_members() {
    let scene = Scene::start().await;
    let jkt = scene.world.k1.thumbprint();
    for text in [
        format!(r#"{{"active":false,"active":true,"aud":"{AUDIENCE}","cnf":{{"jkt":"{jkt}"}}}}"#),
        format!(r#"{{"active":true,"aud":"{AUDIENCE}","cnf":{{"jkt":"x"}},"cnf":{{"jkt":"{jkt}"}}}}"#),
        format!(r#"{{"active":true,"aud":"{AUDIENCE}","cnf":{{"jkt":"x","jkt":"{jkt}"}}}}"#),
        format!(r#"{{"active":true,"aud":"{AUDIENCE}","cnf":{{"jkt":"{jkt}"}},"\u0061ctive":true}}"#),
    ] {
        scene.says_text(JSON, text);
        scene.world.refuses_over(Http::One, Reason::IntrospectionUnavailable, &scene.good()).await;
    }
    scene.says_text(JSON, format!(r#"{{"active":true,"aud":"{AUDIENCE}","cnf":{{"jkt":"{jkt}"}}}}"#));
    scene.world.passes(&scene.good()).await;
}

#[tokio::test]
async fn neg_289_many_requests_with_one_token_ask_once() {
    let scene = Scene::start().await;
    scene.issuer.answers(false);
    let good = scene.good();
    let mut sent: Vec<_> = (0..20)
        .map(|_| {
            let shot = good.clone();
            tokio::spawn(async move { shot.send(Http::One).await.status })
        })
        .collect();
    let misses = format!("keybound_introspection_cache_misses_total{{issuer=\"{ISSUER}\"}}");
    until("all of them wait", || scene.world.metric(&misses) == 20 && scene.issuer.count() > 0).await;
    assert_eq!(scene.issuer.count(), 1);
    // The first to ask may be any of them; most go away, and the others get their answer all the same.
    for gone in sent.drain(..15) {
        gone.abort();
    }
    scene.issuer.answers(true);
    for answered in sent {
        assert_eq!(answered.await.unwrap(), 200);
    }
    scene.world.passes(&good).await;
    assert_eq!((scene.issuer.count(), scene.questions("active")), (1, 1));
}

#[tokio::test]
async fn neg_289_a_flood_of_invented_tokens() {
    let scene = Scene::with(|settings| settings.concurrency = 4).await;
    let good = scene.good();
    scene.world.passes(&good).await;
    let jkt = scene.world.k1.thumbprint();
    let known = good.token_text();
    scene.issuer.replies(move |seen| {
        let is_known = field(&form(seen), "token") == Some(known.as_str());
        let answer = json!({"active": is_known, "aud": AUDIENCE, "cnf": {"jkt": jkt}});
        response(JSON, answer.to_string().into())
    });
    scene.issuer.answers(false);
    let (asked, before) = (scene.issuer.count(), scene.world.upstream.count());
    let flood: Vec<_> = (0..100)
        .map(|_| {
            let shot = scene.good();
            tokio::spawn(async move { shot.send(Http::One).await.status })
        })
        .collect();
    until("all but a few are turned away", || scene.world.refusals("api", Reason::IntrospectionUnavailable) == 96)
        .await;
    until("the few are asked", || scene.issuer.count() >= asked + 4).await;
    assert_eq!(scene.world.passes_over(Http::One, &good).await.status, 200);
    scene.issuer.answers(true);
    let mut statuses = Vec::new();
    for sent in flood {
        statuses.push(sent.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 4);
    assert_eq!(scene.issuer.count(), asked + 4, "no more questions at once than the issuer is to get");
    assert_eq!(scene.world.upstream.count(), before + 1);
    // Turned away is not failed: the issuer answered whatever it was asked.
    assert_eq!((scene.questions("unavailable"), scene.questions("inactive")), (0, 4));
    assert_eq!(scene.world.server.gateway().readiness(), Readiness::Ready(Vec::new()));
    // Later ones are asked about, once each while they are remembered, and push out nothing that is in use.
    let asked = scene.issuer.count();
    for _ in 0..50 {
        let invented = scene.good();
        for _ in 0..2 {
            assert_eq!(invented.send(Http::One).await.status, 401);
        }
    }
    assert_eq!(scene.issuer.count(), asked + 50);
    scene.world.passes(&good).await;
    assert_eq!(scene.issuer.count(), asked + 50);
}

/// A route that accepts this issuer alone, before the baseline's.
fn other_issuer() -> (IssuerSettings, tempfile::TempDir) {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("other.json");
    std::fs::write(&file, jwks_of(&[("k1", &Key::es256())]).to_string()).unwrap();
    let rules = IssuerRules::new("https://other.example", vec![AUDIENCE.to_owned()]);
    (IssuerSettings { rules, source: KeySource::File(file), roots: None }, files)
}

#[tokio::test]
async fn a_token_is_shown_to_nobody_but_the_one_issuer_of_its_route() {
    // A route whose issuers are not asked: as if nobody were.
    let endpoint = Upstream::start().await;
    let (other, _files) = other_issuer();
    let mut plan = Plan {
        more_issuers: vec![other],
        introspection: vec![settings("https://other.example", &endpoint)],
        ..Plan::default()
    };
    plan.policy.issuers = vec![ISSUER.to_owned()];
    let world = plan.start().await;
    let shot = world.good().with(|shot| shot.token_text = Some(opaque()));
    world.refuses(Reason::TokenMalformed, &shot).await;
    assert_eq!(endpoint.count(), 0);

    // A route that accepts two who are asked, which no configuration file can say: neither is.
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let (other, _files) = other_issuer();
    let introspection = vec![settings(ISSUER, &one), settings("https://other.example", &two)];
    let world = Plan { more_issuers: vec![other], introspection, ..Plan::default() }.start().await;
    world.refuses(Reason::TokenMalformed, &world.good().with(|shot| shot.token_text = Some(opaque()))).await;
    assert_eq!((one.count(), two.count()), (0, 0));
}

#[tokio::test]
async fn a_token_that_is_too_long_is_not_asked_about() {
    let scene = Scene::start().await;
    let long = |length: usize| scene.world.good().with(|shot| shot.token_text = Some("a".repeat(length)));
    scene.world.refuses_over(Http::One, Reason::TokenTooLarge, &long(16 * 1024 + 1)).await;
    assert_eq!(scene.issuer.count(), 0);
    scene.world.passes_over(Http::One, &long(16 * 1024)).await;
}

#[tokio::test]
async fn jwts_are_verified_here_all_the_same() {
    let scene = Scene::start().await;
    scene.world.passes(&scene.world.good()).await;
    assert_eq!(scene.issuer.count(), 0);
}

#[tokio::test]
async fn the_published_vectors_end_to_end() {
    use crate::fixtures::{
        HEADER, P1, P1_SIGNATURE, P2, P2_SIGNATURE, P3, P3_MALLEATED, P3_SIGNATURE, SIGNED_AT, TOKEN,
    };
    // RFC 9449 §6.2, and an audience, without which no token passes here.
    let published = r#"{"active":true,"sub":"someone@example.com","iss":"https://server.example.com","nbf":1562262611,"exp":1562266216,"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}"#;
    let answer = Arc::new(Mutex::new(published.replacen("{", r#"{"aud":"https://resource.example.org","#, 1)));
    let issuer = Upstream::start().await;
    let said = Arc::clone(&answer);
    issuer.replies(move |_| response(JSON, said.lock().unwrap().clone().into()));
    let name = "https://server.example.com";
    let plan = Plan {
        issuer: IssuerRules::new(name, vec!["https://resource.example.org".to_owned()]),
        public_url: Some("https://resource.example.org"),
        introspection: vec![settings(name, &issuer)],
        started: SIGNED_AT - 1000,
        ..Plan::default()
    };
    let world = plan.start().await;
    let shot = |payload: &str, signature: &str| {
        let proof = format!("{HEADER}.{payload}.{signature}");
        world
            .good()
            .target_only("/protectedresource")
            .proof_field(&[&proof])
            .with(|shot| shot.token_text = Some(TOKEN.to_owned()))
    };
    let counted = async |reason: Reason, shot: Shot| {
        let before = world.refusals("api", reason);
        let answer = shot.send(Http::One).await;
        assert_eq!(
            (answer.status, world.refusals("api", reason)),
            (reason.answer().status(), before + 1),
            "{answer:?}"
        );
    };
    world.set_clock(SIGNED_AT);
    counted(Reason::ProofClaims, shot(P1, P1_SIGNATURE)).await;
    counted(Reason::ProofClaims, shot(P2, P2_SIGNATURE)).await;
    assert_eq!(shot(P3, P3_SIGNATURE).send(Http::One).await.status, 200);
    counted(Reason::ProofReplayed, shot(P3, P3_SIGNATURE)).await;
    counted(Reason::ProofReplayed, shot(P3, P3_MALLEATED)).await;
    world.set_clock(SIGNED_AT + 91);
    counted(Reason::ProofStale, shot(P3, P3_SIGNATURE)).await;
    // The published answer as it is names no audience.
    *answer.lock().unwrap() = published.to_owned();
    world.set_clock(SIGNED_AT);
    counted(Reason::TokenAudience, shot(P3, P3_SIGNATURE).with(|shot| shot.token_text = Some(opaque()))).await;
}
