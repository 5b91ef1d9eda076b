//! Who is asked about opaque tokens, and how.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;

use super::issuers::url;
use super::listeners::report_file;
use super::routes::is_public;
use super::secrets::{certificate_and_key, secret, verbatim};
use super::{count, not_empty, values, within};
use crate::config::reading::{Field, Reading};
use crate::config::values::quoted;
use crate::config::written::{self, AnswerForm, Configuration};
use crate::introspect::{self, ClientAuthentication, IntrospectionSettings};
use crate::keys::IssuerSettings;
use crate::prover::ProofKey;
use crate::verify::Json;

const WAYS: &str = "`client_secret_file`, `certificate_file` with `key_file`, or `signing_key_file`";

/// Those of the issuers that are asked. Their authorities are those that their keys are fetched with.
pub fn all(
    written: &Configuration,
    issuers: &[IssuerSettings],
    reading: &mut Reading<'_>,
) -> Vec<IntrospectionSettings> {
    let mut settings = Vec::new();
    for (_, issuer) in values(&written.issuers) {
        let Some(introspection) = issuer.introspection.value() else { continue };
        let name = issuer.issuer.value().map_or("", String::as_str);
        let roots = issuers.iter().find(|known| known.rules.issuer == name).and_then(|known| known.roots.clone());
        settings.extend(one(name, introspection, roots, &issuer.introspection, reading));
    }
    one_for_each_route(written, reading);
    settings
}

fn one(
    issuer: &str,
    written: &written::Introspection,
    roots: Option<Arc<RootCertStore>>,
    field: &Field<written::Introspection>,
    reading: &mut Reading<'_>,
) -> Option<IntrospectionSettings> {
    let example = "where it is asked, for example `endpoint: https://auth.example.com/introspect`";
    written.endpoint.required(example, reading);
    let endpoint =
        written.endpoint.meaning(reading, |text| if text.contains('#') { Err(NO_FRAGMENT.into()) } else { url(text) });
    written.client_id.required("who the gateway is there, for example `client_id: api-gateway`", reading);
    let client_id = written.client_id.meaning(reading, |text| not_empty(text));
    let plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.scheme_str() == Some("http"));
    let authentication = authentication(written, plain, field, reading);
    let cache = within(&written.cache, Duration::ZERO, IntrospectionSettings::LONGEST_CACHE, reading);
    let timeout = within(&written.timeout, Duration::from_millis(1), Duration::from_mins(1), reading);
    let concurrency = count(&written.concurrency, 1, 10_000, reading);
    let defaults = IntrospectionSettings::new(issuer, endpoint?, &client_id?, authentication?);
    Some(IntrospectionSettings {
        form: match written.response.value() {
            Some(AnswerForm::Jwt) => introspect::AnswerForm::Jwt,
            Some(AnswerForm::Json) | None => introspect::AnswerForm::Json,
        },
        cache: cache.unwrap_or(defaults.cache),
        timeout: timeout.unwrap_or(defaults.timeout),
        concurrency: concurrency.unwrap_or(defaults.concurrency),
        roots,
        ..defaults
    })
}

const NO_FRAGMENT: &str = "a URL without fragment (RFC 7662 §2.1)";

/// Exactly one way to show who asks.
fn authentication(
    written: &written::Introspection,
    plain: bool,
    field: &Field<written::Introspection>,
    reading: &mut Reading<'_>,
) -> Option<ClientAuthentication> {
    let (password, signing) = (&written.client_secret_file, &written.signing_key_file);
    let (certificate, key) = (&written.certificate_file, &written.key_file);
    let by_certificate = if certificate.is_given() { certificate } else { key };
    let mut ways = [password, by_certificate, signing].into_iter().filter(|way| way.is_given());
    let Some(first) = ways.next() else {
        let message = "missing: the issuer answers nobody whom it does not know";
        let label = "how does the gateway show who it is?";
        reading.error(field.place, &field.path, message, label).help(format!("give one of {WAYS}"));
        return None;
    };
    if let Some(second) = ways.next() {
        let message = "expected one way to show who asks, found several";
        reading
            .error(second.place, &second.path, message, "another way")
            .also(first.place, "one way")
            .help(format!("give one of {WAYS}"));
        return None;
    }
    if by_certificate.is_given() && plain {
        let message = "has no effect: the endpoint does not begin with `https://`";
        reading.error(by_certificate.place, &by_certificate.path, message, "there is no TLS");
    }
    if password.is_given() {
        return verbatim(password, reading).map(ClientAuthentication::Secret);
    }
    if signing.is_given() {
        return signing_key(signing, reading);
    }
    let own = certificate_and_key(certificate, key, reading)?;
    Some(ClientAuthentication::Certificate(own.for_client()))
}

fn signing_key(field: &Field<String>, reading: &mut Reading<'_>) -> Option<ClientAuthentication> {
    let text = secret(field, reading)?;
    match ProofKey::read(&text) {
        Ok(key) => {
            // A JWK may say how the server knows it.
            let kid = Json::object(&text).and_then(|jwk| jwk.string("kid").map(str::to_owned));
            Some(ClientAuthentication::Assertion { key: Box::new(key), kid })
        }
        Err(problem) => {
            let path = reading.path(field.value()?);
            report_file(field, &path, &problem.to_string(), reading);
            None
        }
    }
}

/// An opaque token does not say who issued it: asking one issuer shows it tokens of the other.
fn one_for_each_route(written: &Configuration, reading: &mut Reading<'_>) {
    let introspects = |issuer: &written::Issuer| issuer.introspection.is_given();
    let asked: Vec<&str> = values(&written.issuers)
        .filter(|(_, issuer)| introspects(issuer))
        .filter_map(|(_, issuer)| issuer.issuer.value().map(String::as_str))
        .collect();
    for (_, route) in values(&written.routes).filter(|(_, route)| !is_public(route)) {
        let field = &route.access.issuers;
        let accepted: Vec<&str> = values(field).map(|(_, name)| name.as_str()).collect();
        let mut here = asked.iter().filter(|name| accepted.is_empty() || accepted.contains(*name));
        if let (Some(one), Some(other)) = (here.next(), here.next()) {
            let message = format!("opaque tokens could be those of {} or of {}", quoted(one), quoted(other));
            reading
                .error(field.place, &field.path, message, "accepts two issuers that are asked about opaque tokens")
                .help("a token is shown to its own issuer only: name one of them in `issuers` of the route's `access`");
        }
    }
}
