//! The log of spent proofs (RFC 9449 §11.1): each passes once.
//!
//! Enters: a [`Proof`](crate::verify::Proof), so only a caller who holds the key can write here
//! (the feature `simulation` lets benchmarks write too, and is in nothing that ships). Leaves:
//! [`Spent`], the evidence that this very proof was not spent before. Never: an eviction of an entry whose
//! proof could still be accepted; a log that is full refuses.
//!
//! `log` is what a gateway asks. `memory` is the part in this process, of `shard`, `bucket`, `table`, `tally`, `grid` and
//! `digest`. `shared` asks the store of all replicas after it and decides what an outage means, which `health` tells;
//! `redis` is that store. `question` knows who may ask twice.

mod bucket;
mod digest;
mod facts;
mod grid;
mod health;
mod log;
mod memory;
mod question;
mod redis;
mod settings;
mod shard;
mod shared;
#[cfg(feature = "simulation")]
mod simulated;
mod table;
mod tally;

pub use health::StoreStatus;
pub use log::{ReplayLog, Spent};
pub use memory::MemoryLog;
pub use question::{Question, Questions};
pub use redis::{Address, Credentials, Examination, RedisSettings, Server, Topology, examine};
pub use settings::{MemorySettings, ReplaySettings};
pub use shared::OnFailure;
#[cfg(feature = "simulation")]
pub use simulated::SimulatedProof;
