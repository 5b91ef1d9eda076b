use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use proptest::prelude::*;

use super::super::grid::CUTS;
use super::super::shard::MAX_TALLIES;
use super::*;
use crate::verify::ReplayKey;

mod concurrency;
mod corners;
mod real_proofs;

/// On no boundary of anything.
const START: UnixTime = UnixTime::from_millis(1_700_000_012_345);

fn after(seconds: u64) -> UnixTime {
    START + Duration::from_secs(seconds)
}

fn log() -> MemoryLog {
    log_of(1_000, 1_000)
}

fn log_of(capacity: usize, per_key: u32) -> MemoryLog {
    MemoryLog::new(MemorySettings { capacity, per_key }, &ProofRules::default(), START)
}

/// A proof by the key `key`, with the `jti` `jti`, as the default rules accept it.
fn proof(key: u8, jti: u64, issued_at: UnixTime) -> Facts {
    let mut replay_key = [key; 32];
    replay_key[..8].copy_from_slice(&jti.to_be_bytes());
    let rules = ProofRules::default();
    Facts {
        replay_key: ReplayKey(replay_key),
        key: [key; 32],
        issued_at,
        nonce: None,
        accepted_until: issued_at + rules.lifetime + rules.clock_skew,
    }
}

/// How many tallies the shard with the most of them holds.
fn most_tallies(log: &MemoryLog) -> usize {
    log.shards.iter().map(|shard| lock(shard).tallies()).max().unwrap()
}

/// The latest end of acceptance among what was dropped, in milliseconds.
fn forgotten(log: &MemoryLog) -> i64 {
    log.shards.iter().map(|shard| lock(shard).forgotten()).max().unwrap()
}

#[track_caller]
fn refused(outcome: Result<(), Refusal>, reason: Reason) {
    assert_eq!(outcome.map_err(|refusal| refusal.reason()), Err(reason));
}

#[test]
fn a_proof_passes_once() {
    let log = log();
    log.admit(&proof(1, 1, START), START).unwrap();
    for seconds in [0, 1, 30, 59, 89, 90] {
        log.expire(after(seconds));
        refused(log.admit(&proof(1, 1, START), after(seconds)), Reason::ProofReplayed);
    }
    log.admit(&proof(1, 2, after(90)), after(90)).unwrap();
}

#[test]
fn the_same_jti_of_another_key_is_another_proof() {
    let log = log();
    log.admit(&proof(1, 1, START), START).unwrap();
    log.admit(&proof(2, 1, START), START).unwrap();
    assert_eq!(log.entries(), 2);
}

#[test]
fn signing_again_with_another_iat_does_not_help() {
    let log = log();
    log.admit(&proof(1, 1, after(60)), after(60)).unwrap();
    for (iat, now) in [(0, 60), (59, 60), (61, 60), (90, 60), (100, 100), (149, 149)] {
        refused(log.admit(&proof(1, 1, after(iat)), after(now)), Reason::ProofReplayed);
    }
}

#[test]
fn the_same_jti_passes_again_when_the_first_proof_is_over() {
    for expire in [false, true] {
        let log = log();
        log.admit(&proof(1, 1, START), START).unwrap();
        if expire {
            log.expire(after(91));
        }
        log.admit(&proof(1, 1, after(91)), after(91)).unwrap();
        refused(log.admit(&proof(1, 1, after(91)), after(92)), Reason::ProofReplayed);
    }
}

#[test]
fn a_renewed_entry_in_the_same_bucket_ends_with_the_newer_proof() {
    let log = log();
    log.admit(&proof(1, 1, START), START).unwrap();
    log.admit(&proof(1, 1, after(3)), after(91)).unwrap();
    refused(log.admit(&proof(1, 1, after(4)), after(92)), Reason::ProofReplayed);
    refused(log.admit(&proof(1, 1, after(70)), after(93)), Reason::ProofReplayed);
}

#[test]
fn a_future_dated_proof_stays_spent_as_long_as_it_is_accepted() {
    let log = log();
    let ahead = proof(1, 1, after(29));
    log.admit(&ahead, START).unwrap();
    for seconds in 0..=119 {
        log.expire(after(seconds));
        refused(log.admit(&ahead, after(seconds)), Reason::ProofReplayed);
    }
    log.expire(after(120));
    refused(log.admit(&ahead, after(120)), Reason::ProofStale);
}

#[test]
fn a_full_log_refuses_and_forgets_nothing() {
    let log = log_of(3, 10);
    for jti in 0..3 {
        log.admit(&proof(1, jti, START), START).unwrap();
    }
    for jti in 3..10 {
        refused(log.admit(&proof(2, jti, START), after(1)), Reason::ReplayFull);
    }
    for jti in 0..3 {
        refused(log.admit(&proof(1, jti, START), after(2)), Reason::ProofReplayed);
    }
    refused(log.admit(&proof(1, 0, after(40)), after(40)), Reason::ProofReplayed);
    assert_eq!(log.entries(), 3);
    log.expire(after(125));
    assert_eq!(log.entries(), 0);
    log.admit(&proof(2, 3, after(125)), after(125)).unwrap();
}

#[test]
fn a_key_has_its_share_and_no_more() {
    let log = log_of(100, 3);
    // In several buckets.
    for (jti, at) in [(0, 0), (1, 35), (2, 70)] {
        log.admit(&proof(1, jti, after(at)), after(at)).unwrap();
    }
    refused(log.admit(&proof(1, 3, after(71)), after(71)), Reason::ReplayKeyQuota);
    assert_eq!(log.entries(), 3);
    log.admit(&proof(2, 3, after(71)), after(71)).unwrap();
    refused(log.admit(&proof(1, 0, START), after(71)), Reason::ProofReplayed);
    log.expire(after(125));
    // What was refused for the quota was not spent.
    log.admit(&proof(1, 3, after(71)), after(125)).unwrap();
    refused(log.admit(&proof(1, 4, after(125)), after(125)), Reason::ReplayKeyQuota);
}

#[test]
fn what_was_signed_before_the_start_is_refused() {
    let log = log();
    refused(log.admit(&proof(1, 1, START - Duration::from_millis(1)), START), Reason::ProofBeforeStart);
    log.admit(&proof(1, 1, START), START).unwrap();
}

#[test]
fn what_the_log_cannot_cover_is_refused() {
    let log = log();
    let sure = proof(1, 1, START);
    refused(log.admit(&sure, after(91)), Reason::ProofStale);
    refused(log.admit(&proof(1, 1, after(31)), START), Reason::ProofFuture);
    assert_eq!(log.entries(), 0);
    for extreme in [i64::MIN, -1, 0, i64::MAX] {
        let _ = log.admit(&sure, UnixTime::from_millis(extreme));
        let far = Facts { accepted_until: UnixTime::from_millis(extreme), ..proof(1, 2, START) };
        let _ = log.admit(&far, START);
        let _ = log.admit(&far, UnixTime::from_millis(extreme));
        log.expire(UnixTime::from_millis(extreme));
    }
}

#[test]
fn a_clock_that_jumps_forward_and_back_revives_nothing() {
    let log = log();
    let (before, at_once) = (proof(1, 1, after(300)), proof(1, 2, after(290)));
    log.admit(&before, after(300)).unwrap();
    log.admit(&at_once, after(300)).unwrap();
    // Five minutes ahead, and everything older is dropped.
    log.expire(after(600));
    assert_eq!(log.entries(), 0);
    let ahead = proof(1, 3, after(600));
    log.admit(&ahead, after(600)).unwrap();
    // Back.
    for seconds in 301..391 {
        log.expire(after(seconds));
        assert!(log.admit(&before, after(seconds)).is_err(), "{seconds}");
        assert!(log.admit(&at_once, after(seconds)).is_err(), "{seconds}");
        // Others pass.
        log.admit(&proof(1, 1_000 + seconds, after(seconds)), after(seconds)).unwrap();
    }
    for seconds in 600..691 {
        log.expire(after(seconds));
        refused(log.admit(&ahead, after(seconds)), Reason::ProofReplayed);
    }
}

#[test]
fn a_clock_that_jumps_back_and_forward_revives_nothing() {
    let log = log();
    let late = proof(1, 1, after(1_000));
    log.admit(&late, after(1_000)).unwrap();
    for round in 0..5 {
        for minutes in 0..5 {
            let now = after(1_000 - 60 * minutes);
            log.expire(now);
            match log.admit(&proof(1, 10 * (round + 1) + minutes, now), now) {
                Ok(()) => {}
                // Once proofs of that time were forgotten, a fresh one cannot be told from them.
                stale => {
                    assert!(round > 0);
                    refused(stale, Reason::ProofStale);
                }
            }
        }
        for seconds in 1_000..1_090 {
            log.expire(after(seconds));
            refused(log.admit(&late, after(seconds)), Reason::ProofReplayed);
        }
    }
}

#[test]
fn a_wild_clock_makes_it_refuse_and_not_grow() {
    let log = log();
    let (mut passed, mut full) = (0, 0);
    for hour in (0..200).rev() {
        let now = after(3_600 * hour);
        log.expire(now);
        match log.admit(&proof(1, hour, now), now) {
            Ok(()) => passed += 1,
            Err(refusal) => {
                assert_eq!(refusal.reason(), Reason::ReplayFull);
                full += 1;
            }
        }
    }
    assert_eq!((passed, full), (MAX_TALLIES, 200 - MAX_TALLIES));
}

#[test]
fn an_hour_of_traffic_stays_flat() {
    let log = log_of(1_000_000, 1_000_000);
    let (mut most, mut jti) = (0, 0);
    for second in 0..3_600 {
        for _ in 0..50 {
            // Clients' clocks are off by up to 20 seconds.
            let iat = START + Duration::from_secs(second) + Duration::from_secs(20) - Duration::from_secs(jti % 41);
            let proof = proof((jti % 7) as u8, jti, iat.max(START));
            log.admit(&proof, after(second)).unwrap();
            jti += 1;
        }
        log.expire(after(second));
        most = most.max(log.entries());
        assert!(most_tallies(&log) <= CUTS as usize + 2);
    }
    assert!((90 * 50..140 * 50).contains(&most), "{most}");
    log.expire(after(3_600 + 145));
    assert_eq!((log.entries(), most_tallies(&log)), (0, 0));
}

#[derive(Debug, Clone)]
enum Act {
    Present { key: u8, jti: u64, iat_offset: i64 },
    Wait(u64),
    Expire,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..2_u8, 0..4_u64, -95_000..35_000_i64)
            .prop_map(|(key, jti, iat_offset)| Act::Present { key, jti, iat_offset }),
        2 => (0..40_000_u64).prop_map(Act::Wait),
        1 => Just(Act::Expire),
    ]
}

proptest! {
    /// Against a map from key and `jti` to the end of acceptance. The log may hold on for up to one step
    /// longer than that, never less.
    #[test]
    fn it_does_what_a_plain_map_does(acts in proptest::collection::vec(act(), 1..120)) {
        let log = log();
        let step = Duration::from_millis(120_000 / 4 / 256 + 1);
        let mut model: HashMap<(u8, u64), UnixTime> = HashMap::new();
        let mut now = after(1_000);
        for act in acts {
            match act {
                Act::Wait(millis) => now = now + Duration::from_millis(millis),
                Act::Expire => log.expire(now),
                Act::Present { key, jti, iat_offset } => {
                    let proof = proof(key, jti, UnixTime::from_millis(now.millis() + iat_offset));
                    let outcome = log.admit(&proof, now).map_err(|refusal| refusal.reason());
                    let acceptable = proof.accepted_until >= now && iat_offset <= 30_000;
                    let spent = model.get(&(key, jti)).copied();
                    match outcome {
                        Ok(()) => {
                            prop_assert!(acceptable && spent.is_none_or(|until| until < now));
                            model.insert((key, jti), proof.accepted_until);
                        }
                        Err(Reason::ProofReplayed) => {
                            prop_assert!(acceptable && spent.is_some_and(|until| until + step >= now));
                        }
                        Err(reason) => {
                            prop_assert!(!acceptable, "{reason:?}");
                        }
                    }
                }
            }
        }
    }

    /// However the clock jumps: nothing that was spent passes again while it could be accepted.
    #[test]
    fn no_clock_revives_a_spent_proof(
        jumps in proptest::collection::vec((-400_000..400_000_i64, any::<bool>(), 0..3_u64), 1..60),
    ) {
        let log = log();
        let mut spent: Vec<(u64, UnixTime)> = Vec::new();
        let mut now = after(100_000);
        for (jump, expire, jti) in jumps {
            now = UnixTime::from_millis(now.millis() + jump);
            if expire {
                log.expire(now);
            }
            let fresh = proof(1, jti, now);
            let forgotten = UnixTime::from_millis(forgotten(&log));
            let known = spent.iter().any(|(other, iat)| {
                let until = *iat + Duration::from_secs(90);
                *other == jti && until >= now && until > forgotten
            });
            for (jti, iat) in &spent {
                prop_assert!(log.admit(&proof(1, *jti, *iat), now).is_err());
            }
            if log.admit(&fresh, now).is_ok() {
                prop_assert!(!known);
                spent.push((jti, now));
            }
        }
    }
}
