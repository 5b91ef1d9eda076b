//! Multiples of one point, precomputed: a comb with eight teeth (Lim and Lee, CRYPTO '94) over signed digits, all of them
//! odd (Hedabou, Pinel and Bénéteau, 2005).
//!
//! An odd scalar k below 2^256 is Σ ±2^i over all 256 i: the digit at i is +1 if bit i + 1 of k is set, −1 if not, and +1 at
//! the top. Laid out as eight rows (teeth) of 32 digits, a column j is one of 2^8 sums ±P ± 2^32·P … ± 2^224·P, taken times
//! 2^j. Half of these sums, those with + at the last tooth, are in the table; the others are their negatives. A part of the
//! table holds them for each 32 / `PARTS`-th column, so that only 32 / `PARTS` − 1 doublings are left.
//!
//! Tables are built by proven arithmetic, and read by the fast one.

use super::field::{Verified, Words};
use super::montgomery::Fast;
use super::point::{Affine, Point};
use super::scalar;

const TEETH: usize = 8;
const COLUMNS: usize = 256 / TEETH;
/// Sums for each part: those with + at the last tooth.
const SUMS: usize = 1 << (TEETH - 1);

/// The table of one point: `PARTS` × 8 KiB.
#[derive(Debug)]
pub struct Comb<const PARTS: usize> {
    sums: Box<[Affine<Fast>]>,
}

impl<const PARTS: usize> Comb<PARTS> {
    /// Columns, and so doublings and one, that each part serves.
    const STEPS: usize = COLUMNS / PARTS;

    /// The table of a point on the curve; `None` if any sum is not on it, which cannot be.
    pub fn new(point: &Affine<Verified>) -> Option<Self> {
        const { assert!(COLUMNS.is_multiple_of(PARTS), "each part serves as many columns") };
        // 2^(tooth·32 + part·STEPS) times the point, tooth by tooth.
        let mut powers = Vec::with_capacity(TEETH * PARTS);
        let mut power = Point::from(*point);
        for _ in 0..TEETH * PARTS {
            powers.push(power);
            for _ in 0..Self::STEPS {
                power = power.double();
            }
        }
        let doubles: Vec<_> = powers.iter().map(Point::double).collect();
        let (powers, doubles) = (Point::to_affine(&powers), Point::to_affine(&doubles));
        let mut sums = Vec::with_capacity(PARTS * SUMS);
        for part in 0..PARTS {
            let of = |tooth: usize| tooth * PARTS + part;
            let first = sums.len();
            // All teeth − but the last; then each bit of the index turns one of them to +.
            let mut sum = Point::from(powers[of(TEETH - 1)]);
            (0..TEETH - 1).for_each(|tooth| sum.add(&powers[of(tooth)], true));
            sums.push(sum);
            for index in 1..SUMS {
                let highest = index.ilog2() as usize;
                let mut sum: Point<Verified> = sums[first + (index ^ (1 << highest))];
                sum.add(&doubles[of(highest)], false);
                sums.push(sum);
            }
        }
        let sums = Point::to_affine(&sums);
        let fast = |sum: &Affine<Verified>| Affine { x: sum.x.into(), y: sum.y.into() };
        sums.iter().all(Affine::is_on_curve).then(|| Self { sums: sums.iter().map(fast).collect() })
    }

    /// Adds `scalar` times the point. With a single step for each part it leaves what is there alone; with more, what is
    /// there must be the point at infinity, because it would be doubled.
    pub fn add_multiple(&self, sum: &mut Point<Fast>, scalar: &Words) {
        let Some((rows, flipped)) = digits(scalar) else { return };
        debug_assert!(Self::STEPS == 1 || sum.is_infinity(), "what is there would be doubled");
        for step in (0..Self::STEPS).rev() {
            if step + 1 < Self::STEPS {
                *sum = sum.double();
            }
            for part in 0..PARTS {
                let column = part * Self::STEPS + step;
                let signs = (0..TEETH).fold(0, |signs, tooth| signs | ((rows[tooth] >> column) & 1) << tooth) as usize;
                let negative = signs < SUMS;
                let index = if negative { !signs } else { signs } % SUMS;
                sum.add(&self.sums[part * SUMS + index], negative != flipped);
            }
        }
    }

    /// Bytes of a table.
    pub const BYTES: usize = PARTS * SUMS * size_of::<Affine<Fast>>();

    #[cfg(test)]
    pub fn sums(&self) -> &[Affine<Fast>] {
        &self.sums
    }
}

/// The signs of a scalar's digits, tooth by tooth (a set bit is +), and whether they are those of its negative, because
/// only odd scalars have such digits. `None` for 0.
fn digits(scalar: &Words) -> Option<([u32; TEETH], bool)> {
    if *scalar == [0; 4] {
        return None;
    }
    let even = scalar[0] & 1 == 0;
    // n is odd.
    let odd = if even { scalar::negative(scalar) } else { *scalar };
    let signs: Words = std::array::from_fn(|i| odd[i] >> 1 | odd.get(i + 1).map_or(1, |next| next & 1) << 63);
    #[allow(clippy::cast_possible_truncation, reason = "32 bits are a row")]
    let row = |tooth: usize| (signs[tooth / 2] >> (32 * (tooth % 2))) as u32;
    Some((std::array::from_fn(row), even))
}
