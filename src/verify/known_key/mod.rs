//! ECDSA on P-256 (FIPS 186-5 §6.4.2) under a key that has been met before: with multiples of it at hand, a verification costs
//! less than half of what it costs under a new one. [docs/key-tables.md] has the argument why this may decide anything.
//!
//! Everything here is public (keys, digests, signatures), so nothing needs to take constant time.
//!
//! [docs/key-tables.md]: https://github.com/keybound/keybound/blob/main/docs/key-tables.md

mod comb;
mod field;
mod montgomery;
mod point;
mod scalar;

use std::sync::LazyLock;

use comb::Comb;
use field::{Field as _, PRIME, Verified, is_below};
use point::{Affine, Point};
use scalar::Claim;

/// SEC 1 §2.3.3, uncompressed.
pub type Sec1Point = [u8; 65];

/// G (SP 800-186 §3.2.1.3).
fn generator() -> Affine<Verified> {
    Affine {
        x: Verified::from_words([
            0xf4a1_3945_d898_c296,
            0x7703_7d81_2deb_33a0,
            0xf8bc_e6e5_63a4_40f2,
            0x6b17_d1f2_e12c_4247,
        ]),
        y: Verified::from_words([
            0xcbb6_4068_37bf_51f5,
            0x2bce_3357_6b31_5ece,
            0x8ee7_eb4a_7c0f_9e16,
            0x4fe3_42e2_fe1a_7f9b,
        ]),
    }
}

/// The multiples of G: 256 KiB, made when the first key is. There is no reason why there should be none.
static GENERATOR_TABLE: LazyLock<Option<Comb<32>>> = LazyLock::new(|| Comb::new(&generator()));

/// A public key with multiples of it: 16 KiB.
#[derive(Debug)]
pub struct KnownKey {
    table: Comb<2>,
    generator: &'static Comb<32>,
}

impl KnownKey {
    /// What the multiples of one key take.
    pub const BYTES: usize = Comb::<2>::BYTES;

    /// Computes the multiples of a key, which takes as long as several verifications.
    ///
    /// `None` if the point is not in uncompressed form or not on the curve.
    pub fn new(key: &[u8]) -> Option<Self> {
        Some(Self { table: Comb::new(&read(key)?)?, generator: GENERATOR_TABLE.as_ref()? })
    }

    /// Whether `signature` (`R ‖ S`, RFC 7518 §3.4) is this key's over a message with this SHA-256 digest.
    pub fn verify(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        let Some(claim) = signature.try_into().ok().and_then(|signature| Claim::read(digest, signature)) else {
            return false;
        };
        let mut sum = Point::INFINITY;
        // The key first: its table doubles what is there.
        self.table.add_multiple(&mut sum, &claim.u2);
        self.generator.add_multiple(&mut sum, &claim.u1);
        // Nothing that was computed so far is proven arithmetic. What follows is.
        let Some(sum) = sum.proven() else { return false };
        let (x, other) = claim.x();
        sum.has_x(Verified::from_words(x)) || other.is_some_and(|x| sum.has_x(Verified::from_words(x)))
    }
}

fn read(key: &[u8]) -> Option<Affine<Verified>> {
    let key: &Sec1Point = key.try_into().ok()?;
    let (tag, coordinates) = key.split_first()?;
    let ([x, y], []) = coordinates.as_chunks() else { return None };
    let (x, y) = (scalar::from_bytes(x), scalar::from_bytes(y));
    let canonical = *tag == 4 && is_below(&x, &PRIME) && is_below(&y, &PRIME);
    let point = Affine { x: Verified::from_words(x), y: Verified::from_words(y) };
    (canonical && point.is_on_curve()).then_some(point)
}

#[cfg(test)]
mod tests;
