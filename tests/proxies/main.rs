//! Keybound among the products that stand where it is deployed: the real nginx, HAProxy, Apache, Caddy and Envoy, each with
//! the configuration that `deploy/` offers for it, in front of the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

#[path = "../lifecycle/api.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod api;
mod doctor;
#[path = "../lifecycle/issuer.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod issuer;
#[path = "../lifecycle/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod process;
mod product;
#[path = "../lifecycle/samples.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod samples;
#[path = "../lifecycle/stage.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod stage;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
mod terminators;
mod verdicts;
#[path = "../shared/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, eventually, in_time};
