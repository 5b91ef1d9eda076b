//! `make bench`: what a request costs behind Keybound, and behind its peers, measured in the same run.
//!
//! The proxy under test runs on one core; the load generator and the upstream run on the other, in this process. Each
//! case alternates with nginx as a plain TLS proxy under the same load, round by round, and medians of the paired runs
//! are reported. Credentials are made before the clock starts. Trust ratios, not absolute times.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on must stop")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its result")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod cases;
mod chart;
mod credentials;
mod growth;
mod load;
mod machine;
#[path = "../scale/network.rs"]
#[allow(dead_code, reason = "shared with another benchmark, which uses the rest")]
mod network;
mod peers;
mod report;
mod stage;
mod timing;
mod upstream;

use std::path::PathBuf;

use clap::Parser;

/// Measure Keybound and its peers on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only cases whose name contains one of these words, or is one of them that begins with `=`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each pair is measured; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The size of each run, as a factor: 0.2 gives a first impression.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// How cost grows with keys, routes, issuers and connections, instead of the comparison with peers.
    #[arg(long)]
    growth: bool,
    /// How far the time of refusals tells tokens apart, instead.
    #[arg(long)]
    timing: bool,
    /// Another keybound binary than the one built along with this benchmark.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_keybound"))]
    keybound: PathBuf,
    /// Where the table and the chart are written.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Time signature verifications and print nanoseconds each: what this program runs on the proxy's core.
    #[arg(long, hide = true)]
    verifications: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let mut arguments = Arguments::parse();
    // Servers run in a folder of their own.
    arguments.keybound = arguments.keybound.canonicalize().expect("a keybound binary");
    if arguments.verifications {
        println!("{}", machine::time_verifications());
        return;
    }
    machine::take_the_second_core();
    // One thread: load and upstream share a core without switching between threads.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if arguments.growth {
            growth::measure(&arguments).await;
        } else if arguments.timing {
            timing::measure(&arguments).await;
        } else {
            cases::measure(&arguments).await;
        }
    });
}
