//! What is written about the gateway's work.

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// How a line looks.
    pub format: LogFormat,
    /// The least severe level that is written.
    pub level: tracing::Level,
    /// One line per request.
    pub access_log: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: tracing::Level::INFO, access_log: true }
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
