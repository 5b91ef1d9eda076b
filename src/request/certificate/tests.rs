use http::HeaderValue;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::refusal::Reason;

/// The client's certificate of RFC 9440 appendix A.
const RFC_9440: &str = "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=";

fn other() -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    CertificateParams::new(["client.example".to_owned()]).unwrap().self_signed(&key).unwrap().der().to_vec()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn named(encoding: CertificateEncoding) -> CertificateField {
    CertificateField::Named { name: HeaderName::from_static("x-ssl-cert"), encoding }
}

fn read(field: &CertificateField, lines: &[&str]) -> Result<Option<[u8; 32]>, Reason> {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(field.name(), HeaderValue::from_str(line).unwrap());
    }
    let read = field.read(&headers).map_err(|refusal| refusal.reason())?;
    Ok(read.map(|certificate| certificate.thumbprint))
}

#[test]
fn the_field_of_rfc_9440() {
    let field = CertificateField::ClientCert;
    let der = STANDARD.decode(RFC_9440).unwrap();
    let thumbprint: [u8; 32] = Sha256::digest(&der).into();
    assert_eq!(read(&field, &[&format!(":{RFC_9440}:")]), Ok(Some(thumbprint)));
    assert_eq!(read(&field, &[]), Ok(None));
    let longer = STANDARD.encode([&der[..], b"x"].concat());
    let shorter = STANDARD.encode(&der[..der.len() - 1]);
    for wrong in [
        RFC_9440,
        "",
        "::",
        ":",
        &format!(":{RFC_9440}"),
        &format!(":{RFC_9440}:;a=b"),
        &format!(":{RFC_9440}:, :{RFC_9440}:"),
        &format!(":{}:", RFC_9440.trim_end_matches('=')),
        &format!(":{}:", RFC_9440.replace('+', "-").replace('/', "_")),
        &format!(":{longer}:"),
        &format!(":{shorter}:"),
        &pem(&der).replace('\n', " "),
    ] {
        assert_eq!(read(&field, &[wrong]), Err(Reason::HopMalformed), "{wrong}");
    }
    let one = format!(":{RFC_9440}:");
    assert_eq!(read(&field, &[&one, &one]), Err(Reason::HopMalformed));
    let mut chain = HeaderMap::new();
    chain.insert(CLIENT_CERT_CHAIN, HeaderValue::from_str(&one).unwrap());
    assert_eq!(field.read(&chain).map_err(|refusal| refusal.reason()), Err(Reason::HopMalformed));
    chain.insert(CLIENT_CERT, HeaderValue::from_str(&one).unwrap());
    assert!(field.read(&chain).is_ok());
}

#[test]
fn the_encodings_of_products() {
    let (der, authority) = (other(), other());
    let thumbprint: [u8; 32] = Sha256::digest(&der).into();
    let chain = pem(&der) + &pem(&authority);
    use CertificateEncoding::{Base64Der, Pem, UrlPem};
    for (encoding, text) in [
        (UrlPem, escaped(&pem(&der))),
        (UrlPem, escaped(&chain)),
        // AWS ALB leaves `+`, `=` and `/` as they are.
        (UrlPem, escaped(&pem(&der)).replace("%2B", "+").replace("%3D", "=").replace("%2F", "/")),
        (Pem, pem(&der).replace('\n', " ")),
        (Pem, chain.replace('\n', " ")),
        (Base64Der, STANDARD.encode(&der)),
        (Base64Der, [&der, &authority].map(|der| STANDARD.encode(der)).join(",")),
        (Base64Der, escaped(&STANDARD.encode(&der))),
    ] {
        assert_eq!(read(&named(encoding), &[&text]), Ok(Some(thumbprint)), "{encoding:?}");
        assert_eq!(read(&named(encoding), &[]), Ok(None));
        assert_eq!(read(&named(encoding), &[""]), Ok(None));
        assert_eq!(read(&named(encoding), &[&text, &text]), Err(Reason::HopMalformed));
        assert_eq!(read(&named(encoding), &[&text[..text.len() / 3]]), Err(Reason::HopMalformed));
    }
    assert_eq!(read(&named(Pem), &["(null)"]), Ok(None));
    assert_eq!(read(&named(Base64Der), &["(null)"]), Err(Reason::HopMalformed));
    assert_eq!(read(&named(UrlPem), &["%"]), Err(Reason::HopMalformed));
}

#[test]
fn envoys_field() {
    let field = CertificateField::Xfcc;
    let (der, liars) = (other(), other());
    let hex = |der: &[u8]| Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (hash, cert) = (hex(&der), escaped(&pem(&der)));
    let thumbprint = Ok(Some(<[u8; 32]>::from(Sha256::digest(&der))));
    for good in [
        format!("Hash={hash}"),
        format!("By=spiffe://c/x;Hash={hash};Subject=\"/C=US, ST=a;b/CN=\\\"x\\\"\";URI=spiffe://c/y;DNS=a.b;DNS=c.d"),
        format!("Hash={hash};Cert=\"{cert}\""),
        format!("Cert=\"{cert}\";Hash={hash}"),
        format!("Hash={hash};Chain=\"{}\"", escaped(&(pem(&der) + &pem(&liars)))),
    ] {
        assert_eq!(read(&field, &[&good]), thumbprint, "{good}");
    }
    assert_eq!(read(&field, &["By=spiffe://c/x"]), Ok(None));
    for wrong in [
        format!("Hash={}", &hash[1..]),
        format!("Hash={hash}0"),
        format!("Hash={hash};Hash={}", hex(&liars)),
        format!("Hash={};Cert=\"{cert}\"", hex(&liars)),
        format!("Hash={hash};Cert=\"{cert}"),
        // Somebody else's, out of a name in the liar's own certificate.
        format!("Hash={};URI=,Hash={hash}", hex(&liars)),
        format!("Hash={};URI=x;Hash={hash}", hex(&liars)),
        format!("Hash={};URI=x;Cert=\"{cert}\"", hex(&liars)),
        format!("Hash={};DNS=x,Cert=\"{cert}\"", hex(&liars)),
        format!("Hash={hash};URI=a=b"),
        format!("Hash={hash},Hash={hash}"),
        format!("Cert=\"{cert}\""),
        "Cert=\"x\"".to_owned(),
        "nonsense".to_owned(),
    ] {
        assert_eq!(read(&field, &[&wrong]), Err(Reason::HopMalformed), "{wrong}");
    }
    assert_eq!(read(&field, &[&format!("Hash={hash}"), &format!("Hash={hash}")]), Err(Reason::HopMalformed));
}

#[test]
fn debug_shows_nobody() {
    let certificate = ClientCertificate { thumbprint: [7; 32], der: None };
    assert_eq!(format!("{certificate:?}"), "ClientCertificate { .. }");
}

proptest! {
    #[test]
    fn any_text_is_a_certificate_or_refused(text in "[ -~\t]{0,120}") {
        use CertificateEncoding::{Base64Der, Pem, UrlPem};
        for field in [CertificateField::ClientCert, CertificateField::Xfcc, named(UrlPem), named(Pem), named(Base64Der)] {
            let _ = read(&field, &[&text]);
        }
    }

    /// One bit more or less is another certificate, or none.
    #[test]
    fn no_other_bytes_are_this_certificate(at in 0..424_usize, bit in 0..8_u32) {
        let mut der = STANDARD.decode(RFC_9440).unwrap();
        let original: [u8; 32] = Sha256::digest(&der).into();
        let at = at % der.len();
        der[at] ^= 1 << bit;
        let read = read(&CertificateField::ClientCert, &[&format!(":{}:", STANDARD.encode(&der))]);
        prop_assert_ne!(read, Ok(Some(original)));
    }
}
