//! Numbers to choose endpoints by, each thread with its own. Nobody's safety depends on them.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
}

/// The next one, by SplitMix64.
pub fn next() -> u64 {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number below `bound`, made of 32 bits of `random`.
pub const fn below(bound: u32, random: u32) -> u32 {
    // The upper half of a product of two numbers of 32 bits is below each of them.
    #[allow(clippy::cast_possible_truncation, reason = "32 bits are left")]
    let number = ((random as u64 * bound as u64) >> 32) as u32;
    number
}
