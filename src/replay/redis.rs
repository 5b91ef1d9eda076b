//! The store that replicas share: Redis or Valkey, alone, behind Sentinel, or as a cluster.
//!
//! One proof is one atomic `SET … NX PXAT …`; whoever gets `OK` was the first. A survey in the background finds the
//! masters, and requests go to the connection of their own worker.

mod failure;
mod link;
mod map;
mod nodes;
mod settings;
mod survey;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{RedisError, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::facts::Facts;
use crate::clock::Clock;
use crate::time::UnixTime;
use crate::verify::{ReplayKey, base64url};

pub(super) use failure::Failure;
use map::{Map, Node, Place};
pub use settings::{Address, Credentials, RedisSettings, Topology};
use survey::Survey;

/// Between two surveys that nobody asked for.
const SURVEY_EVERY: Duration = Duration::from_millis(500);

/// Between a survey and one that somebody asked for.
const SURVEY_AGAIN: Duration = Duration::from_millis(20);

/// How much longer than a proof its key lives: a gateway whose clock is behind the store's, as far as it may be, still
/// accepts the proof that much later, give or take what the measure of clocks misses.
const MARGIN: Duration = link::CLOCKS.saturating_add(Duration::from_secs(1));

/// The bytes of a replay key that stand for it: nobody finds a second one with the same 128 bits.
const KEY_BYTES: usize = 16;

/// The store.
pub(super) struct Store {
    settings: RedisSettings,
    clock: Arc<dyn Clock>,
    map: ArcSwap<Map>,
    /// Somebody met something that a survey would explain.
    doubt: Notify,
    /// A survey ended.
    surveyed: Notify,
}

/// What the store says to a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nobody entered it before.
    First,
    /// Somebody did.
    Spent,
}

/// Where a proof belongs.
pub(super) struct Slip {
    key: String,
    place: Place,
}

impl Slip {
    /// Since when that place remembers.
    pub(super) fn since(&self) -> UnixTime {
        self.place.since
    }
}

impl Store {
    pub(super) fn new(settings: RedisSettings, clock: Arc<dyn Clock>) -> Self {
        let (map, doubt, surveyed) = (ArcSwap::default(), Notify::new(), Notify::new());
        Self { settings, clock, map, doubt, surveyed }
    }

    pub(super) const fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Surveys for as long as it is polled. `tell` hears what is wrong after each.
    pub(super) async fn run(&self, runtimes: Vec<Handle>, tell: impl Fn(Result<(), Failure>)) {
        let mut survey = Survey::new(&self.settings, runtimes, Arc::clone(&self.clock));
        loop {
            let (map, outcome) = survey.look().await;
            self.map.store(Arc::new(map));
            tell(outcome);
            self.surveyed.notify_waiters();
            // Whoever doubts is heard at once, but not all the time.
            tokio::time::sleep(SURVEY_AGAIN).await;
            let _ = tokio::time::timeout(SURVEY_EVERY, self.doubt.notified()).await;
        }
    }

    /// Asks for a survey.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Where a proof belongs, and since when that place remembers.
    ///
    /// # Errors
    /// [`Failure::Uncovered`].
    pub(super) fn slip(&self, proof: &Facts) -> Result<Slip, Failure> {
        let key = key(&self.settings.key_prefix, &proof.replay_key);
        let place = self.map.load().place(&key).ok_or(Failure::Uncovered)?;
        Ok(Slip { key, place })
    }

    /// Enters a proof if nobody did before.
    ///
    /// # Errors
    /// Why there is no answer. The proof may have been entered all the same.
    pub(super) async fn claim(&self, proof: &Facts, slip: &Slip) -> Result<Claim, Failure> {
        let timeout = self.settings.timeout;
        let answer = tokio::time::timeout(timeout, self.enter(proof, slip)).await;
        answer.unwrap_or(Err(Failure::Slow(timeout)))
    }

    async fn enter(&self, proof: &Facts, slip: &Slip) -> Result<Claim, Failure> {
        let Slip { key, place } = slip;
        let mut command = redis::cmd("SET");
        let until = (proof.accepted_until + MARGIN).millis();
        command.arg(key).arg(1).arg("NX").arg("PXAT").arg(until);
        match send(&place.node, &command, false).await? {
            Ok(claim) => Ok(claim),
            Err(error) if failure::is_ask(&error) => self.enter_there(&error, &command, &place.node).await,
            Err(error) if failure::is_moved(&error) => {
                let moved = self.moved(key, place).await?;
                if proof.check_fence(moved.since).is_err() {
                    return Err(Failure::Moved);
                }
                send(&moved.node, &command, false).await?.map_err(|error| Failure::of(&moved.node.address, &error))
            }
            Err(error) => Err(Failure::of(&place.node.address, &error)),
        }
    }

    /// Waits for a survey that knows the key's new place; whoever claims waits only so long.
    async fn moved(&self, key: &str, from: &Place) -> Result<Place, Failure> {
        loop {
            // Before the look: it may be replaced right after.
            let surveyed = self.surveyed.notified();
            let place = self.map.load().place(key).ok_or(Failure::Uncovered)?;
            if !Arc::ptr_eq(&place.node, &from.node) {
                return Ok(place);
            }
            self.doubt();
            surveyed.await;
        }
    }

    /// The key's slot is on its way to another master, and the key is not with the old one any more.
    async fn enter_there(&self, ask: &RedisError, command: &redis::Cmd, from: &Node) -> Result<Claim, Failure> {
        let there = ask.redirect_node().and_then(|(address, _)| self.map.load().node_at(address).cloned());
        let there = there.ok_or_else(|| Failure::of(&from.address, ask))?;
        send(&there, command, true).await?.map_err(|error| Failure::of(&there.address, &error))
    }
}

/// Sends one command over this worker's connection.
async fn send(node: &Node, command: &redis::Cmd, asking: bool) -> Result<Result<Claim, RedisError>, Failure> {
    let link = node.link().ok_or(Failure::Pending)?;
    let mut connection = link.connection();
    let answer = if asking {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().add_command(command.clone());
        pipeline.query_async::<(Value,)>(&mut connection).await.map(|(value,)| value)
    } else {
        connection.send_packed_command(command).await
    };
    match answer.and_then(Value::extract_error) {
        Ok(Value::Okay) => Ok(Ok(Claim::First)),
        Ok(Value::Nil) => Ok(Ok(Claim::Spent)),
        Ok(_) => Err(Failure::Puzzling(node.address.clone(), "neither OK nor nothing to SET")),
        Err(error) => Ok(Err(error)),
    }
}

/// What stands for a proof in the store. Replicas of all versions must agree on it.
fn key(prefix: &str, replay_key: &ReplayKey) -> String {
    let mut key = String::with_capacity(prefix.len() + KEY_BYTES.div_ceil(3) * 4);
    key.push_str(prefix);
    key.push_str(&base64url::encode(replay_key.0.split_at(KEY_BYTES).0));
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two versions side by side must agree.
    #[test]
    fn the_form_of_a_key_is_fixed() {
        let replay_key = ReplayKey(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        assert_eq!(key("keybound:", &replay_key), "keybound:AAECAwQFBgcICQoLDA0ODw");
    }
}
