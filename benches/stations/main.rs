//! What each station of a request's way costs by itself, through the library's public functions, on one thread.
//!
//! `cargo bench --features simulation --bench stations`, with `-- verify` for the benchmarks whose names match that.
//!
//! What a station is given is made before the clock starts; what it hands on is dropped after the clock stops.
//! `verify/P-256 alone` is the reference for proofs and tokens of ES256: one verification by aws-lc-rs over the bytes
//! of such a proof. What is above it is ours. All of `verify` sees the same bytes again and again, and a processor
//! learns them: a signature that it never saw, as in `authorize`, costs some 7 % more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on must stop")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod authorize;
mod identity;
mod limits;
mod replay;
mod request;
mod respond;
mod routes;
mod verify;
mod world;

use std::time::Duration;

use criterion::Criterion;
use mimalloc::MiMalloc;

/// The program's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    // About two seconds for each benchmark: all of them within a minute and a half.
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(20)
        .nresamples(10_000)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .configure_from_args();
    let world = world::World::new();
    request::measure(&mut criterion, &world);
    routes::measure(&mut criterion, &world);
    verify::measure(&mut criterion, &world);
    replay::measure(&mut criterion);
    limits::measure(&mut criterion, &world);
    identity::measure(&mut criterion, &world);
    authorize::measure(&mut criterion, &world);
    respond::measure(&mut criterion);
    criterion.final_summary();
}
