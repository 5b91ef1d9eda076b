//! 3.14: certificate-bound tokens (RFC 8705 §3).

use keybound::refusal::Reason;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::keys::b64;
use crate::support::wire::{Dialer, Http, client_tls};
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
    let (sender, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    let task = tokio::spawn(connection);
    let streams: Vec<_> = (0..50)
        .map(|_| {
            let (mut sender, message) = (sender.clone(), message.clone());
            tokio::spawn(async move { crate::support::wire::h2_exchange(&mut sender, &message).await.unwrap().status })
        })
        .collect();
    for stream in streams {
        assert_eq!(stream.await.unwrap(), 200);
    }
    assert_eq!(world.metric(r#"keybound_tls_handshakes_total{result="ok"}"#), 1);
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
    use base64::Engine as _;
    let pem = base64::engine::general_purpose::STANDARD.encode(der);
    let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
    for hashed in [pem.as_bytes(), parsed.public_key().raw, parsed.tbs_certificate.as_ref()] {
        let shot = world.good_mtls(&identity).claim("cnf", json!({"x5t#S256": b64(Sha256::digest(hashed))}));
        world.refuses(Reason::CertificateMismatch, &shot).await;
    }
    // One whose hash looks different in the other alphabet.
    let identity = std::iter::repeat_with(Identity::self_signed).find(|one| one.x5t().contains(['-', '_'])).unwrap();
    let standard = identity.x5t().replace('-', "+").replace('_', "/");
    let shot = world.good_mtls(&identity).claim("cnf", json!({"x5t#S256": standard}));
    world.refuses(Reason::ConfirmationMalformed, &shot).await;
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

/// What the server answers to a hello of this version that offers these cipher suites (RFC 5246 §7.4.1.2): the first
/// seven bytes.
async fn hello(world: &World, version: u8, suites: &[u16]) -> Vec<u8> {
    let framed = |length: usize, content: &[u8]| [&content.len().to_be_bytes()[8 - length..], content].concat();
    let extension = |number: u16, content: &[u8]| [&number.to_be_bytes()[..], &framed(2, content)].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let groups = extension(10, &framed(2, &[0, 0x17, 0, 0x1D]));
    let signatures = extension(13, &framed(2, &[4, 3, 8, 4, 4, 1]));
    let body =
        [&[3, version][..], &[7; 32], &[0], &framed(2, &suites), &[1, 0], &framed(2, &[groups, signatures].concat())];
    let handshake = [&[1][..], &framed(3, &body.concat())].concat();
    let record = [&[22, 3, 1][..], &framed(2, &handshake)].concat();
    let mut socket = tokio::net::TcpStream::connect(world.dialer.address).await.unwrap();
    socket.write_all(&record).await.unwrap();
    let mut answer = vec![0; 7];
    tokio::time::timeout(crate::support::wire::PATIENCE, socket.read_exact(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn neg_219_old_versions_and_weak_ciphers() {
    const STRONG: u16 = 0xC02B;
    let world = world().await;
    let failed = r#"keybound_tls_handshakes_total{result="failed"}"#;
    // TLS 1.0 and 1.1; then TLS 1.2 with RC4, 3DES, no encryption, no forward secrecy, CBC, no authentication.
    let weak = [0x0005, 0xC007, 0x000A, 0xC008, 0x003B, 0xC006, 0x009C, 0xC023, 0xC009, 0xC013, 0x0034];
    for (attempt, (version, suites, alert)) in
        [(1, &[STRONG][..], 70), (2, &[STRONG], 70), (3, &weak, 40)].into_iter().enumerate()
    {
        let answer = hello(&world, version, suites).await;
        assert_eq!((answer[0], &answer[5..]), (21, &[2, alert][..]), "a fatal alert");
        while world.metric(failed) < attempt as u64 + 1 {
            tokio::task::yield_now().await;
        }
    }
    // The same hello with one good suite in it goes on.
    let answer = hello(&world, 3, &[&weak[..], &[STRONG]].concat()).await;
    assert_eq!((answer[0], answer[5]), (22, 2), "a ServerHello");
    world.passes(&world.good()).await;
}

/// The certificate of RFC 8705 appendix A, made out to a key that we hold. It has no extensions: version 1.
fn version_1() -> CertifiedKey {
    use base64::Engine as _;
    const PUBLISHED: &str = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
    let published = base64::engine::general_purpose::STANDARD.decode(PUBLISHED).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let pkcs8 = key.serialize_der();
    // 30 82 .. .., then 175 bytes to be signed that end in the public point, then 12 bytes for the algorithm.
    let (mut signed, algorithm) = (published[4..179].to_vec(), &published[179..191]);
    signed[110..].copy_from_slice(key.public_key_raw());
    let signing = &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
    let signer = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(signing, &pkcs8).unwrap();
    let signature = signer.sign(&aws_lc_rs::rand::SystemRandom::new(), &signed).unwrap();
    let length = |content: usize| u8::try_from(content).unwrap();
    let bits = [&[3, length(signature.as_ref().len() + 1), 0][..], signature.as_ref()].concat();
    let body = [&signed[..], algorithm, &bits].concat();
    let der = [&[0x30, 0x82][..], &u16::try_from(body.len()).unwrap().to_be_bytes(), &body].concat();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(parsed.version(), x509_parser::x509::X509Version::V1);
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&pkcs8.try_into().unwrap()).unwrap();
    CertifiedKey::new(vec![der.into()], key)
}

#[tokio::test]
async fn neg_228_a_certificate_of_version_1() {
    let world = world().await;
    let shown = std::sync::Arc::new(version_1());
    let mut tls = (*client_tls(None)).clone();
    tls.client_auth_cert_resolver = std::sync::Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&shown)));
    let dialer = Dialer { tls: Some(std::sync::Arc::new(tls)), ..world.dialer.clone() };
    let x5t = b64(Sha256::digest(&shown.cert[0]));
    let shot = world.good_mtls(&Identity::self_signed()).claim("cnf", json!({"x5t#S256": x5t})).dial(dialer.clone());
    for http in [Http::One, Http::Two] {
        dialer.send(http, &shot.message()).await.expect_err("the TLS library refuses it, although the token names it");
    }
    world.reaches(r#"keybound_tls_handshakes_total{result="failed"}"#, 2).await;
    assert_eq!(world.upstream.count(), 0);
    world.passes(&world.good_mtls(&Identity::self_signed())).await;
}
