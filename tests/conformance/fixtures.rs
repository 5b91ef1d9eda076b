//! Vectors that the RFCs and other projects publish.

use http::HeaderValue;
use keybound::refusal::Reason;
use keybound::request::ProofField;
use keybound::time::UnixTime;
use keybound::verify::{
    Algorithm, Expected, Json, Proof, ProofRules, PublicKey, Thumbprint, TokenHash, Unremembered, UnverifiedToken,
    base64url, verify_proof,
};
use sha2::{Digest as _, Sha256};

#[path = "../shared/rfc9449.rs"]
mod rfc9449;
pub use rfc9449::{HEADER, P1, P1_SIGNATURE, P2, P2_SIGNATURE, P3, P3_MALLEATED, P3_SIGNATURE};

pub const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const ATH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
pub const SIGNED_AT: i64 = 1_562_262_618;
const TOKEN_2: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6IkJlQUxrYiJ9.eyJzdWIiOiJzb21lb25lQGV4YW1wbGUuY29tIiwiaXNzIjoiaHR0cHM6Ly9zZXJ2ZXIuZXhhbXBsZS5jb20iLCJuYmYiOjE1NjIyNjI2MTEsImV4cCI6MTU2MjI2NjIxNiwiY25mIjp7ImprdCI6IjBaY09DT1JaTll5LURXcHFxMzBqWnlKR0hUTjBkMkhnbEJWM3VpZ3VBNEkifX0.3Tyo8VTcn6u_PboUmAOYUY1kfAavomW_YwYMkmRNizLJoQzWy2fCo79Zi5yObpIzjWb5xW4OGld7ESZrh0fsrA";

fn jkt(text: &str) -> Thumbprint {
    Thumbprint(base64url::decode_array(text).expect("43 characters"))
}

/// `GET /protectedresource` with this proof and F-AT1, `seconds` after it was signed.
fn present(payload: &str, signature: &str, seconds: i64) -> Result<Proof, Reason> {
    let proof = format!("{HEADER}.{payload}.{signature}");
    let field = ProofField::One(HeaderValue::from_str(&proof).unwrap());
    let token_hash = TokenHash::of(TOKEN);
    let expected = Expected {
        method: "GET",
        external_url: "https://resource.example.org/protectedresource",
        token_hash: &token_hash,
        key: jkt(JKT),
    };
    let now = UnixTime::from_secs(SIGNED_AT + seconds);
    verify_proof(&field, &expected, &ProofRules::default(), &Unremembered, now).map_err(|refusal| refusal.reason())
}

#[test]
fn the_official_vector_passes_for_its_whole_life_and_no_longer() {
    for seconds in [-30, 0, 90] {
        assert_eq!(present(P3, P3_SIGNATURE, seconds).unwrap().key().to_string(), JKT);
    }
    assert_eq!(present(P3, P3_SIGNATURE, 91).unwrap_err(), Reason::ProofStale);
    assert_eq!(present(P3, P3_SIGNATURE, -31).unwrap_err(), Reason::ProofFuture);
}

#[test]
fn a_malleated_signature_verifies_and_is_the_same_proof() {
    let (original, malleated) = (present(P3, P3_SIGNATURE, 0).unwrap(), present(P3, P3_MALLEATED, 0).unwrap());
    assert_eq!(original.replay_key(), malleated.replay_key());
}

#[test]
fn a_trailing_bit_makes_another_text_and_no_proof() {
    let variant = P3_SIGNATURE.replace("JpLjA", "JpLjB");
    assert_eq!(present(P3, &variant, 0).unwrap_err(), Reason::ProofMalformed);
}

#[test]
fn proofs_for_the_token_endpoint_do_not_open_a_resource() {
    // F-P1 and F-P2 carry no ath at all.
    assert_eq!(present(P1, P1_SIGNATURE, 0).unwrap_err(), Reason::ProofClaims);
    assert_eq!(present(P2, P2_SIGNATURE, 0).unwrap_err(), Reason::ProofClaims);
}

#[test]
fn the_published_token_hash() {
    assert!(TokenHash::of(TOKEN).is_spelled(ATH));
    assert!(TokenHash::of(TOKEN_2).is_spelled("15X9sWIbOTUXUK1Bpan7W9IbMRuf5nJnJAOaAgyHTYg"));
    for bad in ["", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEp", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo="] {
        assert!(!TokenHash::of(TOKEN).is_spelled(bad), "{bad}");
    }
}

#[test]
fn the_published_jwt_is_read_but_is_no_access_token_of_rfc_9068() {
    let token = UnverifiedToken::read(TOKEN_2, TokenHash::of(TOKEN_2)).unwrap();
    assert_eq!(token.issuer().unwrap(), "https://server.example.com");
    let opaque = UnverifiedToken::read(TOKEN, TokenHash::of(TOKEN));
    assert_eq!(opaque.err().unwrap().reason(), Reason::TokenMalformed);
}

#[test]
fn a_coordinate_keeps_its_leading_zeros() {
    let proof = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImRwb3Arand0IiwiandrIjp7Imt0eSI6IkVDIiwieCI6IkFCYjNFYXJRMEhMY2NGeUZtVC1TZUw0TktnMTdQZThzeENaZVlFbG1EVG8iLCJ5IjoiNWtIUWh6ZThWN2ZIdE1tYk82N0tiQ3NOdFRWaERPRlpUTTBZV3RTZUZFOCIsImNydiI6IlAtMjU2In19.eyJpYXQiOjE3MzIwODc2MDYsImp0aSI6IjJmYWJhYTYxLWU1MWEtNGNjYy05ZjA0LTg1NjRkMzA1N2UxMCIsImh0bSI6IlBPU1QiLCJodHUiOiJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbS90b2tlbiIsImF0aCI6IlR0aDhubVZaT09UbVhqRDZDQkl5YVhOQ1pzb3hlUWdxNFZpaEdQTnNMdXMifQ.8RygRxPPK5M3gxtqarXCTvSBt5djhZ0b_0JD5U1ZwmCUflSk7nt5g_ilkWDZf2xflWuZhgeIFvkuazaLSKJuXw";
    let header = proof.split('.').next().unwrap();
    let header = Json::object(&base64url::decode(header).unwrap()).unwrap();
    let jwk = Json::from_members(header.get("jwk").unwrap().as_object().unwrap());
    let key = PublicKey::from_jwk(&jwk, Algorithm::Es256).unwrap();
    assert_eq!(key.thumbprint().to_string(), "MEhdRysfC6YMBxMtlBzyLwTWHmLLusOkEh_ofH9GPjs");
    let (input, signature) = proof.rsplit_once('.').unwrap();
    assert!(key.verifies(input.as_bytes(), &base64url::decode(signature).unwrap()));
}

#[test]
fn keys_off_the_curve_are_no_keys() {
    for coordinate in ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"] {
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{coordinate}","y":"{coordinate}"}}"#);
        assert!(PublicKey::from_jwk(&Json::object(jwk.as_bytes()).unwrap(), Algorithm::Es256).is_err());
    }
}

#[test]
fn published_certificate_thumbprints() {
    use base64::Engine as _;
    let x5t = |der: &str| {
        let der = base64::engine::general_purpose::STANDARD.decode(der).unwrap();
        base64url::encode(&Sha256::digest(der))
    };
    let rfc8705 = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
    assert_eq!(x5t(rfc8705), "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0");
    let rfc9440 = "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=";
    assert_eq!(x5t(rfc9440), "v68ffgcPn6jdYpBfFY2nP4ShE2Yk-6_Mk5PI9yh6aes");
}

#[test]
fn a_hash_in_hex_is_the_same_bytes_and_no_thumbprint() {
    let hex = "9a0c3570ac7392bee14a408ecb38978852a86d38cbc087feeeeaab2c9a07b9f1";
    let bytes: [u8; 32] = base64url::decode_array("mgw1cKxzkr7hSkCOyziXiFKobTjLwIf-7uqrLJoHufE").unwrap();
    assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), hex);
    assert_eq!(base64url::decode_array::<32>(hex), None);
}

#[test]
fn other_computations_over_the_published_key_and_certificate_are_not_theirs() {
    // F-JKT-bad1, F-JKT-bad2, F-JKT-hex; then F-C1-bad: padded, hex, SHA-1, over the key, over the PEM text.
    for bad in [
        "n_P-LqPOv0qzz9DAZza2dAj7gtEE0kaQi0TEAzvQbCI",
        "d5TsmEfvt1SS8zJU_s71Rmn3B-OTgkBmcZxQZJnDwok",
        "d1970e08e459358cbe0d6a6aab7d236722461d33747761e0941577ba282e0382",
    ] {
        let bad = base64url::decode_array(bad).map(Thumbprint);
        assert!(bad.is_none_or(|bad| bad != jkt(JKT)));
    }
    let x5t = base64url::decode_array::<32>("A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0").unwrap();
    for bad in [
        "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0=",
        "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd",
        "T8Qp8fPmVYqb9iHyzQUaAbxBedY",
        "Wfn777VsDXE-cW3Wvzm7CuMw6D6h15KRhVqq3o80H48",
        "RZUyid0cUQWEONv2uroCiSi6CqAXdVZueQmkxBeJ0gc",
    ] {
        assert_ne!(base64url::decode_array(bad), Some(x5t), "{bad}");
    }
}
