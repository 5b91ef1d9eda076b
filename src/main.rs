//! The `keybound` program: arguments, then one verb.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// A request makes and drops a few dozen small values, which this allocator does faster than the C library's. It keeps
/// what was held at once for long, which is one reason why idle connections hold little (benches/README.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => cli::report(&error),
    }
}
