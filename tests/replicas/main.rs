//! Gateways that share what they remember, against real Redis processes: nobody accepts what another one has seen, and
//! what an outage of the store means is what was configured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod failover;
mod fleet;
#[path = "../../benches/scale/network.rs"]
#[allow(dead_code, reason = "shared with a benchmark, which uses the rest")]
mod network;
mod never_two;
mod once;
mod outages;
#[path = "../shared/servers.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod servers;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
#[path = "../shared/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, eventually, in_time};
