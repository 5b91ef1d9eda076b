//! All that the page for people shows, as one JSON object: for scripts too. Times are seconds since 1970.

use serde_json::{Value, json};

use super::explained;
use crate::gateway::{Gateway, Readiness};
use crate::keys::IssuerStatus;
use crate::refusal::Reason;
use crate::routes::{Access, Route};
use crate::telemetry::{Moment, Totals};

/// Refusals that the page lists.
const REFUSALS: usize = 60;

/// The state of a gateway that listens at these addresses.
pub fn state(gateway: &Gateway, addresses: &[std::net::SocketAddr]) -> Value {
    let totals = gateway.metrics().totals();
    let (ready, words) = match gateway.readiness() {
        Readiness::Ready(notes) => (true, notes),
        Readiness::NotReady(missing) => (false, missing),
    };
    let (in_force, refused) = gateway.metrics().config_reloads();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": gateway.started().secs(),
        "now": gateway.now().secs(),
        "readiness": { "ready": ready, "words": words },
        "configuration": {
            "current": gateway.metrics().is_config_current(),
            "reloads": in_force,
            "reloads_refused": refused,
        },
        "listeners": listeners(gateway, addresses),
        "connections": gateway.metrics().connections.open(),
        "routes": gateway.routes().iter().map(|route| one_route(gateway, route, &totals)).collect::<Vec<_>>(),
        "issuers": issuers(gateway),
        "upstreams": upstreams(gateway),
        "replay": replay(gateway),
        "rates": rates(gateway, &totals),
        "refusals": gateway.refusals().latest(REFUSALS).iter().map(|one| explained::summary(one)).collect::<Vec<_>>(),
        "observed": gateway.observations().report(),
    })
}

fn listeners(gateway: &Gateway, addresses: &[std::net::SocketAddr]) -> Vec<Value> {
    let now = gateway.now();
    let all = addresses.iter().zip(gateway.certificate_expiries());
    let one = |(address, expires): (&std::net::SocketAddr, Option<crate::time::UnixTime>)| {
        let left = expires.map(|at| whole(-now.seconds_since(at)));
        json!({ "address": address.to_string(), "tls": expires.is_some(), "certificate_expires_in": left })
    };
    all.map(one).collect()
}

fn one_route(gateway: &Gateway, route: &Route, totals: &Totals) -> Value {
    let counted = totals.routes.get(&route.name).copied().unwrap_or_default();
    let policy = route.access.policy();
    let bindings = policy.map(|policy| {
        let accepted = policy.accepted;
        [("dpop", accepted.dpop), ("mtls", accepted.mtls)].into_iter().filter_map(|(name, is)| is.then_some(name))
    });
    let upstream = route.upstream.and_then(|index| gateway.forwarder().upstream(index));
    json!({
        "name": route.name,
        "hosts": route.matches.hosts,
        "path_prefix": route.matches.path_prefix,
        "methods": route.matches.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
        "access": match route.access {
            Access::Public => "public",
            Access::Enforce(_) => "enforce",
            Access::Observe(_) => "observe",
        },
        "bindings": bindings.map(Iterator::collect::<Vec<_>>),
        "unbound_tokens": policy.is_some_and(|policy| policy.accepted.unbound),
        "scopes": policy.map(|policy| &policy.scopes),
        "upstream": upstream.map(|upstream| &upstream.settings().name),
        "requests": counted.requests,
        "refused": counted.refused,
    })
}

fn issuers(gateway: &Gateway) -> Vec<Value> {
    let asked = gateway.introspectors().status();
    let one = |issuer: &crate::keys::Issuer| {
        let IssuerStatus { issuer: name, age, last_error, .. } = issuer.status();
        let keys = issuer.keys().map(|keys| {
            keys.entries().map(|(kid, algorithm)| json!({ "kid": kid, "alg": algorithm.name() })).collect::<Vec<_>>()
        });
        let introspection = asked.iter().find(|status| status.issuer == name);
        json!({
            "issuer": name,
            "keys": keys.unwrap_or_default(),
            "keys_age": age.map(|age| age.as_secs()),
            "last_error": last_error,
            "introspection": introspection.map(|status| json!({
                "active": status.active,
                "inactive": status.inactive,
                "unavailable": status.unavailable,
                "last_error": status.last_error,
            })),
        })
    };
    gateway.issuers().iter().map(one).collect()
}

fn upstreams(gateway: &Gateway) -> Vec<Value> {
    let watched: Vec<_> = gateway.forwarder().status().collect();
    let one = |settings: &crate::forward::UpstreamSettings| {
        // Of one that is not watched nobody knows.
        let used = |url: &str| watched.iter().find(|it| it.upstream == settings.name && it.endpoint == url);
        let endpoints = settings.urls().map(|url| {
            let used = used(&url).map(|it| it.used);
            json!({ "url": url, "used": used })
        });
        json!({
            "name": settings.name,
            "health_check": settings.health_check.as_ref().map(|check| check.path.as_str()),
            "endpoints": endpoints.collect::<Vec<_>>(),
        })
    };
    gateway.forwarder().settings().map(one).collect()
}

fn replay(gateway: &Gateway) -> Value {
    let log = gateway.replay();
    json!({
        "entries": log.entries(),
        "capacity": log.capacity(),
        "store": log.store().map(|store| json!({ "trouble": store.trouble, "errors": store.errors, "local": store.local })),
    })
}

fn rates(gateway: &Gateway, totals: &Totals) -> Value {
    let recently = gateway.history().recently();
    let moment = |moment: &Moment| json!({ "at": moment.at.secs(), "requests": rounded(moment.requests), "refused": rounded(moment.refused) });
    let reasons = Reason::ALL.iter().zip(&totals.refused).enumerate().filter(|(_, (_, total))| **total > 0);
    let by_reason = reasons.map(|(index, (reason, total))| {
        json!({
            "reason": reason.slug(),
            "meaning": reason.meaning(),
            "recently": recently.refused.get(index),
            "total": total,
        })
    });
    json!({
        "requests": totals.requests,
        "refused": totals.refusals(),
        "now": recently.now.as_ref().map(moment),
        "series": recently.series.iter().map(moment).collect::<Vec<_>>(),
        "recent_seconds": whole(recently.seconds),
        "by_reason": by_reason.collect::<Vec<_>>(),
    })
}

fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

/// Whole seconds.
fn whole(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "no time that is shown comes near")]
    let whole = seconds as i64;
    whole
}
