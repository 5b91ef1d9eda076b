//! Reading the target, taking the credentials out, hashing the token.

use std::hint::black_box;

use criterion::Criterion;
use keybound::verify::{Algorithm, TokenHash};

use crate::world::{AT_ONCE, World, peer, read};

pub fn measure(criterion: &mut Criterion, world: &World) {
    let (client, peer) = (world.client(Algorithm::Es256), peer(None));
    let request = client.request();
    let mut group = criterion.benchmark_group("request");
    group.bench_function("read", |b| {
        b.iter_batched(|| request.clone(), |request| read(request, &peer), AT_ONCE);
    });
    group.bench_function("take credentials", |b| {
        b.iter_batched(
            || read(request.clone(), &peer),
            |mut inbound| (inbound.take_credentials().unwrap(), inbound),
            AT_ONCE,
        );
    });
    group.bench_function("hash the token", |b| b.iter(|| TokenHash::of(black_box(&client.token))));
}
