//! The program as its operator sees it: how it starts, what it tells, what it withstands, how it ends.
//!
//! Everything runs against the real binary, as a process of its own; where a clock must be moved by hand, against
//! the same server in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::print_stdout, reason = "a soak tells what it saw")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod access_log;
mod api;
mod bad_input;
mod broken_answers;
mod client;
mod collector;
mod doctor;
mod introspection;
mod issuer;
mod issuers;
mod key_tables;
mod limits;
mod log_output;
mod metrics;
mod page;
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod process;
mod reload;
mod reload_trust;
mod replay_store;
mod samples;
mod sandbox;
mod secrets;
#[path = "../shared/servers.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod servers;
mod soak;
mod sockets;
mod stage;
mod start_stop;
mod supervisor;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
mod traces;
mod upstreams;
#[path = "../shared/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, eventually, in_time};
