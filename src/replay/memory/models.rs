//! The log under every order in which threads can take its locks and its places (loom).
//! `cargo test --lib --features models models::`

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::verify::ReplayKey;

const START: UnixTime = UnixTime::from_millis(1_700_000_012_345);

/// A log that is new in each order: loom keeps account of what it is made of.
fn log_of(capacity: usize) -> Arc<MemoryLog> {
    Arc::new(MemoryLog::new(MemorySettings { capacity, per_key: 10 }, &ProofRules::default(), START))
}

/// The proof `jti` of a key that lies in that shard, whatever this log's secret: orders must differ in nothing else.
fn proof(log: &MemoryLog, shard: u16, jti: u8) -> Facts {
    let keys = (0..u32::MAX).map(|number| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        key
    });
    let key = keys.into_iter().find(|key| log.secret.key(key).0 % SHARDS as u16 == shard).unwrap();
    let mut replay_key = key;
    replay_key[31] = jti;
    let rules = ProofRules::default();
    Facts {
        replay_key: ReplayKey(replay_key),
        key,
        issued_at: START,
        nonce: None,
        accepted_until: START + rules.lifetime + rules.clock_skew,
    }
}

/// What becomes of these proofs when each is shown by a thread of its own.
fn at_once<const N: usize>(log: &Arc<MemoryLog>, proofs: [Facts; N]) -> Vec<Result<(), Reason>> {
    let threads = proofs.map(|proof| {
        let log = Arc::clone(log);
        thread::spawn(move || log.admit(&proof, START).map_err(|refusal| refusal.reason()))
    });
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// How many passed, where no other was refused but for this reason.
#[track_caller]
fn passed(outcomes: &[Result<(), Reason>], other: Reason) -> usize {
    assert!(outcomes.iter().all(|outcome| outcome.is_ok() || *outcome == Err(other)), "{outcomes:?}");
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

/// Places that nobody has, once everything is over.
fn free_in_the_end(log: &MemoryLog) -> usize {
    log.expire(START + Duration::from_hours(1));
    assert_eq!(log.entries(), 0);
    log.places.free.load(Relaxed)
}

#[test]
fn of_copies_one_passes_in_every_order() {
    loom::model(|| {
        let log = log_of(2);
        let all = at_once(&log, [(); 3].map(|()| proof(&log, 0, 1)));
        assert_eq!(passed(&all, Reason::ProofReplayed), 1);
        assert_eq!(log.entries(), 1);
        assert_eq!(free_in_the_end(&log), log.capacity());
    });
}

#[test]
fn of_three_for_two_places_two_get_one_in_every_order() {
    loom::model(|| {
        let log = log_of(2);
        // Two of them meet at one lock, too.
        let all = at_once(&log, [proof(&log, 0, 1), proof(&log, 0, 2), proof(&log, 1, 1)]);
        assert_eq!(passed(&all, Reason::ReplayFull), 2);
        assert_eq!(free_in_the_end(&log), log.capacity());
    });
}

#[test]
fn expiry_beside_a_copy_lets_nothing_pass_twice_and_loses_no_place_in_any_order() {
    loom::model(|| {
        // So many that a shard takes two at once, and has one to spare.
        let log = log_of(256);
        let (shown, other) = (proof(&log, 0, 1), proof(&log, 1, 1));
        let late = shown.accepted_until;
        log.admit(&shown, START).unwrap();
        let sweeps = Arc::clone(&log);
        // A clock that runs ahead of the requests', so that it drops what they are about to ask for.
        let sweeping = thread::spawn(move || sweeps.expire(late + Duration::from_mins(2)));
        assert!(log.admit(&shown, late).is_err());
        log.admit(&other, late).unwrap();
        sweeping.join().unwrap();
        assert!(log.admit(&other, late).is_err());
        assert_eq!(free_in_the_end(&log), log.capacity());
    });
}
