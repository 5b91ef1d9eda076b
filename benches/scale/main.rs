//! What replicas cost and keep when they share a store: real Redis processes, the gateways' own replay logs, and a
//! network in between that can be slowed and cut. The tables of `docs/scale.md`.
//!
//! Proofs are simulated (signing them would take longer than what is measured); everything behind the signature is what
//! runs in a gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on must stop")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its result")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod cost;
mod faults;
mod network;
#[path = "../../tests/shared/servers.rs"]
#[allow(dead_code, reason = "shared with tests, which use the rest")]
mod servers;
#[path = "../../tests/shared/waiting.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use keybound::clock::{Clock, SystemClock};
use keybound::replay::{MemorySettings, RedisSettings, ReplayLog, ReplaySettings, SimulatedProof};
use keybound::time::UnixTime;
use keybound::verify::{ProofRules, ReplayKey, Thumbprint};
use tokio::runtime::Handle;
use waiting::eventually;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        cost::measure().await;
        faults::measure().await;
    });
}

/// One gateway's log, in touch with its store.
async fn gateway(store: Option<RedisSettings>) -> Arc<ReplayLog> {
    let memory = MemorySettings { capacity: 20_000_000, per_key: MemorySettings::MOST_PER_KEY };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shared = store.is_some();
    let log = Arc::new(ReplayLog::new(ReplaySettings { memory, shared: store }, &ProofRules::default(), &clock));
    let running = Arc::clone(&log);
    tokio::spawn(async move { running.run(vec![Handle::current()]).await });
    if shared {
        eventually("the store is vouched for", async || log.store().unwrap().ready.then_some(())).await;
    }
    // What clients sign in this second may have been signed before.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    log
}

/// A proof of this moment by one of a thousand keys.
fn proof(number: u64, nonce: Option<UnixTime>) -> SimulatedProof {
    let now = SystemClock.now();
    let bytes = |number: u64| digest(&SHA256, &number.to_le_bytes()).as_ref().try_into().unwrap();
    let rules = ProofRules::default();
    // Clients write whole seconds.
    let issued_at = UnixTime::from_secs(now.secs());
    SimulatedProof {
        replay_key: ReplayKey(bytes(number)),
        thumbprint: Thumbprint(bytes(number % 1000)),
        issued_at,
        nonce,
        accepted_until: issued_at + rules.lifetime + rules.clock_skew,
    }
}
