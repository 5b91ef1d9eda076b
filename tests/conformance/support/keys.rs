//! Keys of clients and issuers, signing through aws-lc-rs and described through jsonwebtoken: neither is the code
//! under test.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair and the `alg` it signs with.
pub struct Key {
    pub alg: &'static str,
    pair: Pair,
    jwk: Value,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn signature::RsaEncoding),
}

impl Key {
    pub fn es256() -> Self {
        Self::new("ES256")
    }

    pub fn new(alg: &'static str) -> Self {
        match alg {
            "ES256" => Self::ec(alg, "P-256", 32),
            "ES384" => Self::ec(alg, "P-384", 48),
            "ES512" => Self::ec(alg, "P-521", 66),
            "EdDSA" | "Ed25519" => {
                let pair = Ed25519KeyPair::generate().unwrap();
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key())});
                Self { alg, pair: Pair::Ed(pair), jwk }
            }
            _ => Self::rsa(alg, KeySize::Rsa2048),
        }
    }

    fn ec(alg: &'static str, crv: &str, size: usize) -> Self {
        let algorithm = match size {
            32 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            48 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            _ => &ECDSA_P521_SHA512_FIXED_SIGNING,
        };
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = json!({"kty": "EC", "crv": crv, "x": b64(&point[1..=size]), "y": b64(&point[size + 1..])});
        Self { alg, pair: Pair::Ec(pair), jwk }
    }

    pub fn rsa(alg: &'static str, size: KeySize) -> Self {
        let pair = RsaKeyPair::generate(size).unwrap();
        let public = pair.public_key();
        let (n, e) =
            (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
        let jwk = json!({"kty": "RSA", "n": b64(n), "e": b64(e)});
        let encoding: &'static dyn signature::RsaEncoding = match alg {
            "PS256" => &signature::RSA_PSS_SHA256,
            "PS384" => &signature::RSA_PSS_SHA384,
            "PS512" => &signature::RSA_PSS_SHA512,
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            _ => &signature::RSA_PKCS1_SHA256,
        };
        Self { alg, pair: Pair::Rsa(pair, encoding), jwk }
    }

    /// The public JWK, required members only.
    pub fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    /// The thumbprint as jsonwebtoken computes it.
    pub fn thumbprint(&self) -> String {
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(self.jwk()).unwrap();
        jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap()
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}
