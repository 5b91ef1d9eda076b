//! Three verifications of one signature, of which two are other people's.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use keybound::verify::KnownKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::ops::Reduce as _;
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar};

/// A key as each of them wants it.
pub struct Key {
    pub point: AffinePoint,
    known: KnownKey,
    aws: ParsedPublicKey,
    p256: VerifyingKey,
}

impl Key {
    pub fn of(point: AffinePoint) -> Self {
        let encoded = point.to_sec1_point(false);
        Self {
            point,
            known: KnownKey::new(encoded.as_bytes()).unwrap(),
            aws: ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, encoded.as_bytes()).unwrap(),
            p256: VerifyingKey::from_affine(point).unwrap(),
        }
    }

    pub fn of_scalar(scalar: &Scalar) -> Self {
        Self::of((ProjectivePoint::GENERATOR * scalar).to_affine())
    }

    pub fn known(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        self.known.verify(digest, signature)
    }

    pub fn aws(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        let digest = Digest::import_less_safe(digest, &digest::SHA256).unwrap();
        self.aws.verify_digest_sig(&digest, signature).is_ok()
    }

    pub fn p256(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.p256.verify_prehash(digest, &signature).is_ok())
    }

    /// What all of them say.
    #[track_caller]
    pub fn all(&self, digest: &[u8; 32], signature: &[u8]) -> bool {
        let known = self.known(digest, signature);
        let others = (self.aws(digest, signature), self.p256(digest, signature));
        assert_eq!((known, known), others, "{:?} {digest:02x?} {signature:02x?}", self.point);
        known
    }
}

/// A digest and a signature.
pub struct Case {
    pub digest: [u8; 32],
    pub signature: [u8; 64],
}

impl Case {
    pub fn new(e: &Scalar, r: &Scalar, s: &Scalar) -> Self {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r.to_bytes());
        signature[32..].copy_from_slice(&s.to_bytes());
        Self { digest: e.to_bytes().into(), signature }
    }

    /// The good signature whose verification computes u₁·G + u₂·Q; `None` where there is none, for its r or s would be 0.
    pub fn of_multiples(key: &AffinePoint, u1: &Scalar, u2: &Scalar) -> Option<Self> {
        let point = ProjectivePoint::GENERATOR * u1 + ProjectivePoint::from(*key) * u2;
        let r = x_of(&point.to_affine());
        Self::of_r(&r, u1, u2)
    }

    /// The same for an r that need not be the right one.
    pub fn of_r(r: &Scalar, u1: &Scalar, u2: &Scalar) -> Option<Self> {
        let s = r.multiply(&u2.invert_vartime().into_option()?);
        (*r != Scalar::ZERO).then(|| Self::new(&u1.multiply(&s), r, &s))
    }
}

/// A point's x modulo n.
pub fn x_of(point: &AffinePoint) -> Scalar {
    Scalar::reduce(&FieldBytes::from(point.x()))
}
