use super::*;
use proptest::prelude::*;

fn jwk(text: &str) -> Json {
    Json::object(text.as_bytes()).expect("a JSON object")
}

fn read(text: &str, algorithm: Algorithm) -> Result<PublicKey, Unusable> {
    PublicKey::from_jwk(&jwk(text), algorithm)
}

const P256: &str = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const RSA: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

#[test]
fn published_thumbprints() {
    let cases = [
        (P256, Algorithm::Es256, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        (ED25519, Algorithm::EdDsa, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (RSA, Algorithm::Rs256, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
    ];
    for (text, algorithm, thumbprint) in cases {
        assert_eq!(read(text, algorithm).unwrap().thumbprint().to_string(), thumbprint);
    }
}

#[test]
fn a_key_serves_the_algorithm_that_fits_it_and_no_other() {
    for (text, fits) in
        [(P256, vec![Algorithm::Es256]), (ED25519, vec![Algorithm::EdDsa]), (RSA, vec![Algorithm::Rs256])]
    {
        for algorithm in Algorithm::ALL {
            assert_eq!(read(text, *algorithm).is_ok(), fits.contains(algorithm), "{text:.30} {algorithm}");
        }
    }
}

#[test]
fn private_and_symmetric_members_are_refused_whatever_their_value() {
    for member in PRIVATE_MEMBERS {
        for value in ["\"AQ\"", "null", "\"\"", "[]"] {
            let text = P256.replace("{\"kty\"", &format!("{{\"{member}\":{value},\"kty\""));
            assert_eq!(read(&text, Algorithm::Es256).unwrap_err(), Unusable::Private, "{member} {value}");
        }
    }
}

#[test]
fn unsound_ed25519_points_are_refused() {
    let mut points: Vec<[u8; 32]> = Vec::new();
    for last in [0x00, 0x80] {
        let mut zero = [0; 32];
        zero[31] = last;
        let mut one = zero;
        one[0] = 1;
        points.extend([zero, one]);
    }
    for first in [0xEC, 0xED, 0xEE, 0xFF] {
        for last in [0x7F, 0xFF] {
            let mut point = [0xFF; 32];
            (point[0], point[31]) = (first, last);
            points.push(point);
        }
    }
    for point in points {
        let text = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, base64url::encode(&point));
        assert!(read(&text, Algorithm::EdDsa).is_err(), "{point:02x?}");
    }
}

#[test]
fn an_exponent_has_four_bytes_at_most() {
    for (exponent, usable) in [("AQAAAQ", true), ("AQAAAAE", false), ("AQ", false), ("AQAA", false)] {
        let text = RSA.replace("\"AQAB\"", &format!("\"{exponent}\""));
        assert_eq!(read(&text, Algorithm::Rs256).is_ok(), usable, "{exponent}");
    }
}

#[test]
fn keysets_leave_out_what_cannot_be_used() {
    let weak = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
    let private = P256.replace("{\"kty\"", "{\"d\":\"AQ\",\"kty\"");
    let encryption = P256.replace("{\"kty\"", "{\"use\":\"enc\",\"kty\"");
    let good = P256.replace("{\"kty\"", "{\"kid\":\"k1\",\"kty\"");
    let text = format!(r#"{{"keys":[{{"kty":"oct","k":"AQ"}},{weak},{private},{encryption},7,{good}]}}"#);
    let (keys, skipped) = Keyset::parse(text.as_bytes(), &[Algorithm::Es256, Algorithm::Rs256]).unwrap();
    assert_eq!((keys.len(), skipped.len()), (1, 5), "{skipped:?}");
    assert_eq!(keys.candidates(Some("k1"), Algorithm::Es256).count(), 1);
    assert_eq!(keys.candidates(None, Algorithm::Es256).count(), 1);
    assert_eq!(keys.candidates(Some("k2"), Algorithm::Es256).count(), 0);
    assert_eq!(skipped[0].why, Unusable::Private);
}

#[test]
fn keys_that_are_for_something_else_are_left_out() {
    for (ops, usable) in
        [(r#"["verify"]"#, 1), (r#"["sign","verify"]"#, 1), (r#""verify""#, 0), (r#"["sign"]"#, 0), ("[]", 0)]
    {
        let key = P256.replace("{\"kty\"", &format!("{{\"key_ops\":{ops},\"kty\""));
        let (keys, _) = Keyset::parse(format!(r#"{{"keys":[{key}]}}"#).as_bytes(), &[Algorithm::Es256]).unwrap();
        assert_eq!(keys.len(), usable, "{ops}");
    }
}

#[test]
fn a_keyset_contains_a_key_for_its_algorithm_alone() {
    let (keys, _) = Keyset::parse(format!(r#"{{"keys":[{P256}]}}"#).as_bytes(), &[Algorithm::Es256]).unwrap();
    let key = read(P256, Algorithm::Es256).unwrap().thumbprint();
    assert!(keys.contains(key, Algorithm::Es256));
    assert!(!keys.contains(key, Algorithm::Es384) && !keys.contains(Thumbprint([1; 32]), Algorithm::Es256));
}

#[test]
fn coordinates_below_the_prime_are_told_from_those_above() {
    let with = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        (point[0], point[31]) = (first, last);
        super::ed25519::is_acceptable(&point)
    };
    assert!(with(0xFF, 0xFE, 0x7F) && with(0xFF, 0xFF, 0x7E) && with(0xEB, 0xFF, 0x7F));
    assert!(!with(0xED, 0xFF, 0x7F) && !with(0xFF, 0xFF, 0xFF));
}

proptest! {
    #[test]
    fn any_json_is_a_key_or_refused(text in r#"\{("(kty|crv|x|y|n|e|d|alg)":("[A-Za-z0-9_=-]{0,50}"|1|null|\[\]),){0,5}"z":0\}"#) {
        if let Some(json) = Json::object(text.as_bytes()) {
            for algorithm in Algorithm::ALL {
                let _ = PublicKey::from_jwk(&json, *algorithm);
            }
        }
    }
}
