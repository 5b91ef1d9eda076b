//! The access token, step by step (RFC 9068 §4, RFC 8725), and what it is bound to.

use super::{Checks, Outcome, Part, Step, silent};
use crate::refusal::{Refusal, shown};
use crate::request::{ClientCertificate, Scheme};
use crate::time::UnixTime;
use crate::verify::access_token::{check_algorithm, check_issuer, check_length, check_type, claimed_issuer};
use crate::verify::algorithm::Algorithm;
use crate::verify::binding::{Accepted, Demand, check_certificate};
use crate::verify::confirmation::Confirmation;
use crate::verify::dpop::Unremembered;
use crate::verify::json::Json;
use crate::verify::jwk::{Keyset, Thumbprint};
use crate::verify::jws::Compact;
use crate::verify::rules::IssuerRules;
use crate::verify::signed;
use crate::verify::token_claims::{Form, TokenClaims};

pub const FORM: Step = Step::of(Part::Token, "form", "RFC 7515 §7.1");
pub const CRITICAL: Step = Step::of(Part::Token, "crit", "RFC 7515 §4.1.11");
pub const ALGORITHM: Step = Step::of(Part::Token, "alg", "RFC 8725 §3.1");
pub const PAYLOAD: Step = Step::of(Part::Token, "payload", "RFC 7519 §7.2");
pub const ISSUER: Step = Step::of(Part::Token, "iss", "RFC 9068 §4");
pub const TYPE: Step = Step::of(Part::Token, "typ", "RFC 9068 §4");
pub const ALLOWED: Step = Step::of(Part::Token, "alg of the issuer", "RFC 8725 §3.1");
pub const SIGNATURE: Step = Step::of(Part::Token, "signature", "RFC 9068 §4");
pub const CLAIMS: Step = Step::of(Part::Token, "claims", "RFC 9068 §2.2");
pub const AUDIENCE: Step = Step::of(Part::Token, "aud", "RFC 9068 §4");
pub const EXPIRY: Step = Step::of(Part::Token, "exp", "RFC 9068 §4");
pub const BEGINNING: Step = Step::of(Part::Token, "nbf and iat", "RFC 7519 §4.1.5");
pub const CONFIRMATION: Step = Step::of(Part::Binding, "cnf", "RFC 7800 §3.1");
pub const DEMAND: Step = Step::of(Part::Binding, "scheme and kind", "RFC 9449 §7.2");
pub const CERTIFICATE: Step = Step::of(Part::Binding, "certificate", "RFC 8705 §3");

/// What is known of the issuer that a token claims.
pub struct KnownIssuer<'a> {
    /// What its tokens must look like.
    pub rules: &'a IssuerRules,
    /// Its keys, or why they are not here.
    pub keys: Result<&'a Keyset, &'static str>,
    /// Whether it is known which audiences are accepted.
    pub has_audiences: bool,
}

/// What could be read of a token. Nobody vouches for it.
#[derive(Default)]
pub struct Examined {
    json: Option<Json>,
    /// What it says, if all of it is of the right types.
    pub claims: Option<TokenClaims>,
}

/// Asks everything about a token but its binding. `known` tells about the issuer that it claims.
pub fn token<'k>(
    checks: &mut Checks,
    text: &str,
    known: impl FnOnce(&str) -> Result<KnownIssuer<'k>, Refusal>,
    now: UnixTime,
) -> Examined {
    let form = check_length(text).and_then(|()| signed::split(text));
    let form = form.and_then(|jws| Ok((signed::read_header(&jws)?, jws)));
    let form = checks.ask(FORM, form, |_| Some("a signed JWT".to_owned()));
    let (header, jws) = form.as_ref().map(|(header, jws)| (header, jws)).unzip();
    checks.ask_of(CRITICAL, header, signed::check_extensions, silent);
    let algorithm = checks.ask_of(ALGORITHM, header, signed::read_algorithm, |found| Some(found.to_string()));
    let json = checks.ask_of(PAYLOAD, jws, signed::read_claims, silent);
    let known =
        checks.ask_of(ISSUER, json.as_ref(), |json| named(json, known), |known| Some(shown(&known.rules.issuer)));
    let Some(known) = known else {
        for step in [TYPE, ALLOWED, SIGNATURE, CLAIMS, AUDIENCE, EXPIRY, BEGINNING] {
            checks.note(step, Outcome::Needless("no issuer that is known says what is right".into()));
        }
        return Examined { json, claims: None };
    };
    let rules = known.rules;
    checks.ask_of(TYPE, header, |header| check_type(header, rules), |()| text_of(header, "typ"));
    checks.ask_of(ALLOWED, algorithm, |algorithm| check_algorithm(algorithm, rules), silent);
    signature(checks, jws, header, algorithm, known.keys);
    let claims = json.clone();
    let claims = checks.ask_of(CLAIMS, claims, |claims| TokenClaims::read(claims, Form::Jwt, rules), silent);
    moment(checks, claims.as_ref(), &known, now);
    Examined { json, claims }
}

fn named<'k>(
    json: &Json,
    known: impl FnOnce(&str) -> Result<KnownIssuer<'k>, Refusal>,
) -> Result<KnownIssuer<'k>, Refusal> {
    let claimed = claimed_issuer(json)?;
    let known = known(claimed)?;
    check_issuer(claimed, known.rules)?;
    Ok(known)
}

fn signature(
    checks: &mut Checks,
    jws: Option<&Compact<'_>>,
    header: Option<&Json>,
    algorithm: Option<Algorithm>,
    keys: Result<&Keyset, &'static str>,
) {
    let keys = match keys {
        Ok(keys) => keys,
        Err(why) => return checks.note(SIGNATURE, Outcome::Open(why.into())),
    };
    let all = jws.zip(header).zip(algorithm);
    let verified = |((jws, header), algorithm)| signed::signing_key(jws, header, algorithm, keys, &Unremembered);
    checks.ask_of(SIGNATURE, all, verified, |key: &Thumbprint| {
        let kid = text_of(header, "kid").map_or_else(String::new, |kid| format!("kid {kid}, "));
        Some(format!("{kid}jkt {key}"))
    });
}

/// What depends on the moment and the configuration.
fn moment(checks: &mut Checks, claims: Option<&TokenClaims>, known: &KnownIssuer<'_>, now: UnixTime) {
    let rules = known.rules;
    if known.has_audiences {
        let found = |(): &()| claims.map(|claims| shown(&claims.audiences().join(", ")));
        checks.ask_of(AUDIENCE, claims, |claims| claims.check_audience(rules), found);
    } else {
        let found =
            claims.map_or_else(String::new, |claims| format!(", found {}", shown(&claims.audiences().join(", "))));
        checks.note(AUDIENCE, Outcome::Needless(format!("no configuration says which are accepted{found}").into()));
    }
    let until = |at: Option<UnixTime>| at.map(|at| at.rfc3339().as_str().to_owned());
    let expires = claims.and_then(TokenClaims::expires);
    checks.ask_of(EXPIRY, claims, |claims| claims.check_expiry(rules, now), |()| until(expires));
    let issued = claims.and_then(TokenClaims::issued_at);
    checks.ask_of(BEGINNING, claims, |claims| claims.check_beginning(rules, now), |()| until(issued));
}

/// Whether a proof is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demanded {
    /// The token demands none.
    NoProof,
    /// It demands one by this key; `None`: that could not be read.
    ProofBy(Option<Thumbprint>),
}

/// Asks what a token is bound to, and whether this scheme and this certificate do.
pub fn confirmation(
    checks: &mut Checks,
    token: &Examined,
    scheme: Scheme,
    certificate: Option<&ClientCertificate>,
    accepted: Accepted,
) -> Demanded {
    let describe = |found: &Option<Confirmation>| Some(found.as_ref().map_or_else(|| "none".to_owned(), describe));
    let found = checks.ask_of(CONFIRMATION, token.json.as_ref(), Confirmation::of, describe);
    let demand = checks.ask_of(
        DEMAND,
        found.as_ref(),
        |found| Demand::of(scheme, found.as_ref(), accepted),
        |demand| Some(format!("{}, {}", scheme.as_str(), demand.binding().as_str())),
    );
    let wanted = found.flatten();
    match wanted.and_then(|wanted| wanted.x5t_s256) {
        Some(wanted) => {
            let show = |(): &()| Some(format!("x5t#S256 {}", Thumbprint(wanted)));
            checks.ask(CERTIFICATE, check_certificate(&wanted, certificate), show);
        }
        None => checks.note(CERTIFICATE, Outcome::Needless("the token names none".into())),
    }
    match demand {
        Some(Demand { proof_by: None, .. }) => Demanded::NoProof,
        Some(Demand { proof_by, .. }) => Demanded::ProofBy(proof_by),
        None => Demanded::ProofBy(wanted.and_then(|wanted| wanted.jkt)),
    }
}

fn describe(confirmation: &Confirmation) -> String {
    let jkt = confirmation.jkt.map(|jkt| format!("jkt {jkt}"));
    let x5t = confirmation.x5t_s256.map(|x5t| format!("x5t#S256 {}", Thumbprint(x5t)));
    jkt.into_iter().chain(x5t).collect::<Vec<_>>().join(", ")
}

fn text_of(json: Option<&Json>, name: &str) -> Option<String> {
    json.and_then(|json| json.string(name)).map(shown)
}
