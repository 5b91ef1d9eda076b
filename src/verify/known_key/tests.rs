//! What each part promises, beside a big-integer library and the points of the `p256` crate. The verification as a whole is
//! tested in tests/known_key.

use num_bigint::BigUint;
use p256::elliptic_curve::ff::PrimeField as _;
use p256::elliptic_curve::group::Group as _;
use p256::elliptic_curve::ops::Reduce as _;
use p256::elliptic_curve::sec1::{FromSec1Point as _, ToSec1Point as _};
use p256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};
use proptest::prelude::*;

use super::comb::Comb;
use super::field::{Field, PRIME, Verified, Words, is_below};
use super::montgomery::Fast;
use super::point::{Affine, Point};
use super::*;

fn integer(words: &Words) -> BigUint {
    words.iter().rev().fold(BigUint::ZERO, |sum, word| (sum << 64) + word)
}

fn prime() -> BigUint {
    (BigUint::from(1_u8) << 256) - (BigUint::from(1_u8) << 224)
        + (BigUint::from(1_u8) << 192)
        + (BigUint::from(1_u8) << 96)
        - 1_u8
}

/// An element of either field.
trait Element: Field {
    fn verified(self) -> Verified;
}

impl Element for Verified {
    fn verified(self) -> Verified {
        self
    }
}

impl Element for Fast {
    fn verified(self) -> Verified {
        self.proven().unwrap()
    }
}

/// The value of an element, by proven arithmetic: `from_words` is its inverse.
fn value<F: Element>(element: F) -> BigUint {
    let mut result = fiat_crypto::p256_64::fiat_p256_non_montgomery_domain_field_element([0; 4]);
    let words = fiat_crypto::p256_64::fiat_p256_montgomery_domain_field_element(element.verified().words());
    fiat_crypto::p256_64::fiat_p256_from_montgomery(&mut result, &words);
    integer(&result.0)
}

/// Words that carries and borrows depend on.
const EDGES: [u64; 12] = [
    0,
    1,
    2,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_0000_0000,
    0xffff_ffff_0000_0001,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];

/// Values below p of any kind, half of them made of such words.
fn element() -> impl Strategy<Value = Words> {
    let word = || prop_oneof![any::<u64>(), proptest::sample::select(&EDGES)];
    [word(), word(), word(), word()].prop_filter("below p", |words| is_below(words, &PRIME))
}

/// Both fields against the reference, for Montgomery words as they are and for values.
fn agree(a: &Words, b: &Words) {
    fn check<F: Element>(a: &Words, b: &Words) {
        let (p, x, y) = (prime(), integer(a), integer(b));
        let (fa, fb) = (F::from_words(*a), F::from_words(*b));
        assert_eq!(value(fa), x);
        assert_eq!(value(fa.add(fb)), (&x + &y) % &p, "{a:x?} + {b:x?}");
        assert_eq!(value(fa.sub(fb)), (&x + &p - &y) % &p, "{a:x?} - {b:x?}");
        assert_eq!(value(fa.neg()), (&p - &x) % &p, "-{a:x?}");
        assert_eq!(value(fa.mul(fb)), &x * &y % &p, "{a:x?} * {b:x?}");
        assert_eq!(value(fa.square()), &x * &x % &p, "{a:x?}^2");
    }
    check::<Verified>(a, b);
    check::<Fast>(a, b);
    // The words themselves as Montgomery forms: those of chosen values are spread at random.
    let (fa, fb) = (Fast::from_montgomery(*a), Fast::from_montgomery(*b));
    let (va, vb) = (Verified::from_montgomery(*a).unwrap(), Verified::from_montgomery(*b).unwrap());
    assert_eq!(fa.add(fb).proven(), Some(va.add(vb)), "{a:x?} + {b:x?}");
    assert_eq!(fa.sub(fb).proven(), Some(va.sub(vb)), "{a:x?} - {b:x?}");
    assert_eq!(fa.neg().proven(), Some(va.neg()), "-{a:x?}");
    assert_eq!(fa.mul(fb).proven(), Some(va.mul(vb)), "{a:x?} * {b:x?}");
    assert_eq!(fa.square().proven(), Some(va.square()), "{a:x?}^2");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2_000 } else { 200_000 }))]

    #[test]
    fn both_fields_agree_with_big_integers(a in element(), b in element()) {
        agree(&a, &b);
    }
}

#[test]
fn they_agree_at_every_edge() {
    let mut values: Vec<Words> = Vec::new();
    for i in 0..EDGES.len().pow(4) {
        let words = [i, i / 12, i / 144, i / 1728].map(|i| EDGES[i % 12]);
        if is_below(&words, &PRIME) {
            values.push(words);
        }
    }
    // p − 1 and its neighbours.
    values.extend((1..=3).map(|below| [PRIME[0] - below, PRIME[1], PRIME[2], PRIME[3]]));
    for (i, a) in values.iter().enumerate() {
        agree(a, &values[(i * 7919 + 13) % values.len()]);
    }
    assert!(values.len() > 15_000);
}

#[test]
fn the_constants_are_those_of_the_curve() {
    assert_eq!(integer(&PRIME), prime());
    assert_eq!(value(Verified::ONE), BigUint::from(1_u8));
    assert_eq!(value(Fast::ONE), BigUint::from(1_u8));
    assert_eq!((value(Verified::ZERO), value(Fast::ZERO)), (BigUint::ZERO, BigUint::ZERO));
    assert_eq!(encoded(&generator()), AffinePoint::GENERATOR.to_sec1_point(false).as_bytes());
}

#[test]
fn an_inverse_times_its_element_is_one() {
    for words in [[1, 0, 0, 0], [2, 0, 0, 0], [PRIME[0] - 1, PRIME[1], PRIME[2], PRIME[3]], [5, 6, 7, 8]] {
        let (fast, verified) = (Fast::from_words(words), Verified::from_words(words));
        assert_eq!(fast.mul(fast.invert()), Fast::ONE);
        assert_eq!(verified.mul(verified.invert()), Verified::ONE);
    }
    assert_eq!(Fast::ZERO.invert(), Fast::ZERO);
}

#[test]
fn words_that_are_no_element_are_not_proven() {
    assert!(Verified::from_montgomery([PRIME[0] - 1, PRIME[1], PRIME[2], PRIME[3]]).is_some());
    for words in [PRIME, [0, PRIME[1] + 1, PRIME[2], PRIME[3]], [u64::MAX; 4]] {
        assert!(Verified::from_montgomery(words).is_none());
        assert!(Fast::from_montgomery(words).proven().is_none());
    }
}

fn encoded<F: Element>(point: &Affine<F>) -> Vec<u8> {
    let coordinate = |element: F| {
        let bytes = value(element).to_bytes_be();
        [vec![0; 32 - bytes.len()], bytes].concat()
    };
    [vec![4], coordinate(point.x), coordinate(point.y)].concat()
}

/// The same point as another library's.
fn theirs(point: &Point<Fast>) -> ProjectivePoint {
    if point.is_infinity() {
        return ProjectivePoint::IDENTITY;
    }
    let affine = encoded(&Point::to_affine(&[*point])[0]);
    AffinePoint::from_sec1_point(&p256::Sec1Point::from_bytes(affine).unwrap()).unwrap().into()
}

fn ours(point: &ProjectivePoint) -> Affine<Fast> {
    fast(&read(point.to_affine().to_sec1_point(false).as_bytes()).unwrap())
}

fn fast(point: &Affine<Verified>) -> Affine<Fast> {
    Affine { x: point.x.into(), y: point.y.into() }
}

fn generator_table() -> &'static Comb<32> {
    GENERATOR_TABLE.as_ref().unwrap()
}

fn scalar_of(words: &Words) -> Scalar {
    let bytes: Vec<u8> = words.iter().rev().flat_map(|word| word.to_be_bytes()).collect();
    Scalar::reduce(&FieldBytes::try_from(&bytes[..]).unwrap())
}

#[test]
fn sums_of_points_are_those_of_another_library() {
    let multiples: Vec<_> = (1_u64..=6).map(|n| ProjectivePoint::GENERATOR * Scalar::from(n)).collect();
    // Every pair from −6·G to 6·G: among them doublings, opposites, and the point at infinity.
    for a in multiples.iter().flat_map(|a| [*a, -*a]).chain([ProjectivePoint::IDENTITY]) {
        let start = if a == ProjectivePoint::IDENTITY { Point::INFINITY } else { ours(&a).into() };
        // In coordinates that are not affine, too.
        let doubled = start.double();
        assert_eq!(theirs(&doubled), a.double());
        assert_eq!(doubled.proven().is_some(), !doubled.is_infinity());
        for (b, negative) in multiples.iter().flat_map(|b| [(b, false), (b, true)]) {
            for (mut sum, expected) in [(start, a), (doubled, a.double())] {
                sum.add(&ours(b), negative);
                assert_eq!(theirs(&sum), if negative { expected - b } else { expected + b });
                assert_eq!(sum.proven().is_some(), !sum.is_infinity());
            }
        }
    }
}

#[test]
fn what_is_no_point_is_not_proven() {
    let good = Point::from(fast(&generator())).double().double();
    let proven = good.proven().unwrap();
    let x = Point::to_affine(&[proven])[0].x;
    assert!(proven.has_x(x) && !proven.has_x(x.add(Verified::ONE)));
    for changed in 0..4 {
        let mut coordinates = good.coordinates();
        coordinates[changed] = coordinates[changed].add(Fast::ONE);
        assert!(Point::of_coordinates(coordinates).proven().is_none(), "coordinate {changed}");
        coordinates[changed] = Fast::ZERO;
        assert!(Point::of_coordinates(coordinates).proven().is_none(), "coordinate {changed}");
        coordinates[changed] = Fast::from_montgomery(PRIME);
        assert!(Point::of_coordinates(coordinates).proven().is_none(), "coordinate {changed}");
    }
    assert!(Point::<Fast>::INFINITY.proven().is_none());
}

/// Every entry of both tables, by another library.
#[test]
fn tables_hold_the_sums_that_they_should() {
    fn check<const PARTS: usize>(table: &Comb<PARTS>, point: &ProjectivePoint) {
        let steps = 32 / PARTS;
        let power =
            |exponent: usize| Scalar::from(2_u64).pow_vartime(&p256::U256::from_u32(u32::try_from(exponent).unwrap()));
        let teeth: Vec<_> = (0..8).map(|tooth| point * &power(32 * tooth)).collect();
        for (part, sums) in table.sums().chunks(128).enumerate() {
            let factor = power(part * steps);
            for (index, sum) in sums.iter().enumerate() {
                // Every entry of the last part, and of the others those that an error in one tooth would reach.
                if part + 1 < PARTS && !index.is_multiple_of(9) && !(index + 1).is_power_of_two() {
                    continue;
                }
                let signed = |(tooth, point): (usize, &ProjectivePoint)| {
                    if tooth == 7 || index >> tooth & 1 == 1 { *point } else { -*point }
                };
                let expected = teeth.iter().enumerate().map(signed).sum::<ProjectivePoint>() * factor;
                assert_eq!(encoded(sum), expected.to_affine().to_sec1_point(false).as_bytes(), "{part} {index}");
            }
        }
        assert_eq!(table.sums().len(), 128 * PARTS);
    }
    check(generator_table(), &ProjectivePoint::GENERATOR);
    let point = ProjectivePoint::GENERATOR * Scalar::from(0xdead_beef_u64);
    let table: Comb<2> = Comb::new(&read(point.to_affine().to_sec1_point(false).as_bytes()).unwrap()).unwrap();
    check(&table, &point);
    assert_eq!((size_of_val(table.sums()), KnownKey::BYTES), (16 * 1024, 16 * 1024));
    assert_eq!(size_of_val(generator_table().sums()), 256 * 1024);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 64 } else { 5_000 }))]

    #[test]
    fn multiples_are_those_of_another_library(words in element()) {
        let scalar = scalar_of(&words);
        let words = scalar::from_bytes(&scalar.to_repr().into());
        let mut sum = Point::INFINITY;
        generator_table().add_multiple(&mut sum, &words);
        prop_assert_eq!(theirs(&sum), ProjectivePoint::GENERATOR * scalar);
        // Once more onto what is there: twice the same, minus nothing.
        generator_table().add_multiple(&mut sum, &[0; 4]);
        generator_table().add_multiple(&mut sum, &words);
        prop_assert_eq!(theirs(&sum), ProjectivePoint::GENERATOR * scalar.double());
    }
}
