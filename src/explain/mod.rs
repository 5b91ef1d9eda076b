//! Why a request passes or not, check by check: what an operator or a developer asks without sending it.
//!
//! Enters: the head of a request and what a gateway knows. Leaves: every check in the gateway's order, past the first that
//! fails, and a [`Verdict`]. Never: a decision about a request that is really there; nothing here can make a
//! [`crate::authorize::Authorized`]. What only a running gateway knows (spent proofs, limits, what an issuer says of an
//! opaque token) is not asked.
//!
//! The same of a request that was really there and was refused ([`retell`]): which checks it passed, which failed and
//! which were not reached follows from the reason and from how far it came, so that nothing of it need be kept.

mod retold;
mod show;

use std::sync::Arc;

use http::{HeaderMap, Method, Uri, Version};

use crate::refusal::{Reason, Refusal};
use crate::request::{
    ClientCertificate, Credentials, LastShown, ListenerScheme, PublicUrl, Seen, Target, lets_a_token_through,
};
use crate::routes::{self, Access, Policy, Route};
use crate::time::UnixTime;
use crate::verify::examine::{self, Checks, Demanded, Examined, KnownIssuer, Wanted};
use crate::verify::{IssuerRules, Keyset, ProofRules, TokenClaims, TokenHash, is_opaque, unknown_issuer};

pub use crate::verify::examine::{Check, Outcome, Part, Step};
pub use retold::retell;
pub use show::{Mood, json, lines};

const TARGET: Step = Step::of(Part::Request, "target", "RFC 9112 §3.2");
const ROUTE: Step = Step::of(Part::Request, "route", "configuration");
const CREDENTIALS: Step = Step::of(Part::Request, "credentials", "RFC 6750 §2");
const OPAQUE: Step = Step::of(Part::Token, "form", "RFC 7662 §2");
const ACCEPTED: Step = Step::of(Part::Token, "iss on this route", "configuration");
const PROOF: Step = Step::of(Part::Proof, "field", "RFC 9449 §4.3 (1)");
const SCOPE: Step = Step::of(Part::Policy, "scope", "RFC 6750 §3.1");
const AUTHENTICATION: Step = Step::of(Part::Policy, "acr", "RFC 9470 §4");
const AGE: Step = Step::of(Part::Policy, "auth_time", "RFC 9470 §4");

/// The request in question.
#[derive(Debug)]
pub struct Question<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The absolute URL that the client used.
    pub url: &'a Uri,
    /// Its `Authorization` and `DPoP` fields; others are not looked at.
    pub headers: &'a HeaderMap,
    /// The certificate of its connection.
    pub certificate: Option<&'a ClientCertificate>,
    /// When it is sent.
    pub now: UnixTime,
}

/// An issuer, and its keys if they are here.
#[derive(Debug)]
pub struct Issuer {
    /// What its tokens must look like.
    pub rules: IssuerRules,
    /// Its keys, or why they are not here.
    pub keys: Result<Keyset, &'static str>,
}

/// Whose tokens are accepted.
#[derive(Debug)]
pub enum Issuers {
    /// These.
    Configured(Vec<Issuer>),
    /// Whoever signs with one of these keys, for any audience, by the default rules: a look without a configuration.
    Anyone(Keyset),
}

/// What a gateway knows.
#[derive(Debug)]
pub struct Known<'a> {
    /// Whose tokens are accepted.
    pub issuers: Issuers,
    /// Those among them that are asked about opaque tokens.
    pub asked: Vec<String>,
    /// Which proofs are accepted.
    pub proofs: &'a ProofRules,
    /// The first that matches wins. Empty without a configuration: then the default policy stands for all.
    pub routes: &'a [Arc<Route>],
    /// Scheme and authority that clients see.
    pub public_url: Option<&'a PublicUrl>,
}

/// What would come of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, if its proof was not used before.
    Passes,
    /// Its route lets everybody pass.
    Public,
    /// It is refused for this, the first check that fails.
    Refused(Refusal),
    /// Nothing fails, but this could not be asked.
    Undecided(String),
}

/// Every check and the verdict.
#[derive(Debug)]
pub struct Explanation {
    /// In the gateway's order.
    pub checks: Vec<Check>,
    /// What they amount to.
    pub verdict: Verdict,
    /// The route's name, if the configuration has one for the request.
    pub route: Option<String>,
    /// Whether the route lets refused requests pass all the same.
    pub observes: bool,
}

/// Asks everything that can be asked.
pub fn explain(question: &Question<'_>, known: &Known<'_>) -> Explanation {
    let mut checks = Checks::default();
    let scheme = match question.url.scheme_str() {
        Some("http") => ListenerScheme::Http,
        _ => ListenerScheme::Https,
    };
    let seen = Seen::directly(scheme, known.public_url);
    // Without the fragment that no client sends; the authority is in the URL, as HTTP/2 has it.
    let target = Target::parse(question.method, question.url, Version::HTTP_2, &HeaderMap::new(), seen);
    let target = checks.ask(TARGET, target, |target| Some(target.external_url().to_owned()));
    let route = route(&mut checks, question.method, target.as_ref(), known.routes);
    let is_public = route.is_some_and(|route| matches!(route.access, Access::Public));
    if is_public {
        unseen_token(&mut checks, question);
    } else {
        let policy = route.and_then(|route| route.access.policy()).map(Arc::clone).unwrap_or_default();
        credentials(&mut checks, question, known, &policy, target.as_ref());
    }
    let checks = checks.into_vec();
    let verdict = match verdict(&checks) {
        Verdict::Passes if is_public => Verdict::Public,
        verdict => verdict,
    };
    let observes = route.is_some_and(|route| matches!(route.access, Access::Observe(_)));
    Explanation { checks, verdict, route: route.map(|route| route.name.clone()), observes }
}

fn verdict(checks: &[Check]) -> Verdict {
    let failed = checks.iter().find_map(|check| match &check.outcome {
        Outcome::Fails(refusal) => Some(Verdict::Refused(refusal.clone())),
        Outcome::Holds(_) | Outcome::Needless(_) | Outcome::Open(_) | Outcome::Unreached => None,
    });
    let open = || {
        checks.iter().find_map(|check| match &check.outcome {
            Outcome::Open(why) => Some(Verdict::Undecided(why.clone().into_owned())),
            Outcome::Holds(_) | Outcome::Needless(_) | Outcome::Fails(_) | Outcome::Unreached => None,
        })
    };
    failed.or_else(open).unwrap_or(Verdict::Passes)
}

fn route<'r>(
    checks: &mut Checks,
    method: &Method,
    target: Option<&Target>,
    routes: &'r [Arc<Route>],
) -> Option<&'r Arc<Route>> {
    if routes.is_empty() {
        checks.note(ROUTE, Outcome::Needless("no configuration says which there are".into()));
        return None;
    }
    let found = checks.ask_of(
        ROUTE,
        target,
        |target| routes::select(routes, method, target),
        |(_, route)| Some(route.name.clone()),
    );
    found.map(|(_, route)| route)
}

fn taken(question: &Question<'_>) -> Result<Credentials, Refusal> {
    Credentials::take(&mut question.headers.clone(), question.url.query(), &LastShown::default()).credentials
}

/// What a public route refuses all the same.
fn unseen_token(checks: &mut Checks, question: &Question<'_>) {
    if let Err(refusal) = taken(question)
        && lets_a_token_through(&refusal)
    {
        checks.ask(CREDENTIALS, Err::<(), _>(refusal), |()| None);
    }
}

fn credentials(
    checks: &mut Checks,
    question: &Question<'_>,
    known: &Known<'_>,
    policy: &Policy,
    target: Option<&Target>,
) {
    let taken =
        checks.ask(CREDENTIALS, taken(question), |taken| Some(format!("one token, as {}", taken.scheme().as_str())));
    let Some(credentials) = taken else { return };
    let text = credentials.token();
    let examined = token(checks, text, known, policy, question.now);
    let scheme = credentials.scheme();
    let demanded = examine::confirmation(checks, &examined, scheme, question.certificate, policy.accepted);
    match demanded {
        Demanded::NoProof => checks.note(PROOF, Outcome::Needless("the token names no proof key".into())),
        Demanded::ProofBy(key) => {
            let token_hash = &TokenHash::of(text);
            let external_url = target.map(Target::external_url);
            let wanted = Wanted { method: question.method.as_str(), external_url, token_hash, key };
            examine::proof(checks, credentials.proof(), &wanted, known.proofs, question.now);
        }
    }
    let claims = examined.claims.as_ref();
    checks.ask_of(SCOPE, claims, |claims| policy.check_scopes(claims), |()| Some(demanded_of(&policy.scopes)));
    checks.ask_of(
        AUTHENTICATION,
        claims,
        |claims| policy.check_authentication(claims),
        |()| Some(demanded_of(&policy.acr_values)),
    );
    checks.ask_of(
        AGE,
        claims,
        |claims| policy.check_authentication_age(claims, question.now),
        |()| {
            Some(
                policy
                    .max_auth_age
                    .map_or_else(|| "nothing demanded".to_owned(), |age| format!("within {} s", age.as_secs())),
            )
        },
    );
}

fn demanded_of(wanted: &[String]) -> String {
    if wanted.is_empty() { "nothing demanded".to_owned() } else { wanted.join(" ") }
}

fn token(checks: &mut Checks, text: &str, known: &Known<'_>, policy: &Policy, now: UnixTime) -> Examined {
    let is_accepted = |issuer: &&String| policy.issuers.is_empty() || policy.issuers.contains(issuer);
    if is_opaque(text) && known.asked.iter().filter(is_accepted).count() == 1 {
        checks.note(
            OPAQUE,
            Outcome::Open("the token is opaque: only its issuer can read it, and it is not asked here".into()),
        );
        return Examined::default();
    }
    // Without a configuration the issuer's own name is the right one.
    let mut own = None;
    let examined = match &known.issuers {
        Issuers::Configured(issuers) => examine::token(checks, text, |claimed| configured(issuers, claimed), now),
        Issuers::Anyone(keys) => {
            let room = &mut own;
            let by_default = |claimed: &str| IssuerRules::new(claimed, Vec::new());
            examine::token(
                checks,
                text,
                move |claimed| {
                    Ok(KnownIssuer { rules: room.insert(by_default(claimed)), keys: Ok(keys), has_audiences: false })
                },
                now,
            )
        }
    };
    let issuer = examined.claims.as_ref().map(TokenClaims::issuer);
    checks.ask_of(ACCEPTED, issuer, |issuer| policy.accept_issuer(issuer), |()| None);
    examined
}

fn configured<'i>(issuers: &'i [Issuer], claimed: &str) -> Result<KnownIssuer<'i>, Refusal> {
    let issuer = issuers.iter().find(|issuer| issuer.rules.issuer == claimed).ok_or_else(|| unknown_issuer(claimed))?;
    let keys = issuer.keys.as_ref().map_err(|why| *why);
    Ok(KnownIssuer { rules: &issuer.rules, keys, has_audiences: true })
}

impl Explanation {
    /// The reason of the refusal, if it is refused.
    pub const fn reason(&self) -> Option<Reason> {
        match &self.verdict {
            Verdict::Refused(refusal) => Some(refusal.reason()),
            Verdict::Passes | Verdict::Public | Verdict::Undecided(_) => None,
        }
    }
}
