//! What a gateway remembers for as long as its process lives, whatever becomes of its configuration. Above all the log of
//! spent proofs: a proof that was spent stays spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::rand;

use super::state::GatewayError;
use crate::clock::{Clock, ClockWatch};
use crate::replay::{Questions, ReplayLog, ReplaySettings};
use crate::request::RequestId;
use crate::telemetry::{History, Observations, RecentRefusals};
use crate::time::UnixTime;
use crate::verify::ProofRules;

pub(super) struct Lasting {
    pub(super) replay: Arc<ReplayLog>,
    pub(super) questions: Questions,
    pub(super) observations: Observations,
    pub(super) refusals: Arc<RecentRefusals>,
    pub(super) history: History,
    started: UnixTime,
    draining: AtomicBool,
    /// Whether requests could be sent here once.
    was_ready: AtomicBool,
    clock_watch: ClockWatch,
    jumps: AtomicU64,
    id_prefix: u64,
    id_next: AtomicU64,
}

impl Lasting {
    /// The beginning of a process.
    pub(super) fn new(
        replay: ReplaySettings,
        proofs: &ProofRules,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, GatewayError> {
        let mut prefix = [0; 8];
        rand::fill(&mut prefix).map_err(|_| GatewayError::Random)?;
        Ok(Self {
            replay: Arc::new(ReplayLog::new(replay, proofs, clock)),
            questions: Questions::default(),
            observations: Observations::default(),
            refusals: Arc::default(),
            history: History::default(),
            started: clock.now(),
            draining: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            clock_watch: ClockWatch::default(),
            jumps: AtomicU64::new(0),
            id_prefix: u64::from_be_bytes(prefix),
            id_next: AtomicU64::new(1),
        })
    }

    pub(super) fn next_id(&self) -> RequestId {
        let number = self.id_next.fetch_add(1, Ordering::Relaxed);
        RequestId::new(self.id_prefix, number)
    }

    /// When the process began.
    pub(super) const fn started(&self) -> UnixTime {
        self.started
    }

    /// What the names of all its requests begin with.
    pub(super) fn instance(&self) -> String {
        format!("{:016x}", self.id_prefix)
    }

    /// A client's iat has whole seconds: until the next one begins, every fresh proof looks older than this process.
    pub(super) fn is_in_its_first_second(&self, now: UnixTime) -> bool {
        now.secs() <= self.started.secs()
    }

    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    pub(super) fn note_ready(&self) {
        self.was_ready.store(true, Ordering::SeqCst);
    }

    pub(super) fn was_ready(&self) -> bool {
        self.was_ready.load(Ordering::SeqCst)
    }

    /// Lets go of proofs that can no longer be accepted, and notices when the clock was set.
    pub(super) fn tidy(&self, now: UnixTime) {
        if let Some(seconds) = self.clock_watch.jumped(now) {
            self.jumps.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(seconds, "the clock of this host was set; proofs are fresh or stale by it");
        }
        self.replay.expire(now);
    }

    /// How often the clock was set.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::telemetry::Said;

    #[test]
    fn a_clock_that_is_set_is_told_and_counted() {
        let (said, _here) = Said::listen();
        let hand = Arc::new(ManualClock::at(UnixTime::from_secs(1_800_000_000)));
        let clock: Arc<dyn Clock> = Arc::clone(&hand) as _;
        let lasting = Lasting::new(ReplaySettings::default(), &ProofRules::default(), &clock).unwrap();
        for (by, jumps) in [(0, 0), (3600, 1), (0, 1), (-3600, 2)] {
            hand.set(UnixTime::from_secs(clock.now().secs() + by));
            lasting.tidy(clock.now());
            let said = said.text();
            let told =
                said.lines().filter(|line| line.contains("WARN") && line.contains("the clock of this host was set"));
            assert_eq!((lasting.jumps(), told.count()), (jumps, usize::try_from(jumps).unwrap()), "{said}");
        }
    }
}
