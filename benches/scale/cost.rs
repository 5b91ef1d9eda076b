//! What one proof costs: in this process's memory, at a store on loopback, and at one that is further away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use keybound::clock::{Clock as _, SystemClock};
use keybound::replay::{RedisSettings, ReplayLog};

use crate::network::Way;
use crate::servers::{Cluster, Redis, address, info, keys};
use crate::{gateway, proof};

static NUMBER: AtomicU64 = AtomicU64::new(0);

pub async fn measure() {
    println!("| store | at a time | proofs/s | p50 ms | p99 ms | CPU µs per proof, Redis | here |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let memory = gateway(None).await;
    row("memory", &memory, 64, 400_000, None).await;
    let redis = Redis::start().await;
    let settings = |address| RedisSettings { timeout: Duration::from_secs(2), ..RedisSettings::single(address) };
    let near = gateway(Some(settings(redis.address()))).await;
    for (at_a_time, count) in [(1, 20_000), (16, 100_000), (64, 200_000), (1000, 300_000)] {
        row("Redis on loopback", &near, at_a_time, count, Some(&redis)).await;
    }
    for millis in [1, 5] {
        let way = Way::to(redis.port);
        way.slow(Duration::from_millis(millis));
        let far = gateway(Some(settings(address(way.port)))).await;
        for (at_a_time, count) in [(1, 400), (64, 20_000), (1000, 100_000)] {
            row(&format!("Redis {millis} ms away"), &far, at_a_time, count, Some(&redis)).await;
        }
    }
    let cluster = Cluster::start().await;
    let spread = gateway(Some(cluster.settings())).await;
    row("cluster of 3 on loopback", &spread, 64, 100_000, None).await;
    footprint().await;
}

async fn row(name: &str, log: &Arc<ReplayLog>, at_a_time: usize, count: u64, redis: Option<&Redis>) {
    let before = (own_cpu(), server_cpu(redis).await);
    let started = Instant::now();
    let left = Arc::new(AtomicU64::new(count));
    let tasks: Vec<_> = (0..at_a_time)
        .map(|_| {
            let (log, left) = (Arc::clone(log), Arc::clone(&left));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let proof = proof(NUMBER.fetch_add(1, Relaxed), None);
                    let asked = Instant::now();
                    log.simulate(&proof, SystemClock.now()).await.unwrap();
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let elapsed = started.elapsed().as_secs_f64();
    let (own, server) = (own_cpu() - before.0, server_cpu(redis).await - before.1);
    latencies.sort_unstable();
    let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let each = |seconds: f64| format!("{:.1}", seconds / count as f64 * 1e6);
    println!(
        "| {name} | {at_a_time} | {:.0} | {:.3} | {:.3} | {} | {} |",
        count as f64 / elapsed,
        at(0.5),
        at(0.99),
        if redis.is_some() { each(server) } else { String::new() },
        each(own),
    );
}

/// Keys and memory of a Redis for a thousand requests per second.
async fn footprint() {
    let redis = Redis::start().await;
    let log =
        gateway(Some(RedisSettings { timeout: Duration::from_secs(2), ..RedisSettings::single(redis.address()) }))
            .await;
    let used = async || info(redis.port, "memory", "used_memory").await.parse::<u64>().unwrap();
    let before = used().await;
    // The time of one proof: 60 s, 30 s, and 3 s for clocks.
    const LIVE: u64 = 93_000;
    row("to fill one", &log, 64, LIVE, None).await;
    let (after, count) = (used().await, keys(redis.port).await);
    println!(
        "\n1,000 requests/s: {count} keys live, {:.1} MiB, {:.0} bytes each",
        (after - before) as f64 / f64::from(1 << 20),
        (after - before) as f64 / count as f64
    );
}

/// Processor seconds of this process: user and system.
fn own_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let mut total = text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0);
    // That was the first thread; these are the others.
    for thread in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        if thread.file_name().to_str() == Some(&std::process::id().to_string()) {
            continue;
        }
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        total += text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0);
    }
    total / 1e9
}

async fn server_cpu(redis: Option<&Redis>) -> f64 {
    let Some(redis) = redis else { return 0.0 };
    let mut total = 0.0;
    for field in ["used_cpu_user", "used_cpu_sys"] {
        total += info(redis.port, "cpu", field).await.parse::<f64>().unwrap();
    }
    total
}
