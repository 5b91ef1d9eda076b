//! Rounds of 50 copies without a pause, while something breaks and is mended: never two of one proof pass, and where gateways
//! may decide alone, never two at one of them. `KEYBOUND_ROUNDS=1000` plays a thousand of each; that takes minutes.

use keybound::replay::{OnFailure, RedisSettings};
use keybound::server::Server;

use crate::fleet::{Fleet, Line, Proof, metric, passed, volley, volley_at_whoever_is_left};
use crate::servers::{Cluster, Redis, Watched, becomes_master, promotes};
use crate::{eventually, in_time};

const GATEWAYS: usize = 4;
const COPIES: usize = 50;

fn number_of_rounds() -> usize {
    std::env::var("KEYBOUND_ROUNDS").map_or(300, |text| text.parse().unwrap())
}

/// The round in which something breaks.
fn breaks() -> usize {
    number_of_rounds() * 3 / 10
}

/// The one in which what can be mended at once is mended.
fn mended() -> usize {
    number_of_rounds() * 6 / 10
}

fn with(on_failure: OnFailure, settings: RedisSettings) -> RedisSettings {
    RedisSettings { on_failure, ..settings }
}

/// How many copies passed at each gateway, of a volley over lines that are evenly spread.
fn at_each(statuses: &[u16]) -> [usize; GATEWAYS] {
    std::array::from_fn(|gateway| {
        statuses.iter().skip(gateway).step_by(GATEWAYS).filter(|status| **status == 200).count()
    })
}

/// `happens` is told of each round.
async fn rounds(fleet: &Fleet, on_failure: OnFailure, mut happens: impl FnMut(usize)) -> Vec<Proof> {
    let mut lines = fleet.lines(COPIES).await;
    let (mut all, mut good, mut more) = (Vec::new(), 0, 0);
    for round in 0..number_of_rounds() {
        happens(round);
        let proof = fleet.proof();
        let statuses = volley(&mut lines, &proof).await;
        let passed = passed(&statuses);
        match on_failure {
            OnFailure::Deny => assert!(passed <= 1, "round {round}: {statuses:?}"),
            OnFailure::Local | OnFailure::Nonce => {
                assert!(at_each(&statuses).iter().all(|passed| *passed <= 1), "round {round}: {statuses:?}");
            }
        }
        assert_eq!(fleet.upstream.count_of(&proof.target), passed, "round {round}");
        good += passed;
        more += passed.saturating_sub(1);
        all.push(proof);
    }
    assert!(good >= number_of_rounds() / 5, "{good}");
    let alone: u64 = fleet.gateways.iter().map(|gateway| metric(gateway, "keybound_replay_local_total")).sum();
    match on_failure {
        OnFailure::Deny => assert_eq!(alone, 0),
        // One copy of each may have passed with the store's word; all others were counted.
        OnFailure::Local | OnFailure::Nonce => {
            assert!((more..=good).contains(&(alone as usize)) && more > 0, "{more} {alone} {good}");
        }
    }
    all
}

/// What was tried is tried again at each gateway when all is well. What passed before passes nowhere; what did not, because
/// nobody could be asked, passes once, or never where the store is not the one that it was. Then everybody shares again.
async fn all_is_well(fleet: &Fleet, all: &[Proof], store: Store) {
    fleet.recovers().await;
    let mut lines = fleet.lines(GATEWAYS).await;
    let seen: Vec<usize> = all.iter().map(|proof| fleet.upstream.count_of(&proof.target)).collect();
    let mut late = 0;
    for (proof, before) in all.iter().zip(seen) {
        let passed = passed(&volley(&mut lines, proof).await);
        assert!(before + passed <= before.max(1), "{before} {passed}");
        late += passed;
    }
    assert!(store == Store::TheSame || late == 0, "{late}");
    let mut lines = fleet.lines(COPIES).await;
    one_of_each_passes(fleet, &mut lines).await;
}

#[derive(PartialEq)]
enum Store {
    /// Nothing was forgotten.
    TheSame,
    /// All or a part of it is another server's memory.
    Another,
}

/// A part of a cluster may be vouched for later than the rest.
async fn one_of_each_passes(fleet: &Fleet, lines: &mut [Line]) {
    let mut row = 0;
    eventually("each of ten proofs in a row passes once", async || {
        let passed = passed(&volley(lines, &fleet.proof()).await);
        assert!(passed <= 1, "{passed}");
        row = if passed == 1 { row + 1 } else { 0 };
        (row == 10).then_some(())
    })
    .await;
}

async fn while_the_master_is_killed(on_failure: OnFailure) {
    let mut store = Watched::start().await;
    let fleet = Fleet::start(GATEWAYS, with(on_failure, store.settings())).await;
    let (master, rest) = store.servers.split_first_mut().unwrap();
    let all = rounds(&fleet, on_failure, |round| {
        if round == breaks() {
            master.kill();
        }
    })
    .await;
    promotes(&store.sentinels, rest[0].port).await;
    all_is_well(&fleet, &all, Store::Another).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_master_is_killed_under_deny() {
    while_the_master_is_killed(OnFailure::Deny).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_master_is_killed_under_local() {
    while_the_master_is_killed(OnFailure::Local).await;
}

async fn while_a_node_of_a_cluster_is_killed(on_failure: OnFailure) {
    let mut store = Cluster::start().await;
    let fleet = Fleet::start(GATEWAYS, with(on_failure, store.settings())).await;
    let replica = store.nodes[Cluster::MASTERS].port;
    let all = rounds(&fleet, on_failure, |round| {
        if round == breaks() {
            store.nodes[0].kill();
        }
    })
    .await;
    becomes_master(replica).await;
    all_is_well(&fleet, &all, Store::Another).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_node_of_a_cluster_is_killed_under_deny() {
    while_a_node_of_a_cluster_is_killed(OnFailure::Deny).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_node_of_a_cluster_is_killed_under_local() {
    while_a_node_of_a_cluster_is_killed(OnFailure::Local).await;
}

async fn while_the_server_is_paused(on_failure: OnFailure) {
    let store = Redis::start().await;
    let fleet = Fleet::start(GATEWAYS, with(on_failure, store.settings())).await;
    let all = rounds(&fleet, on_failure, |round| {
        if round == breaks() {
            store.signal("STOP");
        } else if round == mended() {
            store.signal("CONT");
        }
    })
    .await;
    all_is_well(&fleet, &all, Store::TheSame).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_paused_under_deny() {
    while_the_server_is_paused(OnFailure::Deny).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_paused_under_local() {
    while_the_server_is_paused(OnFailure::Local).await;
}

/// One after the other is replaced, as in a rolling update, with copies on their way to it. What a gateway that ended passed
/// on counts, although its client heard nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_gateways_restart() {
    let store = Redis::start().await;
    let mut fleet = Fleet::start(GATEWAYS, store.settings()).await;
    let mut lines = fleet.lines(COPIES).await;
    let (mut all, mut unanswered) = (Vec::new(), 0);
    for round in 0..number_of_rounds() {
        let proof = fleet.proof();
        let mut ends: Option<Server> = None;
        if round % 100 == 50 {
            in_time("the last one that started is ready", fleet.gateways[GATEWAYS - 1].ready()).await;
            ends = Some(fleet.gateways.remove(0));
        }
        let restarts = ends.is_some();
        let (statuses, ()) = tokio::join!(volley_at_whoever_is_left(&mut lines, &proof), async move {
            // First the copies are sent.
            tokio::task::yield_now().await;
            drop(ends);
        });
        assert!(passed(&statuses) <= 1, "round {round}: {statuses:?}");
        unanswered += statuses.iter().filter(|status| **status == 0).count();
        if restarts {
            // It serves whoever comes, though it is not ready yet.
            fleet.gateways.push(fleet.another());
            lines = fleet.lines(COPIES).await;
            // What was tried before this start comes again.
            volley(&mut lines, &proof).await;
        }
        all.push(proof);
    }
    assert!(unanswered > 0, "copies were on their way to those that ended");
    all_is_well(&fleet, &all, Store::TheSame).await;
    let seen: Vec<usize> = all.iter().map(|proof| fleet.upstream.count_of(&proof.target)).collect();
    assert!(seen.iter().all(|count| *count <= 1), "{seen:?}");
    assert!(seen.iter().sum::<usize>() >= number_of_rounds() * 9 / 10, "{seen:?}");
}
