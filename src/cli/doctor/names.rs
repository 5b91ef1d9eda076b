//! Whether the names of other hosts have addresses, as this host sees them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use http::Uri;
use keybound::gateway::Settings;
use keybound::keys::KeySource;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::finding::{Finding, Subject};

const HERE: Subject = Subject::Names;

/// Without the brackets of an IPv6 address.
pub fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Names, in the order of the configuration, with what each is for. An address is no name.
fn names(settings: &Settings, through: Option<&Uri>) -> Vec<(String, &'static str)> {
    let mut all: Vec<(String, &'static str)> = Vec::new();
    let mut note = |host: Option<&str>, what| {
        let host = bare(host.unwrap_or_default()).to_ascii_lowercase();
        if !host.is_empty() && host.parse::<IpAddr>().is_err() && !all.iter().any(|(known, _)| *known == host) {
            all.push((host, what));
        }
    };
    for issuer in &settings.issuers {
        match &issuer.source {
            KeySource::Discover => {
                let uri: Option<Uri> = issuer.rules.issuer.parse().ok();
                note(uri.as_ref().and_then(Uri::host), "issuer");
            }
            KeySource::Uri(uri) => note(uri.host(), "JWK set"),
            KeySource::File(_) => {}
        }
    }
    settings.introspection.iter().for_each(|asked| note(asked.endpoint.host(), "introspection"));
    if let Some(store) = &settings.replay.shared {
        store.servers.iter().for_each(|server| note(Some(&server.host), "Redis"));
    }
    for upstream in &settings.upstreams {
        upstream.endpoints.iter().for_each(|endpoint| note(Some(endpoint.host()), "upstream"));
    }
    note(through.and_then(Uri::host), "front");
    all
}

/// Looks all of them up at once. What has no address comes along: whoever needs it need not try.
pub async fn check(settings: &Settings, through: Option<&Uri>, patience: Duration) -> (Vec<Finding>, BTreeSet<String>) {
    let looking = names(settings, through).into_iter().map(|(name, what)| async move {
        let found = timeout(patience, addresses(&name)).await;
        let late = || format!("no answer within {}", humantime::format_duration(patience));
        let found = found.map_err(|_| late()).and_then(|found| found.map_err(|error| error.to_string()));
        (name, what, found)
    });
    let mut lost = BTreeSet::new();
    let mut findings = Vec::new();
    for (name, what, found) in join_all(looking).await {
        let told = format!("{name} ({what})");
        let problem = match found {
            Ok(addresses) if !addresses.is_empty() => {
                findings.push(HERE.ok(told, families(&addresses)));
                continue;
            }
            Ok(_) => "none".to_owned(),
            Err(error) => error,
        };
        findings.push(HERE.fail(told, "an address", problem, "correct the name, or the resolver of this host"));
        lost.insert(name);
    }
    (findings, lost)
}

async fn addresses(name: &str) -> std::io::Result<BTreeSet<IpAddr>> {
    Ok(lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
}

/// Both families by name, so that one that is missing shows.
fn families(addresses: &BTreeSet<IpAddr>) -> String {
    let family = |wanted: fn(&IpAddr) -> bool| {
        let some: Vec<String> = addresses.iter().filter(|ip| wanted(ip)).map(ToString::to_string).collect();
        if some.is_empty() { "none".to_owned() } else { some.join(" ") }
    };
    format!("IPv4 {}, IPv6 {}", family(IpAddr::is_ipv4), family(IpAddr::is_ipv6))
}
