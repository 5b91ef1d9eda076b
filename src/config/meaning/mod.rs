//! From the configuration as written to the one as meant: defaults, checks of values, checks across fields.
//!
//! Whoever finds a problem reports it and goes on with `None`; the settings are used only when nothing was
//! reported.

mod access;
mod browsers;
mod forwarding;
mod fronts;
mod identity;
mod introspection;
mod issuers;
mod limits;
mod listeners;
mod nonces;
mod process;
mod redis;
mod replay;
mod replicas;
mod routes;
mod secrets;
mod telemetry;
mod upstreams;

use std::net::SocketAddr;
use std::time::Duration;

use http::uri::Authority;

use super::reading::{Field, Reading};
use super::written::Configuration;
use crate::gateway::Settings;
use crate::verify::Algorithm;

/// What the whole file means.
pub fn settings(written: &Configuration, reading: &mut Reading<'_>) -> Settings {
    let mut listeners = listeners::all(&written.listeners, reading);
    let issuers = issuers::all(&written.issuers, reading);
    let introspection = introspection::all(written, &issuers, reading);
    let mut upstreams = upstreams::Upstreams::named(&written.upstreams, reading);
    let routes = routes::all(written, &mut upstreams, reading);
    if written.issuers.value().is_none_or(Vec::is_empty) && !written.issuers.is_wrong() && routes::need_issuers(written)
    {
        let help = "name at least one authorization server, or make every route `public`";
        let message = "missing: a route demands tokens, and nobody's are accepted";
        reading.error(written.issuers.place, &written.issuers.path, message, "no issuer is configured").help(help);
    }
    if routes.iter().any(|route| route.forward.client_certificate) {
        listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()).for_each(|tls| tls.keep_certificates = true);
    }
    let replicas = replicas::replicas(&written.replicas, reading);
    let admin = process::admin(&written.admin, &written.listeners, reading);
    Settings {
        listeners,
        issuers,
        introspection,
        proofs: process::proofs(&written.dpop, replicas, reading),
        key_tables: process::key_tables(&written.dpop.key_tables, reading),
        replay: replay::replay(written, replicas, reading),
        upstreams: upstreams.finish(reading),
        routes,
        limits: process::limits(&written.limits, reading),
        failures: limits::failures(&written.limits.failures, &written.listeners, reading),
        admin,
        telemetry: telemetry::telemetry(&written.telemetry, reading),
    }
}

/// An address and a port. Names are not looked up: what they mean may change after the check.
fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port, such as `0.0.0.0:8443`")
}

/// The items of a list that could be read.
fn values<T>(list: &Field<Vec<Field<T>>>) -> impl Iterator<Item = (&Field<T>, &T)> {
    list.value().into_iter().flatten().filter_map(|item| item.value().map(|value| (item, value)))
}

/// The items of a list, each given its meaning. An empty list is reported when `needed` says what for.
fn meanings<T, U, E: AsRef<str>>(
    list: &Field<Vec<Field<T>>>,
    needed: Option<&str>,
    reading: &mut Reading<'_>,
    meaning: impl Fn(&T) -> Result<U, E>,
) -> Option<Vec<U>> {
    let items = list.value()?;
    if let (true, Some(needed)) = (items.is_empty(), needed) {
        reading.error(list.place, &list.path, format!("empty: {needed}"), "this list is empty");
    }
    Some(items.iter().filter_map(|item| item.meaning(reading, &meaning)).collect())
}

/// Signature algorithms by name.
fn algorithms(list: &Field<Vec<Field<String>>>, reading: &mut Reading<'_>) -> Option<Vec<Algorithm>> {
    let items = list.value()?;
    if items.is_empty() {
        let message = "empty: no signature could ever be accepted";
        reading.error(list.place, &list.path, message, "this list is empty");
    }
    let algorithm = |item: &Field<String>| match item.value().map(|name| (name, Algorithm::from_name(name)))? {
        (_, Some(algorithm)) => Some(algorithm),
        (name, None) => {
            let help = if name.eq_ignore_ascii_case("none") {
                "an unsigned token proves nothing; `none` is never accepted".to_owned()
            } else if name.starts_with("HS") {
                "whoever checks an HMAC can also forge it; symmetric algorithms are never accepted".to_owned()
            } else {
                let names: Vec<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
                format!("known: {}", names.join(", "))
            };
            item.refuse("an asymmetric signature algorithm", reading).help(help);
            None
        }
    };
    Some(items.iter().filter_map(algorithm).collect())
}

/// A duration between two bounds, both included.
fn within(field: &Field<Duration>, least: Duration, most: Duration, reading: &mut Reading<'_>) -> Option<Duration> {
    field.meaning(reading, |duration| {
        if *duration < least {
            Err(format!("at least {}", humantime::format_duration(least)))
        } else if *duration > most {
            Err(format!("at most {}", humantime::format_duration(most)))
        } else {
            Ok(*duration)
        }
    })
}

/// A duration in which something can happen at all.
fn timeout(field: &Field<Duration>, reading: &mut Reading<'_>) -> Option<Duration> {
    within(field, Duration::from_millis(1), Duration::MAX, reading)
}

/// Whether an authority is nothing but a host and perhaps a port, which [`http`] does not make sure of.
fn is_host_and_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let port = port.and_then(|port| if port.is_empty() { Some("0") } else { port.strip_prefix(':') });
    !authority.host().is_empty() && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

/// A number between two bounds, both included.
fn count(field: &Field<u64>, least: u64, most: u64, reading: &mut Reading<'_>) -> Option<usize> {
    field.meaning(reading, |number| {
        let fits = usize::try_from(*number).ok().filter(|_| (least..=most).contains(number));
        fits.ok_or_else(|| format!("a number from {least} to {most}"))
    })
}

/// A text that holds something.
fn not_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("a text that is not empty") } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests;
