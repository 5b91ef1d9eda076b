//! The same field with arithmetic of our own, which knows this prime: half the time of the generated one. It is not proven;
//! whatever it computes is looked at again by arithmetic that is before it decides anything ([`super::KnownKey::verify`]).
//!
//! Montgomery form with R = 2^256, as [`Verified`] has it, so that an element of one is an element of the other. In words of
//! 64 bits −1/p is 1, so that a word t is cleared by adding t·p, and p = 2^256 − 2^224 + 2^192 + 2^96 − 1 makes of that
//! product shifts: t·p + t = t·2^96 + t·(2^256 − 2^224 + 2^192).

#![allow(clippy::inline_always, reason = "a call costs as much as what it does")]

use super::field::{Field, PRIME, Verified, Words};

/// An element in Montgomery form; its value is below p.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fast(Words);

impl From<Verified> for Fast {
    fn from(element: Verified) -> Self {
        Self(element.words())
    }
}

impl Fast {
    /// The same element for proven arithmetic; `None` if its value is not below p.
    pub fn proven(self) -> Option<Verified> {
        Verified::from_montgomery(self.0)
    }

    #[cfg(test)]
    pub const fn from_montgomery(words: Words) -> Self {
        Self(words)
    }
}

impl Field for Fast {
    const ZERO: Self = Self([0; 4]);
    const ONE: Self = Self([1, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_fffe]);

    fn from_words(words: Words) -> Self {
        /// R² mod p.
        const SQUARE: Fast = Fast([3, 0xffff_fffb_ffff_ffff, 0xffff_ffff_ffff_fffe, 0x0000_0004_ffff_fffd]);
        Self(words).mul(SQUARE)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let (t0, carry) = a[0].carrying_add(b[0], false);
        let (t1, carry) = a[1].carrying_add(b[1], carry);
        let (t2, carry) = a[2].carrying_add(b[2], carry);
        let (t3, carry) = a[3].carrying_add(b[3], carry);
        below_prime([t0, t1, t2, t3], carry)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        let (t0, borrow) = a[0].borrowing_sub(b[0], false);
        let (t1, borrow) = a[1].borrowing_sub(b[1], borrow);
        let (t2, borrow) = a[2].borrowing_sub(b[2], borrow);
        let (t3, borrow) = a[3].borrowing_sub(b[3], borrow);
        // p again, if the difference is negative.
        let mask = u64::from(borrow).wrapping_neg();
        let (t0, carry) = t0.carrying_add(PRIME[0] & mask, false);
        let (t1, carry) = t1.carrying_add(PRIME[1] & mask, carry);
        let (t2, carry) = t2.carrying_add(PRIME[2] & mask, carry);
        let (t3, _) = t3.carrying_add(PRIME[3] & mask, carry);
        Self([t0, t1, t2, t3])
    }

    #[inline(always)]
    fn neg(self) -> Self {
        Self::ZERO.sub(self)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let (a, b) = (&self.0, &other.0);
        let (t0, [t1, t2, t3, t4]) = row([0; 4], a, b[0]);
        let (t1, [t2, t3, t4, t5]) = row([t1, t2, t3, t4], a, b[1]);
        let (t2, [t3, t4, t5, t6]) = row([t2, t3, t4, t5], a, b[2]);
        let (t3, [t4, t5, t6, t7]) = row([t3, t4, t5, t6], a, b[3]);
        reduce([t0, t1, t2, t3, t4, t5, t6, t7])
    }

    #[inline(always)]
    fn square(self) -> Self {
        let a = &self.0;
        // The products of different words, once each,
        let (t1, carry) = a[0].carrying_mul(a[1], 0);
        let (t2, carry) = a[0].carrying_mul(a[2], carry);
        let (t3, t4) = a[0].carrying_mul(a[3], carry);
        let (t3, carry) = a[1].carrying_mul_add(a[2], t3, 0);
        let (t4, t5) = a[1].carrying_mul_add(a[3], t4, carry);
        let (t5, t6) = a[2].carrying_mul(a[3], t5);
        // twice,
        let t7 = t6 >> 63;
        let t6 = t6 << 1 | t5 >> 63;
        let t5 = t5 << 1 | t4 >> 63;
        let t4 = t4 << 1 | t3 >> 63;
        let t3 = t3 << 1 | t2 >> 63;
        let t2 = t2 << 1 | t1 >> 63;
        let t1 = t1 << 1;
        // and the squares.
        let (t0, high) = a[0].carrying_mul(a[0], 0);
        let (t1, carry) = t1.carrying_add(high, false);
        let (low, high) = a[1].carrying_mul(a[1], 0);
        let (t2, carry) = t2.carrying_add(low, carry);
        let (t3, carry) = t3.carrying_add(high, carry);
        let (low, high) = a[2].carrying_mul(a[2], 0);
        let (t4, carry) = t4.carrying_add(low, carry);
        let (t5, carry) = t5.carrying_add(high, carry);
        let (low, high) = a[3].carrying_mul(a[3], 0);
        let (t6, carry) = t6.carrying_add(low, carry);
        let (t7, _) = t7.carrying_add(high, carry);
        reduce([t0, t1, t2, t3, t4, t5, t6, t7])
    }
}

/// a·b + t, the lowest word apart.
#[inline(always)]
fn row(t: Words, a: &Words, b: u64) -> (u64, Words) {
    let (t0, carry) = a[0].carrying_mul_add(b, t[0], 0);
    let (t1, carry) = a[1].carrying_mul_add(b, t[1], carry);
    let (t2, carry) = a[2].carrying_mul_add(b, t[2], carry);
    let (t3, t4) = a[3].carrying_mul_add(b, t[3], carry);
    (t0, [t1, t2, t3, t4])
}

/// t / R modulo p, for t below p·R.
#[inline(always)]
fn reduce(t: [u64; 8]) -> Fast {
    let (t1234, carry) = clear(t[0], [t[1], t[2], t[3], t[4]], false);
    let (t2345, carry) = clear(t1234[0], [t1234[1], t1234[2], t1234[3], t[5]], carry);
    let (t3456, carry) = clear(t2345[0], [t2345[1], t2345[2], t2345[3], t[6]], carry);
    let (t4567, carry) = clear(t3456[0], [t3456[1], t3456[2], t3456[3], t[7]], carry);
    below_prime(t4567, carry)
}

/// Adds word·p, which makes a zero of the lowest word, and leaves that out. `carried` belongs to the highest word of `rest`,
/// as what is answered belongs above it: the sum of both stays one bit, because all of t is below p·R.
#[inline(always)]
fn clear(word: u64, rest: Words, carried: bool) -> (Words, bool) {
    // word · (2^64 − 2^32 + 1), the part at 2^192.
    let (low, borrow) = word.borrowing_sub(word << 32, false);
    let high = word.wrapping_sub(word >> 32).wrapping_sub(u64::from(borrow));
    let (t1, carry) = rest[0].carrying_add(word << 32, false);
    let (t2, carry) = rest[1].carrying_add(word >> 32, carry);
    let (t3, carry) = rest[2].carrying_add(low, carry);
    let (t4, carry) = rest[3].carrying_add(high, carry);
    let (t4, carried) = t4.carrying_add(0, carried);
    ([t1, t2, t3, t4], carry | carried)
}

/// Of a value below 2p, with its bit at 2^256 apart, that which is below p.
#[inline(always)]
fn below_prime(t: Words, carry: bool) -> Fast {
    let (r0, borrow) = t[0].borrowing_sub(PRIME[0], false);
    let (r1, borrow) = t[1].borrowing_sub(PRIME[1], borrow);
    let (r2, borrow) = t[2].borrowing_sub(PRIME[2], borrow);
    let (r3, borrow) = t[3].borrowing_sub(PRIME[3], borrow);
    let keep = u64::from(borrow && !carry).wrapping_neg();
    Fast([t[0] & keep | r0 & !keep, t[1] & keep | r1 & !keep, t[2] & keep | r2 & !keep, t[3] & keep | r3 & !keep])
}
