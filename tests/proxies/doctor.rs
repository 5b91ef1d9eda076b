//! `keybound doctor --through`: what a real nginx in front of a real gateway passes on, and what it does not.

use crate::process::{Ended, Program};
use crate::product::{Kind, Product, free_port};
use crate::stage::{Gateway, Stage};
use crate::support::upstream::Upstream;
use crate::terminators::gateway_at;

const FILE: &str = "nginx/terminator.conf";

/// Changes to the example, and what the doctor says of it.
const WRONG: [(&str, &str, &str); 7] = [
    (
        "proxy_http_version 1.1;",
        "proxy_set_header DPoP \"\"; proxy_http_version 1.1;",
        "DPoP: expected the proof that was sent, found none arrives; let the front pass the field on",
    ),
    (
        "proxy_http_version 1.1;",
        "proxy_set_header Authorization \"\"; proxy_http_version 1.1;",
        "Authorization: expected a token that is refused, found no token arrives; let the front pass the field on",
    ),
    (
        "proxy_set_header X-SSL-Cert $ssl_client_escaped_cert;",
        "",
        "x-ssl-cert of a client: expected dropped on the way, found it arrives; let the front remove or replace",
    ),
    (
        "proxy_http_version 1.1;",
        "proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto; proxy_http_version 1.1;",
        "X-Forwarded-Host and -Proto of a client: expected dropped or replaced on the way, found it arrives",
    ),
    (
        ";\n    }\n}",
        "/;\n    }\n}",
        "path: expected status 400 for an encoded slash, found status 401 of Keybound; let the front pass the path on",
    ),
    (
        "proxy_http_version 1.1;",
        "proxy_hide_header WWW-Authenticate; proxy_http_version 1.1;",
        "WWW-Authenticate: expected a DPoP challenge, found 0 lines without",
    ),
    (
        "proxy_http_version 1.1;",
        "return 204; proxy_http_version 1.1;",
        "/: expected status 401 of Keybound, found status 204 of something else (nginx",
    ),
];

async fn gateway(stage: &Stage, upstream: &Upstream, url: &str, header: &str) -> Gateway {
    gateway_at(stage, upstream, url, header, "dpop: { nonce: { mode: required } }\n").await
}

async fn doctor(stage: &Stage, url: &str) -> Ended {
    let arguments = ["doctor", "--config", "keybound.yaml", "--cacert", "server.pem", "--through", url];
    Program::run(stage.folder.path(), &arguments).await
}

/// What it said of the front, without the certificate.
fn front(out: &str) -> Vec<&str> {
    let lines = out.split("\nfront\n").nth(1).unwrap_or_default().lines().skip(1);
    lines.take_while(|line| !line.is_empty()).map(str::trim_start).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nginx_drops_is_found() {
    let (stage, upstream, port) = (Stage::set().await, Upstream::start().await, free_port());
    let url = format!("https://localhost:{port}");
    let header = "{ name: X-SSL-Cert, encoding: url-pem }\n    forwarded_headers: x-forwarded";
    let gateway = gateway(&stage, &upstream, &url, header).await;
    let starts = async |changes: &[(&str, &str)]| {
        Product::start_with(Kind::Nginx, FILE, &stage, gateway.address, None, port, changes).await
    };
    let set = "proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-Host $http_host; proxy_http_version 1.1;";
    let right = ("proxy_http_version 1.1;", set);

    let nginx = starts(&[right]).await;
    let Ended { code, out, err } = doctor(&stage, &url).await;
    let expected = [
        &format!("ok    {url}/: Keybound answers"),
        "ok    WWW-Authenticate: comes back with every challenge",
        "ok    DPoP-Nonce: comes back",
        "ok    Host: arrives as clients send it",
        "ok    Authorization: arrives",
        "ok    path: arrives unchanged",
        "ok    DPoP: arrives",
        "ok    x-ssl-cert of a client: does not arrive",
        "ok    X-Forwarded-Host and -Proto of a client: not believed",
    ];
    assert_eq!((code, &*front(&out)), (0, &expected[..]), "{out}{err}{}", nginx.log());
    // By another name than the one that proofs are for.
    let Ended { code, out, .. } = doctor(&stage, &format!("https://127.0.0.1:{port}/orders")).await;
    let line =
        format!("FAIL  public_url: expected https://127.0.0.1:{port}, found {url}; write `public_url` as clients");
    assert!(code == 1 && out.contains(&line) && out.matches("FAIL").count() == 1, "{out}");
    drop(nginx);

    for (from, to, line) in WRONG {
        let forwards = from == right.0 && to.contains("X-Forwarded-Proto");
        let changes = if forwards { vec![(from, to)] } else { vec![right, (from, to)] };
        let nginx = starts(&changes).await;
        let Ended { code, out, err } = doctor(&stage, &url).await;
        assert!(code == 1 && out.matches("FAIL").count() == 1, "{line}\n{out}{err}{}", nginx.log());
        assert!(front(&out).iter().any(|told| told.starts_with("FAIL") && told.contains(line)), "{line}\n{out}");
    }
    assert_eq!(upstream.count(), 0, "a stranger gets no further");
}

/// Another product, by its example and by one that drops the proof. HAProxy takes as few fields as the gateway does, so
/// that nobody can tell from outside.
async fn is_seen_through(kind: Kind, file: &str, header: &str, drops: Option<(&str, &str)>) {
    let (stage, upstream, port) = (Stage::set().await, Upstream::start().await, free_port());
    let url = format!("https://localhost:{port}");
    let gateway = gateway(&stage, &upstream, &url, header).await;
    let starts = async |changes: &[(&str, &str)]| {
        Product::start_with(kind, file, &stage, gateway.address, None, port, changes).await
    };
    let product = starts(&[]).await;
    let Ended { code, out, err } = doctor(&stage, &url).await;
    assert!(code == 0 && !out.contains("warn"), "{kind:?} {out}{err}{}", product.log());
    let dpop = front(&out).into_iter().find(|line| line.contains("DPoP: ")).map(str::to_owned);
    drop(product);
    let Some(change) = drops else {
        assert_eq!(dpop.unwrap(), "skip  DPoP: cannot be told from outside; `keybound request` with a token tells");
        return;
    };
    assert_eq!(dpop.unwrap(), "ok    DPoP: arrives", "{kind:?}");
    let product = starts(&[change]).await;
    let Ended { code, out, err } = doctor(&stage, &url).await;
    assert!(code == 1 && out.matches("FAIL").count() == 1, "{kind:?} {out}{err}{}", product.log());
    assert!(front(&out).iter().any(|line| line.starts_with("FAIL  DPoP: expected the proof that was sent")), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_is_seen_through_in_part() {
    is_seen_through(Kind::Haproxy, "haproxy/terminator.cfg", "client-cert", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache_is_seen_through() {
    let on = "ProxyPreserveHost On";
    let drops = format!("RequestHeader unset DPoP\n    {on}");
    let header = "{ name: X-SSL-Cert, encoding: pem }";
    is_seen_through(Kind::Apache, "apache/terminator.conf", header, Some((on, &drops))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_is_seen_through() {
    let api = "- name: api\n";
    let drops = format!("{api}                      request_headers_to_remove: [dpop]\n");
    is_seen_through(Kind::Envoy, "envoy/terminator.yaml", "x-forwarded-client-cert", Some((api, &drops))).await;
}
