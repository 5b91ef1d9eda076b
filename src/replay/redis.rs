//! The store that replicas share: Redis or Valkey, alone, behind Sentinel, or as a cluster.
//!
//! One proof is one atomic `SET … NX PXAT …`; whoever gets `OK` was the first. A survey in the background finds the
//! masters, and requests go to the connection of their own worker.

mod examination;
mod failure;
mod link;
mod map;
mod nodes;
mod settings;
mod survey;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use redis::{RedisError, Value};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::facts::Facts;
use crate::clock::Clock;
use crate::refusal::Refusal;
use crate::time::UnixTime;
use crate::verify::{ReplayKey, base64url};

pub use examination::{Examination, Server, examine};
pub(super) use failure::Failure;
use map::{Map, Node, Place};
pub use settings::{Address, Credentials, RedisSettings, Topology};
pub(super) use survey::Survey;

/// Between two surveys that nobody asked for.
const SURVEY_EVERY: Duration = Duration::from_millis(300);

/// Between a survey and one that somebody asked for, and after one that went wrong.
const SURVEY_AGAIN: Duration = Duration::from_millis(20);
const SURVEY_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How much longer than a proof its key lives, beside the longest wait for an answer: a gateway whose clock is behind the
/// store's, as far as it may be, still accepts the proof that much later, give or take what the measure of clocks misses.
const MARGIN: Duration = link::CLOCKS.saturating_add(Duration::from_secs(1));

/// The bytes of a replay key that stand for it: nobody finds a second one with the same 128 bits.
const KEY_BYTES: usize = 16;

/// The store.
pub(super) struct Store {
    settings: RedisSettings,
    /// How its servers are to be reached from the next look on, if that has changed.
    access: ArcSwapOption<RedisSettings>,
    clock: Arc<dyn Clock>,
    map: ArcSwap<Map>,
    /// Somebody met something that a survey would explain.
    doubt: Notify,
    /// The map was replaced.
    surveyed: Notify,
}

/// What the store says to a proof.
#[derive(Debug)]
pub(super) enum Claim {
    /// Nobody entered it before.
    First,
    /// Somebody did.
    Spent,
    /// Its key has another place now, which cannot vouch for it.
    Fenced(Refusal),
}

/// A proof that was accepted without asking.
pub(super) struct Entry {
    pub(super) replay_key: ReplayKey,
    pub(super) until: UnixTime,
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
        Self { settings, access: ArcSwapOption::empty(), clock, map, doubt, surveyed }
    }

    pub(super) const fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// A survey that begins with nothing. Connections to masters are driven by `runtimes`, one by each.
    pub(super) fn survey(&self, runtimes: Vec<Handle>) -> Survey {
        Survey::new(&self.settings, runtimes, Arc::clone(&self.clock))
    }

    /// Reaches its servers with the names, passwords and certificates of these settings, from the next look on.
    pub(super) fn reach_like(&self, settings: &RedisSettings) {
        self.access.store(Some(Arc::new(self.settings.reached_like(settings))));
        self.doubt();
    }

    /// Looks around once, at every connection if something is in doubt, and goes by what was found. Tells what is wrong.
    pub(super) async fn look(&self, survey: &mut Survey, in_doubt: bool) -> Result<(), Failure> {
        if let Some(settings) = self.access.swap(None) {
            survey.reach_like(&settings);
        }
        let (map, outcome) = survey.look(in_doubt).await;
        self.map.store(Arc::new(map));
        self.surveyed.notify_waiters();
        outcome
    }

    /// Waits until the next look is due: whoever doubts is heard at once, but not all the time. Whether somebody did.
    pub(super) async fn rest(&self, went_wrong: bool) -> bool {
        tokio::time::sleep(if went_wrong { SURVEY_AFTER_FAILURE } else { SURVEY_AGAIN }).await;
        tokio::time::timeout(SURVEY_EVERY, self.doubt.notified()).await.is_ok()
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
        let place = self.place(&key)?;
        Ok(Slip { key, place })
    }

    /// Enters a proof if nobody did before.
    ///
    /// # Errors
    /// Why there is no answer. The proof may have been entered all the same.
    pub(super) async fn claim(&self, proof: &Facts, slip: &Slip) -> Result<Claim, Failure> {
        let timeout = self.settings.timeout;
        let answer = tokio::time::timeout(timeout, self.enter(proof, slip)).await;
        let claim = answer.unwrap_or(Err(Failure::Slow(timeout)))?;
        // The answer counts only if it came while nobody else can have gone by another master.
        slip.place.check_lease(self.clock.now())?;
        Ok(claim)
    }

    fn place(&self, key: &str) -> Result<Place, Failure> {
        let place = self.map.load().place(key).ok_or(Failure::Uncovered)?;
        place.check_lease(self.clock.now())?;
        Ok(place)
    }

    /// From when on all masters of now can be vouched for.
    pub(super) fn latest(&self) -> UnixTime {
        self.map.load().latest().unwrap_or(UnixTime::from_millis(i64::MAX))
    }

    /// Sees whether keys are taken.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let key = format!("{}probe", self.settings.key_prefix);
        let place = self.place(&key)?;
        let command = self.set(&key, self.clock.now());
        let answer = tokio::time::timeout(self.settings.timeout, send(&place.node, &command, false)).await;
        let answer = answer.unwrap_or(Err(Failure::Slow(self.settings.timeout)))?;
        answer.map(drop).map_err(|error| Failure::of(&place.node.address, &error))
    }

    /// Enters a proof that was accepted already. False: the store does not answer, or not as it should.
    pub(super) async fn enter_late(&self, entry: &Entry) -> bool {
        let key = key(&self.settings.key_prefix, &entry.replay_key);
        let Ok(place) = self.place(&key) else { return false };
        let command = self.set(&key, entry.until);
        let entered = tokio::time::timeout(self.settings.timeout, send(&place.node, &command, false)).await;
        matches!(entered, Ok(Ok(Ok(_))))
    }

    /// Enters a key that is not there, until nobody accepts its proof any more.
    fn set(&self, key: &str, until: UnixTime) -> redis::Cmd {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(1).arg("NX").arg("PXAT").arg((until + MARGIN + self.settings.timeout).millis());
        command
    }

    async fn enter(&self, proof: &Facts, slip: &Slip) -> Result<Claim, Failure> {
        let Slip { key, place } = slip;
        let command = self.set(key, proof.accepted_until);
        match send(&place.node, &command, false).await? {
            Ok(claim) => Ok(claim),
            Err(error) if failure::is_ask(&error) => self.enter_there(proof, &error, &command, &place.node).await,
            Err(error) if failure::is_moved(&error) => {
                let moved = self.moved(key, place).await?;
                if let Err(refusal) = proof.check_shared_fence(moved.since, self.clock.now()) {
                    return Ok(Claim::Fenced(refusal));
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
            let place = self.place(key)?;
            if !Arc::ptr_eq(&place.node, &from.node) {
                return Ok(place);
            }
            self.doubt();
            surveyed.await;
        }
    }

    /// The key's slot is on its way to another master, and the key is not with the old one any more.
    async fn enter_there(
        &self,
        proof: &Facts,
        ask: &RedisError,
        command: &redis::Cmd,
        from: &Node,
    ) -> Result<Claim, Failure> {
        let there = ask.redirect_node().and_then(|(address, _)| self.map.load().node_at(address).cloned());
        let there = there.ok_or_else(|| Failure::of(&from.address, ask))?;
        if let Err(refusal) = proof.check_shared_fence(there.met, self.clock.now()) {
            return Ok(Claim::Fenced(refusal));
        }
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
    use crate::clock::ManualClock;

    /// Two versions side by side must agree: on the key, and until when it is there.
    #[test]
    fn what_is_entered_is_fixed() {
        let replay_key = ReplayKey(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        assert_eq!(key("keybound:", &replay_key), "keybound:AAECAwQFBgcICQoLDA0ODw");
        let settings = RedisSettings::single(Address { host: "127.0.0.1".to_owned(), port: 1 });
        let until = UnixTime::from_secs(1_800_000_000);
        let store = Store::new(settings, Arc::new(ManualClock::at(until)));
        let command = store.set(&key(&store.settings.key_prefix, &replay_key), until).get_packed_command();
        // Accepted until then; 3 s more for clocks, and 50 ms for the wait.
        let expected = "SET keybound:AAECAwQFBgcICQoLDA0ODw 1 NX PXAT 1800000003050";
        let words: Vec<String> = expected.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        assert_eq!(String::from_utf8(command).unwrap(), format!("*6\r\n{}", words.concat()));
    }

    /// And on how long each goes by what it knows: whoever meets a new master waits as long as others, of whatever version,
    /// may go by the one before it. A longer lease would need two releases: first everybody waits longer.
    #[test]
    fn how_long_others_are_waited_for_is_fixed() {
        let seconds = Duration::from_secs;
        assert_eq!((map::LEASE, link::CLOCKS, survey::NEWS), (seconds(2), seconds(2), seconds(4)));
    }
}
