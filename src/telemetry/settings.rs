//! What is written about the gateway's work.

use super::share::Share;
use super::traces::TraceSettings;

/// Logging and tracing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// How a line looks.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// The share of good requests that leave a line; all others leave one each. `None`: no request does.
    pub access_log: Option<Share>,
    /// `None`: nothing is traced.
    pub traces: Option<TraceSettings>,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: tracing::Level::INFO, access_log: Some(Share::ALL), traces: None }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
