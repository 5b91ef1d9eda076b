//! `keybound check`: validates a configuration without side effects.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use keybound::accept::{ClientCertificates, ListenerSettings};
use keybound::gateway::Settings;
use keybound::introspect::{AnswerForm, IntrospectionSettings};
use keybound::keys::fetch::Place;
use keybound::replay::{OnFailure, Topology};
use keybound::routes::{Access, Origins, Route};

use super::configuration::{ConfigArgs, tell};
use super::stdout;

/// Validate a configuration without running it.
///
/// Reads the file and every file that it names, opens no port and asks no issuer. Prints either what the
/// configuration amounts to, or every error with its place.
#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Check {
    /// Reads and prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Some(loaded) = self.config.load() else { return Ok(ExitCode::FAILURE) };
        tell(&loaded.warnings);
        let text = format!("{}: valid\n{}", self.config.path().display(), summary(&loaded.settings));
        stdout::write(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One line for each listener, issuer and route, for where proofs are remembered, and for where traces go.
fn summary(settings: &Settings) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for listener in &settings.listeners {
        let _ = writeln!(text, "  listener  {}", listening(listener));
    }
    for issuer in &settings.issuers {
        let _ = writeln!(text, "  issuer    {} for {}", issuer.rules.issuer, issuer.rules.audiences.join(", "));
    }
    for asked in &settings.introspection {
        let _ = writeln!(text, "  opaque    {}", questioned(asked));
    }
    let _ = writeln!(text, "  replay    {}", remembered(settings));
    for route in &settings.routes {
        let upstream = route.upstream.and_then(|index| settings.upstreams.get(index));
        let to = upstream.map_or_else(|| "a verdict".to_owned(), |to| to.urls().collect::<Vec<_>>().join(", "));
        let mut told = scripts(route);
        if let Some(limits) = route.access.policy().and_then(|policy| policy.limits) {
            let _ = write!(told, "; {limits}");
        }
        if let Some(identity) = &route.forward.identity {
            let _ = write!(told, "; tells {} in {}", identity.audience, identity.header);
        }
        let _ = writeln!(text, "  route     {} -> {to}, {}{told}", covered(route), demanded(&route.access));
    }
    if let Some(traces) = &settings.telemetry.traces {
        let share =
            if traces.share.is_all() { String::new() } else { format!("{} of all requests ", traces.share.number()) };
        let _ = writeln!(text, "  traces    {share}-> {}, as {}", Place::of(&traces.endpoint), traces.service_name);
    }
    text
}

fn listening(listener: &ListenerSettings) -> String {
    let address = listener.address;
    let text = match listener.tls.as_ref().map(|tls| &tls.client_certificates) {
        None => format!("http://{address}"),
        Some(ClientCertificates::Off) => format!("https://{address}"),
        Some(ClientCertificates::Request(_)) => format!("https://{address}, client certificates requested"),
        Some(ClientCertificates::Require(_)) => format!("https://{address}, client certificates required"),
    };
    let front = &listener.front;
    let decides = if front.asks.is_some() { ", answers with verdicts" } else { "" };
    let proxies: Vec<String> = front.trusted.iter().map(ToString::to_string).collect();
    let proxies = if proxies.is_empty() { String::new() } else { format!(", behind {}", proxies.join(", ")) };
    let field = front.certificate.as_ref().map(|field| format!(", certificates in {}", field.name()));
    format!("{text}{decides}{proxies}{}", field.unwrap_or_default())
}

/// Who is asked about opaque tokens.
fn questioned(asked: &IntrospectionSettings) -> String {
    let IntrospectionSettings { endpoint, issuer, client_id, cache, .. } = asked;
    let signed = if asked.form == AnswerForm::Jwt { "signed " } else { "" };
    let kept =
        if cache.is_zero() { "not kept".to_owned() } else { format!("kept {}", humantime::format_duration(*cache)) };
    format!("tokens of {issuer}: {} is asked as {client_id}, {signed}answers {kept}", Place::of(endpoint))
}

/// Where spent proofs are, and what else makes a proof fresh.
fn remembered(settings: &Settings) -> String {
    let mut text = settings.replay.shared.as_ref().map_or_else(
        || "in the memory of this process alone".to_owned(),
        |store| {
            let servers: Vec<String> = store.servers.iter().map(ToString::to_string).collect();
            let kind = match &store.topology {
                Topology::Single => "Redis at",
                Topology::Sentinel { .. } => "Redis behind the Sentinels",
                Topology::Cluster => "Redis Cluster with",
            };
            let outage = match store.on_failure {
                OnFailure::Deny => "an outage refuses",
                OnFailure::Local => "in an outage each replica alone",
                OnFailure::Nonce => "in an outage each replica alone, with new nonces",
            };
            format!("{kind} {}, {outage}", servers.join(", "))
        },
    );
    if let Some(nonces) = &settings.proofs.nonces {
        let _ = write!(text, "; nonces of {}", humantime::format_duration(nonces.lifetime));
    }
    text
}

fn covered(route: &Route) -> String {
    let methods: String = route.matches.methods.iter().flat_map(|method| [method.as_str(), " "]).collect();
    let covered = format!("{methods}{}{}", route.matches.hosts.join(","), route.matches.path_prefix);
    if route.name == covered { covered } else { format!("{}: {covered}", route.name) }
}

/// Whose scripts may call it.
fn scripts(route: &Route) -> String {
    match route.cors.as_ref().map(|cors| &cors.origins) {
        None => String::new(),
        Some(Origins::Any) => "; scripts of every origin".to_owned(),
        Some(Origins::Listed(origins)) => {
            let origins: Vec<_> = origins.iter().filter_map(|origin| origin.to_str().ok()).collect();
            format!("; scripts of {}", origins.join(", "))
        }
    }
}

fn demanded(access: &Access) -> String {
    let (policy, observed) = match access {
        Access::Public => return "public".to_owned(),
        Access::Enforce(policy) => (policy, ""),
        Access::Observe(policy) => (policy, "observed: refuses nothing, would want "),
    };
    let kinds = [
        (policy.accepted.dpop, "dpop"),
        (policy.accepted.mtls, "mtls"),
        (policy.accepted.unbound, "unbound tokens as well"),
    ];
    let kinds = kinds.iter().filter_map(|(accepted, name)| accepted.then_some(*name));
    format!("{observed}{}", kinds.collect::<Vec<_>>().join(" or "))
}
