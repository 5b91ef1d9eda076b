//! 50 copies of one proof, spread over several gateways: exactly one passes.

use keybound::refusal::Reason;
use keybound::replay::RedisSettings;

use crate::fleet::{Fleet, once, passed, refusals, refused, volley};
use crate::servers::{Cluster, Redis, Watched, keys};

const COPIES: usize = 50;

async fn exactly_one_passes(gateways: usize, store: RedisSettings, rounds: usize) -> Fleet {
    let fleet = Fleet::start(gateways, store).await;
    let mut lines = fleet.lines(COPIES).await;
    for round in 0..rounds {
        let statuses = volley(&mut lines, &fleet.proof()).await;
        assert_eq!((passed(&statuses), refused(&statuses)), (1, COPIES - 1), "round {round}: {statuses:?}");
    }
    assert_eq!(fleet.upstream.count(), rounds, "the upstream sees each proof once");
    let replayed: u64 = fleet.gateways.iter().map(|gateway| refusals(gateway, Reason::ProofReplayed)).sum();
    assert_eq!(replayed, (rounds * (COPIES - 1)) as u64);
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neg_126_two_gateways_a_thousand_rounds() {
    let store = Redis::start().await;
    let _fleet = exactly_one_passes(2, store.settings(), 1000).await;
    assert_eq!(keys(store.port).await, 1000, "one key for each proof, however many copies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neg_126_four_gateways_a_thousand_rounds() {
    let store = Redis::start().await;
    exactly_one_passes(4, store.settings(), 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sentinels() {
    let store = Watched::start().await;
    exactly_one_passes(2, store.settings(), 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_cluster_all_masters_get_their_share() {
    let store = Cluster::start().await;
    exactly_one_passes(2, store.settings(), 100).await;
    for master in &store.nodes[..Cluster::MASTERS] {
        assert!(keys(master.port).await > 10);
    }
}

/// What was seen here never travels: the second copy at the same gateway asks nobody.
#[tokio::test]
async fn a_copy_at_the_same_gateway_does_not_travel() {
    let store = Redis::start().await;
    let fleet = Fleet::start(1, store.settings()).await;
    let proof = fleet.proof();
    assert_eq!(once(&fleet.gateways[0], &proof).await.status, 200);
    let asked = || crate::servers::info(store.port, "commandstats", "cmdstat_set");
    let before = asked().await;
    assert_eq!(once(&fleet.gateways[0], &proof).await.status, 401);
    assert_eq!(asked().await, before);
    assert!(before.starts_with("calls=1,"), "{before}");
}
