//! What of a signature is arithmetic modulo the order n: done by the `p256` crate.

use p256::elliptic_curve::ff::PrimeField as _;
use p256::elliptic_curve::ops::Reduce as _;
use p256::{FieldBytes, Scalar};

use super::field::{PRIME, Words, is_below};

/// n (SP 800-186 §3.2.1.3).
const ORDER: Words = [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];

/// What a signature claims: that u₁·G + u₂·Q has an x which is r modulo n (FIPS 186-5 §6.4.2).
pub struct Claim {
    pub u1: Words,
    pub u2: Words,
    r: Words,
}

impl Claim {
    /// Of a digest of 32 bytes and a signature `R ‖ S`; `None` if r or s is not between 1 and n − 1.
    pub fn read(digest: &[u8; 32], signature: &[u8; 64]) -> Option<Self> {
        let (r_bytes, s_bytes) = signature.split_at(32);
        let scalar = |bytes: &[u8]| -> Option<Scalar> {
            let scalar = Scalar::from_repr(FieldBytes::try_from(bytes).ok()?).into_option()?;
            (scalar != Scalar::ZERO).then_some(scalar)
        };
        let (r, s) = (scalar(r_bytes)?, scalar(s_bytes)?);
        let e = Scalar::reduce(&FieldBytes::from(*digest));
        let inverse = s.invert_vartime().into_option()?;
        Some(Self { u1: words(&e.multiply(&inverse)), u2: words(&r.multiply(&inverse)), r: words(&r) })
    }

    /// The values below p that are r modulo n: r itself, and r + n for the few that are small enough.
    pub fn x(&self) -> (Words, Option<Words>) {
        let (sum, carry) = add(&self.r, &ORDER);
        (self.r, (!carry && is_below(&sum, &PRIME)).then_some(sum))
    }
}

/// n − `scalar`, for a scalar below n.
pub fn negative(scalar: &Words) -> Words {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (difference, first) = ORDER[i].overflowing_sub(scalar[i]);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        borrow = first | second;
        difference
    })
}

fn words(scalar: &Scalar) -> Words {
    from_bytes(&scalar.to_bytes().into())
}

/// Of 32 bytes, the most significant one first.
pub fn from_bytes(bytes: &[u8; 32]) -> Words {
    let mut words = bytes.as_chunks().0.iter().rev().map(|word| u64::from_be_bytes(*word));
    std::array::from_fn(|_| words.next().unwrap_or_default())
}

fn add(a: &Words, b: &Words) -> (Words, bool) {
    let mut carry = false;
    let sum = std::array::from_fn(|i| {
        let (sum, first) = a[i].overflowing_add(b[i]);
        let (sum, second) = sum.overflowing_add(u64::from(carry));
        carry = first | second;
        sum
    });
    (sum, carry)
}
