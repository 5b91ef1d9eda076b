//! The proof, step by step (RFC 9449 §4.3), in the order in which requests are verified: cheap ones first.

use super::{Checks, Outcome, Part, Step, silent};
use crate::refusal::shown;
use crate::request::ProofField;
use crate::time::UnixTime;
use crate::verify::access_token::TokenHash;
use crate::verify::dpop::Unremembered;
use crate::verify::dpop::steps::{self, Claims, Dates};
use crate::verify::json::Json;
use crate::verify::jwk::{PublicKey, Thumbprint};
use crate::verify::jws::Compact;
use crate::verify::nonce::Nonces;
use crate::verify::rules::ProofRules;

pub const FIELD: Step = Step::of(Part::Proof, "field", "RFC 9449 §4.3 (1)");
pub const FORM: Step = Step::of(Part::Proof, "form", "RFC 9449 §4.3 (2)");
pub const TYPE: Step = Step::of(Part::Proof, "typ", "RFC 9449 §4.3 (4)");
pub const CRITICAL: Step = Step::of(Part::Proof, "crit", "RFC 7515 §4.1.11");
pub const ALGORITHM: Step = Step::of(Part::Proof, "alg", "RFC 9449 §4.3 (5)");
pub const KEY: Step = Step::of(Part::Proof, "jwk", "RFC 9449 §4.3 (7)");
pub const ALLOWED: Step = Step::of(Part::Proof, "alg here", "RFC 9449 §4.3 (5)");
pub const PAYLOAD: Step = Step::of(Part::Proof, "payload", "RFC 9449 §4.3 (2)");
pub const CLAIMS: Step = Step::of(Part::Proof, "claims", "RFC 9449 §4.3 (3)");
pub const METHOD: Step = Step::of(Part::Proof, "htm", "RFC 9449 §4.3 (8)");
pub const TARGET: Step = Step::of(Part::Proof, "htu", "RFC 9449 §4.3 (9)");
pub const TOKEN: Step = Step::of(Part::Proof, "ath", "RFC 9449 §4.3 (12)");
pub const BOUND: Step = Step::of(Part::Proof, "key of the token", "RFC 9449 §4.3 (12)");
pub const TIME: Step = Step::of(Part::Proof, "iat", "RFC 9449 §4.3 (11)");
pub const SIGNATURE: Step = Step::of(Part::Proof, "signature", "RFC 9449 §4.3 (6)");
pub const NONCE: Step = Step::of(Part::Proof, "nonce", "RFC 9449 §4.3 (10)");
pub const REPLAY: Step = Step::of(Part::Proof, "used before", "RFC 9449 §11.1");

/// What a proof must be for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The request's normalized external URL; `None` when its own could not be read.
    pub external_url: Option<&'a str>,
    /// The hash of the token that came along.
    pub token_hash: &'a TokenHash,
    /// The key that the token is bound to, if it could be read.
    pub key: Option<Thumbprint>,
}

/// Asks everything about a proof but whether it was used before.
pub fn proof(checks: &mut Checks, field: &ProofField, wanted: &Wanted<'_>, rules: &ProofRules, now: UnixTime) {
    let Some(text) = checks.ask(FIELD, steps::single(field), |_| Some("one".to_owned())) else { return };
    let form = steps::split(text).and_then(|jws| Ok((steps::read_header(jws.header)?, jws)));
    let form = checks.ask(FORM, form, |_| Some("a signed JWT".to_owned()));
    let (header, jws) = form.as_ref().map(|(header, jws)| (header, jws)).unzip();
    let key = key(checks, header, rules);
    let json = checks.ask_of(PAYLOAD, jws, steps::read_claims, silent);
    let json = json.as_ref();
    checks.ask_of(CLAIMS, json, |json| Claims::read(json).map(|_| ()), silent);
    let claim = |name| json.and_then(|json| steps::text(json, name).ok());
    let htm = claim("htm");
    let is_method = |htm| steps::check_method(htm, wanted.method);
    checks.ask_of(METHOD, htm, is_method, |()| htm.map(shown));
    let htu = claim("htu");
    let is_target = |(htu, url)| steps::check_target(htu, url);
    checks.ask_of(TARGET, htu.zip(wanted.external_url), is_target, |()| htu.map(steps::shown_htu));
    let is_hash = |ath| steps::check_token_hash(ath, wanted.token_hash);
    checks.ask_of(TOKEN, claim("ath"), is_hash, |()| Some("the token that was given".to_owned()));
    let pair = key.as_ref().map(PublicKey::thumbprint).zip(wanted.key);
    let is_bound = |(key, bound)| steps::check_key(key, bound);
    checks.ask_of(BOUND, pair, is_bound, |()| pair.map(|(key, _)| format!("jkt {key}")));
    moment(checks, json, jws.zip(key.as_ref()), rules, now);
    checks.note(REPLAY, Outcome::Needless("only the running gateway knows which proofs were used".into()));
}

/// (4) typ, (5) alg, (7) jwk.
fn key(checks: &mut Checks, header: Option<&Json>, rules: &ProofRules) -> Option<PublicKey> {
    let typ = |(): &()| header.and_then(|header| header.string("typ")).map(shown);
    checks.ask_of(TYPE, header, steps::check_type, typ);
    checks.ask_of(CRITICAL, header, steps::check_extensions, silent);
    let algorithm = checks.ask_of(ALGORITHM, header, steps::read_algorithm, |found| Some(found.to_string()));
    let key = checks.ask_of(
        KEY,
        header.zip(algorithm),
        |(header, algorithm)| steps::read_key(header, algorithm),
        |key| Some(format!("jkt {}", key.thumbprint())),
    );
    checks.ask_of(ALLOWED, algorithm, |algorithm| steps::check_algorithm(algorithm, rules), silent);
    key
}

/// (11) iat, (6) signature, (10) nonce: whether the nonce is good is said only to whoever holds the key, and nothing is
/// said about time to whoever must come back with another nonce.
fn moment(
    checks: &mut Checks,
    json: Option<&Json>,
    signed: Option<(&Compact<'_>, &PublicKey)>,
    rules: &ProofRules,
    now: UnixTime,
) {
    let ask = |nonces: &Nonces| json.map(|json| steps::check_nonce(steps::nonce(json), nonces, now));
    let nonce = rules.nonces.as_ref().map(ask);
    if matches!(nonce, Some(Some(Err(_)))) {
        checks.note(TIME, Outcome::Needless("another nonce comes first, and with it another iat".into()));
    } else {
        let dates = json.and_then(|json| Dates::read(json).ok());
        let age = dates.as_ref().map(|dates| format!("{:.0} s ago", now.seconds_since(dates.issued_at)));
        checks.ask_of(TIME, dates, |dates| dates.check(rules, now), |()| age);
    }
    checks.ask_of(SIGNATURE, signed, |(jws, key)| steps::check_signature(jws, key, &Unremembered), silent);
    match nonce {
        None => checks.note(NONCE, Outcome::Needless("none is demanded".into())),
        Some(nonce) => {
            checks.ask_of(NONCE, nonce, |nonce| nonce, |minted| Some(format!("made {}", minted.rfc3339().as_str())));
        }
    }
}
