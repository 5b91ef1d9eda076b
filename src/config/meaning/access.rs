//! Who may pass a route.

use std::sync::Arc;

use super::{limits, meanings, not_empty};
use crate::config::reading::{Field, Reading};
use crate::config::values::{choices, closest};
use crate::config::written::{self, AccessMode, BindingKind, UnboundTokens};
use crate::routes::{Access, Policy};
use crate::verify::Accepted;

/// What the rest of the configuration lets a route demand.
pub struct Gateway<'a> {
    /// Some listener asks clients for a certificate.
    pub asks_for_certificates: bool,
    /// No listener passes requests on.
    pub only_decides: bool,
    /// The configured issuers, if all of them could be read.
    pub issuers: Option<Vec<&'a str>>,
    /// Some listener says what clients see it as, so that they can be told of its resources.
    pub tells_clients: bool,
}

pub fn access(written: &written::Access, gateway: &Gateway<'_>, reading: &mut Reading<'_>) -> Access {
    let policy = policy(written, gateway, reading);
    match written.mode.value() {
        Some(AccessMode::Public) => {
            public(written, reading);
            Access::Public
        }
        Some(AccessMode::Observe) => {
            let message = "refuses nothing; meant for the time of a migration";
            reading.warning(written.mode.place, &written.mode.path, message, "lets everything pass");
            Access::Observe(Arc::new(policy))
        }
        Some(AccessMode::Enforce) | None => Access::Enforce(Arc::new(policy)),
    }
}

/// A demand beside `public` shows that somebody expects a check that is not made.
fn public(written: &written::Access, reading: &mut Reading<'_>) {
    unused(&written.bindings, reading);
    unused(&written.unbound_tokens, reading);
    unused(&written.issuers, reading);
    unused(&written.scopes, reading);
    unused(&written.acr_values, reading);
    unused(&written.max_auth_age, reading);
    unused(&written.limits, reading);
}

/// Reports a field that a public route cannot have.
pub fn unused<T>(field: &Field<T>, reading: &mut Reading<'_>) {
    if field.is_given() {
        reading
            .error(field.place, &field.path, "a public route checks nothing", "this would never be looked at")
            .help("leave it out, or set `mode: enforce`");
    }
}

fn policy(written: &written::Access, gateway: &Gateway<'_>, reading: &mut Reading<'_>) -> Policy {
    let accepted = Accepted { unbound: unbound(written, reading), ..bindings(&written.bindings, gateway, reading) };
    if let (Some(items), Some(known)) = (written.issuers.value(), &gateway.issuers) {
        for item in items {
            known_issuer(item, known, reading);
        }
    }
    Policy {
        accepted,
        issuers: meanings(&written.issuers, None, reading, |text| not_empty(text)).unwrap_or_default(),
        scopes: meanings(&written.scopes, None, reading, |text| scope(text)).unwrap_or_default(),
        acr_values: meanings(&written.acr_values, None, reading, |text| scope(text)).unwrap_or_default(),
        max_auth_age: written.max_auth_age.value().copied(),
        limits: limits::of_route(&written.limits, reading),
    }
}

fn unbound(written: &written::Access, reading: &mut Reading<'_>) -> bool {
    let field = &written.unbound_tokens;
    let allowed = field.value() == Some(&UnboundTokens::Allow);
    if allowed && written.mode.value() != Some(&AccessMode::Public) {
        let message = "a stolen token that is bound to nothing passes here; meant for the time of a migration";
        reading.warning(field.place, &field.path, message, "lets unbound tokens pass");
    }
    allowed
}

fn bindings(field: &Field<Vec<Field<BindingKind>>>, gateway: &Gateway<'_>, reading: &mut Reading<'_>) -> Accepted {
    // What nobody can show here is neither accepted nor offered.
    let possible = |accepted: Accepted| Accepted { mtls: accepted.mtls && gateway.asks_for_certificates, ..accepted };
    let Some(items) = field.value() else { return possible(Accepted::default()) };
    let has = |kind| items.iter().any(|item| item.value() == Some(&kind));
    let accepted = Accepted { dpop: has(BindingKind::Dpop), mtls: has(BindingKind::Mtls), unbound: false };
    if items.is_empty() {
        let message = "empty: no bound token could pass";
        reading
            .error(field.place, &field.path, message, "this list is empty")
            .help("use one or both of `dpop` and `mtls`");
    }
    let only_mtls = items.iter().all(|item| item.value() == Some(&BindingKind::Mtls));
    if accepted.mtls && only_mtls && !gateway.asks_for_certificates {
        let message = "nobody can pass: no listener asks clients for a certificate";
        reading
            .error(field.place, &field.path, message, "only `mtls`")
            .help("set `client_certificates: { mode: request }` in a listener's `tls`");
    }
    possible(accepted)
}

fn known_issuer(item: &Field<String>, known: &[&str], reading: &mut Reading<'_>) {
    let Some(name) = item.value().filter(|name| !known.contains(&name.as_str())) else { return };
    let report = item.refuse("one of the configured issuers", reading);
    match closest(name, known.iter().copied()) {
        Some(near) => report.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => report,
        None => report.help(format!("configured: {}", choices(known))),
    };
}

/// RFC 6749 §3.3: a scope is visible ASCII without quotes and backslashes. It is repeated in challenges.
fn scope(text: &str) -> Result<String, &'static str> {
    let fits = |b: u8| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
    if text.is_empty() || !text.bytes().all(fits) {
        return Err("one value without spaces, quotes and backslashes");
    }
    Ok(text.to_owned())
}
