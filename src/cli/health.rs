//! `keybound health`: asks a gateway's admin port how it does.

use std::process::ExitCode;

use clap::Args;
use http::StatusCode;

use super::admin::AdminArgs;
use super::{say, stdout};

/// Ask a gateway how it does.
///
/// For container images that have no shell and no curl. Asks the admin port whether the process lives (/healthz), or
/// with --ready whether requests may be sent to it (/readyz), and prints the answer.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keybound health
  keybound health --ready --admin http://10.0.0.7:9090
  keybound health --admin unix:/run/keybound/admin.sock

Exit codes: 0 for an answer with status 200, 1 for any other answer and for none, 2 for wrong usage.")]
pub struct Health {
    #[command(flatten)]
    admin: AdminArgs,

    /// Ask whether requests may be sent, not only whether the process lives.
    #[arg(long)]
    ready: bool,
}

impl Health {
    /// Asks and prints.
    ///
    /// # Errors
    /// For `report`: wrong usage, or no answer in time.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let question = self.admin.question("health", path)?;
        let (status, words) = self.admin.ask(&question, "text/plain", None)?;
        stdout::tell(&words)?;
        if status == StatusCode::OK {
            return Ok(ExitCode::SUCCESS);
        }
        say(format_args!("{question}: {status}"));
        Ok(ExitCode::FAILURE)
    }
}
