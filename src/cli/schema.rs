//! `keybound schema`: prints the JSON Schema of the configuration.

use std::process::ExitCode;

use clap::Args;
use keybound::config;

use super::stdout;

/// Print the JSON Schema of the configuration.
///
/// Editors complete and check a configuration with it. `keybound check` knows more: bounds, what must be given, what
/// belongs together, and the files.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  keybound schema > keybound.schema.json
  sed -i '1i # yaml-language-server: $schema=keybound.schema.json' keybound.yaml")]
pub struct Schema {}

impl Schema {
    /// Prints.
    ///
    /// # Errors
    /// For `report`.
    #[expect(clippy::unused_self, reason = "a verb like the others")]
    pub fn run(self) -> anyhow::Result<ExitCode> {
        stdout::write(format!("{:#}\n", config::schema()).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
