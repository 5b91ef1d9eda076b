//! How many fetches requests may cause: a token bucket. Pure; the time is an argument.

use std::time::Duration;

use crate::time::UnixTime;

/// A few at once, then one more for every `every`.
#[derive(Debug)]
pub(super) struct Allowance {
    every: i64,
    /// In milliseconds of waiting: what `burst` times `every` amounts to.
    most: i64,
    credit: i64,
    asked: Option<UnixTime>,
}

impl Allowance {
    /// Full.
    pub(super) fn new(burst: u32, every: Duration) -> Self {
        let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
        let most = every.saturating_mul(i64::from(burst));
        Self { every, most, credit: most, asked: None }
    }

    /// Takes one, if there is one. A clock that is set back gives nothing and takes nothing.
    pub(super) fn take(&mut self, now: UnixTime) -> bool {
        let passed = self.asked.map_or(0, |asked| now.millis().saturating_sub(asked.millis()).max(0));
        self.asked = Some(now);
        self.credit = self.credit.saturating_add(passed).min(self.most);
        let granted = self.credit >= self.every;
        if granted {
            self.credit -= self.every;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixTime {
        UnixTime::from_secs(1_000_000 + seconds)
    }

    fn granted(allowance: &mut Allowance, now: UnixTime) -> usize {
        (0..100).filter(|_| allowance.take(now)).count()
    }

    #[test]
    fn a_flood_gets_a_burst_and_then_one_at_a_time() {
        let mut allowance = Allowance::new(3, Duration::from_secs(5));
        assert_eq!(granted(&mut allowance, at(0)), 3);
        assert_eq!(granted(&mut allowance, at(4)), 0);
        assert_eq!(granted(&mut allowance, at(5)), 1);
        let in_an_hour: usize = (6..3_606).map(|second| granted(&mut allowance, at(second))).sum();
        assert_eq!(in_an_hour, 720);
    }

    #[test]
    fn a_pause_fills_it_and_no_more() {
        let mut allowance = Allowance::new(3, Duration::from_secs(5));
        assert_eq!(granted(&mut allowance, at(0)), 3);
        assert_eq!(granted(&mut allowance, at(86_400)), 3);
    }

    #[test]
    fn a_clock_that_steps_neither_floods_nor_starves() {
        let mut allowance = Allowance::new(3, Duration::from_secs(5));
        assert_eq!(granted(&mut allowance, at(0)), 3);
        assert_eq!(granted(&mut allowance, at(-300)), 0);
        assert_eq!(granted(&mut allowance, at(-295)), 1);
        assert_eq!(granted(&mut allowance, UnixTime::from_millis(i64::MAX)), 3);
        assert_eq!(granted(&mut allowance, UnixTime::from_millis(i64::MIN)), 0);
    }
}
