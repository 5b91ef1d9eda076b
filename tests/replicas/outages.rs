//! One server that dies, stands still, is full, forgets, or is not what it should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use keybound::clock::{Clock, SystemClock};
use keybound::gateway::Readiness;
use keybound::refusal::Reason;
use keybound::replay::{OnFailure, RedisSettings};
use keybound::server::Server;
use keybound::time::UnixTime;
use keybound::verify::Nonces;

use crate::eventually;
use crate::fleet::{Fleet, Line, metric, once, passed, refusals, volley};
use crate::network::Way;
use crate::servers::{Redis, ask, info, tell};

async fn degraded(gateway: &Server) -> String {
    eventually("the store's trouble is told", async || match gateway.gateway().readiness() {
        Readiness::Ready(notes) => notes.into_iter().find(|note| note.contains("replay store")),
        Readiness::NotReady(_) => None,
    })
    .await
}

async fn not_ready(gateway: &Server, why: &str) {
    eventually(why, async || match gateway.gateway().readiness() {
        Readiness::Ready(_) => panic!("ready, in spite of: {why}"),
        Readiness::NotReady(missing) => missing.iter().any(|line| line.contains(why)).then_some(()),
    })
    .await;
}

async fn is_refused(fleet: &Fleet, reason: Reason) {
    let seen = fleet.upstream.count();
    for gateway in &fleet.gateways {
        let counted = refusals(gateway, reason);
        let answer = once(gateway, &fleet.proof()).await;
        assert_eq!(answer.status, reason.answer().status(), "{answer:?}");
        assert_eq!(refusals(gateway, reason), counted + 1);
        if answer.status == 503 {
            assert!(answer.header("retry-after").is_some() && answer.header("www-authenticate").is_none());
        }
    }
    assert_eq!(fleet.upstream.count(), seen, "the upstream saw nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deny_refuses_while_the_server_is_dead_and_nothing_old_passes_after() {
    let mut store = Redis::start().await;
    let fleet = Fleet::start(2, store.settings()).await;
    let mut accepted = Vec::new();
    for _ in 0..20 {
        let proof = fleet.proof();
        assert_eq!(once(&fleet.gateways[0], &proof).await.status, 200);
        accepted.push(proof);
    }
    store.kill();
    is_refused(&fleet, Reason::ReplayUnavailable).await;
    assert!(degraded(&fleet.gateways[0]).await.contains("degraded: replay store"));
    assert_eq!(metric(&fleet.gateways[0], "keybound_replay_store_available"), 0);
    assert!(metric(&fleet.gateways[0], "keybound_replay_store_errors_total") > 0);
    assert_eq!(metric(&fleet.gateways[0], "keybound_replay_local_total"), 0);
    // It has forgotten everything; the gateways know that it has.
    store.restart().await;
    fleet.recovers().await;
    for proof in &accepted {
        assert_eq!(passed(&fleet.everywhere(proof).await), 0);
    }
    assert!(refusals(&fleet.gateways[1], Reason::ProofBeforeStart) >= 20);
    assert_eq!(metric(&fleet.gateways[0], "keybound_replay_store_available"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_is_not_waited_for() {
    let store = Redis::start().await;
    let settings = RedisSettings { timeout: Duration::from_millis(300), ..store.settings() };
    let fleet = Fleet::start(2, settings).await;
    let mut lines = fleet.lines(8).await;
    assert_eq!(passed(&volley(&mut lines, &fleet.proof()).await), 1);
    store.signal("STOP");
    let mut undecided = Vec::new();
    for _ in 0..5 {
        let proof = fleet.proof();
        let statuses = volley(&mut lines, &proof).await;
        assert_eq!(passed(&statuses), 0, "{statuses:?}");
        assert!(statuses.contains(&503), "{statuses:?}");
        undecided.push(proof);
    }
    store.signal("CONT");
    fleet.recovers().await;
    // Whether or not they were entered in the end: none passes twice.
    for proof in &undecided {
        assert!(passed(&volley(&mut lines, proof).await) <= 1);
    }
    assert_eq!(passed(&volley(&mut lines, &fleet.proof()).await), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_keeps_the_promise_of_each_gateway() {
    let mut store = Redis::start().await;
    let settings = RedisSettings { on_failure: OnFailure::Local, ..store.settings() };
    let fleet = Fleet::start(3, settings).await;
    let before = fleet.proof();
    assert_eq!(once(&fleet.gateways[0], &before).await.status, 200);
    store.kill();
    let mut lines = fleet.lines(30).await;
    for _ in 0..10 {
        let statuses = volley(&mut lines, &fleet.proof()).await;
        assert_eq!(passed(&statuses), 3, "once at each: {statuses:?}");
    }
    let alone: u64 = fleet.gateways.iter().map(|gateway| metric(gateway, "keybound_replay_local_total")).sum();
    assert_eq!(alone, 30, "the counts say so");
    assert_eq!(once(&fleet.gateways[0], &before).await.status, 401);
    store.restart().await;
    fleet.recovers().await;
    assert_eq!(passed(&volley(&mut lines, &fleet.proof()).await), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonce_wants_new_nonces_while_the_server_is_dead() {
    let secret: &[u8] = &[7; 32];
    let nonces = Nonces::new([secret], Duration::from_mins(5));
    let mut store = Redis::start().await;
    let settings = RedisSettings { on_failure: OnFailure::Nonce, ..store.settings() };
    let fleet = Fleet::with_nonces(2, settings, nonces.clone()).await;
    let mint = |ago: u64| nonces.as_ref().unwrap().mint(SystemClock.now() - Duration::from_secs(ago));
    let proof = |ago| fleet.proof_at(SystemClock.now().secs(), mint(ago));
    // Gateways vouch for what was made after they met the store: let that be long enough ago.
    for gateway in &fleet.gateways {
        eventually("a nonce of that age is good while the store answers", async || {
            (once(gateway, &proof(OnFailure::NONCE.as_secs() + 1)).await.status == 200).then_some(())
        })
        .await;
    }
    store.kill();
    for gateway in &fleet.gateways {
        let old = once(gateway, &proof(OnFailure::NONCE.as_secs() + 1)).await;
        assert_eq!(old.status, 401);
        assert!(old.header("www-authenticate").unwrap().starts_with("DPoP error=\"use_dpop_nonce\""), "{old:?}");
        let nonce = old.header("dpop-nonce").unwrap().to_owned();
        let new = fleet.proof_at(SystemClock.now().secs(), Some(nonce));
        assert_eq!(once(gateway, &new).await.status, 200);
        assert_eq!(once(gateway, &new).await.status, 401);
        // The next one comes early, so that no good client is refused.
        let answer = once(gateway, &proof(OnFailure::NONCE.as_secs() / 2 + 1)).await;
        assert_eq!((answer.status, answer.all("dpop-nonce").len()), (200, 1));
    }
    let accepted_alone = proof(0);
    assert_eq!(once(&fleet.gateways[0], &accepted_alone).await.status, 200);
    store.restart().await;
    fleet.recovers().await;
    // What one gateway accepted alone is worth nothing at the others afterwards.
    let answer = once(&fleet.gateways[1], &accepted_alone).await;
    assert_eq!((answer.status, refusals(&fleet.gateways[1], Reason::ProofNonce) > 0), (401, true));
}

/// One gateway alone is cut off; the others never notice. What it accepted meanwhile is entered when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_alone_is_entered_afterwards() {
    let store = Redis::start().await;
    let way = Way::to(store.port);
    let settings = RedisSettings {
        timeout: Duration::from_millis(300),
        on_failure: OnFailure::Local,
        ..RedisSettings::single(crate::servers::address(way.port))
    };
    let cut_off = Fleet::start(1, settings).await;
    let mut whole = Fleet::unready(store.settings(), None).await;
    whole.trust(&cut_off);
    whole.add().await;
    cut_off.recovers().await;
    way.cut(true);
    let mut alone = Vec::new();
    for _ in 0..20 {
        let proof = cut_off.proof();
        assert_eq!(once(&cut_off.gateways[0], &proof).await.status, 200);
        alone.push(proof);
    }
    assert_eq!(metric(&cut_off.gateways[0], "keybound_replay_local_total"), 20);
    way.cut(false);
    cut_off.recovers().await;
    for proof in &alone {
        assert_eq!(once(&whole.gateways[0], proof).await.status, 401);
    }
    assert_eq!(refusals(&whole.gateways[0], Reason::ProofReplayed), 20);
    assert_eq!(once(&whole.gateways[0], &cut_off.proof()).await.status, 200);
}

/// The store forgot nothing, but it never heard of what a gateway accepted alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_accepted_alone_is_worth_nothing_afterwards() {
    let secret: &[u8] = &[7; 32];
    let store = Redis::with(&["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"]).await;
    let settings = RedisSettings { on_failure: OnFailure::Nonce, ..store.settings() };
    let fleet = Fleet::with_nonces(2, settings, Nonces::new([secret], Duration::from_mins(5))).await;
    fleet.recovers().await;
    tell(store.port, &["CONFIG", "SET", "maxmemory", "100kb"]).await;
    let proof = fleet.proof();
    for gateway in &fleet.gateways {
        // Both meet the outage.
        assert_eq!(once(gateway, &fleet.proof()).await.status, 200);
    }
    assert_eq!(once(&fleet.gateways[0], &proof).await.status, 200);
    tell(store.port, &["CONFIG", "SET", "maxmemory", "100mb"]).await;
    fleet.recovers().await;
    let before = refusals(&fleet.gateways[1], Reason::ProofNonce);
    assert_eq!(once(&fleet.gateways[1], &proof).await.status, 401);
    assert_eq!(refusals(&fleet.gateways[1], Reason::ProofNonce), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_refuses() {
    let store = Redis::with(&["--maxmemory", "100mb", "--maxmemory-policy", "noeviction"]).await;
    let fleet = Fleet::start(2, store.settings()).await;
    let spent = fleet.proof();
    assert_eq!(once(&fleet.gateways[0], &spent).await.status, 200);
    tell(store.port, &["CONFIG", "SET", "maxmemory", "100kb"]).await;
    is_refused(&fleet, Reason::ReplayUnavailable).await;
    let told = degraded(&fleet.gateways[0]).await;
    assert!(told.contains("OOM"), "{told}");
    // Nothing was evicted for lack of room.
    assert_eq!(passed(&fleet.everywhere(&spent).await), 0);
    tell(store.port, &["CONFIG", "SET", "maxmemory", "100mb"]).await;
    fleet.recovers().await;
    assert_eq!(passed(&fleet.everywhere(&spent).await), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_evicts_is_not_trusted() {
    let store = Redis::with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"]).await;
    let mut fleet = Fleet::unready(store.settings(), None).await;
    let gateway = fleet.another();
    not_ready(&gateway, "may forget live proofs: its maxmemory-policy is volatile-ttl, expected noeviction").await;
    tell(store.port, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    fleet.add().await;
    fleet.add().await;
    // Somebody changes it later.
    let spent = fleet.proof();
    assert_eq!(once(&fleet.gateways[0], &spent).await.status, 200);
    tell(store.port, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    for gateway in &fleet.gateways {
        assert!(degraded(gateway).await.contains("allkeys-lru"));
    }
    is_refused(&fleet, Reason::ReplayUnavailable).await;
    // And repents. What was evicted meanwhile stays unknown to it, and does not pass.
    tell(store.port, &["FLUSHALL"]).await;
    tell(store.port, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    fleet.recovers().await;
    assert_eq!(fleet.everywhere(&spent).await, [401, 401]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_nothing() {
    let master = Redis::start().await;
    let store = Redis::start().await;
    let fleet = Fleet::start(1, store.settings()).await;
    assert_eq!(once(&fleet.gateways[0], &fleet.proof()).await.status, 200);
    tell(store.port, &["REPLICAOF", "127.0.0.1", &master.port.to_string()]).await;
    is_refused(&fleet, Reason::ReplayUnavailable).await;
    not_ready(&fleet.another(), "is not a master").await;
    // A master again, and another memory.
    let spent = fleet.proof();
    tell(store.port, &["REPLICAOF", "NO", "ONE"]).await;
    fleet.recovers().await;
    assert_eq!(once(&fleet.gateways[0], &spent).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_take_too_long_are_given_up() {
    let store = Redis::start().await;
    let settings = RedisSettings { timeout: Duration::from_millis(200), ..store.settings() };
    let fleet = Fleet::start(1, settings).await;
    let mut line = Line::to(&fleet.gateways[0]).await;
    assert_eq!(line.send(&fleet.proof()).await.status, 200);
    tell(store.port, &["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    assert_eq!(line.send(&fleet.proof()).await.status, 503);
    assert!(degraded(&fleet.gateways[0]).await.contains("no answer within 200ms"));
    tell(store.port, &["CLIENT", "UNPAUSE"]).await;
    fleet.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_needs_the_store_is_not_ready_without_it() {
    let mut store = Redis::start().await;
    store.kill();
    let mut fleet = Fleet::unready(store.settings(), None).await;
    let denies = fleet.another();
    not_ready(&denies, "cannot be reached").await;
    assert_eq!(once(&denies, &fleet.proof()).await.status, 503);
    let local = RedisSettings { on_failure: OnFailure::Local, ..store.settings() };
    let local = Fleet::start(1, local).await;
    assert_eq!(once(&local.gateways[0], &local.proof()).await.status, 200);
    store.restart().await;
    crate::in_time("the gateway is ready", denies.ready()).await;
    fleet.gateways.push(denies);
    fleet.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neg_291_a_restarted_gateway_accepts_no_spent_proof() {
    let store = Redis::start().await;
    let mut fleet = Fleet::start(2, store.settings()).await;
    let ahead = fleet.proof_at(SystemClock.now().secs() + 20, None);
    let spent = [fleet.proof(), fleet.proof(), ahead];
    for proof in &spent {
        assert_eq!(once(&fleet.gateways[0], proof).await.status, 200);
    }
    drop(fleet.gateways.remove(0));
    fleet.add().await;
    for proof in &spent {
        assert_eq!(fleet.everywhere(proof).await, [401, 401]);
    }
    // By its date alone it could have been signed after the start: the store remembers it.
    assert!(refusals(&fleet.gateways[1], Reason::ProofReplayed) >= 1);
    fleet.recovers().await;
}

/// A clock that is wrong by so many milliseconds.
struct WrongClock(AtomicI64);

impl WrongClock {
    fn by(millis: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(millis)))
    }
}

impl Clock for WrongClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(SystemClock.now().millis() + self.0.load(SeqCst))
    }
}

/// Until the next survey, the gateway would accept what the store has let go of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_clock_is_set_back_trusts_nothing() {
    let store = Redis::start().await;
    let mut fleet = Fleet::unready(store.settings(), None).await;
    let clock = WrongClock::by(0);
    let gateway = fleet.another_by(Arc::clone(&clock) as _);
    crate::in_time("the gateway is ready", gateway.ready()).await;
    fleet.gateways.push(gateway);
    fleet.recovers().await;
    clock.0.store(-60_000, SeqCst);
    let old = fleet.proof_at(SystemClock.now().secs() - 60, None);
    assert_eq!(once(&fleet.gateways[0], &old).await.status, 503);
    eventually("the clock is blamed", async || {
        fleet.gateways[0].gateway().replay().store()?.trouble?.contains("the clock of").then_some(())
    })
    .await;
    // It stays like this until somebody sets it right.
    clock.0.store(0, SeqCst);
    fleet.recovers().await;
}

/// What the gateway was told about masters may be over when the answer comes: then it counts for nothing, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_from_before_the_clock_was_set_is_none() {
    let store = Redis::start().await;
    let settings = RedisSettings { timeout: crate::PATIENCE, ..store.settings() };
    let mut fleet = Fleet::unready(settings, None).await;
    let clock = WrongClock::by(0);
    let gateway = fleet.another_by(Arc::clone(&clock) as _);
    crate::in_time("the gateway is ready", gateway.ready()).await;
    fleet.gateways.push(gateway);
    fleet.recovers().await;
    let seen = fleet.upstream.count();
    tell(store.port, &["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let ((proof, entry), mut line) =
        (fleet.proof_and_entry(SystemClock.now().secs()), Line::to(&fleet.gateways[0]).await);
    let (answer, ()) = tokio::join!(line.send(&proof), async {
        eventually("the store holds the question back", async || {
            (info(store.port, "clients", "blocked_clients").await == "1").then_some(())
        })
        .await;
        clock.0.store(10_000, SeqCst);
        tell(store.port, &["CLIENT", "UNPAUSE"]).await;
    });
    assert_eq!((answer.status, fleet.upstream.count()), (503, seen));
    assert_eq!(ask::<String>(store.port, &["GET", &entry]).await.unwrap(), "1", "it was entered all the same");
    clock.0.store(0, SeqCst);
    fleet.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_clock_differs_from_the_stores_does_not_trust_it() {
    let store = Redis::start().await;
    let fleet = Fleet::unready(store.settings(), None).await;
    for off in [-8_000, 8_000] {
        let gateway = fleet.another_by(WrongClock::by(off));
        not_ready(&gateway, "differs from this host's by 8.0 s").await;
    }
    for off in [-1_500, 1_500] {
        let gateway = fleet.another_by(WrongClock::by(off));
        crate::in_time("the gateway is ready", gateway.ready()).await;
        // Its keys live longer than a gateway accepts the proof whose clock is behind the store's, as far as it may be.
        tell(store.port, &["FLUSHALL"]).await;
        let issued_at = SystemClock.now().secs() + 6;
        assert_eq!(once(&gateway, &fleet.proof_at(issued_at, None)).await.status, 200);
        let names: Vec<String> = ask(store.port, &["KEYS", &format!("keybound:{}", "?".repeat(22))]).await.unwrap();
        let ends: i64 = ask(store.port, &["PEXPIRETIME", &names[0]]).await.unwrap();
        // And than it may wait for an answer: 2 s in these tests.
        assert_eq!((names.len(), ends), (1, (issued_at + 60 + 30 + 3 + 2) * 1000));
    }
}
