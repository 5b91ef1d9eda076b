use super::*;

/// Runs `act` on `threads` threads that start together, and tells how many succeeded.
fn at_once(threads: u64, act: impl Fn(u64) -> Result<(), Refusal> + Sync) -> usize {
    let (barrier, passed) = (Barrier::new(threads as usize), AtomicUsize::new(0));
    thread::scope(|scope| {
        for index in 0..threads {
            let (barrier, passed, act) = (&barrier, &passed, &act);
            scope.spawn(move || {
                barrier.wait();
                match act(index) {
                    Ok(()) => {
                        passed.fetch_add(1, SeqCst);
                    }
                    Err(refusal) => assert_eq!(refusal.reason(), Reason::ProofReplayed),
                }
            });
        }
    });
    passed.load(SeqCst)
}

#[test]
fn of_fifty_copies_at_once_one_passes() {
    let log = log();
    for round in 0..40 {
        let passed = at_once(50, |_| log.admit(&proof(1, round, START), START));
        assert_eq!(passed, 1);
    }
    assert_eq!(log.entries(), 40);
}

#[test]
fn of_copies_signed_again_at_once_one_passes() {
    let log = log_of(100_000, 100_000);
    for round in 0..400 {
        // Every iat in a tally of its own, and the first round opens them.
        let now = after(60 + 200 * (round / 100));
        let issued = |index| now - Duration::from_mins(1) + Duration::from_secs(30 * index);
        let passed = at_once(4, |index| log.admit(&proof(1, round, issued(index)), now));
        assert_eq!(passed, 1, "in round {round}");
        let again = (0..4).filter(|index| log.admit(&proof(1, round, issued(*index)), now).is_ok()).count();
        assert_eq!(again, 0);
    }
    assert_eq!(log.entries(), 400);
}

#[test]
fn expiry_at_the_same_time_lets_nothing_pass_twice() {
    let log = log_of(1_000_000, 1_000_000);
    let ends = [Duration::ZERO, Duration::from_millis(100), Duration::from_secs(29)];
    for round in 0..300_u64 {
        let iat = after(200 * round);
        let late = iat + Duration::from_secs(90);
        let passed = at_once(4, |index| {
            if index == 0 {
                // A clock that runs ahead of the requests', so that it drops what they are about to use.
                log.expire(late + Duration::from_mins(1));
                return Err(Reason::ProofReplayed.into());
            }
            let end = ends[(index as usize + round as usize) % 3];
            log.admit(&proof(1, round, iat), late - end).map_err(|_| Reason::ProofReplayed.into())
        });
        assert!(passed <= 1);
        assert!(log.admit(&proof(1, round, iat), late).is_err() || passed == 0);
    }
}

#[test]
fn quotas_and_capacity_hold_against_many_at_once() {
    for (capacity, per_key) in [(100, 1_000), (1_000, 100)] {
        let log = log_of(capacity, per_key);
        let passed = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..8 {
                let (log, passed) = (&log, &passed);
                scope.spawn(move || {
                    for jti in 0..50 {
                        let iat = after(jti % 90);
                        if log.admit(&proof(1, 1_000 * thread + jti, iat), after(60)).is_ok() {
                            passed.fetch_add(1, SeqCst);
                        }
                    }
                });
            }
        });
        let passed = passed.load(SeqCst);
        assert_eq!((passed, log.entries()), (100, 100));
    }
}
