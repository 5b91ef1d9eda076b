//! Four gateways, good clients, and a thief who sends a copy of every proof to another gateway soon after: what passes
//! while the store is slow, stands still, dies, is cut off, or is replaced by one that has not heard of everything.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use keybound::clock::{Clock as _, SystemClock};
use keybound::replay::{OnFailure, RedisSettings, ReplayLog, SimulatedProof};
use keybound::time::UnixTime;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::network::Way;
use crate::servers::{Redis, Watched, address};
use crate::{gateway, proof};

const GATEWAYS: usize = 4;
/// Good requests a second.
const RATE: u64 = 1000;
const RUN: Duration = Duration::from_secs(14);
/// When the fault begins, and when it ends.
const FAULT: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(5)];

/// Each keeps the newest nonce that it was given.
const CLIENTS: usize = 100;

type Nonces = [AtomicI64; CLIENTS];

static NUMBER: AtomicU64 = AtomicU64::new(1 << 40);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Slow(u64),
    StandsStill,
    Restarts,
    CutOff,
    Failover,
}

#[derive(Default)]
struct Counts {
    good: AtomicU64,
    again: AtomicU64,
    refused: AtomicU64,
    copies: AtomicU64,
    copies_passed: AtomicU64,
}

pub async fn measure() {
    println!(
        "\n{GATEWAYS} gateways, {RATE} requests/s, each copied to another gateway within 2 s; the fault lasts from second 2 to 5 of 14.\n"
    );
    println!(
        "| fault | on_failure | good requests | passed | only at the second attempt | refused | copies | copies passed |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let faults = [
        ("none", Fault::None),
        ("20 ms slower", Fault::Slow(20)),
        ("100 ms slower (timeout 50 ms)", Fault::Slow(100)),
        ("stands still", Fault::StandsStill),
        ("dies, restarts empty", Fault::Restarts),
        ("one gateway cut off", Fault::CutOff),
        ("master dies, replica promoted", Fault::Failover),
    ];
    for (name, fault) in faults {
        for (policy, on_failure) in
            [("deny", OnFailure::Deny), ("nonce", OnFailure::Nonce), ("local", OnFailure::Local)]
        {
            let counts = run(fault, on_failure).await;
            let read = |counter: &AtomicU64| counter.load(Relaxed);
            println!(
                "| {name} | {policy} | {} | {} | {} | {} | {} | {} |",
                read(&counts.good) + read(&counts.refused),
                read(&counts.good),
                read(&counts.again),
                read(&counts.refused),
                read(&counts.copies),
                read(&counts.copies_passed),
            );
        }
    }
}

async fn run(fault: Fault, on_failure: OnFailure) -> Arc<Counts> {
    let mut redis = Redis::start().await;
    let mut watched = if fault == Fault::Failover { Some(Watched::start().await) } else { None };
    let ways: Vec<Way> = (0..GATEWAYS).map(|_| Way::to(redis.port)).collect();
    let starting = ways.iter().map(|way| {
        gateway(Some(match &watched {
            Some(watched) => RedisSettings { timeout: RedisSettings::TIMEOUT, on_failure, ..watched.settings() },
            None => RedisSettings { on_failure, ..RedisSettings::single(address(way.port)) },
        }))
    });
    let logs = futures_util::future::join_all(starting).await;
    let counts = Arc::new(Counts::default());
    let traffic = tokio::spawn(traffic(logs, Arc::clone(&counts), on_failure == OnFailure::Nonce));
    tokio::time::sleep(FAULT[0]).await;
    match fault {
        Fault::None => {}
        Fault::Slow(millis) => ways.iter().for_each(|way| way.slow(Duration::from_millis(millis))),
        Fault::StandsStill => redis.signal("STOP"),
        Fault::Restarts => redis.kill(),
        Fault::CutOff => ways[0].cut(true),
        Fault::Failover => {
            let watched = watched.as_mut().unwrap();
            watched.servers[0].cut_off().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            watched.servers[0].kill();
        }
    }
    tokio::time::sleep(FAULT[1] - FAULT[0]).await;
    match fault {
        Fault::None | Fault::Failover => {}
        Fault::Slow(_) => ways.iter().for_each(|way| way.slow(Duration::ZERO)),
        Fault::StandsStill => redis.signal("CONT"),
        Fault::Restarts => redis.restart().await,
        Fault::CutOff => ways[0].cut(false),
    }
    traffic.await.unwrap();
    counts
}

/// Good clients, and the thief behind them.
async fn traffic(logs: Vec<Arc<ReplayLog>>, counts: Arc<Counts>, nonces: bool) {
    let logs = Arc::new(logs);
    let nonces: Option<Arc<Nonces>> =
        nonces.then(|| Arc::new(std::array::from_fn(|_| AtomicI64::new(SystemClock.now().millis()))));
    let stolen: Arc<Mutex<VecDeque<(Instant, usize, SimulatedProof)>>> = Arc::default();
    let (started, mut clients) = (Instant::now(), Vec::new());
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut sent = 0;
    while started.elapsed() < RUN {
        tick.tick().await;
        while sent < started.elapsed().as_millis() as u64 * RATE / 1000 {
            sent += 1;
            let (logs, counts, stolen) = (Arc::clone(&logs), Arc::clone(&counts), Arc::clone(&stolen));
            clients.push(tokio::spawn(good(logs, counts, stolen, sent, nonces.clone())));
        }
        let mut stolen = stolen.lock().await;
        while stolen.front().is_some_and(|(due, ..)| *due <= Instant::now()) {
            let (_, at, proof) = stolen.pop_front().unwrap();
            let (log, counts) = (Arc::clone(&logs[at]), Arc::clone(&counts));
            clients.push(tokio::spawn(async move {
                counts.copies.fetch_add(1, Relaxed);
                if log.simulate(&proof, SystemClock.now()).await.is_ok() {
                    counts.copies_passed.fetch_add(1, Relaxed);
                }
            }));
        }
    }
    for client in clients {
        client.await.unwrap();
    }
}

/// Signs, sends, and signs anew once if that was refused.
async fn good(
    logs: Arc<Vec<Arc<ReplayLog>>>,
    counts: Arc<Counts>,
    stolen: Arc<Mutex<VecDeque<(Instant, usize, SimulatedProof)>>>,
    number: u64,
    nonces: Option<Arc<Nonces>>,
) {
    for attempt in 0..2 {
        let nonce = nonces.as_ref().map(|nonces| {
            // The newest nonce that this client was given; a refusal brings one of just now.
            let own = &nonces[number as usize % CLIENTS];
            if attempt > 0 {
                own.store(SystemClock.now().millis(), Relaxed);
            }
            UnixTime::from_millis(own.load(Relaxed))
        });
        let proof = proof(NUMBER.fetch_add(1, Relaxed), nonce);
        let at = (number as usize + attempt) % logs.len();
        if logs[at].simulate(&proof, SystemClock.now()).await.is_ok() {
            counts.good.fetch_add(1, Relaxed);
            counts.again.fetch_add(attempt as u64, Relaxed);
            let delay = Duration::from_millis(number * 7919 % 2000);
            let other = (at + 1 + number as usize % (logs.len() - 1)) % logs.len();
            let mut stolen = stolen.lock().await;
            let due = Instant::now() + delay;
            let place = stolen.partition_point(|(other, ..)| *other <= due);
            stolen.insert(place, (due, other, proof));
            return;
        }
    }
    counts.refused.fetch_add(1, Relaxed);
}
