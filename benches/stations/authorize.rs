//! The whole way of a request that passes, from [`Presented`] to [`Authorized`]. Token and proof header are known.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;
use keybound::authorize::{Authorized, Presented};
use keybound::limits::Limiter;
use keybound::replay::{MemorySettings, ReplayLog};
use keybound::request::{ClientCertificate, Inbound};
use keybound::verify::{Algorithm, ProofRules, base64url};
use serde_json::json;

use crate::routes::route;
use crate::world::{AT_ONCE, NOW, World, peer, read, request};

pub fn measure(criterion: &mut Criterion, world: &World) {
    let (rules, route) = (ProofRules::default(), route("/v1/accounts"));
    let settings = MemorySettings { per_key: u32::MAX, ..MemorySettings::default() };
    let log = ReplayLog::in_memory(settings, &rules, NOW - Duration::from_secs(1000));
    let limiter = Limiter::new([]);
    let pass = |inbound: Inbound<()>| -> Authorized<()> {
        let presented = Presented::new(inbound, Arc::clone(&route)).unwrap();
        let token = world.verify(presented.token(), presented.hash());
        let bound = presented.verified(token).unwrap().prove(&rules, &world.tokens, NOW).unwrap();
        ready(bound.admit(&limiter, None, NOW).unwrap().spend(&log, NOW)).unwrap().authorize(NOW).unwrap()
    };
    let mut group = criterion.benchmark_group("authorize");

    let (client, anyone) = (world.client(Algorithm::Es256), peer(None));
    group.bench_function("DPoP ES256", |b| {
        b.iter_batched(|| read(client.request(), &anyone), pass, AT_ONCE);
    });

    let thumbprint = [7; 32];
    let token = world.token(Algorithm::Es256, &json!({ "x5t#S256": base64url::encode(&thumbprint) }));
    let (request, holder) =
        (request(&format!("Bearer {token}"), None), peer(Some(ClientCertificate { thumbprint, der: None })));
    group.bench_function("mTLS", |b| {
        b.iter_batched(|| read(request.clone(), &holder), pass, AT_ONCE);
    });
}

/// What needs no store is there at once.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the log in memory waits for nothing"),
    }
}
