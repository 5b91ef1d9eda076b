//! What refusals leave behind, where buckets end, and what an idle log holds.

use super::*;

#[test]
fn a_copy_is_found_across_the_end_of_a_bucket() {
    // The default rules' buckets: 65,536 steps of 30 ms.
    let bucket = 65_536 * 30;
    let boundary = UnixTime::from_millis((START.millis() / bucket + 2) * bucket);
    // Proofs signed from now on end in the next bucket.
    let now = boundary - Duration::from_secs(90);
    for (first, again) in [(-1, 0), (0, -1), (-60, 30), (30, -60)] {
        let log = log();
        let at = |seconds: i64| UnixTime::from_millis(now.millis() + 1_000 * seconds);
        log.admit(&proof(1, 1, at(first)), now).unwrap();
        log.admit(&proof(1, 2, at(again)), now).unwrap();
        assert_eq!(log.shards.iter().map(|shard| lock(shard).buckets()).max(), Some(2));
        refused(log.admit(&proof(1, 1, at(again)), now), Reason::ProofReplayed);
        refused(log.admit(&proof(1, 2, at(first)), now), Reason::ProofReplayed);
        // One of them is over, and with it its bucket; the other one is where it was, or moved.
        let (over, lives) = if first < again { (1, 2) } else { (2, 1) };
        let (earlier, later) = (first.min(again), first.max(again));
        let then = at(earlier + 91);
        log.expire(then);
        assert_eq!((log.entries(), log.shards.iter().map(|shard| lock(shard).buckets()).max()), (1, Some(1)));
        refused(log.admit(&proof(1, lives, at(later)), then), Reason::ProofReplayed);
        log.admit(&proof(1, over, then), then).unwrap();
        refused(log.admit(&proof(1, over, then), then), Reason::ProofReplayed);
    }
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let log = log_of(4, 3);
    for jti in 0..3 {
        log.admit(&proof(1, jti, START), START).unwrap();
    }
    let tallies = most_tallies(&log);
    for jti in 3..50 {
        // The quota, in a tally of its own.
        refused(log.admit(&proof(1, jti, after(30)), after(1)), Reason::ReplayKeyQuota);
    }
    log.admit(&proof(2, 0, START), after(1)).unwrap();
    for jti in 1..50 {
        refused(log.admit(&proof(3, jti, after(30)), after(1)), Reason::ReplayFull);
        refused(log.admit(&proof(2, 0, after(30)), after(1)), Reason::ProofReplayed);
    }
    assert_eq!((log.entries(), most_tallies(&log)), (4, tallies));
    log.expire(after(125));
    assert_eq!((log.entries(), most_tallies(&log)), (0, 0));
    for jti in 3..6 {
        log.admit(&proof(1, jti, after(125)), after(125)).unwrap();
    }
    refused(log.admit(&proof(1, 6, after(125)), after(125)), Reason::ReplayKeyQuota);
    log.admit(&proof(3, 1, after(125)), after(125)).unwrap();
    refused(log.admit(&proof(3, 2, after(125)), after(125)), Reason::ReplayFull);
}

#[test]
fn a_renewed_proof_counts_and_needs_no_place() {
    let log = log_of(2, 2);
    log.admit(&proof(1, 1, START), START).unwrap();
    log.admit(&proof(2, 1, START), START).unwrap();
    // Over, not dropped: the same place is used, also of a log that is full.
    log.admit(&proof(1, 1, after(91)), after(91)).unwrap();
    assert_eq!(log.entries(), 2);
    log.expire(after(125));
    assert_eq!(log.entries(), 1);
    log.admit(&proof(1, 2, after(125)), after(125)).unwrap();
    refused(log.admit(&proof(1, 3, after(125)), after(125)), Reason::ReplayKeyQuota);
}

#[test]
fn a_large_log_uses_its_capacity_again_and_again() {
    let capacity = 64 * 1_024;
    let log = log_of(capacity, 1_000);
    for round in 0..3 {
        let now = after(200 * round);
        log.expire(now);
        assert_eq!(log.entries(), 0);
        let passed = (0..70_000).filter(|jti| log.admit(&proof((jti % 256) as u8, *jti, now), now).is_ok()).count();
        assert!((capacity - capacity / 64..=capacity).contains(&passed), "{passed} in round {round}");
        assert_eq!(log.entries(), passed);
    }
}

#[test]
fn an_idle_log_holds_nothing() {
    let log = log_of(100_000, 1_000);
    for jti in 0..20_000 {
        log.admit(&proof((jti % 256) as u8, jti, START), START).unwrap();
    }
    log.expire(after(125));
    for shard in &log.shards {
        let shard = lock(shard);
        assert_eq!((shard.buckets(), shard.tallies()), (0, 0));
    }
}

#[test]
fn what_is_over_is_dropped_from_among_what_is_not() {
    let log = log();
    for seconds in 0..90 {
        log.admit(&proof(1, seconds, after(seconds)), after(seconds)).unwrap();
    }
    log.expire(after(120));
    // Those from the seconds 0 to 29 are over; what ends at the very moment is not.
    assert_eq!(log.entries(), 60);
    for seconds in 0..90 {
        let reason = if seconds < 30 { Reason::ProofStale } else { Reason::ProofReplayed };
        refused(log.admit(&proof(1, seconds, after(seconds)), after(120)), reason);
    }
    // A moment later nothing is swept: it is too early.
    log.expire(after(122));
    assert_eq!(log.entries(), 60);
    log.expire(after(150));
    assert_eq!(log.entries(), 30);
}

#[test]
fn a_proof_is_known_to_the_last_millisecond_in_which_it_could_pass() {
    // More than a step, so that some of them end with theirs.
    for millis in 0..100 {
        let (log, issued_at) = (log(), START + Duration::from_millis(millis));
        let shown = proof(1, 1, issued_at);
        log.admit(&shown, issued_at).unwrap();
        let last = shown.accepted_until;
        refused(log.admit(&shown, last), Reason::ProofReplayed);
        log.expire(last);
        refused(log.admit(&shown, last), Reason::ProofReplayed);
    }
}

#[test]
fn what_another_key_holds_does_not_count() {
    let log = log_of(1_000, 10);
    let of_shard = |key: u8| log.secret.key(&[key; 32]).0 % SHARDS as u16;
    // Of 256 keys and as many shards, two share one; were they all apart, that would be as odd as a forged proof.
    let pairs = (0..=255_u8).flat_map(|one| (0..one).map(move |other| (one, other)));
    let (one, other) = pairs.into_iter().find(|(one, other)| of_shard(*one) == of_shard(*other)).unwrap();
    let (early, late) = (after(0), after(60));
    for jti in 0..6 {
        log.admit(&proof(one, jti, early), late).unwrap();
        log.admit(&proof(other, jti, late), late).unwrap();
    }
    assert_eq!(most_tallies(&log), 2);
    // Each has six of ten, though the busiest of both tallies make twelve.
    for key in [one, other] {
        log.admit(&proof(key, 6, late), late).unwrap();
    }
}
