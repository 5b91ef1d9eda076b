//! Masters die and others take their place, which have not heard of everything: replication is always behind.

use std::cell::Cell;
use std::time::{Duration, Instant};

use keybound::gateway::Readiness;
use keybound::refusal::Reason;
use keybound::replay::RedisSettings;

use crate::eventually;
use crate::fleet::{Fleet, Proof, once, passed, refusals, volley};
use crate::network::Way;
use crate::servers::{Cluster, Redis, Watched, ask, becomes_master, keys, promotes, tell};

/// Spends proofs at the first gateway.
async fn spend(fleet: &Fleet, count: usize) -> Vec<Proof> {
    let mut spent = Vec::new();
    for _ in 0..count {
        let proof = fleet.proof();
        assert_eq!(once(&fleet.gateways[0], &proof).await.status, 200);
        spent.push(proof);
    }
    spent
}

async fn none_passes(fleet: &Fleet, spent: &[Proof]) {
    let seen = fleet.upstream.count();
    for proof in spent {
        assert_eq!(passed(&fleet.everywhere(proof).await), 0);
    }
    assert_eq!(fleet.upstream.count(), seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_that_forgot_is_not_believed() {
    let mut store = Watched::start().await;
    let fleet = Fleet::start(2, store.settings()).await;
    spend(&fleet, 5).await;
    store.servers[0].cut_off().await;
    let spent = spend(&fleet, 30).await;
    store.servers[0].kill();
    promotes(&store.sentinels, store.servers[1].port).await;
    let known = keys(store.servers[1].port).await;
    assert!(known <= 5, "the new master never heard of most of them: {known} keys");
    fleet.recovers().await;
    none_passes(&fleet, &spent).await;
    assert!(refusals(&fleet.gateways[1], Reason::ProofBeforeStart) > 0);
    fleet.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_after_the_promotion_does_not_believe_it_either() {
    let mut store = Watched::start().await;
    let mut fleet = Fleet::start(1, store.settings()).await;
    store.servers[0].cut_off().await;
    let spent = spend(&fleet, 10).await;
    store.servers[0].kill();
    promotes(&store.sentinels, store.servers[1].port).await;
    fleet.add().await;
    none_passes(&fleet, &spent).await;
    fleet.recovers().await;
}

/// A gateway comes back while copies of what it accepted are on their way to it and to another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_two_while_a_gateway_restarts() {
    let store = Redis::start().await;
    let mut fleet = Fleet::start(2, store.settings()).await;
    let before = spend(&fleet, 20).await;
    drop(fleet.gateways.remove(0));
    let restarted = fleet.another();
    let mut all = before;
    // It serves whoever comes, though it is not ready yet.
    while matches!(restarted.gateway().readiness(), Readiness::NotReady(_)) {
        let proof = fleet.proof();
        for known in all.iter().chain([&proof]) {
            let here = once(&restarted, known).await.status;
            let there = once(&fleet.gateways[0], known).await.status;
            assert!(passed(&[here, there]) <= 1, "{here} {there}");
        }
        all.push(proof);
    }
    let seen = fleet.upstream.count();
    for proof in &all {
        assert_eq!((once(&restarted, proof).await.status, once(&fleet.gateways[0], proof).await.status), (401, 401));
    }
    assert_eq!(fleet.upstream.count(), seen);
    fleet.gateways.push(restarted);
    fleet.recovers().await;
}

/// A master that stood still while another took its place still thinks that it is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_wakes_up_too_late_is_not_listened_to() {
    let store = Watched::start().await;
    let fleet = Fleet::start(2, store.settings()).await;
    spend(&fleet, 3).await;
    store.servers[0].signal("STOP");
    promotes(&store.sentinels, store.servers[1].port).await;
    fleet.recovers().await;
    let spent = spend(&fleet, 20).await;
    store.servers[0].signal("CONT");
    // Asked all the time while it finds out what it is now.
    let old = store.servers[0].port;
    eventually("the old master becomes a replica", async || {
        none_passes(&fleet, &spent).await;
        let more = spend(&fleet, 1).await;
        none_passes(&fleet, &more).await;
        // Sentinels end the connections of whom they make a replica: this one may break.
        let said: String = ask(old, &["INFO", "replication"]).await.ok()?;
        said.contains("role:slave").then_some(())
    })
    .await;
}

/// A gateway that cannot ask who the master is may go by its last answer for two seconds: after that, another one may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cannot_ask_stops_although_the_master_answers() {
    let store = Watched::start().await;
    let ways: Vec<Way> = store.sentinels.iter().map(|sentinel| Way::to(sentinel.port)).collect();
    let servers = ways.iter().map(|way| crate::servers::address(way.port)).collect();
    let fleet = Fleet::start(1, RedisSettings { servers, ..store.settings() }).await;
    spend(&fleet, 3).await;
    ways.iter().for_each(|way| way.cut(true));
    let cut = Instant::now();
    eventually("requests are refused", async || {
        (once(&fleet.gateways[0], &fleet.proof()).await.status == 503).then_some(())
    })
    .await;
    assert!(cut.elapsed() < Duration::from_secs(4), "{:?}", cut.elapsed());
    ways.iter().for_each(|way| way.cut(false));
    fleet.recovers().await;
}

/// Too few Sentinels are worth nothing: the one that is heard may be the one that was cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_of_sentinels_is_not_believed() {
    let mut store = Watched::start().await;
    let fleet = Fleet::start(1, store.settings()).await;
    store.sentinels[0].kill();
    spend(&fleet, 3).await;
    fleet.recovers().await;
    store.sentinels[1].kill();
    eventually("requests are refused", async || {
        (once(&fleet.gateways[0], &fleet.proof()).await.status == 503).then_some(())
    })
    .await;
    store.sentinels[1].restart().await;
    fleet.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_dies_and_its_replica_forgot() {
    let mut store = Cluster::start().await;
    let fleet = Fleet::start(2, store.settings()).await;
    spend(&fleet, 5).await;
    store.nodes[0].cut_off().await;
    let spent = spend(&fleet, 40).await;
    store.nodes[0].kill();
    becomes_master(store.nodes[Cluster::MASTERS].port).await;
    fleet.recovers().await;
    none_passes(&fleet, &spent).await;
    // A third of the proofs belonged to it; the other masters remember theirs.
    let (fenced, replayed) =
        (refusals(&fleet.gateways[1], Reason::ProofBeforeStart), refusals(&fleet.gateways[1], Reason::ProofReplayed));
    assert!(fenced > 0 && replayed > 0, "{fenced} {replayed}");
    fleet.recovers().await;
}

/// Without a replica, a part of the keys has no place: their requests are refused, all others pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_lost_keys_refuses_what_belongs_there() {
    let mut store = Cluster::start().await;
    for node in &store.nodes {
        tell(node.port, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]).await;
    }
    let fleet = Fleet::start(1, store.settings()).await;
    store.nodes[Cluster::MASTERS].kill();
    store.nodes[0].kill();
    let mut statuses = Vec::new();
    eventually("a part is refused", async || {
        statuses.push(once(&fleet.gateways[0], &fleet.proof()).await.status);
        let last = &statuses[statuses.len().saturating_sub(40)..];
        (last.len() == 40 && last.contains(&503) && passed(last) > 10).then_some(())
    })
    .await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 503)), "{statuses:?}");
    // And with full coverage demanded, CLUSTERDOWN is what the others say.
    for node in [1, 2, 4, 5] {
        tell(store.nodes[node].port, &["CONFIG", "SET", "cluster-require-full-coverage", "yes"]).await;
    }
    eventually("all are refused", async || {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(once(&fleet.gateways[0], &fleet.proof()).await.status);
        }
        statuses.iter().all(|status| *status == 503).then_some(())
    })
    .await;
}

/// Whether a server has given this kind of error answer.
async fn said(port: u16, error: &str) -> bool {
    ask::<String>(port, &["INFO", "errorstats"]).await.unwrap().contains(error)
}

/// Slots move while proofs are spent: MOVED and ASK are followed, nothing passes twice, nothing good is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_under_load() {
    let store = Cluster::start().await;
    let fleet = Fleet::start(2, store.settings()).await;
    let mut lines = fleet.lines(10).await;
    const MOVING: std::ops::Range<u16> = 0..60;
    let mut before = Vec::new();
    for _ in 0..100 {
        let proof = fleet.proof_in(MOVING).await;
        assert_eq!(once(&fleet.gateways[0], &proof).await.status, 200);
        before.push(proof);
    }
    let [from, to] = [store.nodes[0].port, store.nodes[1].port];
    let [from_id, to_id] =
        [ask::<String>(from, &["CLUSTER", "MYID"]).await.unwrap(), ask(to, &["CLUSTER", "MYID"]).await.unwrap()];
    let (hot, volleys, moved) = (Cell::new(MOVING.start), Cell::new(0), Cell::new(false));
    let moving = async {
        for slot in MOVING {
            let text = slot.to_string();
            tell(to, &["CLUSTER", "SETSLOT", &text, "IMPORTING", &from_id]).await;
            tell(from, &["CLUSTER", "SETSLOT", &text, "MIGRATING", &to_id]).await;
            hot.set(slot);
            // Nothing of this slot's is there yet that a new proof could be found by: each asks.
            if slot == MOVING.start {
                eventually("somebody is told to ask", async || said(from, "errorstat_ASK").await.then_some(())).await;
            }
            // Gateways learn of it by themselves three times a second: now and then a proof comes before.
            let early = if slot % 10 == 0 { Some(fleet.proof_in(slot..slot + 1).await) } else { None };
            let keys: Vec<String> = ask(from, &["CLUSTER", "GETKEYSINSLOT", &text, "100"]).await.unwrap();
            for key in keys {
                tell(from, &["MIGRATE", "127.0.0.1", &to.to_string(), &key, "0", "5000"]).await;
            }
            for node in [to, from] {
                tell(node, &["CLUSTER", "SETSLOT", &text, "NODE", &to_id]).await;
            }
            if let Some(early) = early {
                let gateway = &fleet.gateways[usize::from(slot / 10 % 2)];
                assert_eq!(once(gateway, &early).await.status, 200);
                assert_eq!(passed(&fleet.everywhere(&early).await), 0);
                let seen = volleys.get();
                eventually("two volleys", async || (volleys.get() >= seen + 2).then_some(())).await;
            }
        }
    };
    let load = async {
        while !moved.get() {
            let at = hot.get();
            let proof = fleet.proof_in(at..at + 1).await;
            let statuses = volley(&mut lines, &proof).await;
            assert_eq!(passed(&statuses), 1, "{statuses:?}");
            volleys.set(volleys.get() + 1);
        }
    };
    tokio::join!(
        async {
            moving.await;
            moved.set(true)
        },
        load
    );
    assert!(said(from, "errorstat_MOVED").await, "a gateway was told that a slot had moved");
    none_passes(&fleet, &before).await;
    assert_eq!(refusals(&fleet.gateways[1], Reason::ProofBeforeStart), 0, "what moved in order was not forgotten");
}
