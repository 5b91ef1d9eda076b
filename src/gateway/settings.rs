//! A configuration as meant: every value checked, every default filled in, every file read.
//! `config` makes it from a file, `demo` and the tests make it by hand.

use super::admin_settings::AdminSettings;
use crate::accept::{Limits, ListenerSettings};
use crate::forward::UpstreamSettings;
use crate::introspect::IntrospectionSettings;
use crate::keys::IssuerSettings;
use crate::limits::Rate;
use crate::replay::ReplaySettings;
use crate::routes::Route;
use crate::telemetry::TelemetrySettings;
use crate::tokens::KeyTableSettings;
use crate::verify::ProofRules;

/// Everything that one gateway needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Where clients connect; at least one.
    pub listeners: Vec<ListenerSettings>,
    /// Whose tokens are accepted.
    pub issuers: Vec<IssuerSettings>,
    /// Which of them are asked about opaque tokens, each once; no route accepts two of them.
    pub introspection: Vec<IntrospectionSettings>,
    /// Which proofs are accepted.
    pub proofs: ProofRules,
    /// Whether keys that come again have tables; `None`: none has.
    pub key_tables: Option<KeyTableSettings>,
    /// Where spent proofs are remembered, and how many.
    pub replay: ReplaySettings,
    /// Where requests go; routes name them by index.
    pub upstreams: Vec<UpstreamSettings>,
    /// The first that matches wins.
    pub routes: Vec<Route>,
    /// Bounds on connections and requests.
    pub limits: Limits,
    /// How often the requests of one sender may fail; `None`: as often as they come.
    pub failures: Option<Rate>,
    /// Where the operator looks.
    pub admin: AdminSettings,
    /// What is written about it.
    pub telemetry: TelemetrySettings,
}
