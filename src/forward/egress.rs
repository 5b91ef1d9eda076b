//! What leaves towards the upstream: the client's message without anything that speaks for the client, and with
//! what the gateway knows of it (RFC 9110 §7.6, RFC 9440 §2.4).

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Uri;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde_json::Value;

use super::body::RequestBody;
use super::reserved::{CLIENT_CERT, OwnFields};
use super::upgrade;
use crate::authorize::{Authorized, Grant};
use crate::identity::Statement;
use crate::refusal::{Reason, Refusal};
use crate::request::connection::remove_hop_by_hop;
use crate::request::{ClientCertificate, Inbound, Onward, TRACEPARENT, TRACESTATE, Target};
use crate::routes::{AuthorizationForward, Forwarding};

/// Fields that nearly every request is given.
const ADDED: usize = 8;

/// Turns an authorized request into the one that the upstream gets, and takes the client's half of an upgrade out
/// of it. `own` is what the gateway's routes fill.
pub fn prepare(
    authorized: Authorized<Incoming>,
    own: &OwnFields,
    websocket: bool,
) -> Result<(Request<RequestBody>, Option<OnUpgrade>), Refusal> {
    let (inbound, route, grant) = authorized.into_parts();
    let forwarding = &route.forward;
    let facts = client_facts(&inbound);
    let certificate = grant.as_ref().and_then(|grant| client_certificate(forwarding, grant, inbound.certificate()));
    let assertion = grant.as_ref().map(|grant| assertion(forwarding, grant, &inbound)).transpose()?.flatten();
    let onward = inbound.onward();
    let (mut request, _peer, target, _id) = inbound.into_parts();
    let on_upgrade = websocket.then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    parts.uri = uri(forwarding, &target)?;
    let te_trailers = parts.headers.get_all(header::TE).iter().any(|te| has_token(te, "trailers"));
    let via = via(&parts.headers, parts.version);
    let http2 = parts.version == Version::HTTP_2;
    parts.version = Version::HTTP_11;
    let headers = &mut parts.headers;
    // Growing it rehashes all.
    headers.reserve(ADDED + forwarding.headers.len() + forwarding.claims.len());
    remove_hop_by_hop(headers);
    remove_reserved(headers, own);
    // What the route fixes comes first, so that it cannot replace what was proven.
    let proven = grant.iter().flat_map(|grant| identity(forwarding, grant));
    let added = proven.chain(certificate).chain(assertion).chain(facts);
    for (name, value) in forwarding.headers.iter().cloned().chain(added) {
        headers.insert(name, value);
    }
    if !headers.get(header::HOST).is_some_and(|host| target.is_spelled(host.as_bytes())) {
        headers.insert(header::HOST, authority_field(&target)?);
    }
    headers.insert(header::VIA, via);
    if let Some(onward) = onward {
        trace(headers, onward);
    }
    join_cookies(headers);
    if websocket {
        upgrade::ask(headers);
    } else if te_trailers {
        // RFC 9110 §10.1.4: TE belongs to the connection and says so.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    Ok((Request::from_parts(parts, RequestBody::new(body, http2, own.clone())), on_upgrade))
}

/// The fields about the caller that a proxy hands on itself, when it only asked: whatever `own` names, on this route or
/// another, and `Authorization`.
pub fn verdict(authorized: Authorized<Incoming>, own: &OwnFields) -> Result<HeaderMap, Refusal> {
    let (inbound, route, grant) = authorized.into_parts();
    let forwarding = &route.forward;
    let assertion = grant.as_ref().map(|grant| assertion(forwarding, grant, &inbound)).transpose()?.flatten();
    let certificate = grant.as_ref().and_then(|grant| client_certificate(forwarding, grant, inbound.certificate()));
    let nothing = HeaderValue::from_static("");
    let names = own.filled().iter().chain([&header::AUTHORIZATION]).cloned();
    let mut headers: HeaderMap = names.map(|name| (name, nothing.clone())).collect();
    // Whom nobody proved to be anybody passes as it came, if it passes.
    let mut as_sent = inbound.request().headers().get_all(header::AUTHORIZATION).iter().filter(|_| grant.is_none());
    if let Some(first) = as_sent.next() {
        headers.insert(header::AUTHORIZATION, first.clone());
        headers.extend(as_sent.map(|value| (header::AUTHORIZATION, value.clone())));
    }
    let proven = grant.iter().flat_map(|grant| identity(forwarding, grant)).chain(certificate).chain(assertion);
    for (name, value) in forwarding.headers.iter().cloned().chain(proven) {
        headers.insert(name, value);
    }
    Ok(headers)
}

/// RFC 9440 §2.2, of a token that is bound to it: any other certificate is not validated and says nothing. The same field
/// of a client was removed.
fn client_certificate(
    forwarding: &Forwarding,
    grant: &Grant,
    certificate: Option<&ClientCertificate>,
) -> Option<(HeaderName, HeaderValue)> {
    let bound = forwarding.client_certificate && grant.proven().certificate.is_some();
    let der = certificate.filter(|_| bound)?.der.as_ref()?;
    let value = HeaderValue::try_from(format!(":{}:", STANDARD.encode(der))).ok()?;
    Some((CLIENT_CERT, value))
}

fn remove_reserved(headers: &mut HeaderMap, own: &OwnFields) {
    // Looking twice is cheaper than a list of names: most clients send none of them.
    if !headers.keys().any(|name| own.forbid(name)) {
        return;
    }
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| own.forbid(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
}

/// Who was proven to ask: the route's claims, and the token as the route forwards it.
fn identity<'a>(forwarding: &'a Forwarding, grant: &'a Grant) -> impl Iterator<Item = (HeaderName, HeaderValue)> + 'a {
    let claims = forwarding.claims.iter();
    let claims =
        claims.filter_map(|(name, claim)| Some((name.clone(), grant.token().claim(claim).and_then(claim_value)?)));
    claims.chain(authorization(forwarding, grant).map(|value| (header::AUTHORIZATION, value)))
}

/// The same in a form that the upstream can verify. An upstream that expects it must not go without.
fn assertion(
    forwarding: &Forwarding,
    grant: &Grant,
    inbound: &Inbound<Incoming>,
) -> Result<Option<(HeaderName, HeaderValue)>, Refusal> {
    let Some(identity) = &forwarding.identity else { return Ok(None) };
    let statement = Statement {
        token: grant.token(),
        proven: grant.proven(),
        method: inbound.request().method().as_str(),
        url: inbound.target().external_url(),
        request_id: inbound.id().as_str(),
        now: grant.at(),
    };
    let value = identity.assert(&statement).ok_or(Reason::IdentityUnavailable)?;
    Ok(Some((identity.header.clone(), value)))
}

fn authorization(forwarding: &Forwarding, grant: &Grant) -> Option<HeaderValue> {
    let credentials = grant.credentials();
    let as_sent = credentials.authorization();
    let mut value = match forwarding.authorization {
        AuthorizationForward::Bearer
            if as_sent.as_bytes().starts_with(b"Bearer ") && as_sent.len() == 7 + credentials.token().len() =>
        {
            as_sent.clone()
        }
        AuthorizationForward::Bearer => HeaderValue::try_from(format!("Bearer {}", credentials.token())).ok()?,
        AuthorizationForward::Keep => as_sent.clone(),
        AuthorizationForward::Strip => return None,
    };
    // Keeps it out of HPACK tables and Debug output.
    value.set_sensitive(true);
    Some(value)
}

/// The client's own path and query, in origin-form (RFC 9112 §3.2.1).
fn uri(forwarding: &Forwarding, target: &Target) -> Result<Uri, Refusal> {
    Ok(Uri::from(match &forwarding.strip_prefix {
        // Whether it can be stripped was asked when the route was selected.
        Some(prefix) => target.without_prefix(prefix).ok_or(Reason::TargetInvalid)?,
        None => target.path_and_query().clone(),
    }))
}

/// The `Host` that the client used: an unmodified API makes its links from it.
fn authority_field(target: &Target) -> Result<HeaderValue, Refusal> {
    let text = target.port().map_or_else(|| target.host().to_owned(), |port| format!("{}:{port}", target.host()));
    HeaderValue::from_str(&text).map_err(|_| Refusal::new(Reason::HostInvalid))
}

/// RFC 7239 and its forerunners, and the request's name.
fn client_facts(inbound: &Inbound<Incoming>) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
    let target = inbound.target();
    let scheme = target.external_scheme();
    let (address, peer) = (inbound.client(), inbound.peer());
    let node = if address == peer.address.ip() { Cow::Borrowed(peer.node()) } else { address.to_string().into() };
    let (before, after) = if address.is_ipv6() { ("for=\"[", "]\";host=\"") } else { ("for=", ";host=\"") };
    // Written once, in one piece; the short ones are parts of the long one.
    let mut text = String::with_capacity(256);
    let mut write = |part: &str| {
        let from = text.len();
        text.push_str(part);
        from..text.len()
    };
    write(before);
    let node = write(&node);
    write(after);
    let authority = write(target.external_authority());
    write("\";proto=");
    let forwarded = 0..write(scheme).end;
    let id = write(inbound.id().as_str());
    let text = Bytes::from(text);
    let value = |place: Range<usize>| HeaderValue::from_maybe_shared(text.slice(place)).ok();
    [
        ("forwarded", value(forwarded)),
        ("x-forwarded-for", value(node)),
        ("x-forwarded-host", value(authority)),
        ("x-forwarded-proto", Some(HeaderValue::from_static(scheme))),
        ("x-request-id", value(id)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((HeaderName::from_static(name), value?)))
}

/// The hops so far and this one, by the protocol that the message came in (RFC 9110 §7.6.3).
fn via(headers: &HeaderMap, received: Version) -> HeaderValue {
    let own = match received {
        Version::HTTP_2 => "2.0 keybound",
        Version::HTTP_10 => "1.0 keybound",
        _ => "1.1 keybound",
    };
    if !headers.contains_key(header::VIA) {
        return HeaderValue::from_static(own);
    }
    let mut hops: Vec<&str> = headers.get_all(header::VIA).iter().filter_map(|line| line.to_str().ok()).collect();
    hops.push(own);
    HeaderValue::from_str(&hops.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(own))
}

/// Whose step in which trace the request is (W3C Trace Context §3.4): ours, and no longer the client's.
fn trace(headers: &mut HeaderMap, Onward { parent, continues }: Onward) {
    if !continues {
        headers.remove(TRACESTATE);
    }
    match parent.value() {
        Some(value) => headers.insert(TRACEPARENT, value),
        None => headers.remove(TRACEPARENT),
    };
}

/// RFC 9113 §8.2.3: cookies that came in several lines are one line in HTTP/1.1.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    value.as_bytes().split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// A claim as a field value. What a field would change on the way (outer spaces, a comma inside a list's item) or
/// cannot hold is left out: the upstream then sees no such identity, rather than another one.
fn claim_value(claim: &Value) -> Option<HeaderValue> {
    let survives = |text: &str| text.trim_matches([' ', '\t']) == text;
    let text = match claim {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let items = items.filter(|items| items.iter().all(|item| survives(item) && !item.contains(',')));
            items?.join(",")
        }
        Value::Object(_) | Value::Null => return None,
    };
    if !survives(&text) {
        return None;
    }
    HeaderValue::from_str(&text).or_else(|_| HeaderValue::from_bytes(text.as_bytes())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_become_field_values() {
        let value = |json: Value| claim_value(&json).map(|value| value.as_bytes().to_vec());
        assert_eq!(value("alice".into()).unwrap(), b"alice");
        assert_eq!(value(serde_json::json!(["a", "b"])).unwrap(), b"a,b");
        assert_eq!(value(7.into()).unwrap(), b"7");
        assert_eq!(value("a\r\nX-Admin: 1".into()), None);
        assert_eq!(value(Value::Null), None);
        assert_eq!(value(" alice ".into()), None);
        assert_eq!(value(serde_json::json!(["users,admin"])), None);
        assert_eq!(value(serde_json::json!({"a": 1})), None);
    }
}
