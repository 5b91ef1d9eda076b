//! Which server holds which key, and since when this gateway knows it to remember.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::link::{Identity, Link};
use super::settings::Address;
use crate::time::UnixTime;

/// How long a gateway may go by what it was told about masters. Whoever was told of another one later waits for as long
/// before it trusts that one, so that no two gateways ever go by two of them.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// What a clock may be off between two surveys, in seconds.
const CLOCK_STEP: f64 = 1.0;

/// The parts into which a cluster divides its keys.
pub(super) const SLOTS: u16 = 16_384;

/// One master.
pub(super) struct Node {
    pub(super) address: Address,
    pub(super) identity: Identity,
    /// What it was given before is not vouched for.
    pub(super) met: UnixTime,
    /// One for each worker.
    pub(super) links: Vec<Link>,
}

impl Node {
    /// The connection of the worker that this thread is.
    pub(super) fn link(&self) -> Option<&Link> {
        self.links.get(crate::workers::current() % self.links.len().max(1))
    }
}

/// Where a key is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) node: Arc<Node>,
    /// This gateway has known the server to hold all of the key's slot since then.
    pub(super) since: UnixTime,
    asked: Asked,
}

impl Place {
    /// Whether nobody can have put another master in the place of this one unnoticed.
    pub(super) fn check_lease(&self, now: UnixTime) -> Result<(), Failure> {
        self.asked.check_lease(now)
    }
}

/// When the question was sent whose answer a map is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    steady: Instant,
    wall: UnixTime,
}

impl Asked {
    pub(super) fn at(now: UnixTime) -> Self {
        Self { steady: Instant::now(), wall: now }
    }

    pub(super) fn check_lease(self, now: UnixTime) -> Result<(), Failure> {
        let since = self.steady.elapsed();
        if since > LEASE {
            return Err(Failure::Outdated(since));
        }
        // A clock that is set back would accept proofs that the store has let go of.
        let by = now.seconds_since(self.wall) - since.as_secs_f64();
        if by.abs() > CLOCK_STEP { Err(Failure::ClockSet(by)) } else { Ok(()) }
    }
}

/// Where all keys are. Replaced as a whole.
#[derive(Default)]
pub(super) struct Map {
    /// `None`: nobody asked yet.
    pub(super) asked: Option<Asked>,
    pub(super) nodes: Vec<Arc<Node>>,
    /// For each slot the node's index. A store that is not a cluster has one slot; one that nobody reached, none.
    pub(super) slots: Box<[Option<Slot>]>,
}

/// Who holds a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) node: u16,
    pub(super) since: UnixTime,
}

impl Map {
    /// Where a key is; `None` when nobody is known to hold it.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        let slot = if self.slots.len() > 1 { usize::from(slot(key.as_bytes())) } else { 0 };
        let Slot { node, since } = (*self.slots.get(slot)?)?;
        Some(Place { node: Arc::clone(self.nodes.get(usize::from(node))?), since, asked: self.asked? })
    }

    /// The node with that address, as servers write it: IPv6 without brackets.
    pub(super) fn node_at(&self, address: &str) -> Option<&Arc<Node>> {
        let (host, port) = address.rsplit_once(':')?;
        let (host, port): (_, u16) = (host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?);
        self.nodes.iter().find(|node| node.address.port == port && node.address.host == host)
    }

    /// From when on all of it can be vouched for.
    pub(super) fn latest(&self) -> Option<UnixTime> {
        self.slots.iter().flatten().map(|slot| slot.since).max()
    }

    /// Whether every key has a place.
    pub(super) fn is_complete(&self) -> bool {
        !self.slots.is_empty() && self.slots.iter().all(Option::is_some)
    }
}

/// The slot of a key without `{}`, as the specification of Redis Cluster has it: CRC-16/XMODEM.
fn slot(key: &[u8]) -> u16 {
    let step = |crc: u16, byte: &u8| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    };
    key.iter().fold(0, step) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_goes_by_an_old_answer_or_by_another_clock() {
        const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
        let asked = |steady_ago: Duration, wall_ago: Duration| {
            let steady = Instant::now().checked_sub(steady_ago).expect("the machine runs for longer");
            Asked { steady, wall: NOW - wall_ago }.check_lease(NOW)
        };
        let (second, moment) = (Duration::from_secs(1), Duration::from_millis(200));
        assert!(asked(Duration::ZERO, Duration::ZERO).is_ok());
        assert!(asked(second, second).is_ok());
        assert!(asked(second, second + second - moment).is_ok());
        assert!(matches!(asked(LEASE + moment, LEASE + moment), Err(Failure::Outdated(_))));
        // Set back, and set forward.
        assert!(matches!(asked(second + moment, Duration::ZERO), Err(Failure::ClockSet(by)) if by < -1.0));
        assert!(matches!(asked(Duration::ZERO, second + moment), Err(Failure::ClockSet(by)) if by > 1.0));
    }

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` of Redis 7.0 says.
        for (key, expected) in [("123456789", 0x31C3), ("foo", 12_182), ("bar", 5_061), ("", 0)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
