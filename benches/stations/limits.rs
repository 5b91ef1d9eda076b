//! A caller's place: taken, and free again.

use std::cell::Cell;
use std::time::Duration;

use criterion::Criterion;
use keybound::limits::{Limiter, Per, Rate, RouteLimits};
use keybound::verify::{Algorithm, Demand, Thumbprint, TokenHash};

use crate::world::{NOW, World};

pub fn measure(criterion: &mut Criterion, world: &World) {
    let client = world.client(Algorithm::Es256);
    let token = world.verify(&client.token, TokenHash::of(&client.token));
    let mut group = criterion.benchmark_group("limits");
    for (name, per) in [("thumbprint", Per::Thumbprint), ("subject", Per::Subject)] {
        let rate = Some(Rate::new(Rate::MOST, Duration::from_secs(1), Rate::MOST));
        let limits = RouteLimits { per, rate, concurrent: Some(1) };
        let (limiter, asked) = (Limiter::new([limits]), Cell::new(0_u32));
        let proven = Demand { proof_by: Some(Thumbprint([7; 32])), certificate: None };
        group.bench_function(format!("admit by {name}"), |b| {
            b.iter(|| {
                asked.set(asked.get() + 1);
                limiter.admit("api", &limits, &token, &proven, NOW + Duration::from_millis(asked.get().into())).unwrap()
            });
        });
    }
}
