//! The client's side of RFC 9449: a key pair and the proofs that it signs.
//!
//! A [`ProofKey`] is made here or read from a file ([`ProofKey::read`]); what leaves is signed proofs, the public
//! JWK and its thumbprint. The private half leaves only through [`ProofKey::to_pem`] and [`ProofKey::pkcs8`], and
//! never through `Debug` or an error.

use std::fmt;

use crate::time::UnixTime;
use crate::verify::{Algorithm, Thumbprint, TokenHash, Unusable, base64url};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use jsonwebtoken::{EncodingKey, Header};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::EncodePrivateKey as _;
use p256::pkcs8::der::pem::{LineEnding, encode_string};
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

mod assertion;
mod load;
mod public;
#[cfg(test)]
mod tests;

pub use public::{Kind, PublicJwk};

/// Why a key cannot be made, read or used. The sentences never hold a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no key at all.
    #[error("expected a private key as PEM (PKCS#8, SEC1 or PKCS#1) or as JWK, found {0}")]
    NotAKey(&'static str),
    /// It needs a passphrase.
    #[error("the private key is encrypted; `openssl pkey -in FILE -out PLAIN` decrypts it")]
    Encrypted,
    /// It is broken, or of a kind that cannot sign proofs here.
    #[error("the private key is not usable: expected P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits")]
    NotUsable,
    /// A private JWK lacks a member, or one of them is not base64url.
    #[error("the private JWK is not usable: its member {0:?} is missing or not base64url")]
    Member(&'static str),
    /// The public half breaks a rule of the verifier.
    #[error("the key is not usable: {0}")]
    Public(Unusable),
    /// The key is of another kind than the algorithm.
    #[error("a key of kind {kind} cannot sign {algorithm}")]
    Unfit {
        /// What the key is.
        kind: Kind,
        /// What was asked of it.
        algorithm: Algorithm,
    },
    /// No signer for this algorithm.
    #[error("signing {0} is not supported")]
    Unsupported(Algorithm),
    /// The cryptographic library or the system's randomness failed.
    #[error("the cryptographic library failed to {0}")]
    Library(&'static str),
}

impl From<Unusable> for KeyError {
    fn from(why: Unusable) -> Self {
        Self::Public(why)
    }
}

/// What a proof is for.
#[derive(Clone, Copy)]
pub struct ProofRequest<'a> {
    /// The request's method: `htm`.
    pub method: &'a str,
    /// The request's URL: `htu` is what precedes its query and fragment, otherwise as given.
    pub url: &'a str,
    /// The access token that goes with it: `ath` is its hash.
    pub token: Option<&'a str>,
    /// The nonce that the server asked for.
    pub nonce: Option<&'a str>,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `jti`; `None`: 128 random bits.
    pub jti: Option<&'a str>,
}

/// A private key that signs DPoP proofs with one algorithm.
pub struct ProofKey {
    algorithm: Algorithm,
    public: PublicJwk,
    pkcs8: Zeroizing<Vec<u8>>,
    signer: EncodingKey,
    header: Header,
}

impl ProofKey {
    /// Makes a key pair; RSA ones have 2048 bits.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`], [`KeyError::Library`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let failed = || KeyError::Library("make a key pair");
        let pkcs8 = match algorithm {
            Es256 => {
                let key = p256::SecretKey::try_generate().map_err(|_| failed())?;
                key.to_pkcs8_der().map_err(|_| failed())?.as_bytes().to_vec()
            }
            Es384 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(|_| failed())?;
                key.to_pkcs8v1().map_err(|_| failed())?.as_ref().to_vec()
            }
            EdDsa => {
                let key = Ed25519KeyPair::generate().map_err(|_| failed())?;
                key.to_pkcs8v1().map_err(|_| failed())?.as_ref().to_vec()
            }
            Ps256 | Ps384 | Ps512 | Rs256 | Rs384 | Rs512 => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| failed())?;
                key.as_der().map_err(|_| failed())?.as_ref().to_vec()
            }
            Es512 => return Err(KeyError::Unsupported(algorithm)),
        };
        Self::from_pkcs8(Zeroizing::new(pkcs8))?.with_algorithm(algorithm)
    }

    /// The same key, signing with another algorithm of its kind: an RSA key knows six.
    ///
    /// # Errors
    /// [`KeyError::Unfit`], [`KeyError::Unsupported`].
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Result<Self, KeyError> {
        if !self.public.kind().algorithms().contains(&algorithm) {
            return Err(KeyError::Unfit { kind: self.public.kind(), algorithm });
        }
        self.header.alg = jwt_algorithm(algorithm)?;
        self.algorithm = algorithm;
        Ok(self)
    }

    /// Signs one proof (RFC 9449 §4.2). Checks neither method nor URL: what is asked for is signed.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn prove(&self, request: &ProofRequest<'_>) -> Result<String, KeyError> {
        let end = request.url.find(['?', '#']).unwrap_or(request.url.len());
        let jti = match request.jti {
            Some(jti) => jti.to_owned(),
            None => random_jti()?,
        };
        let claims = Claims {
            jti: &jti,
            htm: request.method,
            htu: &request.url[..end],
            iat: request.issued_at.secs(),
            ath: request.token.map(|token| base64url::encode(TokenHash::of(token).as_bytes())),
            nonce: request.nonce,
        };
        jsonwebtoken::encode(&self.header, &claims, &self.signer).map_err(|_| KeyError::Library("sign"))
    }

    /// The algorithm that it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its public half.
    pub const fn public(&self) -> &PublicJwk {
        &self.public
    }

    /// Its public half as JWK, required members only.
    pub const fn public_jwk(&self) -> &Value {
        self.public.jwk()
    }

    /// The thumbprint of its public half: `cnf.jkt` of the tokens that are bound to it.
    pub const fn thumbprint(&self) -> Thumbprint {
        self.public.thumbprint()
    }

    /// The private key as PKCS#8 DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The private key as PKCS#8 PEM.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        pem(&self.pkcs8)
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let (public, signer) = load::inspect(&pkcs8)?;
        let algorithm = public.kind().algorithm();
        let mut header = Header::new(jwt_algorithm(algorithm)?);
        header.typ = Some("dpop+jwt".to_owned());
        header.jwk = Some(public.to_header_jwk()?);
        Ok(Self { algorithm, public, pkcs8, signer, header })
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProofKey({} {})", self.algorithm, self.thumbprint())
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    jti: &'a str,
    htm: &'a str,
    htu: &'a str,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

fn random_jti() -> Result<String, KeyError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyError::Library("give random bytes"))?;
    Ok(base64url::encode(&bytes))
}

fn pem(pkcs8: &[u8]) -> Result<Zeroizing<String>, KeyError> {
    let text = encode_string("PRIVATE KEY", LineEnding::LF, pkcs8).map_err(|_| KeyError::Library("write PEM"))?;
    Ok(Zeroizing::new(text))
}

fn jwt_algorithm(algorithm: Algorithm) -> Result<jsonwebtoken::Algorithm, KeyError> {
    use jsonwebtoken::Algorithm as Jwt;
    Ok(match algorithm {
        Algorithm::Es256 => Jwt::ES256,
        Algorithm::Es384 => Jwt::ES384,
        Algorithm::Ps256 => Jwt::PS256,
        Algorithm::Ps384 => Jwt::PS384,
        Algorithm::Ps512 => Jwt::PS512,
        Algorithm::Rs256 => Jwt::RS256,
        Algorithm::Rs384 => Jwt::RS384,
        Algorithm::Rs512 => Jwt::RS512,
        Algorithm::EdDsa => Jwt::EdDSA,
        Algorithm::Es512 => return Err(KeyError::Unsupported(algorithm)),
    })
}
