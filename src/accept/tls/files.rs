//! PEM files. Messages say what was expected and what was found, and never show what a file holds.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What was expected of it and what was found.
    pub problem: String,
}

impl LoadError {
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }
}

/// More than any authority's revocation list; bounds what a wrong path, say to a device, can cost.
const MAX_BYTES: u64 = 64 << 20;

/// In what OpenSSL encrypts in its older formats (RFC 1421 §4.6.1.1), above base64 that libraries take for damaged.
const HEADER: &[u8] = b"Proc-Type: 4,ENCRYPTED";

const ENCRYPTED: &str = "an encrypted private key: decrypt it first";

/// A whole file, wiped from memory after use: it may hold a key.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, LoadError> {
    let failed = |problem: String| LoadError::new(path, problem);
    let read = || {
        let file = File::open(path)?;
        // Room for all of it at once: a vector that grows leaves copies behind.
        let room = usize::try_from(file.metadata()?.len().min(MAX_BYTES)).unwrap_or_default() + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error: io::Error| failed(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(format!("larger than the {MAX_BYTES} bytes that such a file may have")));
    }
    Ok(bytes)
}

/// All certificates, in the file's order; at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("expected PEM certificates, found {}", content(pem))),
        Err(error) => Err(format!("expected PEM certificates, found {}", damage(&error))),
    }
}

/// The first private key.
pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let found = match error {
            PemError::NoItemsFound => content(pem),
            _ if pem.windows(HEADER.len()).any(|line| line == HEADER) => ENCRYPTED,
            error => damage(&error),
        };
        format!("expected a PEM private key (PKCS#8, PKCS#1 or SEC1), found {found}")
    })
}

/// All revocation lists; at least one. PEM, or one list in DER, which is how authorities publish them
/// (RFC 5280 §4.2.1.13).
pub(super) fn revocation_lists(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists = if is_der(bytes) {
        vec![CertificateRevocationListDer::from(bytes.to_vec())]
    } else {
        CertificateRevocationListDer::pem_slice_iter(bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("expected certificate revocation lists, found {}", damage(&error)))?
    };
    if lists.is_empty() {
        return Err(format!("expected certificate revocation lists, found {}", content(bytes)));
    }
    for list in &lists {
        webpki::BorrowedCertRevocationList::from_der(list).map_err(|error| {
            format!("expected a certificate revocation list of RFC 5280, found one with a flaw: {error:?}")
        })?;
    }
    Ok(lists)
}

/// A DER SEQUENCE with a length of two bytes or more: no text begins like this.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

/// What a file holds, judged by the first PEM label, for one that holds nothing of the kind wanted.
fn content(bytes: &[u8]) -> &'static str {
    const BEGIN: &[u8] = b"-----BEGIN ";
    if bytes.trim_ascii().is_empty() {
        return "an empty file";
    }
    let label = bytes
        .windows(BEGIN.len())
        .position(|window| window == BEGIN)
        .and_then(|at| bytes[at + BEGIN.len()..].split(|byte| *byte == b'-').next());
    match label {
        None if is_der(bytes) => "binary data (DER): convert it to PEM",
        None => "no PEM",
        Some(b"CERTIFICATE") => "a certificate",
        Some(b"ENCRYPTED PRIVATE KEY") => ENCRYPTED,
        Some(b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY") => "a private key",
        Some(b"PUBLIC KEY" | b"RSA PUBLIC KEY") => "a public key",
        Some(b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST") => "a certificate request",
        Some(b"X509 CRL") => "a certificate revocation list",
        Some(_) => "another kind of PEM",
    }
}

/// What is wrong with PEM. The error itself would quote the file.
const fn damage(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "PEM that breaks off",
        PemError::IllegalSectionStart { .. } => "PEM with a broken BEGIN line",
        PemError::Base64Decode(_) => "PEM with damaged base64",
        _ => "damaged PEM",
    }
}
