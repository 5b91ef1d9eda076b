//! 50 copies of one proof, spread over several gateways: exactly one passes.

use keybound::clock::{Clock as _, SystemClock};
use keybound::refusal::Reason;
use keybound::replay::{Credentials, MemorySettings, RedisSettings, Topology};

use crate::fleet::{Fleet, once, passed, refusals, refused, volley};
use crate::servers::{Cluster, MASTER, Redis, Watched, ask, keys, tell};

const COPIES: usize = 50;
const MOST_STALLED: usize = 5;
const PASSWORD: &str = "open-sesame";

async fn exactly_one_passes(gateways: usize, store: RedisSettings, rounds: usize) -> Fleet {
    let fleet = Fleet::start(gateways, store).await;
    let mut lines = fleet.lines(COPIES).await;
    let (mut decided, mut stalled) = (0, 0);
    while decided < rounds {
        let statuses = volley(&mut lines, &fleet.proof()).await;
        // A machine that stands still for seconds makes gateways refuse; that decides nothing, and happens rarely.
        if passed(&statuses) == 0 && statuses.contains(&503) && stalled < MOST_STALLED {
            stalled += 1;
            fleet.recovers().await;
            continue;
        }
        assert_eq!((passed(&statuses), refused(&statuses)), (1, COPIES - 1), "round {decided}: {statuses:?}");
        decided += 1;
    }
    if stalled == 0 {
        assert_eq!(fleet.upstream.count(), rounds, "the upstream sees each proof once");
        let replayed: u64 = fleet.gateways.iter().map(|gateway| refusals(gateway, Reason::ProofReplayed)).sum();
        assert_eq!(replayed, (rounds * (COPIES - 1)) as u64);
    }
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neg_126_two_gateways_a_thousand_rounds() {
    let store = Redis::start().await;
    let fleet = exactly_one_passes(2, store.settings(), 1000).await;
    // One key for each proof, however many copies; and perhaps the one with which gateways see whether keys are taken.
    let (stored, passed) = (keys(store.port).await, fleet.upstream.count() as u64);
    assert!((passed..=passed + 1).contains(&stored), "{stored} keys, {passed} requests");
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
    let before = set_calls(&store).await;
    assert_eq!(once(&fleet.gateways[0], &proof).await.status, 401);
    assert_eq!(set_calls(&store).await, before);
    assert_eq!(before, "calls=2", "the proof, and a look whether keys are taken");
}

/// How many keys were asked for, or entered, so far.
async fn set_calls(store: &Redis) -> String {
    let all = crate::servers::info(store.port, "commandstats", "cmdstat_set").await;
    all.split(',').next().unwrap().to_owned()
}

/// Two versions side by side: what is entered is written down here once more, as another version would have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_version_enters_is_spent() {
    let store = Redis::start().await;
    let fleet = Fleet::start(1, store.settings()).await;
    let now = SystemClock.now().secs();
    // What the gateway enters, and until when: its proof's life, the clocks', and the wait of 2 s in these tests.
    let (proof, entry) = fleet.proof_and_entry(now);
    assert_eq!(once(&fleet.gateways[0], &proof).await.status, 200);
    assert_eq!(ask::<String>(store.port, &["GET", &entry]).await.unwrap(), "1");
    let ends = ask::<i64>(store.port, &["PEXPIRETIME", &entry]).await.unwrap();
    assert_eq!(ends, (now + 60 + 30 + 3 + 2) * 1000);
    // What another one entered.
    let (proof, entry) = fleet.proof_and_entry(now);
    tell(store.port, &["SET", &entry, "1", "NX", "PXAT", &ends.to_string()]).await;
    let seen = fleet.upstream.count();
    assert_eq!(once(&fleet.gateways[0], &proof).await.status, 401);
    assert_eq!((refusals(&fleet.gateways[0], Reason::ProofReplayed), fleet.upstream.count()), (1, seen));
    assert_eq!(once(&fleet.gateways[0], &fleet.proof()).await.status, 200);
}

/// Each gateway counts for itself, and what is beyond the share does not travel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neg_286_one_key_has_its_share_at_each_gateway() {
    let store = Redis::start().await;
    let mut fleet = Fleet::unready(store.settings(), None).await;
    fleet.remember(MemorySettings { per_key: 3, ..MemorySettings::default() });
    fleet.add().await;
    fleet.add().await;
    let spent = fleet.proof();
    for proof in [&spent, &fleet.proof(), &fleet.proof()] {
        assert_eq!(once(&fleet.gateways[0], proof).await.status, 200);
    }
    let (asked, beyond) = (set_calls(&store).await, fleet.proof());
    assert_eq!(once(&fleet.gateways[0], &beyond).await.status, 429);
    assert_eq!(refusals(&fleet.gateways[0], Reason::ReplayKeyQuota), 1);
    assert_eq!((set_calls(&store).await, fleet.upstream.count()), (asked, 3));
    // It was not spent.
    assert_eq!(once(&fleet.gateways[1], &beyond).await.status, 200);
    // A copy is refused as one, and takes its place at the gateway that saw it.
    assert_eq!(once(&fleet.gateways[1], &spent).await.status, 401);
    assert_eq!(once(&fleet.gateways[1], &fleet.proof()).await.status, 200);
    assert_eq!(once(&fleet.gateways[1], &fleet.proof()).await.status, 429);
}

/// What the README gives a gateway's user is enough, everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_least_rights() {
    let known = Credentials { username: Some("keybound".into()), password: Some(PASSWORD.to_owned().into()) };
    let least = async |port, more: &[&str]| {
        let user = ["ACL", "SETUSER", "keybound", "reset", "on", ">open-sesame", "resetchannels", "-@all"];
        tell(port, &[&user[..], more].concat()).await;
    };
    let data = ["~keybound:*", "+set", "+info", "+time"];

    let single = Redis::start().await;
    least(single.port, &[&data[..], &["+select"]].concat()).await;
    let settings = RedisSettings { credentials: known.clone(), database: 3, ..single.settings() };
    exactly_one_passes(2, settings, 3).await;
    let keyspace: String = ask(single.port, &["INFO", "keyspace"]).await.unwrap();
    assert!(keyspace.contains("db3:keys=3") || keyspace.contains("db3:keys=4"), "{keyspace}");

    let watched = Watched::start().await;
    for server in &watched.servers {
        least(server.port, &data).await;
    }
    for sentinel in &watched.sentinels {
        least(sentinel.port, &["+sentinel|get-master-addr-by-name"]).await;
    }
    let topology = Topology::Sentinel { master: MASTER.to_owned(), credentials: known.clone() };
    let settings = RedisSettings { credentials: known.clone(), topology, ..watched.settings() };
    exactly_one_passes(2, settings, 3).await;

    let cluster = Cluster::start().await;
    for node in &cluster.nodes {
        least(node.port, &[&data[..], &["+cluster|nodes", "+asking"]].concat()).await;
    }
    exactly_one_passes(2, RedisSettings { credentials: known, ..cluster.settings() }, 20).await;
}
