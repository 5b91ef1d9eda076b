//! The log of spent proofs at a constant number of live entries, which `expire` keeps outside of the measured time.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use criterion::Criterion;
use keybound::refusal::{Reason, Refusal};
use keybound::replay::{MemoryLog, MemorySettings, SimulatedProof};
use keybound::time::UnixTime;
use keybound::verify::{ProofRules, ReplayKey, Thumbprint};

use crate::world::{AT_ONCE, NOW};

/// How long the default rules accept a proof that is sent when it is signed: 60 s and 30 s.
const STAY: u64 = 90_000;

/// A proof, as far as the log looks at it. Each key signs ten of those that live.
struct Seen {
    replay_key: ReplayKey,
    key: Thumbprint,
    at: UnixTime,
}

impl Seen {
    fn new(number: u64, live: u64) -> Self {
        let at = NOW + Duration::from_millis(number * STAY / live);
        Self { replay_key: ReplayKey(bytes(number)), key: Thumbprint(bytes(number % (live / 10))), at }
    }

    fn spend(&self, log: &MemoryLog) -> Result<(), Refusal> {
        let Self { replay_key, key: thumbprint, at: issued_at } = *self;
        let accepted_until = issued_at + Duration::from_millis(STAY);
        log.simulate(&SimulatedProof { replay_key, thumbprint, issued_at, nonce: None, accepted_until }, issued_at)
    }
}

pub fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("replay");
    for live in [1_000, 1_000_000] {
        let log = MemoryLog::new(MemorySettings::default(), &ProofRules::default(), NOW);
        (0..live).for_each(|number| Seen::new(number, live).spend(&log).unwrap());
        let mut number = live;
        group.bench_function(format!("fresh among {live}"), |b| {
            let next = || {
                let seen = Seen::new(number, live);
                if number % (live / 100) == 0 {
                    log.expire(seen.at);
                }
                number += 1;
                seen
            };
            b.iter_batched(next, |seen| seen.spend(&log).unwrap(), AT_ONCE);
        });
        let known = Seen::new(number - 1, live);
        assert_eq!(known.spend(&log).unwrap_err().reason(), Reason::ProofReplayed);
        group.bench_function(format!("replayed among {live}"), |b| b.iter(|| black_box(&known).spend(&log)));
    }
}

fn bytes(number: u64) -> [u8; 32] {
    digest(&SHA256, &number.to_le_bytes()).as_ref().try_into().unwrap()
}
