//! How much the replay log may hold.

/// Bounds of the log in this process's memory.
#[derive(Debug, Clone, Copy)]
pub struct MemorySettings {
    /// Live entries, all keys together; full means 503, never eviction.
    pub capacity: usize,
    /// Live entries of one proof key; beyond means 429.
    pub per_key: u32,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self { capacity: 4_000_000, per_key: 50_000 }
    }
}
