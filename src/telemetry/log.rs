//! The process's log: one line per event on standard output.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::access::AccessLog;
use super::line::Form;
use super::output::{Bounds, Output};
use super::settings::{LogFormat, TelemetrySettings};

/// A log that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Standard output, or a thread to write to it, cannot be had.
    #[error(transparent)]
    Output(#[from] io::Error),
    /// The process logs already.
    #[error(transparent)]
    Twice(#[from] TryInitError),
}

/// The log of this process. Dropped, it writes what waits: keep it until nothing is left that logs.
pub struct Log {
    output: Output,
    control: LogControl,
}

/// Decides what a log that is running writes.
#[derive(Clone)]
pub struct LogControl {
    access: AccessLog,
    levels: Handle<Targets, Registry>,
}

impl Log {
    /// Begins to log. Libraries are heard from `warn` on, Keybound from the configured level on.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn start(settings: &TelemetrySettings) -> Result<Self, LogError> {
        // Not `io::stdout`, which would look for the end of lines once more.
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let output = Output::start(out, Bounds::default())?;
        let (targets, levels) = reload::Layer::new(targets(settings.level));
        let registry = tracing_subscriber::registry().with(targets);
        // For people, who look at a terminal, and not for those who ask for none: <https://no-color.org>
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colours = wanted && io::stdout().is_terminal();
        let layer = layer().with_writer(output.lines().clone()).with_ansi(colours);
        let form = match settings.format {
            LogFormat::Json => {
                let json = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
                registry.with(json).try_init()?;
                Form::Json
            }
            LogFormat::Text => {
                registry.with(layer.compact()).try_init()?;
                Form::Text { colours }
            }
        };
        let access = AccessLog::new(output.lines().clone(), form);
        Ok(Self { output, control: LogControl { access, levels } })
    }

    /// For who changes what it writes.
    pub const fn control(&self) -> &LogControl {
        &self.control
    }

    /// The process is about to end: from now on no line waits for ever for a standard output that takes nothing.
    pub fn ending(&self) {
        self.output.ending();
    }
}

impl LogControl {
    /// Where access lines go, if these settings want them.
    pub fn access(&self, settings: &TelemetrySettings) -> Option<AccessLog> {
        settings.access_log.map(|share| self.access.of(share))
    }

    /// From now on Keybound is heard from this level on.
    pub fn listen_from(&self, level: Level) {
        // It fails only when the process has no log any more.
        let _ = self.levels.reload(targets(level));
    }
}

/// Who is heard from which level on.
fn targets(own: Level) -> Targets {
    let own = LevelFilter::from_level(own);
    Targets::new()
        .with_default(LevelFilter::WARN.min(own))
        // hyper and h2 describe clients' misdeeds, which are counted elsewhere.
        .with_target("hyper", LevelFilter::ERROR)
        .with_target("h2", LevelFilter::ERROR)
        .with_target("keybound", own)
}
