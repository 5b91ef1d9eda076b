//! Proxies that end TLS, or pass it on, in front of the gateway.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::process::Program;
use crate::product::{Kind, Product, adapted};
use crate::stage::{Gateway, Stage, message, now};
use crate::support::upstream::Upstream;
use crate::support::wire::{Answer, Dialer, Http, client_tls};
use crate::support::{AUDIENCE, HOST, ISSUER, Identity, mint};

async fn gateway(stage: &Stage, upstream: &Upstream, header: &str) -> Gateway {
    gateway_at(stage, upstream, &format!("https://{HOST}"), header, "").await
}

/// A gateway as `deploy/keybound-behind-terminator.yaml` has it, and with `more`, that clients know at this URL.
pub async fn gateway_at(stage: &Stage, upstream: &Upstream, url: &str, header: &str, more: &str) -> Gateway {
    let keys = format!("audiences: [{AUDIENCE}]\n    keys: {{ jwks_uri: '{}' }}", stage.issuer.jwks_uri());
    let text = adapted(
        "keybound-behind-terminator.yaml",
        &[
            ("127.0.0.1:8081", "127.0.0.1:0"),
            ("public_url: https://api.example.com", &format!("public_url: {url}")),
            ("client_certificate_header: client-cert", &format!("client_certificate_header: {header}")),
            ("https://auth.example.com", ISSUER),
            ("audiences: [https://api.example.com]", &keys),
            ("http://127.0.0.1:8080", &format!("http://{}", upstream.address)),
        ],
    );
    run(stage, &format!("{text}admin: {{ address: '127.0.0.1:0' }}\n{more}")).await
}

pub async fn run(stage: &Stage, text: &str) -> Gateway {
    std::fs::write(stage.file("keybound.yaml"), text).unwrap();
    let program = Program::start(stage.folder.path(), &["serve", "--config", "keybound.yaml"], &[]);
    let address = |line: serde_json::Value| line["address"].as_str().unwrap().parse().unwrap();
    let admin = address(program.says("admin listening").await);
    let address = address(program.says("listening").await);
    program.says("ready").await;
    Gateway { program, address, admin }
}

fn client(product: &Product, identity: Option<&Identity>) -> Dialer {
    let tls = Some(client_tls(identity.map(Identity::pair)));
    Dialer { address: product.address, tls, server_name: HOST.to_owned(), announce: Vec::new() }
}

async fn terminates(kind: Kind, file: &str, header: &str, versions: &[Http]) {
    let (stage, upstream) = (Stage::set().await, Upstream::start().await);
    let gateway = gateway(&stage, &upstream, header).await;
    let product = Product::start(kind, file, &stage, gateway.address).await;
    let (own, other) = (Identity::self_signed(), Identity::self_signed());
    let good = || stage.call_bound_to("/orders?x=1", &own);
    let send = async |dialer: Dialer, http, message| -> Answer {
        dialer.send(http, &message).await.unwrap_or_else(|error| panic!("{kind:?}: {error}: {}", product.log()))
    };
    for http in versions.iter().copied() {
        let before = upstream.count();
        let answer = send(client(&product, Some(&own)), http, good()).await;
        assert_eq!(answer.status, 200, "{kind:?} {http:?} {answer:?} {}", product.log());
        assert_eq!(upstream.count(), before + 1);
        for name in ["client-cert", "x-ssl-cert", "x-forwarded-client-cert"] {
            assert_eq!(upstream.last().header(name), None, "{kind:?}: {name}");
        }
        // DPoP needs no certificate, and comes through as well.
        let answer = send(client(&product, None), http, stage.call("/orders?x=1")).await;
        assert_eq!(answer.status, 200, "{kind:?} {http:?} {answer:?}");
        // The stolen token: no certificate, another one, and either of them with the right one in a field.
        let der = STANDARD.encode(&own.chain[0]);
        let pem = format!("-----BEGIN CERTIFICATE----- {der} -----END CERTIFICATE-----");
        let escaped = pem.replace(' ', "%0A").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let lies = [
            ("X-Nothing", String::new()),
            ("Client-Cert", format!(":{der}:")),
            ("X-SSL-Cert", escaped.clone()),
            ("X-SSL-Cert", pem),
            ("X_SSL_Cert", escaped.clone()),
            ("X-Forwarded-Client-Cert", format!("Cert=\"{escaped}\"")),
            ("Connection", "x-ssl-cert".to_owned()),
        ];
        for identity in [None, Some(&other)] {
            for (name, lie) in lies.iter().filter(|(name, _)| http == Http::One || *name != "Connection") {
                let before = upstream.count();
                let mut message = good();
                message.headers.push(((*name).to_owned(), lie.clone().into_bytes()));
                let answer = send(client(&product, identity), http, message).await;
                assert_eq!(answer.status, 401, "{kind:?} {http:?} {name}: {answer:?} {}", product.log());
                assert_eq!(upstream.count(), before, "{kind:?} {name}");
            }
        }
        let answer = send(client(&product, Some(&own)), http, good()).await;
        assert_eq!(answer.status, 200, "{kind:?}: and a good request still passes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_writes_client_cert() {
    terminates(Kind::Haproxy, "haproxy/terminator.cfg", "client-cert", &[Http::One, Http::Two]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_writes_escaped_pem() {
    terminates(Kind::Nginx, "nginx/terminator.conf", "{ name: X-SSL-Cert, encoding: url-pem }", &[Http::One]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_writes_pem_with_spaces() {
    terminates(Kind::Apache, "apache/terminator.conf", "{ name: X-SSL-Cert, encoding: pem }", &[Http::One]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_writes_x_forwarded_client_cert() {
    terminates(Kind::Envoy, "envoy/terminator.yaml", "x-forwarded-client-cert", &[Http::One, Http::Two]).await;
}

/// TLS ends here, and the client's address comes from the one who passed it on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_passes_tls_on_and_says_whose_it_is() {
    let (stage, upstream) = (Stage::set().await, Upstream::start().await);
    let text = format!(
        "
listeners:
  - address: 127.0.0.1:0
    tls: {{ certificate_file: server.pem, key_file: server.key, client_certificates: {{ mode: request }} }}
    trusted_proxies: [127.0.0.1]
    proxy_protocol: required
issuers: [{{ issuer: '{ISSUER}', audiences: ['{AUDIENCE}'], keys: {{ jwks_uri: '{}' }} }}]
routes: [{{ upstream: 'http://{}' }}]
replicas: 1
admin: {{ address: '127.0.0.1:0' }}
",
        stage.issuer.jwks_uri(),
        upstream.address
    );
    let gateway = run(&stage, &text).await;
    let product = Product::start(Kind::Haproxy, "haproxy/passthrough.cfg", &stage, gateway.address).await;
    let identity = Identity::self_signed();
    // Another address of this host, so that the proxy's own could not be taken for it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.7:0".parse().unwrap()).unwrap();
    let tcp = socket.connect(product.address).await.unwrap();
    let mut config = (*client_tls(Some(identity.pair()))).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(HOST.try_into().unwrap(), tcp).await.unwrap();
    let bytes = stage.call_bound_to("/orders", &identity).to_bytes();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.unwrap();
    let answer = crate::support::wire::read_answer(&mut stream, false).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(upstream.last().header("x-forwarded-for"), Some("127.0.0.7"));
    // Whoever comes past it hears nothing.
    let past = Dialer { address: gateway.address, ..client(&product, Some(&identity)) };
    assert!(past.send(Http::One, &stage.call_bound_to("/orders", &identity)).await.is_err());
    let token = mint::access_token(ISSUER, AUDIENCE, &stage.issuer_key, json!({}), now()).compact();
    let stolen = message("/orders", &[("Authorization", &format!("Bearer {token}"))]);
    assert_eq!(client(&product, None).send(Http::One, &stolen).await.unwrap().status, 401);
    assert_eq!(upstream.count(), 1);
}
