//! A token bucket by the generic cell rate algorithm (ITU-T I.371 §A): all that is kept of a bucket is the moment at
//! which it will be full again. Integers only, so that nothing drifts.

use std::fmt;
use std::time::Duration;

use crate::time::UnixTime;

/// A moment in nanoseconds since the epoch; enough until the year 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Moment(i64);

impl Moment {
    /// Before everything: a bucket that nobody has used.
    pub(super) const LONG_AGO: Self = Self(i64::MIN);

    pub(super) const fn plus(self, nanoseconds: i64) -> Self {
        Self(self.0.saturating_add(nanoseconds))
    }

    /// How long after `earlier`, in nanoseconds.
    pub(super) const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<UnixTime> for Moment {
    fn from(time: UnixTime) -> Self {
        Self(time.millis().saturating_mul(1_000_000))
    }
}

/// The longest interval, in nanoseconds: with the largest burst, a bucket is still full again before [`Moment`]s end.
const LONGEST: i64 = 60_000_000_000;

/// So many in a time, and so many at once: in any window of `t`, at most `burst + t / interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds in which one comes back, rounded up.
    interval: i64,
    burst: u32,
}

impl Rate {
    /// The largest number of requests, and of a burst.
    pub const MOST: u32 = 1_000_000;

    /// `count` in `time`, and `burst` at once. Both are at least 1 and at most [`Rate::MOST`].
    pub fn new(count: u32, time: Duration, burst: u32) -> Self {
        let (count, burst) = (count.clamp(1, Self::MOST), burst.clamp(1, Self::MOST));
        let interval = time.as_nanos().div_ceil(u128::from(count)).max(1);
        Self { interval: i64::try_from(interval).unwrap_or(LONGEST).min(LONGEST), burst }
    }

    /// From empty to full, in nanoseconds.
    pub(super) fn span(self) -> i64 {
        self.interval.saturating_mul(i64::from(self.burst))
    }

    /// What one request takes, in nanoseconds.
    pub(super) const fn interval(self) -> i64 {
        self.interval
    }

    /// When a bucket that is said to be full at `full` will be: no later than an empty one. What seems to need longer was
    /// used before the clock was set back.
    pub(super) fn settle(self, full: Moment, now: Moment) -> Moment {
        full.min(now.plus(self.span()))
    }

    /// Takes one out of a bucket that will be full at `full`: when it will be full then.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(self, full: Moment, now: Moment) -> Result<Moment, Duration> {
        // Fuller than full it never is.
        let then = self.settle(full, now).max(now).plus(self.interval);
        match u64::try_from(then.since(now).saturating_sub(self.span())) {
            Ok(wait @ 1..) => Err(Duration::from_nanos(wait)),
            Ok(0) | Err(_) => Ok(then),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = Duration::from_nanos(self.interval.unsigned_abs());
        write!(f, "at most {} requests at once, then one in {interval:?}", self.burst)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_800_000_000_000;

    fn at(millis: i64) -> Moment {
        Moment::from(UnixTime::from_millis(START + millis))
    }

    #[test]
    fn a_burst_and_then_one_by_one() {
        let rate = Rate::new(4, Duration::from_secs(1), 3);
        let mut full = Moment::LONG_AGO;
        for _ in 0..3 {
            full = rate.take(full, at(0)).unwrap();
        }
        assert_eq!(rate.take(full, at(0)), Err(Duration::from_millis(250)));
        assert_eq!(rate.take(full, at(249)), Err(Duration::from_millis(1)));
        full = rate.take(full, at(250)).unwrap();
        assert_eq!(rate.take(full, at(250)), Err(Duration::from_millis(250)));
        // After three quarters of a second it is as it was.
        for _ in 0..3 {
            full = rate.take(full, at(1000)).unwrap();
        }
        assert!(rate.take(full, at(1000)).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_empties_a_bucket_and_no_more() {
        let rate = Rate::new(10, Duration::from_secs(1), 20);
        let full = rate.take(Moment::LONG_AGO, at(3_600_000)).unwrap();
        // An hour back: not an hour of waiting, and not a full bucket either.
        assert_eq!(rate.take(full, at(0)), Err(Duration::from_millis(100)));
        let settled = rate.settle(full, at(0));
        assert_eq!(settled, at(2000));
        assert!(rate.take(settled, at(99)).is_err() && rate.take(settled, at(100)).is_ok());
        assert_eq!(rate.settle(at(-5), at(0)), at(-5));
    }

    #[test]
    fn any_numbers_make_a_rate() {
        for count in 1..2000 {
            let interval = Rate::new(count, Duration::from_secs(1), 1).interval();
            let all = interval * i64::from(count);
            assert!((1_000_000_000..1_000_000_000 + i64::from(count)).contains(&all), "rounded up: {count}");
        }
        for (count, time, burst) in [(0, 1, 0), (u32::MAX, 1, u32::MAX), (1, u64::MAX, u32::MAX), (1, 0, 1)] {
            let rate = Rate::new(count, Duration::from_secs(time), burst);
            let full = rate.take(Moment::LONG_AGO, at(0)).unwrap();
            assert!(full > at(0) && rate.span() > 0 && full <= at(0).plus(rate.span()));
        }
    }

    proptest! {
        #[test]
        fn no_window_sees_more_than_burst_and_rate(
            count in 1..2000_u32,
            per_second in any::<bool>(),
            burst in 1..50_u32,
            steps in proptest::collection::vec(prop_oneof![4 => 0..3_i64, 2 => 0..100_i64, 1 => 0..5000_i64], 1..300),
        ) {
            let time = Duration::from_secs(if per_second { 1 } else { 60 });
            let rate = Rate::new(count, time, burst);
            let (mut now, mut full, mut taken) = (0, Moment::LONG_AGO, Vec::new());
            for step in steps {
                now += step;
                match rate.take(full, at(now)) {
                    Ok(then) => {
                        full = then;
                        taken.push(now);
                    }
                    // Not earlier than said, and then certainly.
                    Err(wait) => {
                        let wait = i64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(rate.take(full, at(now).plus(wait - 1)).is_err());
                        prop_assert!(rate.take(full, at(now).plus(wait)).is_ok());
                    }
                }
            }
            for (index, first) in taken.iter().enumerate() {
                for (length, last) in (1_u128..).zip(&taken[index..]) {
                    let window = u128::try_from(last - first).unwrap() * 1_000_000;
                    let most = u128::from(burst) + window * u128::from(count) / time.as_nanos();
                    prop_assert!(length <= most, "{} in {} ns, at most {}", length, window, most);
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(count in 1..2000_u32, burst in 1..50_u32, times in 1..500_u32) {
            let rate = Rate::new(count, Duration::from_secs(1), burst);
            let mut full = Moment::LONG_AGO;
            for number in 0..times {
                let now = at(0).plus(rate.interval() * i64::from(number));
                full = rate.take(full, now).unwrap();
            }
        }
    }
}
