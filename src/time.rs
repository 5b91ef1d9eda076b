//! A point in time as a value. Pure code is handed one; only `clock` makes one from the system.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored (RFC 7519 §2, NumericDate).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// From whole seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From a NumericDate: finite, not negative, and small enough to be a date at all (below the
    /// year 10000). Anything else is `None`, so that no comparison ever meets a NaN.
    pub fn from_numeric_date(seconds: f64) -> Option<Self> {
        const YEAR_10000: f64 = 253_402_300_800.0;
        // `-0` is a negative spelling that no clock writes.
        let representable = seconds.is_finite() && seconds.is_sign_positive() && seconds < YEAR_10000;
        #[expect(clippy::cast_possible_truncation, reason = "below 2.6e14 by the check above")]
        representable.then_some(Self((seconds * 1000.0) as i64))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long ago `earlier` was, in seconds; negative when it lies ahead.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "differences are minutes, not aeons")]
        let millis = self.0.saturating_sub(earlier.0) as f64;
        millis / 1000.0
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for UnixTime {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(millis(rhs)))
    }
}

impl Sub<Duration> for UnixTime {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(millis(rhs)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_date_may_have_a_fraction() {
        assert_eq!(UnixTime::from_numeric_date(1.25), Some(UnixTime::from_millis(1250)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for bad in [-1.0, -0.0, f64::NAN, f64::INFINITY, 9.3e18, 1_700_000_000_000.0] {
            assert_eq!(UnixTime::from_numeric_date(bad), None, "{bad}");
        }
    }
}
