//! What is written about the gateway's work, and where it goes.

use crate::config::reading::{Field, Reading};
use crate::config::written::{self, AccessLog, LogFormat, LogLevel};
use crate::telemetry::{self, Share, TelemetrySettings};

pub fn telemetry(written: &written::Telemetry, reading: &mut Reading<'_>) -> TelemetrySettings {
    let default = TelemetrySettings::default();
    written.otlp_endpoint.later(|_| false, reading);
    TelemetrySettings {
        format: written.log.format.value().map_or(default.format, |format| match format {
            LogFormat::Json => telemetry::LogFormat::Json,
            LogFormat::Text => telemetry::LogFormat::Text,
        }),
        level: written.log.level.value().map_or(default.level, |level| match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }),
        access_log: access_log(&written.access_log, reading).unwrap_or(default.access_log),
    }
}

/// The share of good requests that leave a line, if any do.
#[expect(clippy::option_option, reason = "left out is not the same as off")]
fn access_log(field: &Field<AccessLog>, reading: &mut Reading<'_>) -> Option<Option<Share>> {
    match field.value()? {
        AccessLog::AllOrNone(all) => Some(all.then_some(Share::ALL)),
        AccessLog::Sample(written) => {
            written.sample.required("for example `sample: 0.01`", reading).map(|share| Some(*share))
        }
    }
}
