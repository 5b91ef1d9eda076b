use crate::refusal::Reason;
use crate::request::ProofField;
use crate::verify::{Expected, Json, Proof, ProofRules, Unremembered, verify_proof};
use aws_lc_rs::rand::fill;
use jsonwebtoken::EncodingKey;
use p256::pkcs8::DecodePrivateKey as _;

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const URL: &str = "https://resource.example.org/protectedresource";

const REQUEST: ProofRequest<'_> =
    ProofRequest { method: "GET", url: URL, token: Some(TOKEN), nonce: None, issued_at: NOW, jti: None };

fn check(key: &ProofKey, proof: &str) -> Result<Proof, Reason> {
    let field = ProofField::One(proof.parse().unwrap());
    let expected =
        Expected { method: "GET", external_url: URL, token_hash: &TokenHash::of(TOKEN), key: key.thumbprint() };
    let rules = ProofRules { algorithms: Algorithm::ALL.to_vec(), ..ProofRules::default() };
    verify_proof(&field, &expected, &rules, &Unremembered, NOW).map_err(|refusal| refusal.reason())
}

fn segment(proof: &str, index: usize) -> Value {
    serde_json::from_slice(&base64url::decode(proof.split('.').nth(index).unwrap()).unwrap()).unwrap()
}

fn armored(label: &str, der: &[u8]) -> String {
    encode_string(label, LineEnding::LF, der).unwrap()
}

fn jwk(text: &str) -> Json {
    Json::object(text.as_bytes()).unwrap()
}

/// RFC 7515 appendix A.3.
const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

/// RFC 8037 appendix A.1.
const ED: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

#[test]
fn every_algorithm_signs_what_the_verifier_accepts() {
    for algorithm in Algorithm::ALL.iter().copied().filter(|algorithm| *algorithm != Algorithm::Es512) {
        let key = ProofKey::generate(algorithm).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let proof = check(&key, &key.prove(&REQUEST).unwrap()).unwrap();
        assert_eq!((proof.key(), proof.issued_at()), (key.thumbprint(), NOW));

        let again = ProofKey::read(key.to_pem().unwrap().as_bytes()).unwrap().with_algorithm(algorithm).unwrap();
        assert_eq!(again.thumbprint(), key.thumbprint());
        check(&key, &again.prove(&REQUEST).unwrap()).unwrap();
    }
    assert!(matches!(ProofKey::generate(Algorithm::Es512), Err(KeyError::Unsupported(Algorithm::Es512))));
}

#[test]
fn a_proof_says_what_was_asked_and_nothing_more() {
    let key = ProofKey::from_jwk(&jwk(EC)).unwrap();
    let url = format!("{URL}?q=1#f");
    let full = ProofRequest { url: &url, nonce: Some("n"), jti: Some("j"), ..REQUEST };
    let proof = key.prove(&full).unwrap();
    let ath = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";
    let claims = serde_json::json!({
        "jti": "j", "htm": "GET", "htu": URL, "iat": NOW.secs(), "ath": ath, "nonce": "n"
    });
    assert_eq!(segment(&proof, 1), claims);
    let header = serde_json::json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk() });
    assert_eq!(segment(&proof, 0), header);
    assert_eq!(key.public_jwk().as_object().unwrap().keys().collect::<Vec<_>>(), ["crv", "kty", "x", "y"]);

    let bare = segment(&key.prove(&ProofRequest { token: None, ..REQUEST }).unwrap(), 1);
    let mut names: Vec<_> = bare.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["htm", "htu", "iat", "jti"]);
}

#[test]
fn each_proof_has_an_identifier_of_its_own() {
    let key = ProofKey::from_jwk(&jwk(ED)).unwrap();
    let jti = || segment(&key.prove(&REQUEST).unwrap(), 1)["jti"].as_str().unwrap().to_owned();
    let (one, other) = (jti(), jti());
    assert_ne!(one, other);
    assert_eq!(base64url::decode(&one).unwrap().len(), 16);
}

#[test]
fn one_thing_changed_is_refused() {
    let key = ProofKey::generate(Algorithm::Es256).unwrap();
    let other = ProofKey::generate(Algorithm::Es256).unwrap();
    let stale = UnixTime::from_secs(NOW.secs() - 600);
    for (request, reason) in [
        (ProofRequest { method: "POST", ..REQUEST }, Reason::ProofMethod),
        (ProofRequest { url: "https://resource.example.org/", ..REQUEST }, Reason::ProofTarget),
        (ProofRequest { token: Some("another"), ..REQUEST }, Reason::ProofTokenHash),
        (ProofRequest { token: None, ..REQUEST }, Reason::ProofClaims),
        (ProofRequest { issued_at: stale, ..REQUEST }, Reason::ProofStale),
    ] {
        assert_eq!(check(&key, &key.prove(&request).unwrap()).unwrap_err(), reason);
    }
    assert_eq!(check(&key, &other.prove(&REQUEST).unwrap()).unwrap_err(), Reason::ProofKeyMismatch);
    check(&key, &key.prove(&REQUEST).unwrap()).unwrap();
}

#[test]
fn keys_of_other_formats_are_the_same_keys() {
    let (ec, ed) = (ProofKey::from_jwk(&jwk(EC)).unwrap(), ProofKey::from_jwk(&jwk(ED)).unwrap());
    assert_eq!(ed.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    check(&ed, &ed.prove(&REQUEST).unwrap()).unwrap();

    let sec1 = p256::SecretKey::from_pkcs8_der(ec.pkcs8()).unwrap().to_sec1_der().unwrap();
    // OpenSSL writes the curve in front.
    let parameters = armored("EC PARAMETERS", &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]);
    let text = format!("{parameters}{}", armored("EC PRIVATE KEY", &sec1));
    assert_eq!(ProofKey::read(text.as_bytes()).unwrap().thumbprint(), ec.thumbprint());

    let rsa = ProofKey::generate(Algorithm::Ps256).unwrap();
    let pkcs1 = EncodingKey::from_rsa_pem(rsa.to_pem().unwrap().as_bytes()).unwrap();
    let text = armored("RSA PRIVATE KEY", pkcs1.as_bytes());
    assert_eq!(ProofKey::from_pem(text.as_bytes()).unwrap().thumbprint(), rsa.thumbprint());

    let (_, sequence) = x509_parser::der_parser::parse_der(pkcs1.as_bytes()).unwrap();
    let integers: Vec<_> = sequence.as_sequence().unwrap()[1..].iter().map(|item| item.as_slice().unwrap()).collect();
    let mut members = rsa.public_jwk().clone();
    for (name, integer) in ["d", "p", "q", "dp", "dq", "qi"].into_iter().zip(&integers[2..]) {
        members[name] = base64url::encode(integer).into();
    }
    members["alg"] = "RS256".into();
    let key = ProofKey::read(members.to_string().as_bytes()).unwrap();
    assert_eq!((key.thumbprint(), key.algorithm()), (rsa.thumbprint(), Algorithm::Rs256));
    check(&rsa, &key.prove(&REQUEST).unwrap()).unwrap();
}

#[test]
fn what_is_no_private_key_is_refused_for_its_own_reason() {
    let ec = jwk(EC);
    let key = ProofKey::from_jwk(&ec).unwrap();
    assert!(matches!(
        key.with_algorithm(Algorithm::EdDsa),
        Err(KeyError::Unfit { kind: Kind::P256, algorithm: Algorithm::EdDsa })
    ));
    let error = |text: &str| ProofKey::read(text.as_bytes()).unwrap_err().to_string();
    let with = |name: &str, value: Value| {
        let mut members = ec.members().clone();
        members.insert(name.to_owned(), value);
        error(&Value::Object(members).to_string())
    };
    for (found, part) in [
        (error(""), "no PEM"),
        (error("secret"), "no PEM"),
        (error("{\"d\":1"), "not one strict object"),
        (error(&armored("PUBLIC KEY", b"secret")), "a public key"),
        (error(&armored("CERTIFICATE", b"secret")), "a certificate"),
        (error(&armored("PRIVATE KEY", b"secret")), "not usable"),
        (error(&armored("EC PRIVATE KEY", b"secret")), "not usable"),
        (error(&armored("RSA PRIVATE KEY", b"secret")), "not usable"),
        (error(&armored("ENCRYPTED PRIVATE KEY", b"secret")), "openssl pkey"),
        (error("-----BEGIN PRIVATE KEY-----\nsecret\n"), "broken PEM"),
        (error(&older_armor("EC PRIVATE KEY")), "openssl pkey"),
        (error(&older_armor("RSA PRIVATE KEY")), "openssl pkey"),
        (error(r#"{"kty":"EC"}"#), "without a private member"),
        (error(r#"{"kty":"oct","d":"secret"}"#), "not usable"),
        (with("d", "secret!".into()), "\"d\""),
        (with("d", ec.string("x").unwrap().into()), "not usable"),
        (with("crv", "P-521".into()), "not usable"),
        (with("alg", "HS256".into()), "\"alg\""),
        (with("alg", "ES384".into()), "cannot sign ES384"),
    ] {
        assert!(found.contains(part) && !found.contains("secret"), "{found}");
    }
}

#[test]
fn debug_shows_the_public_half_only() {
    let key = ProofKey::from_jwk(&jwk(EC)).unwrap();
    assert_eq!(format!("{key:?}"), format!("ProofKey(ES256 {})", key.thumbprint()));
}

#[test]
fn garbage_never_panics() {
    let pem = ProofKey::generate(Algorithm::EdDsa).unwrap().to_pem().unwrap();
    let mut noise = [0; 256];
    fill(&mut noise).unwrap();
    for (at, byte) in noise.into_iter().enumerate() {
        let mut text = pem.as_bytes().to_vec();
        let at = at % text.len();
        text[at] = byte;
        let _ = ProofKey::read(&text);
        let _ = ProofKey::read(&text[..at]);
    }
}

/// As `openssl ec -aes256` writes it (RFC 1421).
fn older_armor(label: &str) -> String {
    let header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,C76BA2B3DA0D94E43E8F9A6B71A9AD5F\n";
    armored(label, b"secret").replacen("-----\n", &format!("-----\n{header}\n"), 1)
}
