//! The configuration file that `serve`, `check`, `doctor` and `explain` are given.

use std::env;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use keybound::config::{self, Attempt, Inspection, Loaded, Report};

use super::say;

/// Which configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The configuration, as YAML; config.example.yaml shows all of it.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

impl ConfigArgs {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.config
    }

    /// Reads it, and tells on standard error why it cannot be used. `None`: it cannot.
    pub fn load(&self) -> Option<Loaded> {
        self.attempt().outcome.map_err(|report| tell(&report)).ok()
    }

    /// Reads it past what is wrong with it, and tells nothing.
    pub fn inspect(&self) -> Inspection {
        config::inspect(&self.config, &|name| env::var(name).ok())
    }

    /// Reads it, and tells nothing.
    pub fn attempt(&self) -> Attempt {
        config::attempt(&self.config, &|name| env::var(name).ok())
    }
}

/// Reads a configuration, and tells on standard error why it cannot be used. `None`: it cannot.
pub fn load(file: &Path) -> Option<Loaded> {
    config::load(file, &|name| env::var(name).ok()).map_err(|report| tell(&report)).ok()
}

/// Shows problems on standard error, with their places.
pub fn tell(report: &Report) {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if !report.is_empty() {
        say(report.render(io::stderr().is_terminal() && !plain).trim_end());
    }
}
