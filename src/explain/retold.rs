//! What a request that was refused passed on its way, and what it did not come to.
//!
//! The gateway stops at the first check that fails, so the reason says nearly all. A reason that can be found in two
//! places is told in the first of them that the request had not left behind: no check is said to have held that may not
//! have been asked.

use super::{ACCEPTED, AGE, AUTHENTICATION, CREDENTIALS, OPAQUE, ROUTE, SCOPE, TARGET};
use super::{Check, Outcome, Part, Step};
use crate::refusal::{Names, Progress, Reason, Refusal};
use crate::verify::examine::{proof, token};

const HOP: Step = Step::of(Part::Request, "proxy in front", "RFC 7239");
const CONNECTION: Step = Step::of(Part::Request, "Connection", "RFC 9110 §7.6.1");
const SIZE: Step = Step::of(Part::Request, "header section", "configuration");
const FAILURES: Step = Step::of(Part::Request, "earlier failures", "configuration");
const KEYS: Step = Step::of(Part::Token, "keys of the issuer", "RFC 7517");
const ACTIVE: Step = Step::of(Part::Token, "active", "RFC 7662 §2.2");
const FAILURES_OF_KEY: Step = Step::of(Part::Token, "failures of its key", "configuration");
const CALLER: Step = Step::of(Part::Limits, "rate and number", "configuration");
const BODY: Step = Step::of(Part::Upstream, "size of the body", "configuration");
const IDENTITY: Step = Step::of(Part::Upstream, "signed identity", "configuration");
const ANSWER: Step = Step::of(Part::Upstream, "answer", "RFC 9110 §15.6");

/// How far a request has come for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Head,
    Read,
    Verified,
    Proven,
}

/// Which requests are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    All,
    /// Those that somebody's token must let pass.
    Presented,
    Jwt,
    Opaque,
    Certificate,
    Proof,
}

struct Rung {
    step: Step,
    stage: Stage,
    of: Of,
    /// What its failure is called.
    reasons: &'static [Reason],
    /// Whether its failure tells what was found, where that tells it from another check's of the same name.
    tells_found: Option<bool>,
}

impl Rung {
    const fn telling(self, found: bool) -> Self {
        Self { tells_found: Some(found), ..self }
    }
}

const fn rung(step: Step, stage: Stage, of: Of, reasons: &'static [Reason]) -> Rung {
    Rung { step, stage, of, reasons, tells_found: None }
}

/// Every check, in the order of a request's way. Where an explanation of a request that was not sent has the same one, it
/// has the same name.
static LADDER: [Rung; 52] = {
    use Of::{All, Certificate, Jwt, Opaque, Presented, Proof};
    use Reason as R;
    use Stage::{Head, Proven, Read, Verified};
    [
        // Refused before it was a request: nobody gave it a name, so nobody asks.
        rung(Step::of(Part::Request, "message", "RFC 9112"), Head, All, &[R::MessageMalformed]),
        rung(HOP, Head, All, &[R::HopMalformed, R::HopUntrusted]),
        rung(TARGET, Head, All, &[R::TargetInvalid, R::HostInvalid, R::MethodNotServed, R::AuthorityMisdirected]),
        rung(CONNECTION, Head, All, &[R::ConnectionNominates]),
        rung(SIZE, Read, All, &[R::HeaderTooLarge]),
        rung(ROUTE, Read, All, &[R::NoRoute, R::TargetInvalid, R::MethodNotServed]),
        rung(
            CREDENTIALS,
            Read,
            Presented,
            &[R::CredentialsMissing, R::CredentialsMultiple, R::TokenInQuery, R::CredentialsMalformed],
        ),
        rung(FAILURES, Read, Presented, &[R::LimitFailures]),
        rung(OPAQUE, Read, Opaque, &[]),
        rung(ACTIVE, Read, Opaque, &[R::TokenInactive, R::IntrospectionUnavailable]),
        rung(token::FORM, Read, Jwt, &[R::TokenTooLarge, R::TokenMalformed]),
        rung(token::CRITICAL, Read, Jwt, &[R::TokenCritical]),
        rung(token::ALGORITHM, Read, Jwt, &[R::TokenAlgorithm]).telling(false),
        rung(token::PAYLOAD, Read, Jwt, &[]),
        rung(token::ISSUER, Read, Presented, &[R::TokenIssuer]),
        rung(KEYS, Read, Jwt, &[R::KeysUnavailable]),
        rung(token::TYPE, Read, Jwt, &[R::TokenType]),
        rung(token::ALLOWED, Read, Jwt, &[R::TokenAlgorithm]),
        rung(token::SIGNATURE, Read, Jwt, &[R::TokenKeyUnknown, R::TokenSignature]),
        rung(token::CLAIMS, Read, Presented, &[R::TokenClaims, R::TokenAudience]).telling(false),
        rung(token::AUDIENCE, Read, Presented, &[R::TokenAudience]),
        rung(token::EXPIRY, Read, Presented, &[R::TokenExpired]),
        rung(token::BEGINNING, Read, Presented, &[R::TokenNotYetValid]),
        rung(ACCEPTED, Read, Presented, &[R::TokenIssuerNotAccepted]),
        rung(FAILURES_OF_KEY, Verified, Presented, &[R::LimitFailures]),
        rung(token::CONFIRMATION, Verified, Presented, &[R::ConfirmationMalformed, R::ConfirmationUnenforceable]),
        rung(
            token::DEMAND,
            Verified,
            Presented,
            &[R::TokenUnbound, R::BindingNotAccepted, R::DpopTokenAsBearer, R::TokenNotDpopBound],
        ),
        rung(token::CERTIFICATE, Verified, Certificate, &[R::CertificateMissing, R::CertificateMismatch]),
        rung(proof::FIELD, Verified, Proof, &[R::ProofMissing, R::ProofMultiple, R::ProofTooLarge]),
        rung(proof::FORM, Verified, Proof, &[R::ProofMalformed]),
        rung(proof::TYPE, Verified, Proof, &[R::ProofType]),
        rung(proof::CRITICAL, Verified, Proof, &[R::ProofCritical]),
        rung(proof::ALGORITHM, Verified, Proof, &[R::ProofAlgorithm]).telling(false),
        rung(proof::KEY, Verified, Proof, &[R::ProofKey, R::ProofKeyPrivate]),
        rung(proof::ALLOWED, Verified, Proof, &[R::ProofAlgorithm]),
        rung(proof::PAYLOAD, Verified, Proof, &[]),
        rung(proof::CLAIMS, Verified, Proof, &[R::ProofClaims]),
        rung(proof::METHOD, Verified, Proof, &[R::ProofMethod]),
        rung(proof::TARGET, Verified, Proof, &[R::ProofTarget]),
        rung(proof::TOKEN, Verified, Proof, &[R::ProofTokenHash]),
        rung(proof::BOUND, Verified, Proof, &[R::ProofKeyMismatch]),
        rung(proof::TIME, Verified, Proof, &[R::ProofStale, R::ProofFuture]),
        rung(proof::SIGNATURE, Verified, Proof, &[R::ProofSignature]),
        rung(proof::NONCE, Verified, Proof, &[R::ProofNonceMissing, R::ProofNonce]),
        rung(CALLER, Proven, Presented, &[R::LimitRate, R::LimitConcurrent, R::LimitFull]),
        rung(
            proof::REPLAY,
            Proven,
            Proof,
            &[
                R::ProofReplayed,
                R::ProofBeforeStart,
                R::ProofStale,
                R::ProofFuture,
                R::ProofNonce,
                R::ReplayFull,
                R::ReplayKeyQuota,
                R::ReplayUnavailable,
            ],
        ),
        rung(SCOPE, Proven, Presented, &[R::ScopeMissing]),
        rung(AUTHENTICATION, Proven, Presented, &[R::AuthenticationWeak]),
        rung(AGE, Proven, Presented, &[R::AuthenticationOld]),
        rung(BODY, Proven, All, &[R::BodyTooLarge]),
        rung(IDENTITY, Proven, All, &[R::IdentityUnavailable]),
        rung(
            ANSWER,
            Proven,
            All,
            &[
                R::UpstreamUnreachable,
                R::UpstreamBusy,
                R::UpstreamProtocol,
                R::UpstreamTimeout,
                R::ClientGone,
                R::ClientSlow,
            ],
        ),
    ]
};

/// Every check of a request that was refused, in the gateway's order. Shows no token, proof or key.
pub fn retell(refusal: &Refusal, progress: Progress) -> Vec<Check> {
    let reason = refusal.reason();
    let stage = match progress {
        Progress { proven: true, .. } => Stage::Proven,
        Progress { names: Some(_), .. } => Stage::Verified,
        Progress { read: true, .. } => Stage::Read,
        Progress { .. } => Stage::Head,
    };
    let fails = |rung: &Rung| rung.reasons.contains(&reason);
    let found = refusal.what_was_found().is_some();
    let is_told = |rung: &Rung| rung.tells_found.is_none_or(|told| told == found);
    let failed = LADDER.iter().position(|rung| rung.stage >= stage && fails(rung) && is_told(rung));
    // Whatever was said of its sender: a reason is told, wherever it was found.
    let failed = failed.or_else(|| LADDER.iter().position(fails)).unwrap_or(LADDER.len());
    let at = LADDER.get(failed);
    // Who was let through without a proof, and was refused all the same.
    let passed_unproven = !progress.proven && at.is_some_and(|rung| rung.of == Of::All && rung.stage == Stage::Proven);
    let way = Way { progress, passed_unproven, failed: at.map(|rung| rung.step) };
    let told = LADDER.iter().enumerate().filter(|(index, rung)| *index == failed || way.comes_to(rung));
    told.map(|(index, rung)| {
        let outcome = match index.cmp(&failed) {
            std::cmp::Ordering::Equal => Outcome::Fails(refusal.without_long_words()),
            order => match way.needless(rung) {
                Some(why) => Outcome::Needless(why.into()),
                None if order.is_lt() => Outcome::Holds(None),
                None => Outcome::Unreached,
            },
        };
        Check { step: rung.step, outcome }
    })
    .collect()
}

/// What is known of a request's way.
struct Way {
    progress: Progress,
    passed_unproven: bool,
    failed: Option<Step>,
}

impl Way {
    /// Whether a check is one of this kind of request at all.
    fn comes_to(&self, rung: &Rung) -> bool {
        match rung.of {
            Of::Opaque => self.progress.opaque,
            Of::Jwt => !self.progress.opaque,
            Of::All => !rung.reasons.contains(&Reason::MessageMalformed),
            Of::Presented | Of::Certificate | Of::Proof => true,
        }
    }

    fn needless(&self, rung: &Rung) -> Option<&'static str> {
        if self.passed_unproven && rung.of != Of::All {
            return Some("the route is public, or observes");
        }
        match (rung.of, self.progress.names) {
            (Of::Certificate, Some(Names { certificate: false, .. })) => Some("the token names no certificate"),
            (Of::Proof, Some(Names { key: false, .. })) => Some("the token names no proof key"),
            (Of::Proof, _) if rung.step == proof::TIME => match self.failed {
                Some(proof::NONCE) => Some("another nonce comes first, and with it another iat"),
                Some(proof::SIGNATURE) => Some("nobody vouches for it, and another nonce may come first"),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Progress =
        Progress { read: true, opaque: false, names: Some(Names { key: true, certificate: false }), proven: false };

    fn outcomes(reason: Reason, progress: Progress) -> Vec<(&'static str, &'static str, char)> {
        let mark = |outcome: &Outcome| match outcome {
            Outcome::Holds(_) => '+',
            Outcome::Fails(_) => '!',
            Outcome::Needless(_) => '0',
            Outcome::Open(_) => '?',
            Outcome::Unreached => '.',
        };
        let told = retell(&reason.into(), progress).into_iter();
        told.map(|check| (check.step.part.as_str(), check.step.what, mark(&check.outcome))).collect()
    }

    fn marks(reason: Reason, progress: Progress) -> String {
        outcomes(reason, progress).into_iter().map(|(_, _, mark)| mark).collect()
    }

    #[test]
    fn every_reason_is_the_failure_of_one_check() {
        for reason in Reason::ALL {
            for proven in [false, true] {
                for names in [None, HELD.names, Some(Names { key: false, certificate: true })] {
                    for bits in 0..4 {
                        let progress = Progress { read: bits & 1 > 0, opaque: bits & 2 > 0, names, proven };
                        let told = retell(&(*reason).into(), progress);
                        let failed =
                            |check: &Check| matches!(&check.outcome, Outcome::Fails(why) if why.reason() == *reason);
                        assert_eq!(told.iter().filter(|check| failed(check)).count(), 1, "{reason:?} {progress:?}");
                        let at = told.iter().position(failed).unwrap();
                        let held = told[at..].iter().any(|check| matches!(check.outcome, Outcome::Holds(_)));
                        let missed = told[..at].iter().any(|check| check.outcome == Outcome::Unreached);
                        assert!(!held && !missed, "{reason:?} {progress:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_comes_before_a_failure_held_and_what_comes_after_was_not_reached() {
        let told = marks(Reason::ProofMethod, HELD);
        let (before, after) = told.split_once('!').unwrap();
        assert_eq!(before, format!("{}0{}", "+".repeat(24), "+".repeat(9)), "one certificate that nobody wants");
        assert_eq!(after, ".".repeat(14));
        assert_eq!(marks(Reason::HopUntrusted, Progress::default()), format!("!{}", ".".repeat(48)));
    }

    #[test]
    fn a_reason_with_two_places_is_told_in_the_one_that_is_left() {
        let failed = |reason, progress| {
            outcomes(reason, progress).into_iter().find(|(.., mark)| *mark == '!').map(|(part, what, _)| (part, what))
        };
        let proven = Progress { proven: true, ..HELD };
        let read = Progress { read: true, ..Progress::default() };
        assert_eq!(failed(Reason::TargetInvalid, Progress::default()), Some(("request", "target")));
        assert_eq!(failed(Reason::TargetInvalid, read), Some(("request", "route")));
        assert_eq!(failed(Reason::LimitFailures, read), Some(("request", "earlier failures")));
        assert_eq!(failed(Reason::LimitFailures, HELD), Some(("token", "failures of its key")));
        assert_eq!(failed(Reason::ProofStale, HELD), Some(("proof", "iat")));
        assert_eq!(failed(Reason::ProofStale, proven), Some(("proof", "used before")));
        for (found, what) in [(None, "claims"), (Some("https://other.example"), "aud")] {
            let refusal = Refusal::new(Reason::TokenAudience);
            let refusal = found.map_or(refusal.clone(), |found| refusal.found(found));
            let told = retell(&refusal, read);
            let failed = told.iter().find(|check| matches!(check.outcome, Outcome::Fails(_)));
            assert_eq!(failed.map(|check| check.step.what), Some(what));
        }
    }

    #[test]
    fn what_nobody_asks_is_needless() {
        let mtls = Progress { names: Some(Names { key: false, certificate: true }), proven: true, ..HELD };
        let told = outcomes(Reason::ScopeMissing, mtls);
        assert!(told.iter().all(|(part, _, mark)| (*part == "proof") == (*mark == '0')), "{told:?}");
        let open = outcomes(Reason::UpstreamUnreachable, Progress { read: true, ..Progress::default() });
        let asked: Vec<_> = open.iter().filter(|(.., mark)| *mark == '+').map(|(_, what, _)| *what).collect();
        let all = [
            "proxy in front",
            "target",
            "Connection",
            "header section",
            "route",
            "size of the body",
            "signed identity",
        ];
        assert_eq!(asked, all);
        let nonce = outcomes(Reason::ProofNonce, HELD);
        assert!(nonce.contains(&("proof", "iat", '0')) && nonce.contains(&("proof", "signature", '+')), "{nonce:?}");
    }

    #[test]
    fn an_opaque_token_has_no_signature() {
        let opaque = Progress { read: true, opaque: true, ..Progress::default() };
        let told = outcomes(Reason::TokenInactive, opaque);
        assert!(
            told.contains(&("token", "active", '!'))
                && !told.iter().any(|(part, what, _)| (*part, *what) == ("token", "signature"))
        );
        let jwt = outcomes(Reason::TokenExpired, Progress { read: true, ..Progress::default() });
        assert!(jwt.contains(&("token", "signature", '+')) && !jwt.iter().any(|(_, what, _)| *what == "active"));
    }
}
