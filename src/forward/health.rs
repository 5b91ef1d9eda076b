//! Which endpoints of an upstream are used: what checks say of them, and how often connections to them fail.
//!
//! An endpoint is left out while its checks fail, and for a time after connections to it failed again and again. When
//! that leaves none, all are used: a wrong check must not take down what still works.

use std::time::{Duration, Instant};

/// Connections in a row that fail before an endpoint is left out.
pub const STRIKES: u32 = 5;
/// For how long, the first time.
pub const SHORTEST: Duration = Duration::from_secs(10);
/// It doubles each time that the endpoint was no better afterwards, up to this.
pub const LONGEST: Duration = Duration::from_mins(5);

/// What is known of the endpoints of one upstream.
#[derive(Debug)]
pub struct Health {
    endpoints: Vec<State>,
    healthy_after: u32,
    unhealthy_after: u32,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Checks say that it is not well.
    unwell: bool,
    /// Checks in a row that went well, or that did not.
    passed: u32,
    failed: u32,
    /// Left out until then, because of its connections.
    ejected: Option<Instant>,
    /// How often in a row that was of no help.
    ejections: u32,
}

impl State {
    const fn is_used(&self) -> bool {
        !self.unwell && self.ejected.is_none()
    }
}

/// An endpoint is used from now on, or is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is used again.
    Used,
    /// It is not, for this reason.
    LeftOut(String),
}

impl Health {
    /// All are used. The numbers are of checks in a row.
    pub fn new(endpoints: usize, healthy_after: u32, unhealthy_after: u32) -> Self {
        Self { endpoints: vec![State::default(); endpoints], healthy_after, unhealthy_after }
    }

    /// A bit for each endpoint that is used.
    pub fn used(&self) -> u64 {
        let bits = self.endpoints.iter().enumerate().filter(|(_, state)| state.is_used());
        bits.fold(0, |used, (index, _)| used | 1 << index)
    }

    /// A connection to an endpoint could not be had, for the `strikes`th time in a row. No more than half of the
    /// endpoints are left out for that.
    pub fn struck(&mut self, index: usize, strikes: u32, now: Instant) -> Option<Change> {
        let ejected = self.endpoints.iter().filter(|state| state.ejected.is_some()).count();
        // Of the others, one at least must be well: a bad one is better than one that is known to be worse.
        let mut others = self.endpoints.iter().enumerate().filter(|(other, _)| *other != index);
        let room = ejected < self.endpoints.len() / 2 && others.any(|(_, state)| state.is_used());
        let state = self.endpoints.get_mut(index)?;
        if strikes < STRIKES || state.ejected.is_some() || !room {
            return None;
        }
        if strikes == STRIKES {
            // It worked since the last time.
            state.ejections = 0;
        }
        let length = SHORTEST.saturating_mul(1 << state.ejections.min(16)).min(LONGEST);
        let was_used = state.is_used();
        state.ejected = Some(now + length);
        state.ejections += 1;
        state.passed = 0;
        let length = humantime::format_duration(length);
        let why = || format!("{STRIKES} connections in a row failed; it is left out for {length}");
        was_used.then(|| Change::LeftOut(why()))
    }

    /// Lets those back whose time is over.
    pub fn expire(&mut self, now: Instant) -> Vec<usize> {
        let mut back = Vec::new();
        for (index, state) in self.endpoints.iter_mut().enumerate() {
            if state.ejected.is_some_and(|until| until <= now) {
                state.ejected = None;
                if state.is_used() {
                    back.push(index);
                }
            }
        }
        back
    }

    /// A check of an endpoint ended. Enough of them that went well let it back, whatever it was left out for.
    pub fn checked(&mut self, index: usize, outcome: Result<(), String>) -> Option<Change> {
        let (healthy_after, unhealthy_after) = (self.healthy_after, self.unhealthy_after);
        let state = self.endpoints.get_mut(index)?;
        let was_used = state.is_used();
        let Err(why) = outcome else {
            (state.passed, state.failed) = (state.passed.saturating_add(1), 0);
            if state.passed >= healthy_after {
                (state.unwell, state.ejected) = (false, None);
            }
            return (!was_used && state.is_used()).then_some(Change::Used);
        };
        (state.passed, state.failed) = (0, state.failed.saturating_add(1));
        state.unwell |= state.failed >= unhealthy_after;
        (was_used && state.unwell).then(|| Change::LeftOut(format!("its health checks fail: {why}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> (Health, Instant) {
        (Health::new(4, 2, 3), Instant::now())
    }

    fn ejected(change: Option<Change>) -> Duration {
        let Some(Change::LeftOut(why)) = change else { panic!("{change:?}") };
        humantime::parse_duration(why.split("left out for ").nth(1).unwrap()).unwrap()
    }

    fn check(health: &mut Health, index: usize, well: bool) -> Option<Change> {
        health.checked(index, if well { Ok(()) } else { Err("status 503".to_owned()) })
    }

    #[test]
    fn an_endpoint_is_left_out_after_enough_failures_for_a_time_that_grows() {
        let (mut health, mut now) = four();
        assert_eq!(health.struck(1, STRIKES - 1, now), None);
        let mut lengths = Vec::new();
        for strikes in STRIKES..STRIKES + 8 {
            let length = ejected(health.struck(1, strikes, now));
            assert_eq!((health.used(), health.struck(1, strikes, now)), (0b1101, None));
            assert!(health.expire(now + length - Duration::from_millis(1)).is_empty());
            now += length;
            assert_eq!((health.expire(now), health.used()), (vec![1], 0b1111));
            lengths.push(length.as_secs());
        }
        assert_eq!(lengths, [10, 20, 40, 80, 160, 300, 300, 300]);
        // After one connection that worked.
        assert_eq!(ejected(health.struck(1, STRIKES, now)), SHORTEST);
    }

    #[test]
    fn no_more_than_half_are_left_out_for_their_connections() {
        let (mut health, now) = four();
        for index in 0..4 {
            health.struck(index, STRIKES, now);
        }
        assert_eq!(health.used(), 0b1100);
        assert_eq!(Health::new(1, 2, 3).struck(0, 100, now), None);
        let mut three = Health::new(3, 2, 3);
        assert!(three.struck(2, STRIKES, now).is_some() && three.struck(0, STRIKES, now).is_none());
    }

    #[test]
    fn checks_decide_when_enough_of_them_agree() {
        let (mut health, _) = four();
        let say = |health: &mut Health, wells: &[bool]| -> Vec<_> {
            wells.iter().map(|well| check(health, 0, *well)).collect()
        };
        assert!(say(&mut health, &[false, false, true, false, false]).iter().all(Option::is_none));
        let why = "its health checks fail: status 503".to_owned();
        assert_eq!(check(&mut health, 0, false), Some(Change::LeftOut(why)));
        assert!(say(&mut health, &[false, true, false, true]).iter().all(Option::is_none));
        assert_eq!(health.used(), 0b1110);
        assert_eq!((check(&mut health, 0, true), health.used()), (Some(Change::Used), 0b1111));
        // Unlike failed connections, checks may leave none.
        for index in 0..4 {
            (0..3).for_each(|_| _ = check(&mut health, index, false));
        }
        assert_eq!(health.used(), 0);
    }

    #[test]
    fn good_checks_after_failed_connections_let_an_endpoint_back() {
        let (mut health, now) = four();
        check(&mut health, 2, true);
        check(&mut health, 2, true);
        health.struck(2, STRIKES, now);
        assert_eq!((check(&mut health, 2, true), check(&mut health, 2, true)), (None, Some(Change::Used)));
        // What is back is not let back again, and what is unwell does not come back by time.
        assert!(health.expire(now + LONGEST).is_empty());
        health.struck(2, STRIKES, now);
        (0..3).for_each(|_| assert_eq!(check(&mut health, 2, false), None));
        assert_eq!((health.expire(now + LONGEST), health.used()), (Vec::new(), 0b1011));
    }
}
