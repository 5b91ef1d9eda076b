//! Where spent proofs are remembered.

use super::count;
use super::redis;
use super::replicas::Replicas;
use super::routes::need_issuers;
use crate::config::reading::Reading;
use crate::config::written::{Configuration, ReplayMemory, ReplayStore};
use crate::replay::{MemorySettings, ReplaySettings};

pub fn replay(written: &Configuration, replicas: Replicas, reading: &mut Reading<'_>) -> ReplaySettings {
    let replay = &written.replay;
    let memory = memory(&replay.memory, reading);
    if replay.store.value() == Some(&ReplayStore::Redis) {
        return ReplaySettings { memory, shared: redis::redis(replay, &written.dpop, reading) };
    }
    if replay.redis.is_given() && !replay.store.is_wrong() {
        let message = "has no effect: `store` is memory";
        reading.warning(replay.redis.place, &replay.redis.path, message, "nothing is stored there");
    }
    // Where nobody proves anything, nothing is remembered.
    if !replay.store.is_wrong() && need_issuers(written) {
        let (place, path) = (replay.store.place, "replay.store");
        let help = "use `store: redis`, or write `replicas: 1` if this process is the only one";
        let message = "spent proofs are remembered by this process alone; replicas do not share them";
        replicas.forbid(place, path, message, help, reading);
        if replicas.number.is_none() {
            // A default may be an oversight.
            reading.warning(place, path, message, "the memory of one process").help(help);
        }
    }
    memory.into()
}

fn memory(written: &ReplayMemory, reading: &mut Reading<'_>) -> MemorySettings {
    let default = MemorySettings::default();
    // A number that fits no memory is a slip of the finger.
    let capacity = count(&written.capacity, 1, 1_000_000_000, reading);
    let per_key = count(&written.per_key, 1, u64::from(MemorySettings::MOST_PER_KEY), reading);
    MemorySettings {
        capacity: capacity.unwrap_or(default.capacity),
        per_key: per_key.and_then(|n| u32::try_from(n).ok()).unwrap_or(default.per_key),
    }
}
