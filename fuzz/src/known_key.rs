//! P-256 signatures under a key that has a table: every verdict is p256's.
//!
//! The input chooses the key, and the two multiples that a verification adds up: 32 bytes each for d, u₁ and u₂, of which
//! the signature follows. Each three bytes behind them change that. Bytes are easier to steer into the corners of a table
//! than signatures are.

use keybound::verify::KnownKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::elliptic_curve::ops::Reduce as _;
use p256::elliptic_curve::point::AffineCoordinates as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::{FieldBytes, ProjectivePoint, Scalar};

pub fn run(data: &[u8]) {
    let Some((scalars, edits)) = data.split_at_checked(96) else { return };
    let scalar = |at: usize| {
        let bytes: [u8; 32] = scalars[32 * at..][..32].try_into().expect("32 bytes");
        Scalar::reduce(&FieldBytes::from(bytes))
    };
    let (own, u1, u2) = (scalar(0), scalar(1), scalar(2));
    if own == Scalar::ZERO {
        return;
    }
    let key = (ProjectivePoint::GENERATOR * own).to_affine();
    let sum = ProjectivePoint::GENERATOR * u1 + ProjectivePoint::from(key) * u2;
    // At infinity it has no x; whatever r is, it must be refused.
    let r = if sum == ProjectivePoint::IDENTITY { u2 } else { Scalar::reduce(&FieldBytes::from(sum.to_affine().x())) };
    let s = u2.invert_vartime().into_option().map_or(Scalar::ZERO, |inverse| r * inverse);
    let mut digest: [u8; 32] = (u1 * s).to_bytes().into();
    let mut signature = [r.to_bytes(), s.to_bytes()].concat();
    let is_good = r != Scalar::ZERO && s != Scalar::ZERO && sum != ProjectivePoint::IDENTITY;
    let encoded = key.to_sec1_point(false);
    let known = KnownKey::new(encoded.as_bytes()).expect("a point of the curve");
    assert_eq!(known.verify(&digest, &signature), is_good, "as it was made");
    for edit in edits.chunks_exact(3) {
        let at = usize::from(edit[1]);
        match edit[0] % 4 {
            0 => digest[at % 32] ^= edit[2],
            1 if !signature.is_empty() => {
                let at = at % signature.len();
                signature[at] ^= edit[2];
            }
            2 => signature.truncate(at),
            _ => signature.push(edit[2]),
        }
    }
    let theirs = VerifyingKey::from_affine(key).expect("a key");
    let good = Signature::from_slice(&signature).is_ok_and(|one| theirs.verify_prehash(&digest, &one).is_ok());
    assert_eq!(known.verify(&digest, &signature), good, "p256");
}
