//! What the operator sees: metrics, the access line, the log. Never a token, proof, key or secret.

mod access;
mod decision;
mod families;
mod introspection;
mod line;
mod log;
mod metrics;
mod observed;
mod output;
mod reloads;
mod requests;
mod settings;

pub use access::{AccessLog, Ledger, Record};
pub use decision::Decision;
pub use introspection::IntrospectionReading;
pub use log::{Log, LogControl, LogError};
pub use metrics::{Metrics, Snapshot, StoreReading};
pub use observed::{Observations, Observed};
pub use settings::{LogFormat, TelemetrySettings};
