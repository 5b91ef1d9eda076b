//! What the operator sees: metrics, the access line, the log. Never a token, proof, key or secret.

mod access;
mod log;
mod metrics;
mod requests;
mod settings;

pub use access::Record;
pub use log::start as start_log;
pub use metrics::{Decision, Metrics, Snapshot};
pub use settings::{LogFormat, TelemetrySettings};
