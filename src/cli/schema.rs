//! `keybound schema`: prints the JSON Schema of the configuration, or a reference made of it.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
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
pub struct Schema {
    /// The schema itself, or every field with its type, default and meaning, for people.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Json,
    Markdown,
}

impl Schema {
    /// Prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let text = match self.format {
            Format::Json => format!("{:#}\n", config::schema()),
            Format::Markdown => config::reference(),
        };
        stdout::write(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
