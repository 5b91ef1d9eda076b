//! Whether what stands in front of the gateway passes on what the configuration counts on, as far as a stranger can tell:
//! by requests without good credentials, and by which of them the gateway refuses for what.

use std::path::PathBuf;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Uri};
use keybound::clock::{Clock as _, SystemClock};
use keybound::prover::{ProofKey, ProofRequest};
use keybound::request::{CertificateField, ForwardedFields};
use keybound::verify::{Algorithm, base64url};
use rustls::ClientConfig;

use self::asking::{Answer, Asker, Field};
use self::counting::Counter;
pub use self::known::Known;
use self::known::{Listener, Protected};
use super::Circumstances;
use super::finding::{Finding, Subject};
use super::names::bare;
use super::tls;
use crate::cli::address::Address;
use crate::cli::request::{Challenge, Trust};

mod asking;
mod counting;
mod known;

const HERE: Subject = Subject::Front;

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// A host that is nobody's (RFC 2606).
const FORGED: &str = "forged.example";

/// The front door, as clients know it.
pub struct Front {
    address: Address,
    tls: ClientConfig,
}

impl Front {
    /// # Errors
    /// The authorities cannot be read.
    pub fn new(address: Address, authorities: Option<PathBuf>) -> anyhow::Result<Self> {
        // Without TLS the system's authorities are not asked for.
        let insecure = !address.is_https();
        let tls = Trust { authorities, insecure, identity: None }.client_config()?;
        Ok(Self { address, tls })
    }

    /// Where it is.
    pub fn uri(&self) -> &Uri {
        self.address.uri()
    }

    /// Scheme and authority, without a default port.
    fn origin(&self) -> String {
        let url = self.address.htu();
        let end = url.match_indices('/').nth(2).map_or(url.len(), |(at, _)| at);
        url.get(..end).unwrap_or_default().to_owned()
    }

    fn host(&self) -> String {
        self.uri().host().unwrap_or_default().to_ascii_lowercase()
    }

    /// What there is to say about it.
    pub async fn check(&self, known: &Known, circumstances: &Circumstances) -> Vec<Finding> {
        let origin = self.origin();
        if let Some(lost) = circumstances.lost(self.uri()) {
            return vec![HERE.skip(origin, lost)];
        }
        let mut findings = Vec::new();
        if !tls::reaches_with(HERE, self.uri(), self.tls.clone(), circumstances, &mut findings).await {
            return findings;
        }
        let Some(listener) = known.listener(&origin).filter(|listener| listener.passes_on()) else {
            findings.push(HERE.skip(origin, "not looked at: the gateway only decides, and the proxy forwards"));
            return findings;
        };
        if let Some(public) = listener.origin.as_ref().filter(|public| **public != origin) {
            let advice = "write `public_url` as clients write the URL: proofs are for that one";
            findings.push(HERE.fail("public_url", &origin, public, advice));
        }
        let Some(protected) = known.protected(&self.host(), self.uri().path()) else {
            let why = "not looked at: no route that enforces covers this URL; name one that a route covers";
            findings.push(HERE.skip(self.address.htu(), why));
            return findings;
        };
        let asker = Asker::new(&self.address, protected.method.clone(), self.tls.clone(), circumstances.patience);
        if self.answers(&asker, known, listener, &protected, &mut findings).await {
            findings.push(self.passes_authorization(&asker, &protected).await);
            findings.push(passes_path(&asker, &protected).await);
            let counter = Counter::find(&asker, &protected.path, known.headers).await;
            findings.push(self.passes_dpop(&asker, &protected, counter.as_ref()).await);
            if let Some(field) = &listener.certificate {
                findings.push(hides_certificate(&asker, &protected, field, counter.as_ref()).await);
            }
            findings.extend(says_who_asks(&asker, &protected, listener.forwarded).await);
        }
        findings
    }

    /// Whether Keybound answers a stranger, with all that clients need to see.
    async fn answers(
        &self,
        asker: &Asker,
        known: &Known,
        listener: &Listener,
        protected: &Protected,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let what = format!("{}{}", self.origin(), protected.path);
        let answer = match asker.ask(&protected.path, &[]).await {
            Ok(answer) if answer.is_refusal() => answer,
            other => {
                let advice = "let the front pass all of this path on to the gateway, as docs/proxies.md shows";
                let found = other.map_or_else(|error| error, |answer| answer.described());
                findings.push(HERE.fail(what, "status 401 of Keybound", found, advice));
                return false;
            }
        };
        findings.push(HERE.ok(&what, "Keybound answers"));
        let challenges = Challenge::all(&answer.headers);
        let accepted = protected.policy.accepted;
        let wants = [(accepted.dpop, "DPoP"), (accepted.mtls || accepted.unbound, "Bearer")];
        let missing = wants.iter().find(|(wanted, scheme)| *wanted && !challenges.iter().any(|one| one.is(scheme)));
        findings.push(match missing {
            None => HERE.ok("WWW-Authenticate", "comes back with every challenge"),
            Some((_, scheme)) => {
                let lines = answer.headers.get_all(WWW_AUTHENTICATE).iter().count();
                let advice = "let every line of the field through: clients find in it what to do";
                HERE.fail("WWW-Authenticate", format!("a {scheme} challenge"), format!("{lines} lines without"), advice)
            }
        });
        if known.nonces {
            findings.push(if answer.headers.contains_key("dpop-nonce") {
                HERE.ok("DPoP-Nonce", "comes back")
            } else {
                let advice = "let the field of answers through: without it clients cannot make a proof";
                HERE.fail("DPoP-Nonce", "a nonce", "none", advice)
            });
        }
        findings.extend(realm(&answer).map(|found| self.passes_host(&found, listener)));
        true
    }

    fn passes_host(&self, found: &str, listener: &Listener) -> Finding {
        let host = self.host();
        let advice = "let the front pass on the Host that clients send (nginx: proxy_set_header Host $http_host)";
        if bare(found) == bare(&host) {
            return HERE.ok("Host", "arrives as clients send it");
        }
        match listener.origin {
            // Proofs are for that one, whatever arrives.
            Some(_) => HERE.warn("Host", format!("{found} arrives, and clients send {host}"), advice),
            None => HERE.fail("Host", host, found, advice),
        }
    }

    async fn passes_authorization(&self, asker: &Asker, protected: &Protected) -> Finding {
        let fields =
            [(AUTHORIZATION, HeaderValue::try_from(format!("DPoP {}", token())).ok()), (DPOP, self.proof(protected))];
        let fields: Vec<Field> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        match asker.ask(&protected.path, &fields).await {
            Ok(answer) if answer.is_refusal() && answer.error.is_some() => HERE.ok("Authorization", "arrives"),
            Ok(answer) if answer.is_keybounds && matches!(answer.status, 429 | 503) => {
                HERE.skip("Authorization", format!("cannot be told: {}", answer.described()))
            }
            Ok(answer) if answer.is_refusal() => {
                let advice = "let the front pass the field on as it is";
                HERE.fail("Authorization", "a token that is refused", "no token arrives", advice)
            }
            other => {
                let found = other.map_or_else(|error| error, |answer| answer.described());
                let advice = "let the front pass the field on as it is, and not look into it";
                HERE.fail("Authorization", "status 401 of Keybound", found, advice)
            }
        }
    }

    async fn passes_dpop(&self, asker: &Asker, protected: &Protected, counter: Option<&Counter>) -> Finding {
        let arrives = match (counter, self.proof(protected)) {
            (Some(counter), Some(proof)) => counter.arrives(asker, &protected.path, (DPOP, proof)).await,
            _ => None,
        };
        match arrives {
            Some(true) => HERE.ok("DPoP", "arrives"),
            Some(false) => {
                let advice = "let the front pass the field on as it is: without it no proof arrives";
                HERE.fail("DPoP", "the proof that was sent", "none arrives", advice)
            }
            None => HERE.skip("DPoP", "cannot be told from outside; `keybound request` with a token tells"),
        }
    }

    /// By a key that nobody knows.
    fn proof(&self, protected: &Protected) -> Option<HeaderValue> {
        let url = format!("{}{}", self.origin(), protected.path);
        let request = ProofRequest {
            method: protected.method.as_str(),
            url: &url,
            token: Some(&token()),
            nonce: None,
            issued_at: SystemClock.now(),
            jti: None,
        };
        let proof = ProofKey::generate(Algorithm::Es256).and_then(|key| key.prove(&request)).ok()?;
        HeaderValue::try_from(proof).ok()
    }
}

/// In the form of a JWT, so that no issuer is asked about it, and of no issuer.
fn token() -> String {
    let parts: [&[u8]; 3] = [br#"{"alg":"ES256","typ":"at+jwt"}"#, br#"{"iss":"urn:keybound:doctor"}"#, &[0; 64]];
    parts.map(base64url::encode).join(".")
}

/// The host that the gateway was asked for, where a challenge tells.
fn realm(answer: &Answer) -> Option<String> {
    let challenges = Challenge::all(&answer.headers);
    let realm = challenges.iter().find(|challenge| challenge.is("Bearer"))?.parameter("realm")?;
    Some(keybound::refusal::shown(realm))
}

/// The gateway refuses an encoded slash. Whoever decodes it on the way also changes paths that proofs are for.
async fn passes_path(asker: &Asker, protected: &Protected) -> Finding {
    let path = format!("{}/doctor%2Fa", protected.path.trim_end_matches('/'));
    match asker.ask(&path, &[]).await {
        Ok(answer) if answer.is_keybounds && answer.status == 400 => HERE.ok("path", "arrives unchanged"),
        Ok(answer) if answer.is_keybounds => {
            let advice = "let the front pass the path on byte for byte (nginx: proxy_pass without a path of its own)";
            HERE.fail("path", "status 400 for an encoded slash", answer.described(), advice)
        }
        Ok(answer) if answer.status >= 400 => {
            HERE.ok("path", format!("the front refuses an encoded slash itself: {}", answer.described()))
        }
        other => {
            let found = other.map_or_else(|error| error, |answer| answer.described());
            HERE.warn("path", format!("an encoded slash is answered with {found}"), "see where such paths go")
        }
    }
}

/// A field that makes no sense is refused if the gateway believes its writer.
async fn hides_certificate(
    asker: &Asker,
    protected: &Protected,
    field: &CertificateField,
    counter: Option<&Counter>,
) -> Finding {
    let name = field.name();
    let what = format!("{name} of a client");
    let forged = (name, HeaderValue::from_static("forged"));
    let answer = match asker.ask(&protected.path, std::slice::from_ref(&forged)).await {
        Ok(answer) => answer,
        Err(error) => return HERE.skip(what, format!("cannot be told: {error}")),
    };
    let arrives = match counter {
        Some(counter) => counter.arrives(asker, &protected.path, forged).await,
        None => None,
    };
    if (answer.is_keybounds && answer.status == 400) || arrives == Some(true) {
        let advice =
            "let the front remove or replace the field on every request: who forges it has anybody's certificate";
        return HERE.fail(what, "dropped on the way", "it arrives", advice);
    }
    if answer.is_refusal() {
        return HERE.ok(what, "does not arrive");
    }
    HERE.skip(what, format!("cannot be told: {}", answer.described()))
}

/// Whether a client can say for itself which host it asked for, or by which scheme.
async fn says_who_asks(asker: &Asker, protected: &Protected, forwarded: ForwardedFields) -> Option<Finding> {
    let host = HeaderValue::from_static(FORGED);
    let (what, fields): (&str, Vec<Field>) = match forwarded {
        ForwardedFields::Off => return None,
        ForwardedFields::XForwarded => (
            "X-Forwarded-Host and -Proto of a client",
            vec![
                (HeaderName::from_static("x-forwarded-host"), host),
                (HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("forged")),
            ],
        ),
        ForwardedFields::Rfc7239 => {
            let hop = HeaderValue::from_static("for=192.0.2.1;proto=https;host=forged.example");
            ("Forwarded of a client", vec![(HeaderName::from_static("forwarded"), hop)])
        }
    };
    Some(match asker.ask(&protected.path, &fields).await {
        Ok(answer) if answer.is_refusal() && realm(&answer).as_deref() != Some(FORGED) => HERE.ok(what, "not believed"),
        Ok(answer) if answer.is_keybounds => {
            let advice = "let the front write these fields itself, and none of a client's";
            HERE.fail(what, "dropped or replaced on the way", "it arrives", advice)
        }
        Ok(answer) => HERE.skip(what, format!("cannot be told: {}", answer.described())),
        Err(error) => HERE.skip(what, format!("cannot be told: {error}")),
    })
}
