//! A client's certificate in a trusted proxy's field, in each form. The first line names the form, others are the field's
//! lines. `envoy`: a URI and a subject as Envoy would put them beside the hash of the client that it saw.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use keybound::request::{CertificateEncoding, CertificateField, ClientCertificate};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use super::{oracle, url};

pub fn run(data: &[u8]) {
    let [form, rest] = oracle::lines::<2>(data);
    let field = match form {
        b"client-cert" => CertificateField::ClientCert,
        b"xfcc" => CertificateField::Xfcc,
        b"url-pem" => named(CertificateEncoding::UrlPem),
        b"pem" => named(CertificateEncoding::Pem),
        b"base64-der" => named(CertificateEncoding::Base64Der),
        b"envoy" => return envoy(rest),
        _ => return,
    };
    let mut headers = HeaderMap::new();
    let mut texts = Vec::new();
    for line in rest.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        texts.push(line.to_vec());
        headers.append(field.name(), value);
    }
    let Ok(Some(found)) = field.read(&headers) else { return };
    assert_eq!(texts.len(), 1, "a certificate is named once");
    round_trip(&found);
    if let (CertificateField::Named { encoding: CertificateEncoding::UrlPem, .. }, Some(der)) = (&field, &found.der) {
        let pem = url::decoded(std::str::from_utf8(&texts[0]).expect("visible characters"));
        // Where rustls reads a certificate first, it is this one.
        if let Ok(theirs) = CertificateDer::from_pem_slice(&pem) {
            assert_eq!(theirs.as_ref(), &der[..]);
        }
    }
}

fn named(encoding: CertificateEncoding) -> CertificateField {
    CertificateField::Named { name: HeaderName::from_static("x-client-cert"), encoding }
}

/// Its hash is its own, and in every other form it is the same certificate.
fn round_trip(found: &ClientCertificate) {
    let Some(der) = &found.der else { return };
    assert_eq!(found.thumbprint, <[u8; 32]>::from(Sha256::digest(der)));
    let text = STANDARD.encode(der);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let escaped = escaped(&pem);
    let hash: String = found.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect();
    for (field, value) in [
        (CertificateField::ClientCert, format!(":{text}:")),
        (CertificateField::Xfcc, format!("Hash={hash};Cert=\"{escaped}\"")),
        (named(CertificateEncoding::UrlPem), escaped.clone()),
        (named(CertificateEncoding::Pem), pem.replace('\n', " ")),
        (named(CertificateEncoding::Base64Der), text.clone()),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(field.name(), HeaderValue::from_str(&value).expect("visible characters"));
        assert_eq!(field.read(&headers).ok().flatten().as_ref(), Some(found), "{field:?}");
    }
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Envoy puts the hash first, escapes quotes in subjects, and copies URIs and names as they are. Whatever a client has in
/// its certificate, it does not become another client.
fn envoy(rest: &[u8]) {
    let [uri, subject, dns] = oracle::lines::<3>(rest);
    let mut text = format!("By=spiffe://mesh/gateway;Hash={};Subject=\"", "ab".repeat(32)).into_bytes();
    for byte in subject {
        if matches!(byte, b'"' | b'\\') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    for part in [&b"\";URI="[..], uri, b";DNS=", dns] {
        text.extend_from_slice(part);
    }
    let Ok(value) = HeaderValue::from_bytes(&text) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(CertificateField::Xfcc.name(), value);
    if let Ok(found) = CertificateField::Xfcc.read(&headers) {
        let found = found.expect("a certificate was shown");
        assert_eq!(found.thumbprint, [0xAB; 32], "the hash that Envoy computed");
        assert_eq!(found.der, None, "and no certificate that the client named");
    }
}
