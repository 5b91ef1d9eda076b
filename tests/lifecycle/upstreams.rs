//! An upstream of two processes, one of which is killed and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::reload::reload;
use crate::stage::{Gateway, Stage, message};
use crate::support::wire::read_answer;
use crate::{eventually, in_time};

/// One process of the upstream: the same program with open routes, which is as good as any API.
async fn process(stage: &Stage, address: &str) -> Gateway {
    let api = stage.api.address;
    let route = |name: &str| {
        format!(
            "\n  - {{ name: {name}, match: {{ path_prefix: /{name} }}, upstream: 'http://{api}', access: {{ mode: public }} }}"
        )
    };
    let process = stage.gateway_with(|configuration| {
        address.clone_into(&mut configuration.listener);
        "null".clone_into(&mut configuration.tls);
        configuration.routes = route("open") + &route("health");
    });
    process.await
}

/// How many requests a process got, without those that ask for its health.
async fn count(process: &Gateway) -> f64 {
    let scrape = process.scrape().await;
    scrape.sum("keybound_requests_total", &[("route", "open")])
}

async fn is_healthy(gateway: &Gateway, endpoint: SocketAddr) -> f64 {
    let url = format!("http://{endpoint}");
    gateway.scrape().await.sum("keybound_upstream_healthy", &[("endpoint", &url), ("upstream", "api")])
}

/// Asks on and on over one connection, and notes what came of it.
async fn load(gateway: Arc<Gateway>, counted: Arc<[AtomicUsize; 2]>, stop: Arc<AtomicBool>) {
    let mut connection = gateway.connect().await;
    while !stop.load(Ordering::SeqCst) {
        connection.write_all(&message("/open/x", &[]).to_bytes()).await.unwrap();
        let answer = in_time("an answer", read_answer(&mut *connection, false)).await.unwrap();
        assert!(matches!(answer.status, 200 | 502), "{answer:?}");
        counted[usize::from(answer.status == 502)].fetch_add(1, Ordering::SeqCst);
    }
}

const CLIENTS: usize = 4;

#[tokio::test]
async fn a_killed_process_costs_what_was_sent_to_it_and_is_used_again_when_it_is_back() {
    let stage = Stage::set().await;
    let (first, second) = (process(&stage, "127.0.0.1:0").await, process(&stage, "127.0.0.1:0").await);
    let [one, other] = [first.address, second.address];
    let gateway = stage.gateway_with(|configuration| {
        configuration.replay = format!(
            "replicas: 1\nupstreams:\n  api:\n    endpoints: ['http://{one}', 'http://{other}']\n    health_check: \
             {{ path: /health, interval: 100ms, healthy_after: 2, unhealthy_after: 2 }}"
        );
        configuration.routes =
            "\n  - { name: open, match: { path_prefix: /open }, upstream: api, access: { mode: public } }".to_owned();
    });
    let gateway = Arc::new(gateway.await);
    let (counted, stop) = (Arc::<[AtomicUsize; 2]>::default(), Arc::<AtomicBool>::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(load(Arc::clone(&gateway), Arc::clone(&counted), Arc::clone(&stop))))
        .collect();
    eventually("both have work", async || (count(&first).await >= 50.0 && count(&second).await >= 50.0).then_some(()))
        .await;
    assert_eq!([is_healthy(&gateway, one).await, is_healthy(&gateway, other).await], [1.0, 1.0]);

    // Killed, not stopped: what it was answering is cut.
    drop(first);
    let left_out = gateway.program.says("an endpoint is left out").await;
    let why = left_out["why"].as_str().unwrap();
    assert!(
        why.starts_with("its health checks fail: Connection refused") || why.contains("connections in a row"),
        "{why}"
    );
    assert_eq!((&left_out["endpoint"], &left_out["upstream"]), (&format!("http://{one}").into(), &"api".into()));
    eventually("the metric says so", async || (is_healthy(&gateway, one).await == 0.0).then_some(())).await;
    let before = counted[0].load(Ordering::SeqCst);
    eventually("the other does all the work", async || {
        (counted[0].load(Ordering::SeqCst) >= before + 100).then_some(())
    })
    .await;
    let failed = counted[1].load(Ordering::SeqCst);
    assert!(failed <= CLIENTS, "{failed} failed, and no more than {CLIENTS} were under way");
    assert_eq!(is_healthy(&gateway, other).await, 1.0);
    assert_eq!(gateway.readiness().await, (200, "ready\n".to_owned()));

    let first = process(&stage, &one.to_string()).await;
    gateway.program.says("an endpoint is used again").await;
    eventually("it has work again", async || (count(&first).await >= 20.0).then_some(())).await;
    assert_eq!(is_healthy(&gateway, one).await, 1.0);
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        in_time("the end of a client", client).await.unwrap();
    }
    assert_eq!(counted[1].load(Ordering::SeqCst), failed, "its return costs nothing");
    drop(second);
}

#[tokio::test]
async fn upstreams_of_a_new_configuration_are_watched_and_those_that_are_gone_are_not() {
    let stage = Stage::set().await;
    let process = process(&stage, "127.0.0.1:0").await;
    // Nobody listens there, and nobody else can.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (one, other) = (process.address, nobody.local_addr().unwrap());
    let gateway = stage.gateway().await;
    let checks = async || process.scrape().await.sum("keybound_requests_total", &[("route", "health")]);
    assert_eq!(checks().await, 0.0);

    reload(&stage, &gateway, 1, |configuration| {
        configuration.replay = format!(
            "upstreams: {{ api: {{ endpoints: ['http://{one}', 'http://{other}'], health_check: {{ path: /health, \
             interval: 100ms, unhealthy_after: 2 }} }} }}"
        );
        configuration.routes =
            "\n  - { name: open, match: { path_prefix: /open }, upstream: api, access: { mode: public } }".to_owned();
    })
    .await;
    let left_out = gateway.program.says("an endpoint is left out").await;
    assert_eq!(left_out["endpoint"], format!("http://{other}"));
    assert_eq!([is_healthy(&gateway, one).await, is_healthy(&gateway, other).await], [1.0, 0.0]);
    assert_eq!(gateway.status(&message("/open/x", &[])).await, 200);
    assert!(checks().await > 0.0);

    reload(&stage, &gateway, 2, |_| {}).await;
    let metrics = gateway.admin("/metrics").await;
    assert!(!metrics.text().contains("keybound_upstream_healthy{"), "{}", metrics.text());
    // The last one may have been under way.
    sleep(Duration::from_millis(50)).await;
    let asked = checks().await;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(checks().await, asked);
}
