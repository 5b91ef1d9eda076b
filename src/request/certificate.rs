//! The client's certificate as a proxy in front hands it on: RFC 9440, and what products did before it.
//!
//! Enters: the head of a request that a trusted proxy sent. Leaves: the certificate whose possession that proxy saw
//! proven, or none. Never: a guess. A field that cannot be read for certain is an error, because it may name somebody.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::ClientCertificate;
use super::forwarded::pairs_of;
use super::front::malformed;
use super::path::hex;
use crate::refusal::Refusal;

const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Which field holds the client's certificate, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateField {
    /// `Client-Cert` (RFC 9440 §2.2).
    ClientCert,
    /// `X-Forwarded-Client-Cert`, as Envoy writes it.
    Xfcc,
    /// Another one.
    Named {
        /// Its name.
        name: HeaderName,
        /// How the certificate is written there.
        encoding: CertificateEncoding,
    },
}

/// How a field holds a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateEncoding {
    /// PEM, percent-encoded (nginx's `$ssl_client_escaped_cert`, AWS ALB). Of a chain, the first is the client's.
    UrlPem,
    /// PEM with spaces where lines end (Apache).
    Pem,
    /// DER in base64 (HAProxy), or several with commas between, of which the first is the client's (Traefik).
    Base64Der,
}

impl CertificateField {
    /// The certificate that the proxy hands on; `None` when its client showed none.
    ///
    /// # Errors
    /// [`Reason::HopMalformed`](crate::refusal::Reason::HopMalformed).
    pub fn read(&self, headers: &HeaderMap) -> Result<Option<ClientCertificate>, Refusal> {
        match self {
            Self::ClientCert => {
                let Some(text) = only(headers, &CLIENT_CERT)? else {
                    return if headers.contains_key(CLIENT_CERT_CHAIN) {
                        // RFC 9440 §2.3: never without the other.
                        Err(malformed("a Client-Cert beside Client-Cert-Chain", "none"))
                    } else {
                        Ok(None)
                    };
                };
                let encoded = text.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
                let der = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
                let der =
                    der.ok_or_else(|| malformed("one byte sequence in Client-Cert (RFC 9440)", "another text"))?;
                certificate(der).map(Some)
            }
            Self::Xfcc => only(headers, &XFCC)?.map_or(Ok(None), xfcc),
            Self::Named { name, encoding } => {
                let text = only(headers, name)?.unwrap_or_default();
                // What proxies write when their client showed none: nothing, or Apache's word for it.
                if text.is_empty() || (*encoding == CertificateEncoding::Pem && text == "(null)") {
                    return Ok(None);
                }
                certificate(encoding.decode(text)?).map(Some)
            }
        }
    }

    /// The name of the field.
    pub fn name(&self) -> HeaderName {
        match self {
            Self::ClientCert => CLIENT_CERT,
            Self::Xfcc => XFCC,
            Self::Named { name, .. } => name.clone(),
        }
    }
}

impl CertificateEncoding {
    fn decode(self, text: &str) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::UrlPem => unescaped(text).as_deref().and_then(from_pem),
            Self::Pem => from_pem(text),
            Self::Base64Der => {
                let first = text.split(',').next().unwrap_or_default().trim();
                unescaped(first).and_then(|text| STANDARD.decode(&*text).ok())
            }
        }
        .ok_or_else(|| malformed("a certificate in the encoding of client_certificate_header", "another text"))
    }
}

/// The value of a field that may be there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => {
            line.to_str().map(|text| Some(text.trim())).map_err(|_| malformed("visible characters", "others"))
        }
        (Some(_), Some(_)) => Err(malformed("one field with the client's certificate", "several")),
    }
}

/// One element, about the nearest proxy's own client. Others would be passed on from somebody, or written by a client:
/// Envoy does not quote the names of a certificate that it copies, and a comma in one of them begins an element. For the
/// same reason nothing counts without the hash that Envoy always computes itself, and puts first.
fn xfcc(text: &str) -> Result<Option<ClientCertificate>, Refusal> {
    let wrong = |found| malformed("one element with Hash in X-Forwarded-Client-Cert", found);
    let elements = pairs_of(text, |value| !value.contains(['"', '='])).ok_or_else(|| wrong("something else"))?;
    let element = match &elements[..] {
        [] => return Ok(None),
        [element] => element,
        [_, _, ..] => return Err(wrong("several elements")),
    };
    let value = |wanted: &str| {
        let mut values = element.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(wrong("several of one kind")),
        }
    };
    let named = match value("hash")? {
        Some(hash) => Some(from_hex(hash).ok_or_else(|| wrong("another Hash than 64 hexadecimal digits"))?),
        None => None,
    };
    // A chain begins with the client's certificate.
    let shown = match value("cert")?.or(value("chain")?) {
        Some(pem) => Some(certificate(CertificateEncoding::UrlPem.decode(pem)?)?),
        None => None,
    };
    match (named, shown) {
        (Some(hash), Some(shown)) if hash != shown.thumbprint => Err(wrong("a Hash of another certificate")),
        (Some(_), Some(shown)) => Ok(Some(shown)),
        (None, Some(_)) => Err(wrong("no Hash")),
        (Some(thumbprint), None) => Ok(Some(ClientCertificate { thumbprint, der: None })),
        // An element about a client without a certificate names only the proxy.
        (None, None) => Ok(None),
    }
}

/// A certificate that can be read to its last byte.
fn certificate(der: Vec<u8>) -> Result<ClientCertificate, Refusal> {
    match X509Certificate::from_der(&der) {
        Ok(([], _)) => {}
        Ok(_) => return Err(malformed("one certificate in DER", "more behind it")),
        Err(_) => return Err(malformed("one certificate in DER", "something else")),
    }
    Ok(ClientCertificate { thumbprint: Sha256::digest(&der).into(), der: Some(Bytes::from(der)) })
}

/// The first certificate of a PEM text, whatever white space its lines end with.
fn from_pem(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(BEGIN)?;
    let (body, _) = body.split_once(END)?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).ok()
}

/// RFC 3986 §2.1. A `+` is a `+`: base64 has it, and encoders of forms are not asked.
fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(plain).ok().map(Cow::Owned)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.bytes();
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        *byte = hex(digits.next()?)? << 4 | hex(digits.next()?)?;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests;
