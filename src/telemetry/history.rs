//! How counters went in the last minutes, for who looks at the gateway without a Prometheus. A sample about once a second,
//! off the requests' way.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::totals::Totals;
use crate::time::UnixTime;

/// Seconds that are kept.
const KEPT: usize = 300;

/// Seconds over which refusals are told by reason.
const BY_REASON: usize = 60;

/// Seconds over which the present rates are told.
const PRESENT: f64 = 10.0;

/// Seconds of one step of the series.
const STEP: u64 = 3;

/// How counters went.
#[derive(Debug, Default)]
pub struct History(Mutex<VecDeque<Sample>>);

#[derive(Debug)]
struct Sample {
    /// Counts up, so that a step begins and ends where it did, whoever looks when.
    number: u64,
    at: UnixTime,
    requests: u64,
    refusals: u64,
    /// Of the newest samples alone.
    refused: Vec<u64>,
}

/// Rates of a moment, each second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Its end.
    pub at: UnixTime,
    /// Requests.
    pub requests: f64,
    /// Those that were refused.
    pub refused: f64,
}

/// The last minutes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recently {
    /// The last seconds; `None`: there are not enough of them yet.
    pub now: Option<Moment>,
    /// Step by step, the oldest first.
    pub series: Vec<Moment>,
    /// Seconds that `refused` tells of.
    pub seconds: f64,
    /// Refusals within them, by [`crate::refusal::Reason`].
    pub refused: Vec<u64>,
}

impl History {
    /// Takes a sample.
    pub fn sample(&self, totals: Totals, at: UnixTime) {
        let refusals = totals.refusals();
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = samples.back().map_or(0, |last| last.number + 1);
        let sample = Sample { number, at, requests: totals.requests, refusals, refused: totals.refused };
        // A clock that was set back tells nothing about rates.
        if samples.back().is_some_and(|last| last.at >= at) {
            samples.clear();
        }
        if samples.len() > KEPT {
            samples.pop_front();
        }
        let by_reason = samples.len().checked_sub(BY_REASON + 1);
        if let Some(sample) = by_reason.and_then(|index| samples.get_mut(index)) {
            sample.refused = Vec::new();
        }
        samples.push_back(sample);
    }

    /// Tells how they went.
    pub fn recently(&self) -> Recently {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = samples.back() else { return Recently::default() };
        let before = |seconds: f64| samples.iter().find(|sample| last.at.seconds_since(sample.at) <= seconds);
        let marks: Vec<&Sample> = samples.iter().filter(|sample| sample.number % STEP == 0).collect();
        let minute = samples.iter().find(|sample| !sample.refused.is_empty()).unwrap_or(last);
        let counts = last.refused.iter().zip(&minute.refused);
        Recently {
            now: before(PRESENT).and_then(|first| Moment::between(first, last)),
            series: marks.windows(2).filter_map(|pair| Moment::between(pair.first()?, pair.get(1)?)).collect(),
            seconds: last.at.seconds_since(minute.at),
            refused: counts.map(|(now, then)| now.saturating_sub(*then)).collect(),
        }
    }
}

impl Moment {
    fn between(first: &Sample, last: &Sample) -> Option<Self> {
        let seconds = last.at.seconds_since(first.at);
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        (seconds > 0.0).then(|| Self {
            at: last.at,
            requests: rate(last.requests, first.requests),
            refused: rate(last.refusals, first.refusals),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64, refused: u64) -> Totals {
        Totals { requests, refused: vec![0, refused], ..Totals::default() }
    }

    #[test]
    fn rates_come_from_counters() {
        let history = History::default();
        assert_eq!(history.recently(), Recently::default());
        for second in 0..=100 {
            history.sample(totals(10 * second, 2 * second), UnixTime::from_secs(1000 + i64::try_from(second).unwrap()));
        }
        let recently = history.recently();
        let moment = Moment { at: UnixTime::from_secs(1100), requests: 10.0, refused: 2.0 };
        assert_eq!(recently.now, Some(moment));
        assert_eq!(recently.series.len(), 33);
        let last = Moment { at: UnixTime::from_secs(1099), ..moment };
        assert_eq!(recently.series.last(), Some(&last));
        assert!(recently.series.windows(2).all(|pair| pair[0].at < pair[1].at));
        assert_eq!((recently.seconds, &recently.refused), (60.0, &vec![0, 120]));
    }

    #[test]
    fn old_samples_go_and_a_clock_that_is_set_back_begins_anew() {
        let history = History::default();
        for second in 0..1000 {
            history.sample(totals(1, 0), UnixTime::from_secs(second));
        }
        let kept = || history.0.lock().unwrap().len();
        assert_eq!(kept(), KEPT + 1);
        assert_eq!(history.0.lock().unwrap().iter().filter(|sample| !sample.refused.is_empty()).count(), BY_REASON + 1);
        history.sample(totals(5, 0), UnixTime::from_secs(7));
        assert_eq!((kept(), history.recently().now), (1, None));
    }
}
