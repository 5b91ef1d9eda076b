//! Where requests go: named upstreams, and those that a route names by URL.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use rustls::pki_types::ServerName;

use super::listeners::report_file;
use super::secrets::certificate_and_key;
use super::{count, is_host_and_port, timeout, values, within};
use crate::accept::tls::load_roots;
use crate::config::reading::{Field, Reading};
use crate::config::report::Place;
use crate::config::values::{Name, Named, choices, closest};
use crate::config::written::{self, Upstream};
use crate::forward::{self, HealthCheck, UpstreamSettings, UpstreamTls};

/// The upstreams found so far.
pub struct Upstreams {
    entries: Vec<Entry>,
    /// Some route names an upstream that does not exist: it may mean one that nobody else uses.
    mistaken: bool,
}

struct Entry {
    name: String,
    /// `None`: it was reported, and the name still counts as known.
    settings: Option<UpstreamSettings>,
    place: Place,
    used: bool,
}

impl Upstreams {
    /// Reads those with a name.
    pub fn named(written: &Field<Named<Upstream>>, reading: &mut Reading<'_>) -> Self {
        let entries = written.value().into_iter().flat_map(|named| &named.0).map(|(name, field)| {
            check_name(name, &field.path, reading);
            let settings = field.value().and_then(|upstream| one(&name.text, upstream, reading));
            Entry { name: name.text.clone(), settings, place: name.place, used: false }
        });
        Self { entries: entries.collect(), mistaken: false }
    }

    /// The index of what a route names. Reports a name that nobody has.
    pub fn resolve(&mut self, field: &Field<String>, reading: &mut Reading<'_>) -> Option<usize> {
        let written = field.value()?;
        if let Some(index) = self.entries.iter().position(|entry| entry.name == *written) {
            self.entries[index].used = true;
            return Some(index);
        }
        if !written.contains("://") {
            self.unknown(field, written, reading);
            self.mistaken = true;
            return None;
        }
        let (scheme, authority) = field.meaning(reading, |text| url(text))?;
        warn_of_plain_hop(field, &scheme, &authority, reading);
        // Its name is no name that `upstreams` can hold, and two routes to one URL share an upstream.
        let name = format!("{scheme}://{authority}");
        if let Some(index) = self.entries.iter().position(|entry| entry.name == name) {
            return Some(index);
        }
        let settings = UpstreamSettings::new(name.as_str(), scheme, vec![authority]);
        self.entries.push(Entry { name, settings: Some(settings), place: field.place, used: true });
        Some(self.entries.len() - 1)
    }

    fn unknown(&self, field: &Field<String>, written: &str, reading: &mut Reading<'_>) {
        let names: Vec<_> =
            self.entries.iter().map(|entry| entry.name.as_str()).filter(|name| !name.contains("://")).collect();
        let help = match closest(written, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None if names.is_empty() => {
                "no `upstreams` are configured; write a URL such as `http://127.0.0.1:8080`".to_owned()
            }
            None => format!("known: {}", choices(&names)),
        };
        field.refuse("the name of an upstream, or a URL", reading).help(help);
    }

    /// The settings, by index. Warns of those that nobody uses.
    pub fn finish(self, reading: &mut Reading<'_>) -> Vec<UpstreamSettings> {
        for entry in self.entries.iter().filter(|entry| !entry.used && !self.mistaken) {
            let path = format!("upstreams.{}", entry.name.escape_debug());
            reading.warning(entry.place, &path, "no route uses this upstream", "never used");
        }
        self.entries.into_iter().filter_map(|entry| entry.settings).collect()
    }
}

/// A metric label, and nothing that could be taken for a URL.
fn check_name(name: &Name, path: &str, reading: &mut Reading<'_>) {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.text.is_empty() || name.text.len() > 64 || !name.text.bytes().all(fits) {
        let message = "expected a name of at most 64 letters, digits, `-`, `_` and `.`";
        reading.error(name.place, path, message, "not such a name");
    }
}

fn one(name: &str, written: &Upstream, reading: &mut Reading<'_>) -> Option<UpstreamSettings> {
    let http2 = written.http2.value() == Some(&true);
    if http2 && let Some(most) = written.max_connections.value() {
        let field = &written.max_connections;
        let message = format!("expected no limit beside `http2: true`, found {most}");
        reading.error(field.place, &field.path, message, "HTTP/2 connections are shared");
    }
    let health_check = written.health_check.value().and_then(|check| health_check(check, reading));
    let connect_timeout = timeout(&written.connect_timeout, reading);
    let response_timeout = timeout(&written.response_timeout, reading);
    let max_connections = count(&written.max_connections, 1, 1_000_000, reading);
    let endpoints = endpoints(written, reading);
    let scheme = endpoints.as_ref().map(|(scheme, _)| scheme);
    let tls = tls(&written.tls, scheme == Some(&Scheme::HTTP), reading);
    let (scheme, endpoints) = endpoints?;
    let defaults = UpstreamSettings::new(name, scheme, endpoints);
    Some(UpstreamSettings {
        tls,
        http2,
        connect_timeout: connect_timeout.unwrap_or(defaults.connect_timeout),
        response_timeout: response_timeout.unwrap_or(defaults.response_timeout),
        max_connections,
        health_check,
        ..defaults
    })
}

/// Where it is: at least one place, all of them different, all of the same scheme.
fn endpoints(written: &Upstream, reading: &mut Reading<'_>) -> Option<(Scheme, Vec<Authority>)> {
    let field = &written.endpoints;
    let count = field.required("for example `endpoints: [http://127.0.0.1:8080]`", reading)?.len();
    if count == 0 {
        reading.error(field.place, &field.path, "empty: requests have nowhere to go", "this list is empty");
    }
    if count > UpstreamSettings::MOST_ENDPOINTS {
        let message = format!("expected at most {} endpoints, found {count}", UpstreamSettings::MOST_ENDPOINTS);
        reading.error(field.place, &field.path, message, "too many");
    }
    let mut found: Vec<(&Field<String>, Scheme, Authority)> = Vec::new();
    for (field, _) in values(&written.endpoints) {
        let Some((scheme, authority)) = field.meaning(reading, |text| url(text)) else { continue };
        warn_of_plain_hop(field, &scheme, &authority, reading);
        let needs_name = scheme == Scheme::HTTPS && !written.tls.server_name.is_given();
        if needs_name && forward::host_name(&authority).is_none() {
            field.refuse("a host that a certificate can name", reading).help("or give `tls.server_name`");
        }
        if let Some((first, other, _)) = found.first()
            && *other != scheme
        {
            let message = format!("expected `{other}://`, as the first endpoint has it, found `{scheme}://`");
            reading.error(field.place, &field.path, message, "another scheme").also(first.place, "the first endpoint");
        }
        if let Some((same, ..)) = found.iter().find(|(_, known, other)| *known == scheme && *other == authority) {
            let message = format!("`{scheme}://{authority}` is configured twice");
            reading.error(field.place, &field.path, message, "given again here").also(same.place, "first here");
        }
        found.push((field, scheme, authority));
    }
    let scheme = found.first().map(|(_, scheme, _)| scheme.clone())?;
    Some((scheme, found.into_iter().map(|(_, _, authority)| authority).collect()))
}

fn tls(written: &written::UpstreamTls, plain: bool, reading: &mut Reading<'_>) -> UpstreamTls {
    let own = [&written.ca_file, &written.certificate_file, &written.key_file, &written.server_name];
    if let Some(field) = own.into_iter().find(|field| field.is_given() && plain) {
        let message = "has no effect: the endpoints do not begin with `https://`";
        reading.error(field.place, &field.path, message, "there is no TLS");
        return UpstreamTls::default();
    }
    let roots = written.ca_file.value().map(|file| reading.path(file)).and_then(|file| {
        let loaded = load_roots(&file);
        loaded.map_err(|error| report_file(&written.ca_file, &error.path, &error.problem, reading)).ok()
    });
    let certificate = certificate_and_key(&written.certificate_file, &written.key_file, reading);
    let server_name = written.server_name.meaning(reading, |text| {
        ServerName::try_from(text.clone()).map_err(|_| "a host name or an IP address, as the certificate has it")
    });
    UpstreamTls { roots: roots.map(Arc::new), certificate: certificate.map(|own| Arc::clone(own.key())), server_name }
}

fn health_check(written: &written::HealthCheck, reading: &mut Reading<'_>) -> Option<HealthCheck> {
    written.path.required("what endpoints answer when they are well, for example `path: /healthz`", reading);
    let path = written.path.meaning(reading, |text| {
        let expected = "a path such as `/healthz`";
        let path: PathAndQuery = text.parse().map_err(|_| expected)?;
        if text.starts_with('/') && !text.contains('#') { Ok(path) } else { Err(expected) }
    });
    let interval = within(&written.interval, Duration::from_millis(100), Duration::from_hours(1), reading);
    let timeout = within(&written.timeout, Duration::from_millis(1), Duration::from_mins(1), reading);
    let mut in_a_row = |field| count(field, 1, 1000, reading).and_then(|number| u32::try_from(number).ok());
    let (healthy_after, unhealthy_after) = (in_a_row(&written.healthy_after), in_a_row(&written.unhealthy_after));
    let defaults = HealthCheck::new(path?);
    Some(HealthCheck {
        interval: interval.unwrap_or(defaults.interval),
        timeout: timeout.unwrap_or(defaults.timeout),
        healthy_after: healthy_after.unwrap_or(defaults.healthy_after),
        unhealthy_after: unhealthy_after.unwrap_or(defaults.unhealthy_after),
        ..defaults
    })
}

/// Scheme and authority, and nothing else: a request keeps its own path.
fn url(text: &str) -> Result<(Scheme, Authority), &'static str> {
    const EXPECTED: &str = "a URL such as `http://127.0.0.1:8080`";
    let parts = text.parse::<Uri>().map_err(|_| EXPECTED)?.into_parts();
    let (scheme, authority) = (parts.scheme.ok_or(EXPECTED)?, parts.authority.ok_or(EXPECTED)?);
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
        return Err("a URL that begins with `http://` or `https://`");
    }
    if authority.as_str().contains('@') {
        return Err("a URL without user name and password");
    }
    if !is_host_and_port(&authority) {
        return Err(EXPECTED);
    }
    // `http` drops a fragment.
    if parts.path_and_query.is_some_and(|path| path != "/") || text.contains('#') {
        return Err("a URL without path, query and fragment: requests keep their own path");
    }
    Ok((scheme, authority))
}

fn warn_of_plain_hop(field: &Field<String>, scheme: &Scheme, authority: &Authority, reading: &mut Reading<'_>) {
    if *scheme == Scheme::HTTP && !is_here(authority) {
        let message = "the hop to the upstream is neither encrypted nor authenticated";
        reading.warning(field.place, &field.path, message, "plain HTTP across the network");
    }
}

/// Whether nobody else's network lies on the way.
pub fn is_here(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
