//! An assertion for the upstream: one signature.

use std::sync::Arc;
use std::time::Duration;

use criterion::Criterion;
use keybound::identity::{Identity, IdentityKey, Statement};
use keybound::prover::ProofKey;
use keybound::verify::{Algorithm, Demand, TokenHash};

use crate::world::{NOW, URL, World};

pub fn measure(criterion: &mut Criterion, world: &World) {
    let client = world.client(Algorithm::Es256);
    let token = world.verify(&client.token, TokenHash::of(&client.token));
    let proven = Demand { proof_by: Some(client.key.thumbprint()), certificate: None };
    let statement = Statement {
        token: &token,
        proven: &proven,
        method: "GET",
        url: URL,
        request_id: "5b9947c64f1fa640-6",
        now: NOW,
    };
    let mut group = criterion.benchmark_group("identity");
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let key = ProofKey::generate(algorithm).unwrap();
        let identity = Identity {
            header: "x-identity".parse().unwrap(),
            issuer: "keybound".to_owned(),
            audience: "https://orders.internal".to_owned(),
            lifetime: Duration::from_secs(60),
            keys: vec![Arc::new(IdentityKey::from_der(key.pkcs8()).unwrap())],
        };
        group.bench_function(format!("assert {algorithm}"), |b| {
            b.iter_with_large_drop(|| identity.assert(&statement).unwrap());
        });
    }
}
