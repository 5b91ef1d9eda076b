//! 2.7 and 3.14: proxies in front that speak for clients. Whoever is not trusted changes nothing by any field.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use keybound::accept::ProxyProtocol;
use keybound::refusal::Reason;
use keybound::request::{CertificateEncoding, CertificateField, ForwardedFields, Front};
use keybound::routes::Forwarding;

use crate::support::wire::{Dialer, Http};
use crate::support::{HOST, Identity, Plan, World};

const EVERYBODY_HERE: &str = "127.0.0.0/8";
const SOMEBODY_ELSE: &str = "10.0.0.0/8";

/// Every spelling in which a product has handed on a certificate or said who asks.
const SPOKEN: [&str; 20] = [
    "Client-Cert",
    "Client-Cert-Chain",
    "client_cert",
    "X-Forwarded-Client-Cert",
    "X-SSL-Cert",
    "X-SSL-Client-Cert",
    "X-Client-Cert",
    "SSL-Client-Cert",
    "X-Forwarded-Tls-Client-Cert",
    "X-Amzn-Mtls-Clientcert",
    "X-ARR-ClientCert",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X_Forwarded_Host",
    "X-Original-URL",
    "X-Original-Method",
    "X-Forwarded-Method",
    "X-Real-IP",
];

fn front(trusted: &str) -> Front {
    Front { trusted: vec![trusted.parse().unwrap()], ..Front::default() }
}

fn certificates(trusted: &str, field: CertificateField) -> Plan {
    Plan { front: Front { certificate: Some(field), ..front(trusted) }, ..Plan::mtls() }
}

fn client_cert(identity: &Identity) -> String {
    format!(":{}:", STANDARD.encode(&identity.chain[0]))
}

fn hex(identity: &Identity) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(&identity.chain[0]).iter().map(|byte| format!("{byte:02X}")).collect()
}

/// As a proxy connects: without a certificate.
fn bare(world: &World) -> Dialer {
    world.dialer.clone()
}

#[tokio::test]
async fn pos_42_a_certificate_that_a_trusted_proxy_shows() {
    let identity = Identity::self_signed();
    let named = |encoding| CertificateField::Named { name: HeaderName::from_static("x-edge-cert"), encoding };
    let pem =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(&identity.chain[0]));
    let escaped = pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
    for (field, value) in [
        (CertificateField::ClientCert, client_cert(&identity)),
        (CertificateField::Xfcc, format!("By=spiffe://c/x;Hash={};Subject=\"CN=a,b\"", hex(&identity))),
        (named(CertificateEncoding::UrlPem), escaped),
        (named(CertificateEncoding::Base64Der), STANDARD.encode(&identity.chain[0])),
        (named(CertificateEncoding::Pem), pem.replace('\n', " ")),
    ] {
        let name = field.name();
        let world = certificates(EVERYBODY_HERE, field).start().await;
        let shot = world.good_mtls(&identity).dial(bare(&world));
        world.passes(&shot.clone().header(name.as_str(), &value)).await;
        assert_eq!(world.upstream.last().header(name.as_str()), None, "{name} is for the gateway alone");
        // The same request without it, with another's, and with two.
        let missing = shot.send(Http::One).await;
        assert_eq!((missing.status, world.refusals("api", Reason::CertificateMissing)), (401, 1), "{name}");
        let other = world.good_mtls(&Identity::self_signed()).dial(bare(&world)).header(name.as_str(), &value);
        assert_eq!(other.send(Http::One).await.status, 401);
        assert_eq!(world.refusals("api", Reason::CertificateMismatch), 1, "{name}");
        let twice = shot.header(name.as_str(), &value).header(name.as_str(), &value);
        assert_eq!(twice.send(Http::Two).await.status, 400);
        world.refused("none", Reason::HopMalformed, 1).await;
        assert_eq!(world.upstream.count(), 2);
    }
}

#[tokio::test]
async fn neg_222_a_field_that_cannot_be_read_names_nobody() {
    let world = certificates(EVERYBODY_HERE, CertificateField::ClientCert).start().await;
    let identity = Identity::self_signed();
    let good = client_cert(&identity);
    let longer = format!(":{}:", STANDARD.encode([&identity.chain[0][..], b"x"].concat()));
    for (name, wrong) in [
        ("Client-Cert", "nonsense"),
        ("Client-Cert", &good[1..]),
        ("Client-Cert", &longer),
        ("Client-Cert", "-----BEGIN CERTIFICATE----- x -----END CERTIFICATE-----"),
        ("Client-Cert-Chain", &good),
    ] {
        world.refuses(Reason::HopMalformed, &world.good().header(name, wrong)).await;
    }
}

#[tokio::test]
async fn neg_221_and_223_strangers_speak_for_nobody() {
    // The proxies are elsewhere; this client only pretends.
    for field in [CertificateField::ClientCert, CertificateField::Xfcc] {
        let plan = certificates(SOMEBODY_ELSE, field);
        let front = Front { forwarded: ForwardedFields::XForwarded, ..plan.front };
        let world = Plan { front, ..plan }.start().await;
        let (own, wanted) = (Identity::self_signed(), Identity::self_signed());
        for name in SPOKEN {
            for value in [client_cert(&wanted), format!("Hash={}", hex(&wanted)), "other.example".to_owned()] {
                // Over TLS without a certificate, and with the attacker's own.
                let stolen = world.good_mtls(&wanted).header(name, &value);
                let bare = stolen.clone().dial(bare(&world)).send(Http::One).await;
                assert_eq!(bare.status, 401, "{name}: {value}");
                let own = stolen.dial(world.dial_as(&own)).send(Http::Two).await;
                assert_eq!(own.status, 401, "{name}: {value}");
                let good = world.good().header(name, &value).send(Http::One).await;
                assert_eq!(good.status, 200, "{name}: {value}");
                let seen = world.upstream.last();
                assert!(
                    !seen.headers.iter().any(|(_, seen)| seen.as_bytes() == value.as_bytes()),
                    "{name}: {value} reached the upstream: {:?}",
                    seen.headers
                );
                assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
                assert_eq!(seen.header("x-forwarded-host"), Some(HOST));
            }
        }
        let times = (SPOKEN.len() * 3) as u64;
        assert_eq!(world.refusals("api", Reason::CertificateMissing), times);
        assert_eq!(world.refusals("api", Reason::CertificateMismatch), times);
    }
}

#[tokio::test]
async fn a_proxys_own_certificate_is_not_its_clients() {
    let world = certificates(EVERYBODY_HERE, CertificateField::ClientCert).start().await;
    let (proxy, client) = (Identity::self_signed(), Identity::self_signed());
    let shot = world.good_mtls(&proxy);
    assert_eq!(shot.send(Http::One).await.status, 401);
    assert_eq!(world.refusals("api", Reason::CertificateMissing), 1);
    let through = world.good_mtls(&client).dial(world.dial_as(&proxy)).header("Client-Cert", client_cert(&client));
    world.passes(&through).await;
}

#[tokio::test]
async fn fields_about_the_url_count_where_they_are_trusted_and_named() {
    let said_of = |world: &World, client: &str| {
        let shot = world.good().proof_claim("htu", "https://shop.example/api/item");
        shot.header("X-Forwarded-Host", "Shop.example")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-For", format!("192.0.2.66, {client}, 127.0.0.1"))
            .header("Forwarded", "for=192.0.2.99;host=liar.example;proto=http")
    };
    let said = |world: &World| said_of(world, "192.0.2.7");
    let plan =
        |forwarded, trusted| Plan { front: Front { forwarded, ..front(trusted) }, tls: false, ..Plan::default() };
    let world = plan(ForwardedFields::XForwarded, EVERYBODY_HERE).start().await;
    let answer = said(&world).send(Http::One).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.7"), "the first stranger, seen from here");
    assert_eq!(seen.header("forwarded"), Some("for=192.0.2.7;host=\"shop.example\";proto=https"));
    assert_eq!(seen.header("host"), Some("shop.example"));
    assert_eq!(said_of(&world, "2001:DB8::7").send(Http::One).await.status, 200);
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("2001:db8::7"));
    assert_eq!(seen.header("forwarded"), Some("for=\"[2001:db8::7]\";host=\"shop.example\";proto=https"));

    // The other family of fields is not this proxy's: it may be the client's.
    let world = plan(ForwardedFields::Rfc7239, EVERYBODY_HERE).start().await;
    assert_eq!(said(&world).send(Http::One).await.status, 401);
    assert_eq!(world.refusals("api", Reason::ProofTarget), 1);
    let liars = said(&world).proof_claim("htu", "http://liar.example/api/item").send(Http::One).await;
    assert_eq!(liars.status, 200);

    // Nobody is asked, and nobody is trusted.
    for (forwarded, trusted) in [(ForwardedFields::Off, EVERYBODY_HERE), (ForwardedFields::XForwarded, SOMEBODY_ELSE)] {
        let world = plan(forwarded, trusted).start().await;
        assert_eq!(said(&world).send(Http::One).await.status, 401);
        assert_eq!((world.refusals("api", Reason::ProofTarget), world.upstream.count()), (1, 0));
    }
}

#[tokio::test]
async fn a_malformed_field_of_a_trusted_proxy_is_400() {
    let front = Front { forwarded: ForwardedFields::XForwarded, ..front(EVERYBODY_HERE) };
    let world = Plan { front, ..Plan::default() }.start().await;
    for (name, value) in [
        ("X-Forwarded-Host", "a.example, rs.example"),
        ("X-Forwarded-Host", "a.example/x"),
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-For", "localhost"),
    ] {
        world.refuses(Reason::HopMalformed, &world.good().header(name, value)).await;
    }
}

#[tokio::test]
async fn a_public_url_stands_above_what_proxies_say() {
    let front = Front { forwarded: ForwardedFields::XForwarded, ..front(EVERYBODY_HERE) };
    let world = Plan { front, public_url: Some("https://rs.example"), ..Plan::default() }.start().await;
    world.passes(&world.good().header("X-Forwarded-Host", "inner.example").header("X-Forwarded-Proto", "http")).await;
}

fn announced(world: &World, header: &[u8]) -> Dialer {
    Dialer { announce: header.to_vec(), ..world.dialer.clone() }
}

const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x01\x12\x67\x01\xbb";

const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
const UNKNOWN_1: &[u8] = b"PROXY UNKNOWN\r\n";
const UNKNOWN_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";

#[tokio::test]
async fn connections_are_announced_before_tls() {
    for mode in [ProxyProtocol::Optional, ProxyProtocol::Required] {
        for tls in [true, false] {
            let public_url = Some("https://rs.example");
            let plan = Plan { front: front(EVERYBODY_HERE), proxy_protocol: mode, tls, public_url, ..Plan::default() };
            let world = plan.start().await;
            for header in [VERSION_1, VERSION_2] {
                let shot = world.good().dial(announced(&world, header));
                for http in [Http::One, Http::Two] {
                    assert_eq!(shot.send(http).await.status, 200, "{mode:?} {http:?}");
                    assert_eq!(world.upstream.last().header("x-forwarded-for"), Some("192.0.2.7"), "{mode:?}");
                }
            }
            // A proxy's own health check, and clients that it does not name.
            for (header, from) in [(LOCAL, "127.0.0.1"), (UNKNOWN_1, "0.0.0.0"), (UNKNOWN_2, "0.0.0.0")] {
                let shot = world.good().dial(announced(&world, header));
                assert_eq!(shot.send(Http::One).await.status, 200);
                assert_eq!(world.upstream.last().header("x-forwarded-for"), Some(from));
            }
        }
    }
}

#[tokio::test]
async fn connections_that_are_not_announced() {
    let plan = |mode, trusted| Plan { front: front(trusted), proxy_protocol: mode, wait: true, ..Plan::default() };
    let world = plan(ProxyProtocol::Optional, EVERYBODY_HERE).start().await;
    world.passes(&world.good()).await;
    // Whoever must announce and does not, or does so and may not, hears nothing.
    for (trusted, header, reason) in [
        (EVERYBODY_HERE, &b""[..], Reason::HopMalformed),
        (EVERYBODY_HERE, b"PROXY TCP4 nonsense\r\n", Reason::HopMalformed),
        (SOMEBODY_ELSE, VERSION_1, Reason::HopUntrusted),
        (SOMEBODY_ELSE, b"", Reason::HopUntrusted),
    ] {
        let world = plan(ProxyProtocol::Required, trusted).start().await;
        let message = world.good().message();
        assert!(announced(&world, header).send(Http::One, &message).await.is_err());
        world.refused("none", reason, 1).await;
        assert_eq!(world.upstream.count(), 0);
    }
    // A stranger's header is no header: TLS does not begin like that.
    let world = plan(ProxyProtocol::Optional, SOMEBODY_ELSE).start().await;
    assert!(announced(&world, VERSION_1).send(Http::One, &world.good().message()).await.is_err());
    world.passes(&world.good()).await;
}

#[tokio::test]
async fn a_header_that_comes_in_pieces_is_waited_for() {
    use tokio::io::AsyncWriteExt as _;
    let plan = Plan {
        front: front(EVERYBODY_HERE),
        proxy_protocol: ProxyProtocol::Required,
        tls: false,
        public_url: Some("https://rs.example"),
        ..Plan::default()
    };
    let world = plan.start().await;
    let mut stream = tokio::net::TcpStream::connect(world.dialer.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in VERSION_2 {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.write_all(&world.good().message().to_bytes()).await.unwrap();
    let answer = crate::support::wire::read_answer(&mut stream, false).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(world.upstream.last().header("x-forwarded-for"), Some("192.0.2.7"));
}

/// Behind a proxy that only passes bytes on, a request's fields are its client's.
#[tokio::test]
async fn whom_a_proxy_announces_is_not_trusted_for_that() {
    let identity = Identity::self_signed();
    let plan = certificates(EVERYBODY_HERE, CertificateField::ClientCert);
    let world = Plan { proxy_protocol: ProxyProtocol::Required, ..plan }.start().await;
    let shot = world.good_mtls(&identity).header("Client-Cert", client_cert(&identity));
    let answer = shot.clone().dial(announced(&world, VERSION_1)).send(Http::One).await;
    assert_eq!((answer.status, world.refusals("api", Reason::CertificateMissing)), (401, 1));
    // Nor is somebody whom it does not name.
    for (count, header) in [UNKNOWN_1, UNKNOWN_2].into_iter().enumerate() {
        let answer = shot.clone().dial(announced(&world, header)).send(Http::One).await;
        assert_eq!((answer.status, world.refusals("api", Reason::CertificateMissing)), (401, 2 + count as u64));
    }
    // The announced address is itself a proxy's that is trusted.
    let inner = announced(&world, b"PROXY TCP4 127.0.0.9 127.0.0.1 4711 443\r\n");
    assert_eq!(shot.dial(inner).send(Http::One).await.status, 200);
}

#[tokio::test]
async fn an_upstream_may_be_shown_the_certificate() {
    let forward = Forwarding { client_certificate: true, ..Forwarding::default() };
    let world = Plan { forward, ..Plan::mtls() }.start().await;
    let (identity, other) = (Identity::self_signed(), Identity::self_signed());
    world.upstream.replies(|_| {
        let answer = http::Response::builder().header("vary", "Accept, client-cert");
        answer.body(bytes::Bytes::from_static(b"{}").into()).unwrap()
    });
    let shot = world.good_mtls(&identity).header("Client-Cert", client_cert(&other));
    let answer = shot.send(Http::One).await;
    assert_eq!((answer.status, answer.all("vary")), (200, vec!["*"]));
    assert_eq!(world.upstream.last().all("client-cert"), [client_cert(&identity)]);
    // Whoever showed none, or one that no token names and nobody validated, is shown with none.
    for dialer in [world.dialer.clone(), world.dial_as(&identity)] {
        world.passes(&world.good().header("Client-Cert", client_cert(&other)).dial(dialer)).await;
        assert_eq!(world.upstream.last().header("client-cert"), None);
    }
}
