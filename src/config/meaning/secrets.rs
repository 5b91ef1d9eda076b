//! Secrets in files. Messages never show what a file holds.

use std::fs::File;
use std::io::Read as _;

use zeroize::Zeroizing;

use super::listeners::report_file;
use crate::config::reading::{Field, Reading};

/// Longer than any secret.
const MAX_BYTES: u64 = 64 * 1024;

/// What a file holds, without white space at its ends. Reports a file that cannot be read or holds nothing.
pub fn secret(field: &Field<String>, reading: &mut Reading<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let path = reading.path(field.value()?);
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    let problem = match read {
        Err(error) => format!("cannot be read: {error}"),
        Ok(_) if bytes.len() as u64 > MAX_BYTES => format!("expected a secret, found more than {MAX_BYTES} bytes"),
        Ok(_) if bytes.trim_ascii().is_empty() => "expected a secret, found an empty file".to_owned(),
        Ok(_) => return Some(Zeroizing::new(bytes.trim_ascii().to_vec())),
    };
    report_file(field, &path, &problem, reading);
    None
}

/// The same as a text.
pub fn password(field: &Field<String>, reading: &mut Reading<'_>) -> Option<Zeroizing<String>> {
    let bytes = secret(field, reading)?;
    let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
    let report = |reading: &mut Reading<'_>| {
        let path = reading.path(field.value().map_or("", String::as_str));
        report_file(field, &path, "expected a password in UTF-8, found other bytes", reading);
    };
    text.map_err(|_| report(reading)).ok()
}
