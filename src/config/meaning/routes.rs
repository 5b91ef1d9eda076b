//! Which request falls under which rule.

use std::net::Ipv6Addr;

use http::Method;

use super::upstreams::Upstreams;
use super::{access, browsers, forwarding, fronts, listeners, meanings, values};
use crate::config::reading::{Field, Reading};
use crate::config::report::Severity;
use crate::config::values::quoted;
use crate::config::written::{self, AccessMode, Configuration};
use crate::request::PublicUrl;
use crate::routes::{Match, Route};

const EXAMPLE: &str = "for example `- upstream: http://127.0.0.1:8080`";

pub fn all(written: &Configuration, upstreams: &mut Upstreams, reading: &mut Reading<'_>) -> Vec<Route> {
    let list = &written.routes;
    if list.required(EXAMPLE, reading).is_some_and(Vec::is_empty) {
        let message = "empty: without a route every request is answered with 404";
        reading.error(list.place, &list.path, message, "this list is empty").help(EXAMPLE);
    }
    let gateway = access::Gateway {
        asks_for_certificates: listeners::ask_for_certificates(written),
        only_decides: fronts::only_decide(written),
        issuers: issuers(written),
        tells_clients: values(&written.listeners).any(|(_, listener)| listener.public_url.is_given()),
    };
    let names = names(list, reading);
    let mut routes: Vec<Route> = Vec::new();
    // What a route that was read in part would match is not what it says.
    let mut whole: Vec<(String, Match)> = Vec::new();
    for ((field, route), name) in values(list).zip(names) {
        let problems = reading.problems.len();
        let read = one(route, name, &gateway, upstreams, reading);
        let is_whole = reading.problems[problems..].iter().all(|problem| problem.severity != Severity::Error);
        if let Some(read) = read.as_ref().filter(|_| is_whole) {
            if let Some((wider, _)) = whole.iter().find(|(_, wider)| hides(wider, &read.matches)) {
                let message = format!("never reached: route {} matches all of its requests before", quoted(wider));
                reading.warning(field.place, &field.path, message, "never reached").help("move the narrower route up");
            }
            whole.push((read.name.clone(), read.matches.clone()));
        }
        routes.extend(read);
    }
    routes
}

/// Whether a route demands tokens, so that somebody must issue them.
pub fn need_issuers(written: &Configuration) -> bool {
    values(&written.routes).any(|(_, route)| !route.access.mode.is_wrong() && !is_public(route))
}

pub fn is_public(route: &written::Route) -> bool {
    route.access.mode.value() == Some(&AccessMode::Public)
}

/// The names that a route may choose from; `None` when one of them could not be read.
fn issuers(written: &Configuration) -> Option<Vec<&str>> {
    let name = |item: &'_ Field<written::Issuer>| item.value().and_then(|issuer| issuer.issuer.value()).is_none();
    let items = written.issuers.value()?;
    (!items.iter().any(name))
        .then(|| items.iter().filter_map(|item| item.value()?.issuer.value().map(String::as_str)).collect())
}

/// A name for each route that could be read: its own, else its path prefix if no other has it, else its number.
fn names(list: &Field<Vec<Field<written::Route>>>, reading: &mut Reading<'_>) -> Vec<String> {
    let prefix = |route: &written::Route| route.r#match.path_prefix.value().map_or("/", String::as_str).to_owned();
    let prefixes: Vec<_> = values(list).map(|(_, route)| prefix(route)).collect();
    let mut taken: Vec<(String, &Field<String>)> = Vec::new();
    for (index, (_, route)) in values(list).enumerate() {
        let own = route.name.meaning(reading, |name| label(name));
        let single = prefixes.iter().filter(|prefix| **prefix == prefixes[index]).count() == 1;
        let fallback = label(&prefixes[index]).ok().filter(|_| single);
        let fallback = fallback.unwrap_or_else(|| format!("route-{}", index + 1));
        let name = own.unwrap_or(fallback);
        if let Some((_, first)) = taken.iter().find(|(other, _)| *other == name) {
            reading
                .error(
                    route.name.place,
                    &route.name.path,
                    format!("{} is another route's name", quoted(&name)),
                    "taken",
                )
                .also(first.place, "taken by this route");
        }
        taken.push((name, &route.name));
    }
    taken.into_iter().map(|(name, _)| name).collect()
}

/// Fit for a metric label that a person reads.
fn label(name: &str) -> Result<String, &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_./~".contains(&b);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
        return Err("a name of at most 64 letters, digits and any of `-_./~`");
    }
    Ok(name.to_owned())
}

fn one(
    written: &written::Route,
    name: String,
    gateway: &access::Gateway<'_>,
    upstreams: &mut Upstreams,
    reading: &mut Reading<'_>,
) -> Option<Route> {
    if !gateway.only_decides {
        written.upstream.required(EXAMPLE, reading);
    }
    let upstream = upstreams.resolve(&written.upstream, reading);
    let matches = matches(&written.r#match, reading);
    let access = access::access(&written.access, gateway, reading);
    let forward = forwarding::forwarding(&written.forward, &matches.path_prefix, is_public(written), reading);
    let known = upstream.is_some() || (gateway.only_decides && !written.upstream.is_given());
    let cors = written.cors.value().map(|cors| browsers::cors(cors, reading));
    let metadata = browsers::metadata(&written.metadata, is_public(written), gateway.tells_clients, reading);
    known.then_some(Route { name, matches, access, upstream, forward, cors, metadata })
}

fn matches(written: &written::Match, reading: &mut Reading<'_>) -> Match {
    let default = Match::default();
    Match {
        hosts: meanings(&written.hosts, None, reading, |text| host(text)).unwrap_or(default.hosts),
        path_prefix: written.path_prefix.meaning(reading, |text| path(text)).unwrap_or(default.path_prefix),
        methods: written
            .methods
            .value()
            .map_or(default.methods, |items| items.iter().filter_map(|item| method(item, reading)).collect()),
    }
}

/// A host as requests name it: lower case, without port; perhaps with `*` for one label.
fn host(text: &str) -> Result<String, &'static str> {
    let (star, name) = text.strip_prefix("*.").map_or(("", text), |name| ("*.", name));
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(str::parse::<Ipv6Addr>);
    match address {
        Some(Ok(address)) if star.is_empty() => return Ok(format!("[{address}]")),
        None if name.contains(':') => return Err("a host without scheme and port"),
        None if PublicUrl::parse(&format!("https://{name}")).is_ok() && !name.contains('/') => {}
        _ => return Err("a host name such as `api.example.com` or `*.example.com`"),
    }
    // Requests are matched without the dot that ends a fully qualified name.
    let name = name.strip_suffix('.').unwrap_or(name);
    Ok(format!("{star}{}", name.to_ascii_lowercase()))
}

/// A path as [`crate::request::Target`] normalizes it, so that the comparison can be one of bytes.
pub fn path(text: &str) -> Result<String, &'static str> {
    let forbidden = |b: u8| !b.is_ascii_graphic() || b"?#%\\".contains(&b);
    if !text.starts_with('/') {
        return Err("a path that begins with `/`");
    }
    if text.bytes().any(forbidden) {
        return Err("a path without query, percent-encodings, backslashes and spaces");
    }
    let dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if text.split('/').any(dots) {
        return Err("a path without dot segments: such requests are refused");
    }
    if text.contains("//") || text.contains(';') {
        return Err("a path without `//` and `;`: upstreams read them differently, so no route can tell them apart");
    }
    Ok(text.to_owned())
}

/// RFC 9110 §9.1: methods are case-sensitive, so that `get` would match nothing that exists.
fn method(field: &Field<String>, reading: &mut Reading<'_>) -> Option<Method> {
    let text = field.value()?;
    let upper = text.to_ascii_uppercase();
    match Method::from_bytes(text.as_bytes()) {
        Ok(Method::CONNECT | Method::TRACE) => {
            field.refuse("a method that is served; CONNECT and TRACE never are", reading);
        }
        Ok(method) if *text == upper => return Some(method),
        Ok(_) => {
            let help = format!("did you mean `{upper}`? methods are case-sensitive");
            field.refuse("a method in upper case", reading).help(help);
        }
        Err(_) => {
            field.refuse("a method such as `GET`", reading);
        }
    }
    None
}

/// Whether every request that `narrow` covers is covered by `wide`. A wildcard counts as a host of its own.
fn hides(wide: &Match, narrow: &Match) -> bool {
    fn all<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
    }
    forwarding::covers(&wide.path_prefix, &narrow.path_prefix)
        && all(&wide.hosts, &narrow.hosts)
        && all(&wide.methods, &narrow.methods)
}
