//! How the time line is cut.

use crate::time::UnixTime;

/// Into how many tallies the longest stay of a proof is cut: a key's quota is given back that much later.
pub(super) const CUTS: i64 = 4;

const STEPS_OF_A_TALLY: i64 = 1 << 10;
const STEPS_OF_A_BUCKET: i64 = 1 << 16;

/// Steps, in which proofs end; tallies, in which keys are counted; buckets, in which proofs lie. All begin at
/// multiples of their length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Milliseconds, at least 1.
    step: i64,
}

impl Grid {
    /// For proofs that stay for `longest` milliseconds.
    pub(super) const fn of_stay(longest: i64) -> Self {
        Self { step: longest / (CUTS * STEPS_OF_A_TALLY) + 1 }
    }

    /// The number of the step that `moment` lies in: the one division on a request's way.
    pub(super) const fn step(self, moment: UnixTime) -> i64 {
        moment.millis().div_euclid(self.step)
    }

    /// The number of the tally that a step lies in.
    pub(super) const fn tally(step: i64) -> i64 {
        step.div_euclid(STEPS_OF_A_TALLY)
    }

    /// The number of the bucket that a step lies in, half an hour long at the default rules, and which of its steps it is.
    pub(super) fn bucket(step: i64) -> (i64, u16) {
        let within = u16::try_from(step.rem_euclid(STEPS_OF_A_BUCKET)).unwrap_or(u16::MAX);
        (step.div_euclid(STEPS_OF_A_BUCKET), within)
    }

    /// The last millisecond of a step of a bucket.
    pub(super) const fn end(self, bucket: i64, step: u16) -> i64 {
        let steps = bucket.saturating_mul(STEPS_OF_A_BUCKET).saturating_add(step as i64 + 1);
        steps.saturating_mul(self.step).saturating_sub(1)
    }

    /// Whether `moment` is not before the end of a tally.
    pub(super) const fn is_past(self, tally: i64, moment: UnixTime) -> bool {
        Self::tally(self.step(moment)) > tally
    }

    /// How long what is over may lie about, in milliseconds. Sweeping more often takes more time; a table has
    /// room for what comes meanwhile.
    pub(super) const fn patience(self) -> i64 {
        self.step.saturating_mul(STEPS_OF_A_TALLY * 3 / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_lies_about_for_less_than_a_tally_and_is_not_swept_all_the_time() {
        let grid = Grid::of_stay(120_000);
        let tally = grid.step * STEPS_OF_A_TALLY;
        assert!((tally / 2..tally).contains(&grid.patience()), "{} of {tally}", grid.patience());
    }

    #[test]
    fn a_step_never_ends_before_what_lies_in_it() {
        let grid = Grid::of_stay(120_000);
        for millis in (-4_000_000..4_000_000).step_by(7) {
            let moment = UnixTime::from_millis(millis);
            let (bucket, step) = Grid::bucket(grid.step(moment));
            let end = grid.end(bucket, step);
            assert!((millis..millis + 30).contains(&end), "{millis}: {end}");
        }
    }
}
