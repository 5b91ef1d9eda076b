//! How much one caller may ask. Pure but for locks: no I/O, no clock, the time is an argument.
//!
//! Enters: a caller whose token and possession were verified ([`Limiter`]), or a sender whose requests are refused
//! ([`Failures`]). Leaves: a [`Place`], which goes with the request until its answer is through, or a refusal that says
//! when to come again. Never: an eviction of something that still limits somebody; when there is no room for another
//! caller, it is refused.
//!
//! `rate` is the arithmetic, `table` the memory, `limiter` and `failures` what is counted by which name.

mod failures;
mod limiter;
mod rate;
mod table;

pub use failures::{Asking, Failures};
pub use limiter::{Limiter, Per, Place, RouteLimits};
pub use rate::Rate;
