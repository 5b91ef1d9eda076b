//! Whether an explanation agrees with the gateway. Asked of every request that a test sends through the ritual.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use keybound::clock::Clock as _;
use keybound::explain::{Check, Explanation, Issuer, Issuers, Known, Outcome, Question, Verdict, explain, retell};
use keybound::keys::read_jwks_file;
use keybound::refusal::Reason;
use keybound::request::{ClientCertificate, PublicUrl};
use keybound::routes::{Access, Route};
use keybound::verify::{IssuerRules, ProofRules};
use sha2::{Digest as _, Sha256};

use super::shot::Shot;
use super::wire::Answer;
use super::{HOST, NOW, Plan, ROUTE, World};

/// What a configuration says, and the key file that it names.
pub struct Explained {
    rules: IssuerRules,
    jwks_file: PathBuf,
    proofs: ProofRules,
    routes: Vec<Arc<Route>>,
    public_url: Option<PublicUrl>,
    client_certificates: bool,
}

impl Explained {
    /// `None`: something else decides as well, such as a proxy in front or an issuer that is asked.
    pub fn of(plan: &Plan, jwks_file: &Path) -> Option<Self> {
        let alone = plan.routes_before.is_empty()
            && plan.introspection.is_empty()
            && plan.more_issuers.is_empty()
            && plan.keys.is_none()
            && plan.front.trusted.is_empty()
            && plan.tls
            && plan.failures.is_none()
            // What was signed before a start of a moment ago is for the replay log to refuse.
            && plan.started < NOW - 100;
        alone.then(|| Self {
            rules: plan.issuer.clone(),
            jwks_file: jwks_file.to_owned(),
            proofs: plan.proofs.clone(),
            routes: vec![Arc::new(Route {
                name: ROUTE.to_owned(),
                matches: plan.matches.clone(),
                access: if plan.observe {
                    Access::Observe(Arc::new(plan.policy.clone()))
                } else {
                    Access::Enforce(Arc::new(plan.policy.clone()))
                },
                upstream: Some(0),
                forward: plan.forward.clone(),
                cors: None,
                metadata: plan.metadata.clone(),
            })],
            public_url: plan.public_url.map(|url| PublicUrl::parse(url).unwrap()),
            client_certificates: plan.client_certificates,
        })
    }
}

/// Reasons that depend on more than the request's own method, URL, token, proof and certificate.
fn is_beyond(reason: Reason) -> bool {
    use Reason::*;
    !matches!(
        reason,
        CredentialsMissing
            | CredentialsMultiple
            | TokenInQuery
            | CredentialsMalformed
            | TokenTooLarge
            | TokenMalformed
            | TokenType
            | TokenAlgorithm
            | TokenCritical
            | TokenIssuer
            | TokenKeyUnknown
            | TokenSignature
            | TokenAudience
            | TokenExpired
            | TokenNotYetValid
            | TokenClaims
            | TokenIssuerNotAccepted
            | ConfirmationMalformed
            | ConfirmationUnenforceable
            | TokenUnbound
            | BindingNotAccepted
            | DpopTokenAsBearer
            | TokenNotDpopBound
            | CertificateMissing
            | CertificateMismatch
            | ProofMissing
            | ProofMultiple
            | ProofTooLarge
            | ProofMalformed
            | ProofClaims
            | ProofType
            | ProofAlgorithm
            | ProofCritical
            | ProofKey
            | ProofKeyPrivate
            | ProofSignature
            | ProofMethod
            | ProofTarget
            | ProofNonceMissing
            | ProofNonce
            | ProofStale
            | ProofFuture
            | ProofTokenHash
            | ProofKeyMismatch
            | ScopeMissing
            | AuthenticationWeak
            | AuthenticationOld
            | TargetInvalid
            | NoRoute
    )
}

impl World {
    /// The explanation of a request, if it can have one: a request that no URL can stand for has none.
    pub fn explanation(&self, shot: &Shot) -> Option<Explanation> {
        let known = self.explained.as_ref()?;
        let message = shot.message();
        let method: Method = message.method.parse().ok()?;
        let target = message.target.split('#').next().unwrap();
        let host = message.host.as_deref().unwrap_or(HOST);
        let url: Uri = match target.strip_prefix('/') {
            Some(_) => format!("https://{host}{target}").parse().ok()?,
            None => target.parse().ok().filter(|url: &Uri| url.authority().is_some())?,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &message.headers {
            // Space around a value is no part of it (RFC 9110 §5.5).
            let value = HeaderValue::from_bytes(value.trim_ascii()).ok()?;
            headers.append(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
        }
        let schemes = [rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
        let certified = shot.dialer().tls.as_ref().and_then(|tls| tls.client_auth_cert_resolver.resolve(&[], &schemes));
        let certificate = certified
            .filter(|_| known.client_certificates)
            .map(|certified| ClientCertificate { thumbprint: Sha256::digest(&certified.cert[0]).into(), der: None });
        let question = Question {
            method: &method,
            url: &url,
            headers: &headers,
            certificate: certificate.as_ref(),
            now: self.clock.now(),
        };
        let keys = read_jwks_file(&known.jwks_file, &known.rules).ok()?.0;
        let known = Known {
            issuers: Issuers::Configured(vec![Issuer { rules: known.rules.clone(), keys: Ok(keys) }]),
            asked: Vec::new(),
            proofs: &known.proofs,
            routes: &known.routes,
            public_url: known.public_url.as_ref(),
        };
        Some(explain(&question, &known))
    }

    /// The first check that fails in an explanation is the reason of the refusal, and nothing fails where none was.
    pub fn explains(&self, refused: Option<Reason>, shot: &Shot) {
        if refused.is_some_and(is_beyond) {
            return;
        }
        let Some(explanation) = self.explanation(shot) else { return };
        let explained = explanation.reason();
        assert_eq!(explained, refused, "{} {:#?}", shot.what(), explanation.checks);
        if refused.is_none() {
            assert_eq!(explanation.verdict, Verdict::Passes, "{}", shot.what());
        }
        assert!(!shot.leaks_into(&format!("{explanation:?}")), "an explanation shows no token: {}", shot.what());
    }

    /// A refused request is remembered by its id, and what is told of it later is what an explanation shows: it failed
    /// no later, and whatever is said to have held did.
    pub fn remembers(&self, reason: Reason, answer: &Answer, shot: &Shot) {
        // What is no request has no id.
        let Some(id) = answer.header("x-request-id") else { return };
        let gateway = self.server.gateway();
        let remembered = gateway.refusals().find(id).expect("a refused request is remembered");
        assert_eq!(remembered.refusal.reason(), reason, "{}", shot.what());
        let told = retell(&remembered.refusal, remembered.progress);
        let fails = |check: &&Check| matches!(check.outcome, Outcome::Fails(_));
        let failed: Vec<_> = told.iter().filter(fails).collect();
        assert_eq!(failed.len(), 1, "{} {told:#?}", shot.what());
        assert!(!shot.leaks_into(&format!("{remembered:?} {told:?}")), "nothing secret is kept: {}", shot.what());
        let Some(explanation) = self.explanation(shot).filter(|_| !is_beyond(reason)) else { return };
        let place = |of: &Check| explanation.checks.iter().position(|check| check.step == of.step);
        let first = explanation.checks.iter().position(|check| fails(&check)).unwrap();
        assert!(place(failed[0]).is_some_and(|place| place <= first), "{} {told:#?}", shot.what());
        for held in told.iter().filter(|check| matches!(check.outcome, Outcome::Holds(_))) {
            let Some(there) = place(held) else { continue };
            let shown = &explanation.checks[there].outcome;
            assert!(matches!(shown, Outcome::Holds(_)), "{held:?} is shown as {shown:?}: {}", shot.what());
        }
    }
}
