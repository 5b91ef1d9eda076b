//! What the operator sees: metrics, the access line, the log. Never a token, proof, key or secret.

mod access;
mod line;
mod log;
mod metrics;
mod output;
mod requests;
mod settings;

pub use access::{AccessLog, Ledger, Record};
pub use log::{Log, LogError};
pub use metrics::{Decision, Metrics, Snapshot, StoreReading};
pub use settings::{LogFormat, TelemetrySettings};
