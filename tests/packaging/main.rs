//! What is shipped beside the program: the image, manifests, units, configurations, rules and dashboard of `deploy/`, checked
//! by the tools of those who will read them, and as far as possible run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

#[path = "../lifecycle/api.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod api;
mod compose;
mod configurations;
mod helm;
mod image;
#[path = "../lifecycle/issuer.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod issuer;
mod kubernetes;
#[path = "../lifecycle/process.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod process;
mod prometheus;
#[path = "../lifecycle/samples.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod samples;
#[path = "../shared/servers.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod servers;
#[path = "../lifecycle/stage.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod stage;
#[path = "../conformance/support/mod.rs"]
#[allow(dead_code, reason = "shared with other tests, which use the rest")]
mod support;
mod systemd;
mod tools;
#[path = "../shared/waiting.rs"]
mod waiting;

use waiting::{PATIENCE, eventually, in_time};
