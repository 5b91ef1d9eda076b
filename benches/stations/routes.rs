//! The first route that matches: here always the last one.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use keybound::routes::{Access, Described, Forwarding, Match, Route, select};
use keybound::verify::Algorithm;

use crate::world::{HOST, World, peer, read};

/// A route for what [`crate::world`] asks for, or for another path.
pub fn route(path_prefix: &str) -> Arc<Route> {
    Arc::new(Route {
        name: "payments".to_owned(),
        matches: Match { hosts: vec![HOST.to_owned()], path_prefix: path_prefix.to_owned(), methods: Vec::new() },
        access: Access::Enforce(Arc::default()),
        upstream: Some(0),
        forward: Forwarding::default(),
        cors: None,
        metadata: Described::default(),
    })
}

pub fn measure(criterion: &mut Criterion, world: &World) {
    let inbound = read(world.client(Algorithm::Es256).request(), &peer(None));
    let mut group = criterion.benchmark_group("routes");
    for count in [1, 10, 1000] {
        let others = (1..count).map(|number| route(&format!("/v1/service-{number}")));
        let routes: Vec<Arc<Route>> = others.chain([route("/v1/accounts")]).collect();
        group.bench_function(format!("select the last of {count}"), |b| {
            b.iter(|| select(black_box(&routes), inbound.request().method(), inbound.target()).unwrap());
        });
    }
}
