//! Points of P-256: y² = x³ − 3x + b, and the addition of points whose other summand is known in affine form.
//!
//! The formulas are those of the Explicit-Formulas Database for short Weierstrass curves in XYZZ coordinates, with a = −3:
//! `madd-2008-s`, `dbl-2008-s-1`, and `add-2008-s`'s cases that they leave out.

#![allow(clippy::many_single_char_names, reason = "they are the formulas'")]

use super::field::{Field, Verified, Words};
use super::montgomery::Fast;

/// b of the curve's equation (SP 800-186 §3.2.1.3).
const B: Words = [0x3bce_3c3e_27d2_604b, 0x651d_06b0_cc53_b0f6, 0xb3eb_bd55_7698_86bc, 0x5ac6_35d8_aa3a_93e7];

/// A point that is not at infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affine<F> {
    pub x: F,
    pub y: F,
}

impl Affine<Verified> {
    /// Whether it satisfies the curve's equation.
    pub fn is_on_curve(&self) -> bool {
        self.y.square() == right_side(self.x, Verified::ONE)
    }
}

/// x³ − 3x·zz² + b·zz³: the curve's equation has y² = this, for zz = 1 in affine coordinates.
fn right_side(x: Verified, zz: Verified) -> Verified {
    let (zz2, three) = (zz.square(), Verified::ONE.add(Verified::ONE).add(Verified::ONE));
    x.square().sub(zz2.mul(three)).mul(x).add(zz2.mul(zz).mul(Verified::from_words(B)))
}

impl<F: Field> Affine<F> {
    fn negated_if(self, negative: bool) -> Self {
        if negative { Self { x: self.x, y: self.y.neg() } } else { self }
    }
}

/// A point as (x·zz, y·zzz, zz, zzz) with zz³ = zzz²; zz = 0 is the point at infinity.
#[derive(Debug, Clone, Copy)]
pub struct Point<F> {
    x: F,
    y: F,
    zz: F,
    zzz: F,
}

impl<F: Field> From<Affine<F>> for Point<F> {
    fn from(point: Affine<F>) -> Self {
        Self { x: point.x, y: point.y, zz: F::ONE, zzz: F::ONE }
    }
}

impl<F: Field> Point<F> {
    pub const INFINITY: Self = Self { x: F::ZERO, y: F::ZERO, zz: F::ZERO, zzz: F::ZERO };

    #[cfg(test)]
    pub const fn coordinates(&self) -> [F; 4] {
        [self.x, self.y, self.zz, self.zzz]
    }

    #[cfg(test)]
    pub const fn of_coordinates([x, y, zz, zzz]: [F; 4]) -> Self {
        Self { x, y, zz, zzz }
    }

    pub fn is_infinity(&self) -> bool {
        self.zz == F::ZERO
    }

    /// Whether its affine x is this one. It must not be at infinity.
    pub fn has_x(&self, x: F) -> bool {
        x.mul(self.zz) == self.x
    }

    /// `dbl-2008-s-1`. Complete: no point of P-256 has y = 0, because the order is odd, and zz = 0 stays 0.
    #[inline(never)]
    #[must_use]
    pub fn double(&self) -> Self {
        let u = self.y.add(self.y);
        let v = u.square();
        let w = u.mul(v);
        let s = self.x.mul(v);
        // 3x² + a·zz² = 3(x − zz)(x + zz) for a = −3.
        let m = self.x.sub(self.zz).mul(self.x.add(self.zz));
        let m = m.add(m).add(m);
        let x = m.square().sub(s).sub(s);
        let y = m.mul(s.sub(x)).sub(w.mul(self.y));
        Self { x, y, zz: v.mul(self.zz), zzz: w.mul(self.zzz) }
    }

    /// Adds `other`, or its negative: `madd-2008-s`, which holds for points with different x that are not at infinity. The
    /// others are told apart first: nothing plus a point, a point plus itself, a point plus its negative.
    #[inline(never)]
    pub fn add(&mut self, other: &Affine<F>, negative: bool) {
        let other = other.negated_if(negative);
        if self.is_infinity() {
            *self = other.into();
            return;
        }
        let p = other.x.mul(self.zz).sub(self.x);
        let r = other.y.mul(self.zzz).sub(self.y);
        if p == F::ZERO {
            *self = if r == F::ZERO { Self::from(other).double() } else { Self::INFINITY };
            return;
        }
        let pp = p.square();
        let ppp = p.mul(pp);
        let q = self.x.mul(pp);
        let x = r.square().sub(ppp).sub(q).sub(q);
        let y = r.mul(q.sub(x)).sub(self.y.mul(ppp));
        *self = Self { x, y, zz: self.zz.mul(pp), zzz: self.zzz.mul(ppp) };
    }

    /// Affine forms of points none of which is at infinity, for the price of one inversion (Montgomery's trick).
    pub fn to_affine(points: &[Self]) -> Vec<Affine<F>> {
        let mut product = F::ONE;
        let mut before = Vec::with_capacity(points.len());
        for point in points {
            before.push(product);
            product = product.mul(point.zzz);
        }
        let mut inverse = product.invert();
        let mut affine = Vec::with_capacity(points.len());
        for (point, before) in points.iter().zip(before).rev() {
            let zzz = inverse.mul(before);
            inverse = inverse.mul(point.zzz);
            // zz/zzz is the inverse of z, whose square is that of zz.
            let zz = zzz.mul(point.zz).square();
            affine.push(Affine { x: point.x.mul(zz), y: point.y.mul(zzz) });
        }
        affine.reverse();
        affine
    }
}

impl Point<Fast> {
    /// The same point for proven arithmetic; `None` if by that it is none, or at infinity: if its coordinates are no
    /// elements of the field, do not belong together, or do not satisfy the curve's equation.
    pub fn proven(&self) -> Option<Point<Verified>> {
        let (x, y, zz, zzz) = (self.x.proven()?, self.y.proven()?, self.zz.proven()?, self.zzz.proven()?);
        let belong_together = zz != Verified::ZERO && zz.square().mul(zz) == zzz.square();
        (belong_together && y.square() == right_side(x, zz)).then_some(Point { x, y, zz, zzz })
    }
}
