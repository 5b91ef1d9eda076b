//! What the operator sees: metrics, the access line, the log. Never a token, proof, key or secret.

mod access;
mod broken;
mod connections;
mod decision;
mod families;
mod history;
mod introspection;
mod key_tables;
mod line;
mod log;
mod metrics;
mod observed;
mod output;
mod refused;
mod reloads;
mod requests;
#[cfg(test)]
mod said;
mod settings;
mod share;
mod totals;
mod traces;

pub use access::{AccessLog, Ledger, Record};
pub use decision::{BrokenOff, Decision};
pub use history::{History, Moment, Recently};
pub use introspection::IntrospectionReading;
pub use key_tables::KeyTablesReading;
pub use log::{Log, LogControl, LogError};
pub use metrics::{Metrics, Snapshot, StoreReading};
pub use observed::{Observations, Observed};
pub use refused::{RecentRefusals, RefusedRequest};
#[cfg(test)]
pub(crate) use said::Said;
pub use settings::{LogFormat, TelemetrySettings};
pub use share::Share;
pub use totals::{RouteTotals, Totals};
pub use traces::{Exporter, Station, Tally, TraceError, TraceSettings, TracedRoute, Tracer};
