//! What of a gateway another configuration may change while it runs, and what it changes.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::settings::Settings;
use super::state::Gateway;
use crate::accept::{Address, Limits, ListenerSettings, ProxyProtocol};
use crate::forward::UpstreamSettings;
use crate::replay::{RedisSettings, ReplaySettings};
use crate::routes::Route;
use crate::telemetry::LogFormat;

/// What a process cannot change of itself: its sockets, what connections are accepted under, and the log of spent proofs,
/// with the times that it was made for. A longer life of proofs would let them outlive their entries in that log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fixed {
    listeners: Vec<Socket>,
    admin: Address,
    replay: ReplaySettings,
    proof_lifetime: Duration,
    clock_skew: Duration,
    limits: Limits,
    format: LogFormat,
}

/// How a listener's connections begin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Socket {
    address: SocketAddr,
    encrypted: bool,
    proxy_protocol: ProxyProtocol,
    /// Who may announce connections.
    announcers: Vec<IpNet>,
    keeps_certificates: bool,
}

impl Socket {
    fn of(settings: &ListenerSettings) -> Self {
        let ListenerSettings { address, front, proxy_protocol, tls } = settings;
        let announced = *proxy_protocol != ProxyProtocol::Off;
        Self {
            address: *address,
            encrypted: tls.is_some(),
            proxy_protocol: *proxy_protocol,
            announcers: if announced { front.trusted.clone() } else { Vec::new() },
            keeps_certificates: tls.as_ref().is_some_and(|tls| tls.keep_certificates),
        }
    }

    fn collect_differences(&self, next: &Self, index: usize, fields: &mut Vec<String>) {
        let mut differs = |field: &str, differs: bool| {
            if differs {
                fields.push(format!("listeners[{index}].{field}"));
            }
        };
        differs("tls (with or without)", self.encrypted != next.encrypted);
        differs("proxy_protocol", self.proxy_protocol != next.proxy_protocol);
        let announced = self.proxy_protocol == next.proxy_protocol;
        differs("trusted_proxies (beside proxy_protocol)", announced && self.announcers != next.announcers);
        if next.keeps_certificates && !self.keeps_certificates && self.encrypted {
            let field = "routes[].forward.client_certificate (nothing is kept of open connections' certificates)";
            if !fields.iter().any(|known| known == field) {
                fields.push(field.to_owned());
            }
        }
    }
}

impl Fixed {
    /// Of these settings.
    pub(super) fn of(settings: &Settings) -> Self {
        let Settings { listeners, proofs, replay, limits, admin, telemetry, .. } = settings;
        let default = Limits::default();
        Self {
            listeners: listeners.iter().map(Socket::of).collect(),
            admin: admin.address.clone(),
            replay: replay.clone(),
            proof_lifetime: proofs.lifetime,
            clock_skew: proofs.clock_skew,
            // These belong to one request, and to the end.
            limits: Limits {
                body_bytes: default.body_bytes,
                drain_delay: default.drain_delay,
                drain_timeout: default.drain_timeout,
                ..limits.clone()
            },
            format: telemetry.format,
        }
    }

    /// Where proofs are remembered. How a shared store is reached is the one part that may change.
    pub(super) const fn replay(&self) -> &ReplaySettings {
        &self.replay
    }

    /// The fields that only another process can change; empty: `next` may follow.
    pub(super) fn differences(&self, next: &Self) -> Vec<String> {
        let mut fields = self.listeners_that_differ(next);
        let (memory, next_memory) = (&self.replay.memory, &next.replay.memory);
        let (limits, next_limits) = (&self.limits, &next.limits);
        let store = |fixed: &Self| fixed.replay.shared.is_some();
        for (field, differs) in [
            ("admin.address", self.admin != next.admin),
            ("dpop.proof_lifetime", self.proof_lifetime != next.proof_lifetime),
            ("dpop.clock_skew", self.clock_skew != next.clock_skew),
            ("replay.store", store(self) != store(next)),
            ("replay.memory.capacity", memory.capacity != next_memory.capacity),
            ("replay.memory.per_key", memory.per_key != next_memory.per_key),
            ("replay.redis", self.stores(next).is_some_and(|(now, then)| !now.is_same_store(then))),
            ("limits.connections", limits.connections != next_limits.connections),
            ("limits.header_bytes", limits.header_bytes != next_limits.header_bytes),
            ("limits.headers", limits.headers != next_limits.headers),
            ("limits.header_timeout", limits.header_timeout != next_limits.header_timeout),
            ("limits.handshake_timeout", limits.handshake_timeout != next_limits.handshake_timeout),
            ("limits.idle_timeout", limits.idle_timeout != next_limits.idle_timeout),
            ("telemetry.log.format", self.format != next.format),
        ] {
            if differs {
                fields.push(field.to_owned());
            }
        }
        if fields.is_empty() && self.differs_otherwise(next) {
            fields.push("an unnamed field".to_owned());
        }
        fields
    }

    /// Whether anything else differs: a field that was forgotten above must not pass.
    fn differs_otherwise(&self, next: &Self) -> bool {
        let mut same = next.clone();
        for (socket, known) in same.listeners.iter_mut().zip(&self.listeners) {
            socket.keeps_certificates = known.keeps_certificates;
        }
        let reached = self.stores(next).map(|(now, then)| then.reached_like(now));
        same.replay.shared = reached.or(same.replay.shared);
        *self != same
    }

    /// The shared stores, where both have one.
    fn stores<'s>(&'s self, next: &'s Self) -> Option<(&'s RedisSettings, &'s RedisSettings)> {
        self.replay.shared.as_ref().zip(next.replay.shared.as_ref())
    }

    fn listeners_that_differ(&self, next: &Self) -> Vec<String> {
        let addresses = |fixed: &Self| fixed.listeners.iter().map(|socket| socket.address).collect::<Vec<_>>();
        let (now, then) = (addresses(self), addresses(next));
        if now == then {
            let mut fields = Vec::new();
            for (index, (socket, next)) in self.listeners.iter().zip(&next.listeners).enumerate() {
                socket.collect_differences(next, index, &mut fields);
            }
            return fields;
        }
        let missing = |all: &[SocketAddr], from: &[SocketAddr], what: &str| {
            let names: Vec<_> = all.iter().filter(|one| !from.contains(one)).map(ToString::to_string).collect();
            (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
        };
        let words: Vec<String> =
            [missing(&then, &now, "added"), missing(&now, &then, "removed")].into_iter().flatten().collect();
        let words = if words.is_empty() { "their order".to_owned() } else { words.join(", ") };
        vec![format!("listeners ({words})")]
    }
}

/// What a configuration changes, section by section, in the names that it gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<(&'static str, Vec<String>)>);

impl Changes {
    /// Adds what changes in one section, if anything does.
    pub fn add(&mut self, section: &'static str, words: Vec<String>) {
        if !words.is_empty() {
            self.0.push((section, words));
        }
    }

    /// Adds a section that has no names.
    pub fn add_section(&mut self, section: &'static str) {
        self.0.push((section, Vec::new()));
    }
}

/// `routes: new added, old removed, orders changed; limits`
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing");
        }
        for (index, (section, words)) in self.0.iter().enumerate() {
            write!(f, "{}{section}", if index > 0 { "; " } else { "" })?;
            if !words.is_empty() {
                write!(f, ": {}", words.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Who was added, removed and changed, by name.
fn differences<A, B>(now: &[(&str, A)], then: &[(&str, B)], is_same: impl Fn(&A, &B) -> bool) -> Vec<String> {
    let mut words = Vec::new();
    for (name, then) in then {
        match now.iter().find(|(known, _)| known == name) {
            None => words.push(format!("{name} added")),
            Some((_, now)) if !is_same(now, then) => words.push(format!("{name} changed")),
            Some(_) => {}
        }
    }
    let removed = now.iter().filter(|(name, _)| !then.iter().any(|(other, _)| other == name));
    words.extend(removed.map(|(name, _)| format!("{name} removed")));
    words
}

/// A route, and where it leads.
type Way<'a> = (&'a Route, Option<&'a UpstreamSettings>);

fn is_same_way((now, now_to): &Way<'_>, (then, then_to): &Way<'_>) -> bool {
    let Route { name: _, matches, access, upstream: _, forward, cors, metadata } = now;
    *matches == then.matches
        && *access == then.access
        && *forward == then.forward
        && *cors == then.cors
        && *metadata == then.metadata
        && now_to == then_to
}

impl Gateway {
    /// What these settings would change, but for the listeners' TLS. Secrets are not compared, but for those of the replay
    /// store.
    pub fn changes(&self, next: &Settings) -> Changes {
        let mut changes = Changes::default();
        let fronts = self.facades.iter().zip(&next.listeners);
        let fronts = fronts.filter(|(facade, listener)| facade.front != listener.front);
        changes.add("listeners", fronts.map(|(_, listener)| format!("{} changed", listener.address)).collect());
        let now: Vec<_> = self.issuers.iter().map(|issuer| (issuer.rules().issuer.as_str(), issuer)).collect();
        let then: Vec<_> = next.issuers.iter().map(|settings| (settings.rules.issuer.as_str(), settings)).collect();
        changes.add("issuers", differences(&now, &then, |issuer, settings| issuer.is_told(settings)));
        let now: Vec<_> = self.tokens.introspectors().iter().map(|asked| (asked.issuer(), asked)).collect();
        let then: Vec<_> = next.introspection.iter().map(|settings| (settings.issuer.as_str(), settings)).collect();
        changes.add("introspection", differences(&now, &then, |asked, settings| asked.is_told(settings)));
        let nonces = |rules: &crate::verify::ProofRules| rules.nonces.as_ref().map(|nonces| nonces.lifetime);
        let same_proofs =
            self.proofs.algorithms == next.proofs.algorithms && nonces(&self.proofs) == nonces(&next.proofs);
        if !same_proofs {
            changes.add_section("dpop");
        }
        let upstreams: Vec<_> = self.forwarder.settings().map(|settings| (settings.name.as_str(), settings)).collect();
        let then: Vec<_> = next.upstreams.iter().map(|settings| (settings.name.as_str(), settings)).collect();
        changes.add("upstreams", differences(&upstreams, &then, |now, then| now == then));
        changes.add("routes", self.routes_that_differ(next));
        if *self.fixed.replay() != next.replay {
            changes.add_section("replay.redis");
        }
        if self.limits != next.limits || self.failures.rate() != next.failures {
            changes.add_section("limits");
        }
        if *self.admin() != next.admin {
            changes.add_section("admin");
        }
        changes
    }

    fn routes_that_differ(&self, next: &Settings) -> Vec<String> {
        let to = |index: Option<usize>| self.forwarder.upstream(index?).map(crate::forward::Upstream::settings);
        let now: Vec<(&str, Way<'_>)> =
            self.routes.iter().map(|route| (route.name.as_str(), (&**route, to(route.upstream)))).collect();
        let to = |index: Option<usize>| next.upstreams.get(index?);
        let then: Vec<(&str, Way<'_>)> =
            next.routes.iter().map(|route| (route.name.as_str(), (route, to(route.upstream)))).collect();
        let mut words = differences(&now, &then, is_same_way);
        // The first that matches wins.
        let (before, after) = (now.iter().map(|(name, _)| *name), then.iter().map(|(name, _)| *name));
        let before = before.filter(|name| then.iter().any(|(other, _)| other == name));
        let after = after.filter(|name| now.iter().any(|(other, _)| other == name));
        if !before.eq(after) {
            words.push("in another order".to_owned());
        }
        words
    }
}

#[cfg(test)]
mod tests;
