//! Many random signatures, good and changed. `KEYBOUND_SIGNATURES` says how many; the seed is printed.

use std::hash::{BuildHasher as _, RandomState};

use p256::elliptic_curve::BatchNormalize;
use p256::elliptic_curve::ff::PrimeField as _;
use p256::{FieldBytes, ProjectivePoint, Scalar};
use sha2::{Digest as _, Sha256};

use crate::judges::{Case, Key, x_of};

/// Signatures of one key.
const SIGNATURES: u64 = 250;
/// Of how many the third judge is asked about one: it is the slowest.
const RARE: u64 = 16;

/// Numbers by hashing a seed, so that a run can be repeated.
struct Random {
    seed: u64,
    next: u64,
}

impl Random {
    fn bytes(&mut self) -> [u8; 32] {
        self.next += 1;
        Sha256::digest([self.seed.to_be_bytes(), self.next.to_be_bytes()].concat()).into()
    }

    fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes()[..8].try_into().unwrap())
    }

    /// Any scalar but 0; now and then one with long runs of equal bits.
    fn scalar(&mut self) -> Scalar {
        for _ in 0..100 {
            let mut bytes = self.bytes();
            if self.number().is_multiple_of(4) {
                let (from, to) = (self.number() as usize % 32, self.number() as usize % 32);
                let fill = [0, 0xff, 0x80, 1][self.number() as usize % 4];
                bytes[from.min(to)..=from.max(to)].fill(fill);
            }
            match Scalar::from_repr(FieldBytes::from(bytes)).into_option() {
                Some(scalar) if scalar != Scalar::ZERO => return scalar,
                _ => {}
            }
        }
        unreachable!("chance")
    }
}

#[test]
fn all_agree() {
    let wanted = std::env::var("KEYBOUND_SIGNATURES").ok().map(|text| text.parse().unwrap());
    // In code that is not optimized, a hundredth of it takes as long.
    let wanted: u64 = wanted.unwrap_or(if cfg!(debug_assertions) { 2_000 } else { 100_000 });
    let seed =
        std::env::var("KEYBOUND_SEED").map_or_else(|_| RandomState::new().hash_one(0), |text| text.parse().unwrap());
    println!("KEYBOUND_SEED={seed}");
    let mut random = Random { seed, next: 0 };
    let (mut tried, mut accepted) = (0, 0);
    while tried < wanted {
        let (own, first) = (random.scalar(), random.scalar());
        let key = Key::of_scalar(&own);
        // Nonces one after the other, so that their points cost an addition each.
        let mut point = ProjectivePoint::GENERATOR * first;
        let mut points = Vec::new();
        for _ in 0..SIGNATURES {
            points.push(point);
            point += ProjectivePoint::GENERATOR;
        }
        let points = <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(&points[..]);
        let mut nonce = first;
        for point in points {
            let (e, r) = (random.scalar(), x_of(&point));
            let s = nonce.invert_vartime().unwrap() * (e + r * own);
            nonce += Scalar::ONE;
            let good = Case::new(&e, &r, &s);
            // −s is the other signature of the same digest.
            let mirrored = Case::new(&e, &r, &-s);
            let bad = changed(&good, &mut random);
            for (case, expected) in [(good, Some(true)), (mirrored, Some(true)), (bad, None)] {
                let known = key.known(&case.digest, &case.signature);
                let place = || format!("seed {seed}, {:02x?} {:02x?}", case.digest, case.signature);
                assert_eq!(known, key.aws(&case.digest, &case.signature), "{}", place());
                assert!(expected.is_none_or(|expected| expected == known), "{}", place());
                if tried % RARE == 0 {
                    assert_eq!(known, key.p256(&case.digest, &case.signature), "{}", place());
                }
                tried += 1;
                accepted += u64::from(known);
            }
        }
    }
    println!("{tried} signatures, {accepted} of them good");
    assert!(accepted >= tried / 3 * 2 && accepted < tried - tried / 6, "{tried} {accepted}");
}

/// The case with one thing changed: a bit, a number, or places.
fn changed(case: &Case, random: &mut Random) -> Case {
    let Case { mut digest, mut signature } = *case;
    let bit = random.number() as usize;
    match random.number() % 6 {
        0 => digest[bit / 8 % 32] ^= 1 << (bit % 8),
        1 | 2 => signature[bit / 8 % 64] ^= 1 << (bit % 8),
        3 => signature[32..].copy_from_slice(&random.scalar().to_bytes()),
        4 => signature[..32].copy_from_slice(&random.scalar().to_bytes()),
        _ => signature.rotate_left(32),
    }
    Case { digest, signature }
}
