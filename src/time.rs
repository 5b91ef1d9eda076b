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

    /// As RFC 3339 §5.6 writes it, in UTC. The end of a year that four digits cannot name stands for all beyond.
    pub fn rfc3339(self) -> Rfc3339 {
        Rfc3339::of(self)
    }

    /// How long ago `earlier` was, in seconds; negative when it lies ahead.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "differences are minutes, not aeons")]
        let millis = self.0.saturating_sub(earlier.0) as f64;
        millis / 1000.0
    }
}

/// A point in time in words: `2026-11-22T12:43:34.309Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rfc3339([u8; 24]);

impl Rfc3339 {
    fn of(time: UnixTime) -> Self {
        const DAY: i64 = 86_400_000;
        const YEAR_0: i64 = -719_528 * DAY;
        const YEAR_10000: i64 = 2_932_897 * DAY;
        let millis = time.0.clamp(YEAR_0, YEAR_10000 - 1);
        let (year, month, day) = civil(millis.div_euclid(DAY));
        let of_day = millis.rem_euclid(DAY);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (end, digits, value) in [
            (4, 4, year),
            (7, 2, month),
            (10, 2, day),
            (13, 2, of_day / 3_600_000),
            (16, 2, of_day / 60_000 % 60),
            (19, 2, of_day / 1000 % 60),
            (23, 3, of_day % 1000),
        ] {
            let mut value = value;
            for room in text[end - digits..end].iter_mut().rev() {
                *room = b"0123456789"[usize::try_from(value % 10).unwrap_or_default()];
                value /= 10;
            }
        }
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // ASCII, as it was written.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Year, month and day of a day since 1970-01-01, by the Gregorian calendar. Counted from a 1st of March, so that the
/// leap day is the last of its year; 400 years have the same number of days each.
const fn civil(day: i64) -> (i64, i64, i64) {
    const DAYS_400_YEARS: i64 = 146_097;
    let from_march = day + 719_468;
    let (era, of_era) = (from_march.div_euclid(DAYS_400_YEARS), from_march.rem_euclid(DAYS_400_YEARS));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    // March to July and August to December have 153 days each.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
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
    use proptest::prelude::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn dates_are_written_as_the_calendar_has_them() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_351_414_309, "2026-11-22T12:43:34.309Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
            (1_740_787_200_000, "2025-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(UnixTime::from_millis(millis).rfc3339().as_str(), text);
        }
    }

    proptest! {
        #[test]
        fn dates_are_written_as_others_write_them(millis in 0..253_402_300_800_000_u64) {
            let other = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string();
            let own = UnixTime::from_millis(millis as i64).rfc3339();
            prop_assert_eq!(own.as_str(), other);
        }
    }

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
