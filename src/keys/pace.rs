//! When keys are refreshed next. Pure but for the dice.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use super::KeySource;
use super::fetch::Limits;

/// All the durations of this station.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Bounds on each fetch.
    pub(super) limits: Limits,
    /// How long a request waits for the fetch that it asked for.
    pub(super) patience: Duration,
    /// How many fetches requests may cause at once.
    pub(super) burst: u32,
    /// And then one more each.
    pub(super) every: Duration,
    /// Between two fetches of an issuer that says nothing about caching.
    pub(super) interval: Duration,
    /// What an issuer may say about caching.
    pub(super) shortest: Duration,
    /// See `shortest`.
    pub(super) longest: Duration,
    /// Between two looks at a file.
    pub(super) file_interval: Duration,
    /// After a first failure; doubled with each further one.
    pub(super) first_retry: Duration,
    /// Up to this.
    pub(super) last_retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            patience: Duration::from_millis(2_500),
            burst: 3,
            every: Duration::from_secs(5),
            interval: Duration::from_mins(5),
            shortest: Duration::from_mins(1),
            longest: Duration::from_hours(1),
            file_interval: Duration::from_secs(5),
            first_retry: Duration::from_millis(250),
            last_retry: Duration::from_secs(30),
        }
    }
}

impl Pace {
    /// How long to wait after a success: until four fifths of what the issuer says have passed, so that its
    /// keys are replaced before they are old.
    pub(super) fn after_success(&self, source: &KeySource, fresh_for: Option<Duration>) -> Duration {
        match (source, fresh_for) {
            (KeySource::File(_), _) => self.file_interval,
            (_, Some(fresh_for)) => fresh_for.clamp(self.shortest, self.longest) * 4 / 5,
            (_, None) => self.interval,
        }
    }

    /// How long to wait after `failures` in a row, at least one.
    pub(super) fn after_failures(&self, source: &KeySource, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let most = match source {
            KeySource::File(_) => self.file_interval,
            KeySource::Discover | KeySource::Uri(_) => self.last_retry,
        };
        self.first_retry.saturating_mul(doubled).min(most)
    }
}

/// Up to a tenth less, so that replicas which started together do not fetch together for ever.
pub(super) fn jittered(duration: Duration) -> Duration {
    let dice = RandomState::new().hash_one(()) % 101;
    let less = duration / 1_000 * u32::try_from(dice).unwrap_or(0);
    duration.saturating_sub(less)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> KeySource {
        KeySource::Discover
    }

    #[test]
    fn the_issuer_is_asked_before_its_keys_are_old() {
        let pace = Pace::default();
        let seconds = |said: u64| pace.after_success(&source(), Some(Duration::from_secs(said))).as_secs();
        assert_eq!([seconds(0), seconds(60), seconds(600), seconds(999_999)], [48, 48, 480, 2_880]);
        assert_eq!(pace.after_success(&source(), None).as_secs(), 300);
        assert_eq!(pace.after_success(&KeySource::File("x".into()), Some(Duration::MAX)).as_secs(), 5);
    }

    #[test]
    fn retries_slow_down() {
        let pace = Pace::default();
        let millis: Vec<_> = (1..12).map(|n| pace.after_failures(&source(), n).as_millis()).collect();
        assert_eq!(millis, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000]);
        assert_eq!(pace.after_failures(&source(), u32::MAX).as_secs(), 30);
        assert_eq!(pace.after_failures(&KeySource::File("x".into()), u32::MAX).as_secs(), 5);
    }

    #[test]
    fn jitter_takes_away_a_tenth_at_most() {
        let minute = Duration::from_mins(1);
        let waits: Vec<_> = (0..200).map(|_| jittered(minute)).collect();
        assert!(waits.iter().all(|wait| (54_000..=60_000).contains(&wait.as_millis())));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
