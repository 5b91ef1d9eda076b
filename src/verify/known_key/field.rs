//! The field of P-256: integers modulo p = 2^256 − 2^224 + 2^192 + 2^96 − 1 (SP 800-186 §3.2.1.3).

use fiat_crypto::p256_64 as fiat;

/// Four words, the least significant one first.
pub type Words = [u64; 4];

/// p.
pub const PRIME: Words = [0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_ffff, 0, 0xffff_ffff_0000_0001];

/// What the formulas for points need of a field. A value has one representation, so that equality is that of the words.
pub trait Field: Copy + Eq + std::fmt::Debug {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;

    /// The element of this value, which must be below p.
    fn from_words(words: Words) -> Self;
    /// The sum.
    fn add(self, other: Self) -> Self;
    /// The difference.
    fn sub(self, other: Self) -> Self;
    /// The negative.
    fn neg(self) -> Self;
    /// The product.
    fn mul(self, other: Self) -> Self;
    /// The product with itself.
    fn square(self) -> Self;

    /// The inverse, by Fermat: `self^(p − 2)`; 0 of 0. Slow: for building tables.
    fn invert(self) -> Self {
        const EXPONENT: Words = [PRIME[0] - 2, PRIME[1], PRIME[2], PRIME[3]];
        (0..256).rev().fold(Self::ONE, |power, bit| {
            let power = power.square();
            if (EXPONENT[bit / 64] >> (bit % 64)) & 1 == 1 { power.mul(self) } else { power }
        })
    }
}

/// An element in Montgomery form, with the arithmetic that fiat-crypto generates from a proof (Erbsen et al., IEEE S&P 2019).
/// The proof's precondition, that the words are those of a value below p, holds for what [`Field::from_words`] is promised,
/// and the arithmetic keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified(Words);

impl Verified {
    /// The element whose Montgomery form (R = 2^256) this is; `None` if that is not below p.
    pub fn from_montgomery(words: Words) -> Option<Self> {
        is_below(&words, &PRIME).then_some(Self(words))
    }

    /// Its Montgomery form.
    pub const fn words(self) -> Words {
        self.0
    }
}

/// Whether `a` is below `b`.
pub fn is_below(a: &Words, b: &Words) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

/// Calls a function of fiat-crypto, which writes its result to where it is told.
macro_rules! fiat {
    ($function:ident, $($operand:expr),+) => {{
        let mut result = fiat::fiat_p256_montgomery_domain_field_element([0; 4]);
        fiat::$function(&mut result, $(&fiat::fiat_p256_montgomery_domain_field_element($operand.0)),+);
        Self(result.0)
    }};
}

impl Field for Verified {
    const ZERO: Self = Self([0; 4]);
    /// 2^256 mod p.
    const ONE: Self = Self([1, 0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_fffe]);

    fn from_words(words: Words) -> Self {
        let mut result = fiat::fiat_p256_montgomery_domain_field_element([0; 4]);
        fiat::fiat_p256_to_montgomery(&mut result, &fiat::fiat_p256_non_montgomery_domain_field_element(words));
        Self(result.0)
    }

    #[inline]
    fn add(self, other: Self) -> Self {
        fiat!(fiat_p256_add, self, other)
    }

    #[inline]
    fn sub(self, other: Self) -> Self {
        fiat!(fiat_p256_sub, self, other)
    }

    #[inline]
    fn neg(self) -> Self {
        fiat!(fiat_p256_opp, self)
    }

    #[inline]
    fn mul(self, other: Self) -> Self {
        fiat!(fiat_p256_mul, self, other)
    }

    #[inline]
    fn square(self) -> Self {
        fiat!(fiat_p256_square, self)
    }
}
