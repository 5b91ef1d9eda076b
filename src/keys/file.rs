//! A JWK set in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{LoadError, fetch};
use crate::verify::{IssuerRules, Keyset, Skipped};

/// No JWK set is larger: 256 keys with certificate chains would fit.
pub(super) const MAX_BYTES: usize = 512 * 1024;

/// Reads a JWK set as the gateway would, for an operator who wants to know before starting it. The entries that
/// were left out come along, with their reasons.
///
/// # Errors
/// A sentence, when the gateway could not use the file.
pub fn read_jwks_file(path: &Path, rules: &IssuerRules) -> Result<(Keyset, Vec<Skipped>), String> {
    let document = read(path).map_err(|error| error.to_string())?;
    read_jwks(&path.display().to_string(), &document, rules).map_err(|error| error.to_string())
}

/// The file's bytes, if there are not too many. Blocks.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let failed = |why: String| LoadError::File { path: path.to_owned(), why };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let is_file = file.metadata().map_err(|error| failed(error.to_string()))?.is_file();
    if !is_file {
        return Err(failed("expected a regular file".to_owned()));
    }
    let mut document = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut document).map_err(|error| failed(error.to_string()))?;
    if document.len() > MAX_BYTES {
        return Err(LoadError::TooLarge { place: path.display().to_string(), limit: MAX_BYTES });
    }
    fetch::accept_start(&path.display().to_string(), &document)?;
    Ok(document)
}

/// The keys in a JWK set, wherever it came from; at least one. The entries that were left out come along, with their
/// reasons.
///
/// # Errors
/// [`LoadError::Content`]
pub fn read_jwks(place: &str, document: &[u8], rules: &IssuerRules) -> Result<(Keyset, Vec<Skipped>), LoadError> {
    let content = |found| LoadError::Content { place: place.to_owned(), expected: "a JWK set", found };
    let (keyset, skipped) =
        Keyset::parse(document, &rules.algorithms).map_err(|why| content(format!("another document: {why}")))?;
    if keyset.is_empty() {
        let reasons: Vec<_> = skipped.iter().take(5).map(ToString::to_string).collect();
        let reasons = if reasons.is_empty() { "it is empty".to_owned() } else { reasons.join(", ") };
        return Err(content(format!("no usable key: {reasons}")));
    }
    Ok((keyset, skipped))
}
