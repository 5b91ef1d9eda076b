//! Whether whoever is asked about opaque tokens answers.

use std::sync::Arc;

use keybound::clock::{Clock as _, SystemClock};
use keybound::introspect::{ClientAuthentication, IntrospectionSettings, Probed, probe};
use keybound::keys::fetch::{self, Place};

use super::Circumstances;
use super::finding::{Finding, Subject};
use super::tls;

const HERE: Subject = Subject::Introspection;

/// Asks about a token that nobody issued, as the client that is configured.
pub async fn check(mut settings: IntrospectionSettings, circumstances: &Circumstances) -> Vec<Finding> {
    let uri = settings.endpoint.clone();
    let what = format!("{} as {}", Place::of(&uri), settings.client_id);
    if let Some(lost) = circumstances.lost(&uri) {
        return vec![HERE.skip(what, lost)];
    }
    let mut findings = Vec::new();
    let roots = settings.roots.clone().unwrap_or_else(|| Arc::new(fetch::system_roots()));
    let mut config = match fetch::tls_config(Arc::clone(&roots)) {
        Ok(config) => config,
        Err(error) => return vec![HERE.skip(what, format!("TLS cannot be set up: {error}"))],
    };
    if let ClientAuthentication::Certificate(own) = &settings.authentication {
        config.client_auth_cert_resolver = Arc::clone(own);
    }
    if !tls::reaches_with(HERE, &uri, config, circumstances, &mut findings).await {
        return findings;
    }
    settings.timeout = settings.timeout.min(circumstances.patience);
    findings.push(match probe(settings, SystemClock.now()).await {
        Ok(Probed::Inactive) => HERE.ok(what, "answers, and knows no token that nobody issued"),
        Ok(Probed::Signed) => HERE.ok(what, "answers, signed"),
        Ok(Probed::Active) => {
            let advice = "do not use this endpoint: it says so of any token";
            HERE.fail(what, "\"active\": false for a token that nobody issued", "true", advice)
        }
        Err(error) => {
            let advice = if error.contains("found 401") || error.contains("found 403") {
                "compare client_id and its secret, certificate or key with what the issuer knows"
            } else {
                "see that `endpoint` and `response` are what the issuer offers"
            };
            HERE.fail(what, "an answer (RFC 7662)", error, advice)
        }
    });
    findings
}
