//! The process's log: one line per event on standard output.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::settings::{LogFormat, TelemetrySettings};

/// Begins to log. Libraries are heard from `warn` on, Keybound from the configured level on.
///
/// # Errors
/// When the process logs already.
pub fn start(settings: &TelemetrySettings) -> Result<(), TryInitError> {
    let own = LevelFilter::from_level(settings.level);
    let access = if settings.access_log { LevelFilter::INFO } else { LevelFilter::OFF };
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(own))
        // hyper and h2 describe clients' misdeeds, which are counted elsewhere.
        .with_target("hyper", LevelFilter::ERROR)
        .with_target("h2", LevelFilter::ERROR)
        .with_target("keybound", own)
        .with_target(super::access::TARGET, access);
    let registry = tracing_subscriber::registry().with(targets);
    match settings.format {
        LogFormat::Json => {
            registry.with(layer().json().flatten_event(true).with_current_span(false).with_span_list(false)).try_init()
        }
        LogFormat::Text => registry.with(layer().compact()).try_init(),
    }
}
