//! Where spent proofs are remembered, and how many.

use super::redis::RedisSettings;

/// The log of a gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaySettings {
    /// What this process remembers.
    pub memory: MemorySettings,
    /// Where all replicas remember together.
    pub shared: Option<RedisSettings>,
}

impl From<MemorySettings> for ReplaySettings {
    fn from(memory: MemorySettings) -> Self {
        Self { memory, shared: None }
    }
}

/// Bounds of the log in this process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemorySettings {
    /// Live entries, all keys together; full means 503, never eviction. A large log may be full with a 64th
    /// fewer, if few keys hold nearly all of it.
    pub capacity: usize,
    /// Live entries of one proof key; beyond means 429. More than 16,777,215 mean as many.
    pub per_key: u32,
}

impl MemorySettings {
    /// The most entries of one key that can be counted.
    pub const MOST_PER_KEY: u32 = (1 << 24) - 1;
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { capacity: 4_000_000, per_key: 50_000 }
    }
}
