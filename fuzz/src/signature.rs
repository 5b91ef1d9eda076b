//! Signatures: every verdict is that of jsonwebtoken, and of p256 where that knows the curve.
//!
//! The first byte picks a signature that is good, made by another library; each three bytes behind it change it, or what it
//! is over. What is left unchanged must pass, and nothing else may pass here that fails there.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, crypto};
use keybound::verify::{Algorithm, Json, PublicKey};
use p256::ecdsa::signature::Verifier as _;
use serde_json::Value;

struct Vector {
    name: String,
    ours: PublicKey,
    theirs: Option<DecodingKey>,
    p256: Option<p256::ecdsa::VerifyingKey>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

static VECTORS: LazyLock<Vec<Vector>> = LazyLock::new(|| {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../vectors.json")).expect("JSON");
    vectors.iter().map(vector).collect()
});

fn vector(value: &Value) -> Vector {
    let text = |name: &str| value[name].as_str().expect("a text").to_owned();
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let (name, jwk) = (text("alg"), &value["jwk"]);
    let members = Json::object(jwk.to_string().as_bytes()).expect("an object");
    let ours = PublicKey::from_jwk(&members, Algorithm::from_name(&name).expect("an algorithm")).expect("a key");
    // jsonwebtoken has no ES512.
    let theirs = name
        .parse::<jsonwebtoken::Algorithm>()
        .ok()
        .map(|_| DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).expect("a JWK")).expect("a key"));
    assert_eq!(theirs.is_none(), name == "ES512");
    let p256 = (name == "ES256").then(|| {
        let coordinate = |name: &str| bytes(jwk[name].as_str().expect("a text"));
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).expect("a point")
    });
    Vector { name, ours, theirs, p256, message: text("message").into_bytes(), signature: bytes(&text("signature")) }
}

/// The order of P-256's group.
const ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA,
    0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];

pub fn run(data: &[u8]) {
    let Some((pick, edits)) = data.split_first() else { return };
    let vector = &VECTORS[usize::from(*pick) % VECTORS.len()];
    let (mut message, mut signature) = (vector.message.clone(), vector.signature.clone());
    for edit in edits.chunks_exact(3) {
        change(&mut message, &mut signature, edit[0], usize::from(edit[1]), edit[2]);
    }
    let verdict = vector.ours.verifies(&message, &signature);
    if message == vector.message && signature == vector.signature {
        assert!(verdict, "{}: a good signature", vector.name);
    }
    if message != vector.message {
        assert!(!verdict, "{}: a signature over something else", vector.name);
    }
    if let Some(key) = &vector.theirs {
        let other =
            crypto::verify(&URL_SAFE_NO_PAD.encode(&signature), &message, key, vector.name.parse().expect("alg"));
        assert_eq!(verdict, other.unwrap_or(false), "{}: jsonwebtoken", vector.name);
    }
    if let Some(key) = &vector.p256 {
        let other = p256::ecdsa::Signature::from_slice(&signature).is_ok_and(|one| key.verify(&message, &one).is_ok());
        assert_eq!(verdict, other, "p256");
    }
}

fn change(message: &mut Vec<u8>, signature: &mut Vec<u8>, how: u8, at: usize, value: u8) {
    let half = signature.len() / 2;
    match how % 12 {
        0 if !signature.is_empty() => {
            let at = at % signature.len();
            signature[at] ^= value;
        }
        1 => signature.truncate(at),
        2 => signature.push(value),
        3 => signature.insert(at.min(signature.len()), value),
        4 if signature.len() == 64 => {
            // s → n − s: the other form of the same ECDSA signature.
            let s = minus(&ORDER, &signature[32..]);
            signature[32..].copy_from_slice(&s);
        }
        5 => signature[..half].fill(value),
        6 => signature[half..].fill(value),
        7 if signature.len() == 64 => signature[at % 2 * 32..][..32].copy_from_slice(&ORDER),
        8 => signature.rotate_left(half),
        9 => signature.insert(0, 0),
        10 if !message.is_empty() => {
            let at = at % message.len();
            message[at] ^= value;
        }
        11 => message.push(value),
        _ => {}
    }
}

fn minus(a: &[u8; 32], b: &[u8]) -> [u8; 32] {
    let (mut out, mut borrow) = ([0; 32], 0_i16);
    for at in (0..32).rev() {
        let digit = i16::from(a[at]) - i16::from(b[at]) - borrow;
        borrow = i16::from(digit < 0);
        out[at] = u8::try_from(digit.rem_euclid(256)).expect("a byte");
    }
    out
}
