//! How an upstream is told who was proven to ask.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use zeroize::Zeroizing;

use super::forwarding::header_name;
use super::listeners::report_file;
use super::secrets::secret;
use super::{not_empty, within};
use crate::config::reading::{Field, Reading};
use crate::config::report::Place;
use crate::config::values::Name;
use crate::config::written::{self, Files};
use crate::identity::{Identity, IdentityKey};

const HEADER: HeaderName = HeaderName::from_static("x-identity");
const ISSUER: &str = "keybound";
const LIFETIME: Duration = Duration::from_mins(1);
const KEYS: &str =
    "a file with a private key, made for example by `keybound key --algorithm EdDSA --output identity.pem`";

/// `taken` are the header fields that the route sets already.
pub fn identity(
    written: &Field<written::Identity>,
    taken: &[(HeaderName, Place)],
    reading: &mut Reading<'_>,
) -> Option<Identity> {
    let written = written.value()?;
    let (least, most) = (Duration::from_secs(1), Duration::from_mins(5));
    let lifetime = within(&written.lifetime, least, most, reading).unwrap_or(LIFETIME);
    written.audience.required("for example `audience: https://orders.internal`, which the upstream expects", reading);
    let audience = written.audience.meaning(reading, |text| not_empty(text));
    let issuer = written.issuer.meaning(reading, |text| not_empty(text)).unwrap_or_else(|| ISSUER.to_owned());
    let header = header(&written.header, taken, reading);
    Some(Identity { header: header?, issuer, audience: audience?, lifetime, keys: keys(&written.sign_with, reading) })
}

fn header(field: &Field<String>, taken: &[(HeaderName, Place)], reading: &mut Reading<'_>) -> Option<HeaderName> {
    if field.is_wrong() {
        return None;
    }
    let text = field.value().map_or_else(|| HEADER.to_string(), Clone::clone);
    header_name(&Name { text, place: field.place }, &field.path, taken, reading)
}

fn keys(field: &Field<Files>, reading: &mut Reading<'_>) -> Vec<Arc<IdentityKey>> {
    let files = field.required(KEYS, reading).map(|files| files.0.as_slice());
    if files.is_some_and(<[_]>::is_empty) {
        reading.error(field.place, &field.path, "empty: nothing could be signed", "this list is empty").help(KEYS);
    }
    let mut keys: Vec<Arc<IdentityKey>> = Vec::new();
    for file in files.unwrap_or_default() {
        let Some(key) = key(file, reading) else { continue };
        if keys.iter().any(|known| known.kid() == key.kid()) {
            reading.error(file.place, &file.path, "expected different keys", "one stands here twice");
        }
        keys.push(Arc::new(key));
    }
    keys
}

fn key(file: &Field<String>, reading: &mut Reading<'_>) -> Option<IdentityKey> {
    let pem = secret(file, reading)?;
    let found = match private_key(&pem) {
        Ok(der) => match IdentityKey::from_der(&der) {
            Some(key) => return Some(key),
            None => "another key",
        },
        Err(found) => found,
    };
    let path = reading.path(file.value().map_or("", String::as_str));
    let problem = format!("expected a PEM private key on P-256 or Ed25519 (PKCS#8), found {found}");
    report_file(file, &path, &problem, reading);
    None
}

/// The first private key, or what is there instead.
fn private_key(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let mut found = "no PEM";
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|_| "broken PEM")?;
        let der = Zeroizing::new(der);
        match kind {
            SectionKind::PrivateKey | SectionKind::EcPrivateKey => return Ok(der),
            SectionKind::RsaPrivateKey => return Err("an RSA key"),
            SectionKind::PublicKey => found = "a public key",
            SectionKind::Certificate => found = "a certificate",
            _ => found = "something else",
        }
    }
    // The library passes over sections that it does not know.
    let encrypted = b"BEGIN ENCRYPTED PRIVATE KEY".as_slice();
    let is_encrypted = pem.windows(encrypted.len()).any(|window| window == encrypted);
    Err(if is_encrypted { "an encrypted key" } else { found })
}
