//! The log of spent proofs (RFC 9449 §11.1): each passes once.
//!
//! Enters: a [`Proof`](crate::verify::Proof), so only a caller who holds the key can write here
//! (the feature `simulation` lets benchmarks write too, and is in nothing that ships). Leaves:
//! [`Spent`], the evidence that this very proof was not spent before. Never: an eviction of an entry whose
//! proof could still be accepted; a log that is full refuses.

mod bucket;
mod digest;
mod grid;
mod memory;
mod settings;
mod shard;
mod table;
mod tally;

pub use memory::{MemoryLog, Spent};
pub use settings::MemorySettings;
