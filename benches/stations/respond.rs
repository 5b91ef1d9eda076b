//! The 401 with its challenges.

use std::hint::black_box;

use criterion::Criterion;
use keybound::refusal::Reason;
use keybound::request::{RequestId, Scheme};
use keybound::respond::{Circumstances, refuse};
use keybound::routes::Policy;
use keybound::verify::{Algorithm, ProofRules};

use crate::world::HOST;

pub fn measure(criterion: &mut Criterion) {
    let (policy, id) = (Policy::default(), RequestId::new(1, 4711));
    let algorithms = Algorithm::challenge_list(&ProofRules::default().algorithms);
    let mut group = criterion.benchmark_group("respond");
    for (reason, scheme_used) in [(Reason::CredentialsMissing, None), (Reason::ProofStale, Some(Scheme::Dpop))] {
        let circumstances = Circumstances {
            scheme_used,
            policy: Some(&policy),
            algorithms: &algorithms,
            realm: HOST,
            id: Some(&id),
            nonce: None,
            resource_metadata: None,
            retry_after: None,
        };
        assert_eq!(refuse(reason, &circumstances).status(), 401);
        group.bench_function(format!("401 {}", reason.slug()), |b| {
            b.iter_with_large_drop(|| refuse(black_box(reason), &circumstances));
        });
    }
}
