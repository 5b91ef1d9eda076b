//! Who counts as whom, with tokens of a real issuer.

use jsonwebtoken::{Algorithm as Jwt, EncodingKey, Header};
use serde_json::{Value, json};

use super::super::table::Table;
use super::*;
use crate::prover::ProofKey;
use crate::verify::{Algorithm, IssuerRules, Keyset, Thumbprint, TokenHash, UnverifiedToken};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const K1: Demand = Demand { proof_by: Some(Thumbprint([1; 32])), certificate: None };
const K2: Demand = Demand { proof_by: Some(Thumbprint([2; 32])), certificate: None };
const C1: Demand = Demand { proof_by: None, certificate: Some([1; 32]) };
const BOTH: Demand = Demand { proof_by: Some(Thumbprint([1; 32])), certificate: Some([9; 32]) };
const NOTHING: Demand = Demand { proof_by: None, certificate: None };

/// A token with these claims, `iss` among them.
fn token(claims: Value) -> AccessToken {
    let key = ProofKey::generate(Algorithm::Es256).unwrap();
    let mut members = json!({ "aud": "a", "exp": NOW.secs() + 300, "jti": key.thumbprint().to_string() });
    members.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let header = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Jwt::ES256) };
    let text = jsonwebtoken::encode(&header, &members, &EncodingKey::from_ec_der(key.pkcs8())).unwrap();
    let rules = IssuerRules::new(members["iss"].as_str().unwrap(), vec!["a".to_owned()]);
    let keys = json!({ "keys": [key.public_jwk()] }).to_string();
    let (keys, _) = Keyset::parse(keys.as_bytes(), &rules.algorithms).unwrap();
    UnverifiedToken::read(&text, TokenHash::of(&text)).unwrap().verify(&rules, &keys).unwrap()
}

fn app(client_id: &str, sub: &str) -> AccessToken {
    token(json!({ "iss": "https://as.example", "client_id": client_id, "sub": sub }))
}

/// One a second.
fn once(per: Per) -> RouteLimits {
    RouteLimits { per, rate: Some(Rate::new(1, Duration::from_secs(1), 1)), concurrent: None }
}

fn reason(admitted: Result<Place, Refusal>) -> Option<Reason> {
    admitted.err().map(|refusal| refusal.reason())
}

#[test]
fn who_counts_as_one_caller() {
    let [alice, bob] = [app("app", "alice"), app("app", "bob")];
    let other_client = app("other", "alice");
    let other_issuer = token(json!({ "iss": "https://other.example", "client_id": "app", "sub": "alice" }));
    let nameless = token(json!({ "iss": "https://as.example", "client_id": "alice" }));
    for (per, first, second, same) in [
        (Per::Thumbprint, (&alice, K1), (&bob, K1), true),
        (Per::Thumbprint, (&alice, K1), (&other_issuer, K1), true),
        (Per::Thumbprint, (&alice, K1), (&alice, K2), false),
        // A key and a certificate are two, whatever their bytes.
        (Per::Thumbprint, (&alice, K1), (&alice, C1), false),
        (Per::Thumbprint, (&alice, K1), (&alice, BOTH), true),
        // Nothing proven: by what the token names.
        (Per::Thumbprint, (&alice, NOTHING), (&bob, NOTHING), true),
        (Per::Thumbprint, (&alice, NOTHING), (&other_client, NOTHING), false),
        (Per::ClientId, (&alice, K1), (&bob, K2), true),
        (Per::ClientId, (&alice, K1), (&bob, NOTHING), true),
        (Per::ClientId, (&alice, K1), (&other_client, K1), false),
        (Per::ClientId, (&alice, K1), (&other_issuer, K1), false),
        (Per::Subject, (&alice, K1), (&other_client, K2), true),
        (Per::Subject, (&alice, K1), (&bob, K1), false),
        (Per::Subject, (&alice, K1), (&other_issuer, K1), false),
        // Without the claim: by the key, and a client of that name is nobody's subject.
        (Per::Subject, (&nameless, K1), (&nameless, K1), true),
        (Per::Subject, (&nameless, K1), (&nameless, K2), false),
        (Per::Subject, (&nameless, NOTHING), (&alice, NOTHING), false),
    ] {
        let limiter = Limiter::new([once(per)]);
        let ask =
            |(token, proven): (&AccessToken, Demand)| reason(limiter.admit("api", &once(per), token, &proven, NOW));
        assert_eq!(ask(first), None, "{per:?} {first:?} {second:?}");
        assert_eq!(ask(second), same.then_some(Reason::LimitRate), "{per:?} {first:?} {second:?}");
        // Nobody is without a limit.
        assert_eq!(ask(first), Some(Reason::LimitRate), "{per:?} {first:?} {second:?}");
        // Each route counts for itself.
        assert_eq!(reason(limiter.admit("other", &once(per), first.0, &first.1, NOW)), None);
    }
}

#[test]
fn when_there_is_no_room_new_callers_are_refused_and_known_ones_stay_limited() {
    let limiter = Limiter { table: Arc::new(Table::with_room(1_000_000_000, 8, 1)) };
    let (token, limits) = (app("app", "alice"), once(Per::Thumbprint));
    let key = |number: u8| Demand { proof_by: Some(Thumbprint([number; 32])), certificate: None };
    let ask = |number, now| reason(limiter.admit("api", &limits, &token, &key(number), now));
    for number in 0..8 {
        assert_eq!(ask(number, NOW), None);
    }
    for number in 8..255 {
        assert_eq!(ask(number, NOW), Some(Reason::LimitFull));
    }
    for number in 0..8 {
        assert_eq!(ask(number, NOW), Some(Reason::LimitRate), "nobody was forgotten");
    }
    assert_eq!(ask(8, NOW + Duration::from_secs(1)), None);
}

#[test]
fn places_are_taken_and_given_back() {
    let limits = RouteLimits { per: Per::Thumbprint, rate: None, concurrent: Some(2) };
    let (limiter, token) = (Limiter::new([limits]), app("app", "alice"));
    let ask = || limiter.admit("api", &limits, &token, &K1, NOW);
    let (first, _second) = (ask().unwrap(), ask().unwrap());
    let refused = ask().unwrap_err();
    assert_eq!((refused.reason(), refused.wait()), (Reason::LimitConcurrent, Some(SOON)));
    drop(first);
    let third = ask().unwrap();
    assert_eq!(reason(ask()), Some(Reason::LimitConcurrent));
    third.give_back(NOW);
    assert!(ask().is_ok());
    drop(_second);
    assert_eq!(limiter.table.len(), 0);
}

#[test]
fn who_is_one_too_many_at_once_takes_nothing_of_the_rate() {
    let rate = Some(Rate::new(1, Duration::from_secs(1), 2));
    let limits = RouteLimits { per: Per::Thumbprint, rate, concurrent: Some(1) };
    let (limiter, token) = (Limiter::new([limits]), app("app", "alice"));
    let ask = || limiter.admit("api", &limits, &token, &K1, NOW);
    let first = ask().unwrap();
    for _ in 0..5 {
        assert_eq!(reason(ask()), Some(Reason::LimitConcurrent));
    }
    drop(first);
    assert!(ask().is_ok());
    assert_eq!(reason(ask()), Some(Reason::LimitRate));
}

#[test]
fn a_clock_that_is_set_back_costs_a_bucket_and_no_more() {
    let slow = RouteLimits { rate: Some(Rate::new(1, Duration::from_secs(1), 1000)), ..once(Per::Thumbprint) };
    let (limiter, token) = (Limiter::new([once(Per::Thumbprint), slow]), app("app", "alice"));
    let ask = |route, limits: &RouteLimits, at| reason(limiter.admit(route, limits, &token, &K1, at));
    assert_eq!(ask("api", &once(Per::Thumbprint), NOW + Duration::from_secs(3600)), None);
    // Nobody asks, and what others may keep for longer is swept meanwhile.
    limiter.expire(NOW);
    assert_eq!(ask("api", &once(Per::Thumbprint), NOW), Some(Reason::LimitRate));
    assert_eq!(ask("api", &once(Per::Thumbprint), NOW + Duration::from_millis(999)), Some(Reason::LimitRate));
    assert_eq!(ask("api", &once(Per::Thumbprint), NOW + Duration::from_secs(1)), None);
}

#[test]
fn what_came_back_by_itself_is_not_given_back() {
    let limits = once(Per::Thumbprint);
    let (limiter, token) = (Limiter::new([limits]), app("app", "alice"));
    let at = |millis| NOW + Duration::from_millis(millis);
    let ask = |millis| limiter.admit("api", &limits, &token, &K1, at(millis));
    // At once: all of it.
    ask(0).unwrap().give_back(at(0));
    let slow = ask(0).unwrap();
    // Meanwhile time gave it back, and another took it.
    let _other = ask(1000).unwrap();
    slow.give_back(at(1000));
    assert_eq!(reason(ask(1000)), Some(Reason::LimitRate));
    // Half of it came back.
    let half = ask(2000).unwrap();
    half.give_back(at(2500));
    let _last = ask(2500).unwrap();
    assert_eq!(reason(ask(3499)), Some(Reason::LimitRate));
    assert!(ask(3500).is_ok());
}

#[test]
fn other_limits_have_the_same_memory() {
    let before = Limiter::new([once(Per::Thumbprint)]);
    let token = app("app", "alice");
    let slow =
        RouteLimits { per: Per::Thumbprint, rate: Some(Rate::new(1, Duration::from_mins(1), 1)), concurrent: Some(1) };
    let admit = |limiter: &Limiter, limits: &RouteLimits, seconds: i64| {
        limiter.admit("api", limits, &token, &K1, UnixTime::from_secs(NOW.secs() + seconds))
    };
    assert_eq!(reason(admit(&before, &once(Per::Thumbprint), 0)), None);
    let after = before.succeed([slow]);
    // What was taken counts, a bucket that needs longer is not forgotten early, and a place is one at both.
    assert_eq!(reason(admit(&after, &slow, 0)), Some(Reason::LimitRate));
    let place = admit(&after, &slow, 2).unwrap();
    after.expire(UnixTime::from_secs(NOW.secs() + 4));
    assert_eq!(reason(admit(&after.succeed([slow]), &slow, 63)), Some(Reason::LimitConcurrent));
    drop(place);
    assert_eq!(reason(admit(&after, &slow, 30)), Some(Reason::LimitRate));
    assert_eq!(reason(admit(&after, &slow, 63)), None);
}
