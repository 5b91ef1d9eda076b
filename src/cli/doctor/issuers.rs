//! Whether issuers tell who they are, publish keys that can be used, and live in the same time.

use std::sync::Arc;

use http::Uri;
use keybound::clock::{Clock as _, SystemClock};
use keybound::keys::fetch::{self, Fetched, HttpClient, Limits, Place};
use keybound::keys::{IssuerSettings, KeySource, LoadError, discover, read_jwks, read_jwks_file};
use keybound::time::UnixTime;
use keybound::verify::{IssuerRules, Keyset, Skipped};
use rustls::RootCertStore;

use super::Circumstances;
use super::finding::{Finding, Subject};
use super::tls;

const HERE: Subject = Subject::Issuers;

/// More than this, in seconds, is worth a word: the time service should do better.
const CLOCK_WARNING: f64 = 3.0;

/// What there is to say about one issuer.
pub async fn check(issuer: &IssuerSettings, circumstances: &Circumstances) -> Vec<Finding> {
    let (name, rules) = (&issuer.rules.issuer, &issuer.rules);
    let uri = match &issuer.source {
        KeySource::File(path) => {
            let read = read_jwks_file(path, rules).map(|(keys, skipped)| (keys, skipped, path.display().to_string()));
            return vec![keys(read, rules)];
        }
        KeySource::Uri(uri) => uri.clone(),
        KeySource::Discover => match name.parse() {
            Ok(uri) => uri,
            Err(_) => return vec![HERE.skip(name, "it is no URL that metadata could be found by")],
        },
    };
    if let Some(lost) = circumstances.lost(&uri) {
        return vec![HERE.skip(name, lost)];
    }
    let mut findings = Vec::new();
    let roots = issuer.roots.clone().unwrap_or_else(|| Arc::new(fetch::system_roots()));
    if !tls::reaches(HERE, &uri, &roots, circumstances, &mut findings).await {
        return findings;
    }
    let limits = Limits { connect: circumstances.patience, total: circumstances.patience, ..Limits::default() };
    let client = match HttpClient::new(Arc::clone(&roots), limits) {
        Ok(client) => client,
        Err(error) => return vec![HERE.skip(name, format!("TLS cannot be set up: {error}"))],
    };
    let uri = match &issuer.source {
        KeySource::Discover => match discovered(name, &client, circumstances, &roots, &mut findings).await {
            Some(uri) => uri,
            None => return findings,
        },
        KeySource::Uri(_) | KeySource::File(_) => uri,
    };
    let fetched = client.get(&uri).await;
    let now = SystemClock.now();
    if let Ok(Fetched { date: Some(date), .. }) = &fetched {
        findings.push(clock(rules, *date, now));
    }
    let place = Place::of(&uri).to_string();
    let read = fetched.and_then(|fetched| read_jwks(&place, &fetched.body, rules));
    findings.push(keys(read.map(|(keys, skipped)| (keys, skipped, place)).map_err(|error| error.to_string()), rules));
    findings
}

/// The `jwks_uri` of an issuer that says it is the one that is meant.
async fn discovered(
    name: &str,
    client: &HttpClient,
    circumstances: &Circumstances,
    roots: &Arc<RootCertStore>,
    findings: &mut Vec<Finding>,
) -> Option<Uri> {
    let what = format!("{name}, metadata");
    let uri = match discover(client, name).await {
        Ok(uri) => uri,
        Err(error) => {
            let (found, advice) = match other_issuer(&error) {
                Some(other) => (
                    format!("\"issuer\": \"{other}\""),
                    "write `issuer` exactly as it is there, or name `keys: { jwks_uri: … }`",
                ),
                None => (error.to_string(), "see that the issuer's address is right, or name `keys: { jwks_uri: … }`"),
            };
            findings.push(HERE.fail(what, format!("\"issuer\": \"{name}\" (RFC 8414 section 3.3)"), found, advice));
            return None;
        }
    };
    findings.push(HERE.ok(what, format!("names itself, and its keys at {}", Place::of(&uri))));
    let elsewhere = name.parse::<Uri>().is_ok_and(|issuer| issuer.authority() != uri.authority());
    (!elsewhere || tls::reaches(HERE, &uri, roots, circumstances, findings).await).then_some(uri)
}

/// Whom the metadata are of, if they are another's.
fn other_issuer(error: &LoadError) -> Option<&str> {
    match error {
        LoadError::Content { expected, found, .. } if expected.contains("\"issuer\"") => Some(found),
        LoadError::Discovery { oauth, openid } => other_issuer(oauth).or_else(|| other_issuer(openid)),
        _ => None,
    }
}

fn keys(read: Result<(Keyset, Vec<Skipped>, String), String>, rules: &IssuerRules) -> Finding {
    let what = format!("{}, keys", rules.issuer);
    let algorithms: Vec<&str> = rules.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    match read {
        Ok((keys, skipped, place)) => {
            let left_out: Vec<String> = skipped.iter().take(3).map(ToString::to_string).collect();
            let left_out =
                if left_out.is_empty() { String::new() } else { format!("; left out: {}", left_out.join(", ")) };
            HERE.ok(what, format!("{} usable at {place}{left_out}", keys.len()))
        }
        Err(found) => {
            let expected = format!("at least one key for {}", algorithms.join(", "));
            let advice = "see what the issuer publishes, and compare with `algorithms`";
            HERE.fail(what, expected, found, advice)
        }
    }
}

/// `Date` has whole seconds, and the answer took a moment.
fn clock(rules: &IssuerRules, theirs: UnixTime, now: UnixTime) -> Finding {
    let ahead = theirs.seconds_since(now);
    let off = (ahead.abs() - 1.0).max(0.0);
    let what = format!("{}, clock", rules.issuer);
    let direction = if ahead > 0.0 { "ahead of" } else { "behind" };
    let found = format!("{:.0} s {direction} this host's", ahead.abs());
    let advice = "set both by a time service (NTP)";
    if off > rules.clock_skew.as_secs_f64() {
        let expected = format!("at most {} apart (clock_skew)", humantime::format_duration(rules.clock_skew));
        return HERE.fail(what, expected, found, advice);
    }
    if off > CLOCK_WARNING { HERE.warn(what, found, advice) } else { HERE.ok(what, "as this host's") }
}
