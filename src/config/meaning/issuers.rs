//! Whose tokens are accepted.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::listeners::report_file;
use super::{algorithms, is_host_and_port, meanings, not_empty, values, within};
use crate::accept::tls::load_roots;
use crate::config::reading::{Field, Reading};
use crate::config::values::quoted;
use crate::config::written::{Issuer, Keys};
use crate::keys::{self, IssuerSettings, KeySource};
use crate::verify::IssuerRules;

const MAX_SKEW: Duration = Duration::from_mins(1);

pub fn all(written: &Field<Vec<Field<Issuer>>>, reading: &mut Reading<'_>) -> Vec<IssuerSettings> {
    let mut known: Vec<&Field<String>> = Vec::new();
    let mut issuers = Vec::new();
    for (_, issuer) in values(written) {
        let field = &issuer.issuer;
        let first = known.iter().find(|other| other.value() == field.value());
        if let (Some(first), Some(name)) = (first, field.value()) {
            let message = format!("{} is configured twice", quoted(name));
            reading.error(field.place, &field.path, message, "given again here").also(first.place, "first here");
        } else if field.value().is_some() {
            known.push(field);
        }
        issuers.extend(one(issuer, reading));
    }
    issuers
}

fn one(written: &Issuer, reading: &mut Reading<'_>) -> Option<IssuerSettings> {
    written.issuer.required("the `iss` of its tokens, for example `issuer: https://auth.example.com`", reading);
    let issuer = written.issuer.meaning(reading, |text| issuer_url(text).map(|()| text.clone()));
    written.audiences.required("what `aud` of a token must name, for example `[https://api.example.com]`", reading);
    let audiences =
        meanings(&written.audiences, Some("a token must be meant for this gateway"), reading, |text| not_empty(text));
    let mut rules = IssuerRules::new(issuer.clone().unwrap_or_default(), audiences.clone().unwrap_or_default());
    if let Some(algorithms) = algorithms(&written.algorithms, reading) {
        rules.algorithms = algorithms;
    }
    if let Some(types) =
        meanings(&written.token_types, Some("no token could be accepted"), reading, |text| token_type(text))
    {
        rules.token_types = types;
    }
    if let Some(skew) = within(&written.clock_skew, Duration::ZERO, MAX_SKEW, reading) {
        rules.clock_skew = skew;
    }
    let roots = written.ca_file.value().map(|file| reading.path(file)).and_then(|file| {
        let loaded = load_roots(&file);
        loaded.map_err(|error| report_file(&written.ca_file, &error.path, &error.problem, reading)).ok()
    });
    let source = source(&written.keys, &rules, reading);
    if written.ca_file.is_given() && !written.introspection.is_given() && matches!(source, Some(KeySource::File(_))) {
        let message = "has no effect: the keys come from a file";
        reading.warning(written.ca_file.place, &written.ca_file.path, message, "nothing is fetched");
    }
    issuer.and(audiences)?;
    Some(IssuerSettings { rules, source: source?, roots: roots.map(Arc::new) })
}

/// RFC 8414 §2: an `https` URL without query and fragment.
fn issuer_url(text: &str) -> Result<(), String> {
    if text.contains(['?', '#']) {
        return Err("a URL without query and fragment (RFC 8414 §2)".to_owned());
    }
    url(text).map(|_| ())
}

pub fn url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|_| "a URL such as `https://auth.example.com`".to_owned())?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a URL without user name and password".to_owned());
    }
    if uri.scheme().is_none() || !uri.authority().is_some_and(is_host_and_port) {
        return Err("a URL such as `https://auth.example.com`".to_owned());
    }
    KeySource::check_uri(&uri).map_err(|_| "an https URL, or http on a loopback address".to_owned())?;
    Ok(uri)
}

fn token_type(text: &str) -> Result<String, &'static str> {
    let token = |b: u8| b.is_ascii_graphic();
    if text.is_empty() || !text.bytes().all(token) {
        return Err("a media type such as `at+jwt`");
    }
    // A proof must never pass for a token (RFC 8725 §3.12).
    let name = text.rsplit('/').next().unwrap_or_default();
    if ["dpop+jwt", "token-introspection+jwt", "identity+jwt"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
        return Err("the type of an access token, not that of a proof, an answer about a token or an identity");
    }
    Ok(text.to_owned())
}

fn source(written: &Keys, rules: &IssuerRules, reading: &mut Reading<'_>) -> Option<KeySource> {
    let (discover, uri, file) = (&written.discover, &written.jwks_uri, &written.jwks_file);
    let discovers = discover.value() == Some(&true);
    let sources = [
        discovers.then_some(discover.place),
        uri.is_given().then_some(uri.place),
        file.is_given().then_some(file.place),
    ];
    let mut sources = sources.into_iter().flatten();
    if let (Some(first), Some(second)) = (sources.next(), sources.next()) {
        let path = discover.path.trim_end_matches(".discover");
        reading
            .error(second, path, "expected one source of keys, found several", "another source")
            .also(first, "one source")
            .help("give exactly one of `discover: true`, `jwks_uri` or `jwks_file`");
        return None;
    }
    if let Some(text) = uri.value() {
        return uri.meaning(reading, |_| url(text)).map(KeySource::Uri);
    }
    if let Some(written) = file.value() {
        return Some(jwks_file(file, written, rules, reading));
    }
    if discover.value() == Some(&false) {
        discover.refuse("`true`, or one of `jwks_uri` and `jwks_file` instead", reading);
    }
    (!discover.is_wrong() && !uri.is_wrong() && !file.is_wrong()).then_some(KeySource::Discover)
}

fn jwks_file(field: &Field<String>, written: &str, rules: &IssuerRules, reading: &mut Reading<'_>) -> KeySource {
    let path = reading.path_for_others(written);
    match keys::read_jwks_file(&path, rules) {
        Err(problem) => {
            // Nobody looks at it again while this configuration is not in force.
            reading.note(&path);
            // Its name comes with it.
            let problem = problem.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&problem);
            report_file(field, &path, problem, reading);
        }
        Ok((keyset, skipped)) => {
            for entry in &skipped {
                let message = format!("{}: not used: {entry}", path.display());
                reading.warning(field.place, &field.path, message, "holds a key that cannot be used");
            }
            if keyset.is_empty() {
                reading.note(&path);
                report_file(field, &path, "no key in it can be used", reading);
            }
        }
    }
    KeySource::File(path)
}
