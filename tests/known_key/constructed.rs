//! Cases that chance would not bring.

use keybound::verify::KnownKey;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::point::DecompressPoint as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar, U256};

use crate::judges::{Case, Key, x_of};

/// n, and p − n, which is how far r + n may go.
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const PRIME: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

fn bytes(hex: &str) -> [u8; 32] {
    std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
}

/// `bytes` + `offset`, as a big-endian number that does not overflow.
fn plus(mut bytes: [u8; 32], offset: i8) -> [u8; 32] {
    let mut carry = i16::from(offset);
    for byte in bytes.iter_mut().rev() {
        let sum = i16::from(*byte) + carry;
        *byte = u8::try_from(sum.rem_euclid(256)).unwrap();
        carry = sum.div_euclid(256);
    }
    bytes
}

/// 2^exponent.
fn power(exponent: u32) -> Scalar {
    Scalar::from(2_u64).pow_vartime(&U256::from_u32(exponent))
}

/// Scalars at the boundaries of the tables' digits and parts, and at the ends of the range.
fn edges() -> Vec<Scalar> {
    let mut edges = vec![Scalar::ZERO, Scalar::ONE, Scalar::from(2_u64), Scalar::from(3_u64)];
    for exponent in [1, 15, 16, 17, 31, 32, 33, 63, 64, 127, 128, 191, 192, 223, 224, 225, 254, 255] {
        edges.extend([power(exponent), power(exponent) + Scalar::ONE, power(exponent) - Scalar::ONE]);
    }
    // One tooth alone, and all of them.
    let teeth: Scalar = (0..8).map(|tooth| power(32 * tooth)).sum();
    edges.extend([teeth, teeth + teeth, teeth * power(16), teeth * power(31)]);
    let negative: Vec<_> = edges.iter().map(|edge| -edge).collect();
    edges.extend(negative);
    edges
}

/// Keys at which the sums meet G and its multiples.
fn keys() -> Vec<Scalar> {
    let half = Scalar::from(2_u64).invert_vartime().unwrap();
    let positive =
        [Scalar::ONE, Scalar::from(2_u64), Scalar::from(3_u64), half, power(16), power(32), power(43), power(255)];
    positive.into_iter().flat_map(|key| [key, -key]).collect()
}

#[test]
fn multiples_at_the_edges() {
    let edges = edges();
    let mut accepted = 0;
    for (nth, scalar) in keys().iter().enumerate() {
        let key = Key::of_scalar(scalar);
        // Other pairs for each key, and all of them for all keys together; code that is not optimized takes a tenth.
        let pairs = edges.iter().flat_map(|u1| edges.iter().map(move |u2| (u1, u2))).enumerate();
        let every = if cfg!(debug_assertions) { 163 } else { 16 };
        for (_, (u1, u2)) in pairs.filter(|(pair, _)| pair % every == nth) {
            // There is none where r or s would be 0.
            let Some(case) = Case::of_multiples(&key.point, u1, u2) else { continue };
            assert!(key.all(&case.digest, &case.signature), "{u1:?} {u2:?}");
            let mut other = case.digest;
            other[31] ^= 1;
            assert!(!key.all(&other, &case.signature), "{u1:?} {u2:?}");
            accepted += 1;
        }
    }
    assert!(accepted > if cfg!(debug_assertions) { 1_000 } else { 10_000 }, "{accepted}");
}

#[test]
fn sums_at_infinity() {
    for scalar in keys() {
        let key = Key::of_scalar(&scalar);
        for u2 in edges().into_iter().filter(|u2| *u2 != Scalar::ZERO) {
            // u₁·G = −u₂·Q, and beside it u₁·G = u₂·Q, which is a doubling.
            let (opposite, same) = (-(u2 * scalar), u2 * scalar);
            for r in [Scalar::ONE, x_of(&key.point)] {
                let case = Case::of_r(&r, &opposite, &u2).unwrap();
                assert!(!key.all(&case.digest, &case.signature), "{u2:?}");
            }
            let case = Case::of_multiples(&key.point, &same, &u2).unwrap();
            assert!(key.all(&case.digest, &case.signature), "{u2:?}");
        }
    }
}

/// r, s and the digest at 0, n, p, 2^256 and around them, in all combinations.
#[test]
fn numbers_out_of_range() {
    let (order, prime) = (bytes(ORDER), bytes(PRIME));
    let mut numbers = vec![[0; 32], plus([0; 32], 1), plus([0; 32], 2), [255; 32], plus([255; 32], -1)];
    for offset in -2..=2 {
        numbers.extend([plus(order, offset), plus(prime, offset)]);
    }
    let keys = [Key::of_scalar(&Scalar::from(7_u64)), Key::of_scalar(&-Scalar::ONE)];
    for key in &keys {
        for (r, s, digest) in numbers
            .iter()
            .flat_map(|r| numbers.iter().map(move |s| (r, s)))
            .flat_map(|(r, s)| numbers.iter().map(move |digest| (r, s, digest)))
        {
            key.all(digest, &[*r, *s].concat());
        }
    }
    // The same for a signature that is good: r + n and s + n mean the same numbers, and are refused.
    let key = &keys[0];
    let case = Case::of_multiples(&key.point, &Scalar::from(5_u64), &Scalar::from(3_u64)).unwrap();
    assert!(key.all(&case.digest, &case.signature));
    for half in 0..2 {
        for number in &numbers {
            let mut signature = case.signature;
            signature[32 * half..][..32].copy_from_slice(number);
            assert!(!key.all(&case.digest, &signature), "{number:02x?}");
        }
    }
}

/// Points R with these x, each with the key Q = R − G.
fn points_and_keys(x: impl Fn(i8) -> [u8; 32]) -> Vec<(AffinePoint, Key)> {
    let point = |offset| AffinePoint::decompress(&FieldBytes::from(x(offset)), 1.into()).into_option();
    let key = |point: AffinePoint| Key::of((ProjectivePoint::from(point) - ProjectivePoint::GENERATOR).to_affine());
    let points: Vec<_> = (0..=40).filter_map(point).map(|point| (point, key(point))).collect();
    assert!(points.len() > 10);
    points
}

/// x(R) between n and p, so that r is x(R) − n: below 2^128, and chance would not find it.
#[test]
fn x_above_the_order() {
    let order = bytes(ORDER);
    let mut points = (0..=127).filter_map(|offset| {
        let x = plus(order, offset);
        Some((offset, AffinePoint::decompress(&FieldBytes::from(x), 0.into()).into_option()?))
    });
    let mut accepted = 0;
    for (offset, point) in points.by_ref().take(20) {
        for (u1, u2) in [(1_u64, 1_u64), (77, 3), (3, 1 << 63)] {
            let (u1, u2) = (Scalar::from(u1), Scalar::from(u2));
            // Q = (R − u₁·G) / u₂
            let key = (ProjectivePoint::from(point) - ProjectivePoint::GENERATOR * u1) * u2.invert_vartime().unwrap();
            let key = Key::of(key.to_affine());
            let r = Scalar::from(u64::try_from(offset).unwrap());
            let Some(case) = Case::of_r(&r, &u1, &u2) else { continue };
            assert!(key.all(&case.digest, &case.signature), "{offset}");
            let beside = Case::of_r(&(r + Scalar::ONE), &u1, &u2).unwrap();
            assert!(!key.all(&beside.digest, &beside.signature), "{offset}");
            accepted += 1;
        }
    }
    assert!(accepted > 40, "{accepted}");
    // With carries between the words of r + n: x(R) just below p.
    for (point, key) in points_and_keys(|offset| plus(bytes(PRIME), -1 - offset)) {
        let case = Case::of_r(&x_of(&point), &Scalar::ONE, &Scalar::ONE).unwrap();
        assert!(key.all(&case.digest, &case.signature));
    }
    // r + n that is x(R) + p or x(R) + 2^256 is another number than x(R).
    let whole = |number: [u8; 32]| <Scalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(number));
    for beyond in [whole(bytes(PRIME)), whole([0xff; 32]) + Scalar::ONE] {
        for (point, key) in points_and_keys(|offset| plus([0; 32], offset)) {
            let case = Case::of_r(&(x_of(&point) + beyond), &Scalar::ONE, &Scalar::ONE).unwrap();
            assert!(!key.all(&case.digest, &case.signature));
        }
    }
    // Where r + n is no element of the field, r alone counts: x(R) = r, small or just below n.
    for from in [[0; 32], plus(order, -41)] {
        for (point, key) in points_and_keys(|offset| plus(from, offset)) {
            let Some(case) = Case::of_r(&x_of(&point), &Scalar::ONE, &Scalar::ONE) else { continue };
            assert!(key.all(&case.digest, &case.signature));
        }
    }
}

#[test]
fn only_64_bytes_are_a_signature() {
    let key = Key::of_scalar(&Scalar::from(7_u64));
    let case = Case::of_multiples(&key.point, &Scalar::from(5_u64), &Scalar::from(3_u64)).unwrap();
    let long = [&case.signature[..], &[0; 8]].concat();
    for length in (0..64).chain(65..=72) {
        assert!(!key.all(&case.digest, &long[..length]), "{length}");
    }
    assert!(!key.known(&case.digest, &[&[0][..], &case.signature].concat()));
    assert!(key.all(&case.digest, &long[..64]));
}

#[test]
fn only_uncompressed_points_of_the_curve_are_keys() {
    let point = (ProjectivePoint::GENERATOR * Scalar::from(7_u64)).to_affine();
    let good = point.to_sec1_point(false).as_bytes().to_vec();
    assert!(KnownKey::new(&good).is_some());
    assert!(KnownKey::new(point.to_sec1_point(true).as_bytes()).is_none());
    for length in [0, 1, 64] {
        assert!(KnownKey::new(&good[..length]).is_none(), "{length}");
    }
    assert!(KnownKey::new(&[&good[..], &[0]].concat()).is_none());
    for tag in [0, 2, 3, 5, 6, 7] {
        assert!(KnownKey::new(&[&[tag], &good[1..]].concat()).is_none(), "{tag}");
    }
    for bit in 0..8 * 64 {
        let mut other = good.clone();
        other[1 + bit / 8] ^= 1 << (bit % 8);
        assert!(KnownKey::new(&other).is_none(), "{bit}");
    }
    assert!(KnownKey::new(&[&[4_u8][..], &[0; 64]].concat()).is_none());
    // A coordinate and p mean the same element; x = 0 lies on the curve, x = p is another spelling of it.
    let zero = AffinePoint::decompress(&FieldBytes::default(), 0.into()).unwrap().to_sec1_point(false);
    let zero = zero.as_bytes();
    assert!(KnownKey::new(zero).is_some());
    assert!(KnownKey::new(&[&[4], &bytes(PRIME)[..], &zero[33..]].concat()).is_none());
}
