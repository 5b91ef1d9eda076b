//! 3.14: certificate-bound tokens (RFC 8705 §3).

use keybound::refusal::Reason;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::keys::b64;
use crate::support::wire::{Http, client_tls};
use crate::support::{Identity, Plan, World};

async fn world() -> World {
    Plan::mtls().start().await
}

#[tokio::test]
async fn pos_38_and_39_any_certificate_will_do_if_the_token_names_it() {
    let world = world().await;
    let expired = Identity::with(|params| params.not_after = rcgen::date_time_ymd(2021, 1, 1));
    let other_purpose = Identity::with(|params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    for identity in [Identity::self_signed(), expired, other_purpose] {
        world.passes(&world.good_mtls(&identity)).await;
    }
}

#[tokio::test]
async fn pos_40_a_resumed_session_keeps_its_certificate() {
    let world = world().await;
    let identity = Identity::self_signed();
    let shot = world.good_mtls(&identity);
    // One client configuration keeps the tickets; each sending is a connection of its own.
    for _ in 0..4 {
        world.passes_over(Http::One, &shot).await;
    }
}

#[tokio::test]
async fn pos_41_many_streams_of_one_connection() {
    let world = world().await;
    let identity = Identity::self_signed();
    let message = world.good_mtls(&identity).message();
    let stream = world.dial_as(&identity).connect(Http::Two).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    let task = tokio::spawn(connection);
    for _ in 0..10 {
        assert_eq!(crate::support::wire::h2_exchange(&mut sender, &message).await.unwrap().status, 200);
    }
    task.abort();
}

#[tokio::test]
async fn neg_213_no_certificate() {
    let world = world().await;
    let identity = Identity::self_signed();
    let bare = crate::support::wire::Dialer { tls: Some(client_tls(None)), ..world.dialer.clone() };
    world.refuses(Reason::CertificateMissing, &world.good_mtls(&identity).dial(bare)).await;
}

#[tokio::test]
async fn neg_214_and_230_another_certificate() {
    let world = world().await;
    let (own, other) = (Identity::self_signed(), Identity::self_signed());
    let shot = world.good_mtls(&own).dial(world.dial_as(&other));
    for http in [Http::One, Http::Two] {
        let before = world.refusals("api", Reason::CertificateMismatch);
        let answer = shot.send(http).await;
        assert_eq!((answer.status, world.refusals("api", Reason::CertificateMismatch)), (401, before + 1));
        crate::support::shape::assert_refusal(&answer, Reason::CertificateMismatch, &shot);
    }
    assert_eq!(world.upstream.count(), 0);
    world.passes(&world.good_mtls(&own)).await;
}

#[tokio::test]
async fn neg_215_and_225_another_certificate_of_the_same_key() {
    let world = world().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let own = Identity::of_key(&key, |params| params.serial_number = Some(1.into()));
    let renewed = Identity::of_key(&key, |params| params.serial_number = Some(2.into()));
    let shot = world.good_mtls(&own).dial(world.dial_as(&renewed));
    let answer = shot.send(Http::One).await;
    assert_eq!((answer.status, world.upstream.count()), (401, 0));
    assert_eq!(world.refusals("api", Reason::CertificateMismatch), 1);
    world.passes(&world.good_mtls(&renewed)).await;
}

#[tokio::test]
async fn neg_216_and_217_other_spellings_of_the_thumbprint() {
    let world = world().await;
    let identity = Identity::self_signed();
    let der = identity.chain[0].as_ref();
    let x5t = identity.x5t();
    let hex: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
    for bad in [json!(hex), json!(format!("{x5t}=")), json!(""), json!(1), json!([x5t]), json!(format!(" {x5t}"))] {
        let shot = world.good_mtls(&identity).claim("cnf", json!({"x5t#S256": bad}));
        world.refuses(Reason::ConfirmationMalformed, &shot).await;
    }
    let sha1 = world.good_mtls(&identity).claim("cnf", json!({"x5t": "T8Qp8fPmVYqb9iHyzQUaAbxBedY"}));
    world.refuses(Reason::ConfirmationUnenforceable, &sha1).await;
    let of_pem = b64(Sha256::digest(b64(der).as_bytes()));
    let shot = world.good_mtls(&identity).claim("cnf", json!({"x5t#S256": of_pem}));
    world.refuses(Reason::CertificateMismatch, &shot).await;
}

#[tokio::test]
async fn neg_221_and_223_certificates_in_headers_of_strangers() {
    let world = world().await;
    let (own, thief) = (Identity::self_signed(), Identity::self_signed());
    use base64::Engine as _;
    let der = base64::engine::general_purpose::STANDARD.encode(&own.chain[0]);
    let hash: String = Sha256::digest(&own.chain[0]).iter().map(|byte| format!("{byte:02x}")).collect();
    let bare = crate::support::wire::Dialer { tls: Some(client_tls(None)), ..world.dialer.clone() };
    for (name, value) in [
        ("Client-Cert", format!(":{der}:")),
        ("X-Forwarded-Client-Cert", format!("Hash={hash}")),
        ("X-SSL-Client-Cert", der.clone()),
        ("X-Client-Cert", der.clone()),
    ] {
        let injected = world.good_mtls(&own).header(name, value);
        world.refuses(Reason::CertificateMissing, &injected.clone().dial(bare.clone())).await;
        let answer = injected.dial(world.dial_as(&thief)).send(Http::One).await;
        assert_eq!(answer.status, 401, "{name}");
    }
    assert_eq!(world.refusals("api", Reason::CertificateMismatch), 4);
}

#[tokio::test]
async fn neg_229_an_unbound_token_over_a_mutual_handshake() {
    let world = world().await;
    let identity = Identity::self_signed();
    world.refuses(Reason::TokenUnbound, &world.good_mtls(&identity).no_claim("cnf")).await;
}
