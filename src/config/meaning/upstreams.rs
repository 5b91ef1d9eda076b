//! Where requests go: named upstreams, and those that a route names by URL.

use http::Uri;
use http::uri::{Authority, Scheme};

use super::{is_host_and_port, timeout, values};
use crate::config::reading::{Field, Reading};
use crate::config::report::Place;
use crate::config::values::{Name, Named, choices, closest};
use crate::config::written::Upstream;
use crate::forward::UpstreamSettings;

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
        let settings = UpstreamSettings {
            name: name.clone(),
            scheme,
            authority,
            connect_timeout: UpstreamSettings::CONNECT_TIMEOUT,
            response_timeout: UpstreamSettings::RESPONSE_TIMEOUT,
        };
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
    for field in [&written.tls.ca_file, &written.tls.certificate_file, &written.tls.key_file, &written.tls.server_name]
    {
        field.later(|_| false, reading);
    }
    written.http2.later(|http2| !http2, reading);
    written.health_check.later(|_| false, reading);
    let connect_timeout = timeout(&written.connect_timeout, reading);
    let response_timeout = timeout(&written.response_timeout, reading);
    let endpoints = written.endpoints.required("for example `endpoints: [http://127.0.0.1:8080]`", reading)?;
    match endpoints.as_slice() {
        [] => {
            let field = &written.endpoints;
            reading.error(field.place, &field.path, "empty: requests have nowhere to go", "this list is empty");
        }
        [_, second, ..] => {
            let message = "more than one endpoint is not supported yet";
            reading.error(second.place, &second.path, message, "leave this one out");
        }
        [_] => {}
    }
    let mut first = None;
    for (index, (field, _)) in values(&written.endpoints).enumerate() {
        let endpoint = field.meaning(reading, |text| url(text));
        if let Some((scheme, authority)) = &endpoint {
            warn_of_plain_hop(field, scheme, authority, reading);
        }
        if index == 0 {
            first = endpoint;
        }
    }
    let (scheme, authority) = first?;
    Some(UpstreamSettings {
        name: name.to_owned(),
        scheme,
        authority,
        connect_timeout: connect_timeout.unwrap_or(UpstreamSettings::CONNECT_TIMEOUT),
        response_timeout: response_timeout.unwrap_or(UpstreamSettings::RESPONSE_TIMEOUT),
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
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let here = host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback());
    if *scheme == Scheme::HTTP && !here {
        let message = "the hop to the upstream is neither encrypted nor authenticated";
        reading.warning(field.place, &field.path, message, "plain HTTP across the network");
    }
}
