//! `keybound drain`: tells a gateway to let its clients go.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

/// What the system calls a gateway's process.
const NAME: &str = "keybound";

/// Take a gateway out of service, and let it go on.
///
/// Sends SIGUSR1 to its process. It is not ready from then on, and after `limits.drain_delay` asks clients to leave as their
/// requests are through; whoever still connects is served. It ends on SIGTERM, as always. For sidecars, which end after the
/// application that they stand in front of, and for images that have no shell and no kill.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keybound drain
  keybound drain --pid 4711

Exit codes: 0 when it was told, 1 when there is no such gateway, 2 for wrong usage.")]
pub struct Drain {
    /// The gateway's process: in a container of its own it is the first.
    #[arg(long, value_name = "PID", default_value = "1", value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
}

impl Drain {
    /// Tells it, and does not wait.
    ///
    /// # Errors
    /// For `report`: the process is no gateway, or another user's.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { pid } = self;
        // The signal would end any other program.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).with_context(|| format!("no process {pid}"))?;
        if name.trim_end() != NAME {
            bail!("process {pid} is no gateway: expected the name {NAME}, found {}", name.trim_end().escape_debug());
        }
        if !takes_the_signal(pid) {
            bail!("process {pid} is no gateway that serves, or not yet: expected one that takes SIGUSR1");
        }
        let process = Pid::from_raw(pid).context("no such process")?;
        kill_process(process, Signal::USR1).with_context(|| format!("process {pid} cannot be told"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether the process does something of its own upon SIGUSR1 (`proc_pid_status(5)`); if it cannot be seen, it does.
fn takes_the_signal(pid: i32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_none_or(|mask| mask >> (Signal::USR1.as_raw() - 1) & 1 == 1)
}
