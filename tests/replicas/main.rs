//! Gateways that share what they remember, against real Redis processes: nobody accepts what another one has seen, and
//! what an outage of the store means is what was configured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod failover;
mod fleet;
#[path = "../../benches/scale/network.rs"]
#[allow(dead_code, reason = "shared with a benchmark, which uses the rest")]
mod network;
mod once;
mod outages;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod servers;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;

use std::time::Duration;

/// Nothing here takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that is bound to happen soon and that nobody announces.
async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits for something that must happen.
async fn in_time<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
