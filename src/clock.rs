//! The only caller of the system's time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::UnixTime;

/// Tells the time. One method is enough, so that a test can move it by hand.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> UnixTime;

    /// The same in nanoseconds since the epoch, as fine as the clock goes: for what is laid beside the times of others.
    fn nanos(&self) -> u64 {
        u64::try_from(self.now().millis()).unwrap_or_default().saturating_mul(1_000_000)
    }
}

/// The host's wall clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    fn nanos(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Notices when the clock was set, by the time that passed in between.
#[derive(Debug, Default)]
pub struct ClockWatch(Mutex<Option<(Instant, UnixTime)>>);

impl ClockWatch {
    /// What a clock may be off before it is said to have been set.
    const TOLERANCE: f64 = 1.0;

    /// How far the clock was set since the last call, in seconds; negative: back. Asked about once a second.
    pub fn jumped(&self, now: UnixTime) -> Option<f64> {
        self.compare(Instant::now(), now)
    }

    fn compare(&self, steady: Instant, now: UnixTime) -> Option<f64> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace((steady, now));
        let (steady_then, then) = last?;
        let by = now.seconds_since(then) - steady.saturating_duration_since(steady_then).as_secs_f64();
        (by.abs() >= Self::TOLERANCE).then_some(by)
    }
}

/// A clock that stands still until it is moved; for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at `now`.
    pub fn at(now: UnixTime) -> Self {
        Self(AtomicI64::new(now.millis()))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Jumps anywhere, backwards too.
    pub fn set(&self, now: UnixTime) {
        self.0.store(now.millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_once() {
        let (watch, start) = (ClockWatch::default(), Instant::now());
        let at = |steady_ms, wall_ms| {
            watch.compare(start + Duration::from_millis(steady_ms), UnixTime::from_millis(wall_ms))
        };
        assert_eq!(at(0, 1_000_000), None);
        assert_eq!(at(1_000, 1_001_000), None);
        // Late, but on both clocks.
        assert_eq!(at(9_000, 1_009_999), None);
        assert_eq!(at(10_000, 4_611_000), Some(3_600.001));
        assert_eq!(at(11_000, 4_612_000), None);
        assert_eq!(at(12_000, 4_612_000), Some(-1.0));
        assert_eq!(at(13_000, 4_613_000), None);
    }
}
