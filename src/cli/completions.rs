//! `keybound completions`: prints a completion script for a shell.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, stdout};

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  keybound completions bash > ~/.local/share/bash-completion/completions/keybound
  keybound completions zsh > \"${fpath[1]}/_keybound\"
  keybound completions fish > ~/.config/fish/completions/keybound.fish")]
pub struct Completions {
    /// Which shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        // To memory first: the generator panics when nobody reads.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keybound", &mut script);
        stdout::write(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
