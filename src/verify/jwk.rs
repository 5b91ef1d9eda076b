//! Public keys: read from a JWK strictly, validated, parsed once, named by their RFC 7638 thumbprint.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};
use sha2::{Digest as _, Sha256};

use super::algorithm::Algorithm;
use super::base64url;
use super::json::Json;

mod ed25519;
mod keyset;

pub use keyset::{Keyset, Skipped};

/// SHA-256 JWK thumbprint (RFC 7638): the value of `cnf.jkt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(pub [u8; 32]);

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

/// Why a JWK cannot be used. The sentences name members, never values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// A member of a private or symmetric key is present.
    Private,
    /// Anything else.
    Malformed(&'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "it holds private or symmetric material",
            Self::Malformed(what) => what,
        })
    }
}

/// A validated public key, ready to verify signatures of one algorithm.
pub struct PublicKey {
    algorithm: Algorithm,
    thumbprint: Thumbprint,
    parsed: ParsedPublicKey,
    recurrence: AtomicU32,
}

/// RSA moduli: RFC 7518 §3.3 demands 2048 bits; more than 4096 only costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// RFC 7517 §4, RFC 7518 §6: members that only private or symmetric keys have.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl PublicKey {
    /// Reads a JWK for use with `algorithm`: type, curve and sizes must fit it, the point must lie on its
    /// curve, and nothing private may be there (RFC 7517, RFC 7518 §6, RFC 8037 §2, RFC 8725 §3.4).
    /// Never follows `x5u`, never looks at `x5c`, `kid`, `use` or `key_ops`.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn from_jwk(jwk: &Json, algorithm: Algorithm) -> Result<Self, Unusable> {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        if PRIVATE_MEMBERS.iter().any(|member| jwk.has(member)) {
            return Err(Unusable::Private);
        }
        // RFC 8725 §3.1: one key, one algorithm.
        if jwk.get("alg").is_some_and(|alg| alg.as_str().and_then(Algorithm::from_name) != Some(algorithm)) {
            return Err(Unusable::Malformed("its alg is another algorithm"));
        }
        let (thumbprint, parsed) = match algorithm {
            Es256 => ec::<32>(jwk, "P-256", &signature::ECDSA_P256_SHA256_FIXED)?,
            Es384 => ec::<48>(jwk, "P-384", &signature::ECDSA_P384_SHA384_FIXED)?,
            Es512 => ec::<66>(jwk, "P-521", &signature::ECDSA_P521_SHA512_FIXED)?,
            Ps256 => rsa(jwk, &signature::RSA_PSS_2048_8192_SHA256)?,
            Ps384 => rsa(jwk, &signature::RSA_PSS_2048_8192_SHA384)?,
            Ps512 => rsa(jwk, &signature::RSA_PSS_2048_8192_SHA512)?,
            Rs256 => rsa(jwk, &signature::RSA_PKCS1_2048_8192_SHA256)?,
            Rs384 => rsa(jwk, &signature::RSA_PKCS1_2048_8192_SHA384)?,
            Rs512 => rsa(jwk, &signature::RSA_PKCS1_2048_8192_SHA512)?,
            EdDsa => okp(jwk)?,
        };
        Ok(Self { algorithm, thumbprint, parsed, recurrence: AtomicU32::new(0) })
    }

    /// The algorithm that this key verifies.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its RFC 7638 thumbprint.
    pub const fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Whether `signature` (raw `R ‖ S` for ECDSA, RFC 7518 §3.4) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// Its point in SEC 1's uncompressed form, if it is one for ECDSA.
    pub fn point(&self) -> Option<&[u8]> {
        use Algorithm::{Es256, Es384, Es512};
        matches!(self.algorithm, Es256 | Es384 | Es512).then(|| self.parsed.as_ref())
    }

    /// Counts one more good signature, for whoever wants to know keys that come again. At `enough` of them it answers true
    /// and begins anew.
    pub fn recurs(&self, enough: u32) -> bool {
        // Lost counts do no harm.
        let count = self.recurrence.load(Ordering::Relaxed) + 1;
        self.recurrence.store(if count >= enough { 0 } else { count }, Ordering::Relaxed);
        count >= enough
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm, self.thumbprint)
    }
}

fn expect_member(jwk: &Json, member: &str, value: &str, otherwise: &'static str) -> Result<(), Unusable> {
    if jwk.string(member) == Some(value) { Ok(()) } else { Err(Unusable::Malformed(otherwise)) }
}

fn coordinate<const N: usize>(jwk: &Json, member: &str) -> Result<[u8; N], Unusable> {
    jwk.string(member)
        .and_then(base64url::decode_array)
        .ok_or(Unusable::Malformed("a coordinate is missing or not of the curve's length"))
}

/// The thumbprint's input is rebuilt from decoded values, so that no spelling of a key has a thumbprint of its own.
fn thumbprint(canonical: &str) -> Thumbprint {
    Thumbprint(Sha256::digest(canonical.as_bytes()).into())
}

fn ec<const N: usize>(
    jwk: &Json,
    curve: &'static str,
    verification: &'static signature::EcdsaVerificationAlgorithm,
) -> Result<(Thumbprint, ParsedPublicKey), Unusable> {
    expect_member(jwk, "kty", "EC", "its kty does not fit the algorithm")?;
    expect_member(jwk, "crv", curve, "its crv does not fit the algorithm")?;
    let (x, y) = (coordinate::<N>(jwk, "x")?, coordinate::<N>(jwk, "y")?);
    let mut point = Vec::with_capacity(1 + 2 * N);
    point.push(4);
    point.extend_from_slice(&x);
    point.extend_from_slice(&y);
    let parsed =
        ParsedPublicKey::new(verification, point).map_err(|_| Unusable::Malformed("its point is not on the curve"))?;
    let canonical =
        format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, base64url::encode(&x), base64url::encode(&y));
    Ok((thumbprint(&canonical), parsed))
}

fn okp(jwk: &Json) -> Result<(Thumbprint, ParsedPublicKey), Unusable> {
    expect_member(jwk, "kty", "OKP", "its kty does not fit the algorithm")?;
    expect_member(jwk, "crv", "Ed25519", "its crv does not fit the algorithm")?;
    let x = coordinate::<32>(jwk, "x")?;
    if !ed25519::is_acceptable(&x) {
        return Err(Unusable::Malformed("its point is of small order or not canonical"));
    }
    let parsed = ParsedPublicKey::new(&signature::ED25519, x)
        .map_err(|_| Unusable::Malformed("its point is not on the curve"))?;
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url::encode(&x));
    Ok((thumbprint(&canonical), parsed))
}

fn rsa(jwk: &Json, parameters: &'static RsaParameters) -> Result<(Thumbprint, ParsedPublicKey), Unusable> {
    expect_member(jwk, "kty", "RSA", "its kty does not fit the algorithm")?;
    let integer = |member| {
        // RFC 7518 §2 Base64urlUInt is minimal: a leading zero would be a second spelling, hence a second thumbprint.
        jwk.string(member)
            .and_then(base64url::decode)
            .filter(|bytes| bytes.first().is_some_and(|first| *first != 0))
            .ok_or(Unusable::Malformed("n or e is missing or not a minimal integer"))
    };
    let (n, e) = (integer("n")?, integer("e")?);
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) || !is_odd(&n) {
        return Err(Unusable::Malformed("its modulus is not odd or not of 2048 to 4096 bits"));
    }
    if e.len() > 4 || !is_odd(&e) || e == [1] {
        return Err(Unusable::Malformed("its exponent is not odd, below 3 or above 2^32"));
    }
    let parsed = RsaPublicKeyComponents { n: &n, e: &e }
        .to_parsed_public_key(parameters)
        .map_err(|_| Unusable::Malformed("its modulus and exponent are no RSA key"))?;
    let canonical = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url::encode(&e), base64url::encode(&n));
    Ok((thumbprint(&canonical), parsed))
}

fn is_odd(integer: &[u8]) -> bool {
    integer.last().is_some_and(|last| last & 1 == 1)
}

#[cfg(test)]
mod tests;
