//! The `keybound` program: arguments, then one verb.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// A request makes and drops a few dozen small values; this allocator does that faster than the C library's, and gives
/// memory back sooner (benches/README.md has the figures).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => cli::report(&error),
    }
}
