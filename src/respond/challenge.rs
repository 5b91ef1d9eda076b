//! `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3): one field line per challenge,
//! the scheme that the client used first, because some clients read only the first.

use http::HeaderValue;

use super::Circumstances;
use crate::refusal::{Answer, Reason};
use crate::request::Scheme;
use crate::routes::Policy;

/// The challenges that go with a refusal; none where the catalogue has none.
pub fn challenges(reason: Reason, circumstances: &Circumstances<'_>) -> Vec<HeaderValue> {
    let accepted = circumstances.policy.map(|policy| policy.accepted).unwrap_or_default();
    let offers = |scheme| match scheme {
        Scheme::Dpop => accepted.dpop,
        Scheme::Bearer => accepted.mtls || accepted.unbound,
    };
    let used = circumstances.scheme_used;
    // (scheme, whether the error goes into it), in the order of sending.
    let lines: Vec<(Scheme, bool)> = match reason.answer() {
        Answer::NoCredentials => offered(offers).map(|scheme| (scheme, false)).collect(),
        Answer::InvalidRequest if used.is_none() => offered(offers).map(|scheme| (scheme, true)).collect(),
        Answer::SeveralCredentials | Answer::Downgrade => {
            let first = used.unwrap_or(Scheme::Dpop);
            vec![(first, true), (other(first), true)]
        }
        Answer::InvalidToken
        | Answer::InvalidRequest
        | Answer::InsufficientScope
        | Answer::InsufficientAuthentication => {
            let first = used.unwrap_or(Scheme::Dpop);
            let sibling = other(first);
            // Whoever used Bearer learns that DPoP would do; whoever used DPoP learns of Bearer only where DPoP is useless.
            let tell = offers(sibling) && (first == Scheme::Bearer || !offers(first));
            std::iter::once((first, true)).chain(tell.then_some((sibling, false))).collect()
        }
        Answer::InvalidProof | Answer::UseNonce => vec![(Scheme::Dpop, true)],
        Answer::Malformed
        | Answer::Forbidden
        | Answer::NoRoute
        | Answer::MethodNotServed
        | Answer::RequestTimeout
        | Answer::BodyTooLarge
        | Answer::Misdirected
        | Answer::HeaderTooLarge
        | Answer::TooManyProofs
        | Answer::TooManyRequests
        | Answer::Unavailable
        | Answer::BadGateway
        | Answer::GatewayTimeout => Vec::new(),
    };
    lines
        .into_iter()
        .filter_map(|(scheme, with_error)| line(scheme, with_error.then_some(reason), circumstances))
        .collect()
}

fn offered(offers: impl Fn(Scheme) -> bool) -> impl Iterator<Item = Scheme> {
    [Scheme::Dpop, Scheme::Bearer].into_iter().filter(move |scheme| offers(*scheme))
}

const fn other(scheme: Scheme) -> Scheme {
    match scheme {
        Scheme::Dpop => Scheme::Bearer,
        Scheme::Bearer => Scheme::Dpop,
    }
}

/// What would have been enough (RFC 6750 §3, RFC 9470 §3).
fn wanted(answer: Answer, policy: &Policy) -> Vec<(&'static str, String)> {
    if answer == Answer::InsufficientScope {
        return vec![("scope", policy.scopes.join(" "))];
    }
    if answer != Answer::InsufficientAuthentication {
        return Vec::new();
    }
    let acr_values = (!policy.acr_values.is_empty()).then(|| ("acr_values", policy.acr_values.join(" ")));
    let max_age = policy.max_auth_age.map(|age| ("max_age", age.as_secs().to_string()));
    acr_values.into_iter().chain(max_age).collect()
}

/// One challenge. Values are our own constants or configuration, cut down to what a quoted-string may hold.
fn line(scheme: Scheme, error: Option<Reason>, circumstances: &Circumstances<'_>) -> Option<HeaderValue> {
    let mut parameters: Vec<(&str, String)> = Vec::with_capacity(5);
    if let Some(reason) = error {
        parameters.push(("error", reason.answer().oauth_error()?.to_owned()));
        parameters.push(("error_description", reason.description().to_owned()));
        parameters.extend(circumstances.policy.into_iter().flat_map(|policy| wanted(reason.answer(), policy)));
    }
    match scheme {
        Scheme::Dpop => parameters.push(("algs", circumstances.algorithms.to_owned())),
        // RFC 6750 §3: a Bearer challenge has at least one parameter.
        Scheme::Bearer if error.is_none() => parameters.push(("realm", circumstances.realm.to_owned())),
        Scheme::Bearer => {}
    }
    // RFC 9728 §5.1: in every scheme.
    parameters.extend(circumstances.resource_metadata.iter().map(|url| ("resource_metadata", url.clone())));
    let mut text = String::from(scheme.as_str());
    for (index, (name, value)) in parameters.iter().enumerate() {
        text.push_str(if index == 0 { " " } else { ", " });
        text.push_str(name);
        text.push_str("=\"");
        text.extend(value.chars().filter(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~')));
        text.push('"');
    }
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verify::Accepted;

    fn ask(reason: Reason, scheme_used: Option<Scheme>, accepted: Accepted) -> Vec<String> {
        let policy = Policy { accepted, scopes: vec!["read".into()], ..Policy::default() };
        let circumstances = Circumstances {
            scheme_used,
            policy: Some(&policy),
            algorithms: "ES256",
            realm: "rs.example",
            id: None,
            nonce: None,
            resource_metadata: None,
            retry_after: None,
        };
        challenges(reason, &circumstances).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    const BOTH: Accepted = Accepted { dpop: true, mtls: true, unbound: false };
    const DPOP: Accepted = Accepted { dpop: true, mtls: false, unbound: false };

    #[test]
    fn the_catalogue() {
        use Reason::{
            CertificateMissing, CredentialsMissing, CredentialsMultiple, DpopTokenAsBearer, KeysUnavailable,
            ProofStale, ScopeMissing, TokenInQuery, TokenUnbound,
        };
        assert_eq!(ask(CredentialsMissing, None, BOTH), ["DPoP algs=\"ES256\"", "Bearer realm=\"rs.example\""]);
        assert_eq!(ask(CredentialsMissing, None, DPOP), ["DPoP algs=\"ES256\""]);
        let unbound = ask(TokenUnbound, Some(Scheme::Bearer), DPOP);
        assert!(unbound[0].starts_with("Bearer error=\"invalid_token\"") && unbound[1] == "DPoP algs=\"ES256\"");
        let downgrade = ask(DpopTokenAsBearer, Some(Scheme::Bearer), DPOP);
        assert!(downgrade[0].starts_with("Bearer error=\"invalid_token\""));
        assert!(downgrade[1].starts_with("DPoP error=\"invalid_token\"") && downgrade[1].contains("algs="));
        let stale = ask(ProofStale, Some(Scheme::Dpop), BOTH);
        assert!(stale.len() == 1 && stale[0].starts_with("DPoP error=\"invalid_dpop_proof\""));
        assert_eq!(ask(CredentialsMultiple, Some(Scheme::Dpop), DPOP).len(), 2);
        assert!(ask(TokenInQuery, None, DPOP)[0].starts_with("DPoP error=\"invalid_request\""));
        assert!(ask(ScopeMissing, Some(Scheme::Dpop), DPOP)[0].contains("scope=\"read\""));
        assert_eq!(ask(CertificateMissing, Some(Scheme::Bearer), BOTH).len(), 2);
        assert!(ask(KeysUnavailable, Some(Scheme::Dpop), BOTH).is_empty());
    }

    proptest! {
        /// Whatever a configuration or a host holds, each line is one challenge of quoted strings.
        #[test]
        fn no_value_breaks_out_of_its_quotes(realm in "\\PC{0,30}", scope in "\\PC{0,30}", index in 0..Reason::ALL.len()) {
            let policy = Policy { scopes: vec![scope.clone()], acr_values: vec![scope], ..Policy::default() };
            let circumstances = Circumstances {
                scheme_used: None, policy: Some(&policy), algorithms: "ES256", realm: &realm, id: None, nonce: None,
                resource_metadata: Some(realm.clone()),
                retry_after: None,
            };
            for line in challenges(Reason::ALL[index], &circumstances) {
                let text = line.to_str().unwrap();
                // Outside of quotes there is nothing but the scheme, names and commas.
                for outside in text.split('"').step_by(2) {
                    let name = outside.trim_start_matches("DPoP ").trim_start_matches("Bearer ").trim_start_matches(", ");
                    let name = name.trim_end_matches('=');
                    prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", text);
                }
                prop_assert!(!text.contains('\\') && text.ends_with('"'), "{}", text);
            }
        }
    }

    #[test]
    fn every_401_has_a_challenge_and_no_503_does() {
        for reason in Reason::ALL {
            for scheme in [None, Some(Scheme::Bearer), Some(Scheme::Dpop)] {
                let lines = ask(*reason, scheme, BOTH);
                match reason.answer().status() {
                    401 => assert!(!lines.is_empty(), "{}", reason.slug()),
                    404 | 413 | 421 | 429 | 431 | 500.. => assert!(lines.is_empty(), "{}", reason.slug()),
                    _ => {}
                }
                assert!(lines.iter().all(|line| line != "Bearer"));
            }
        }
    }
}
