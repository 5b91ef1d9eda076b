//! Secrets in files. Messages never show what a file holds.

use std::fs::File;
use std::io::Read as _;

use zeroize::Zeroizing;

use super::listeners::{report_file, warn_if_expired};
use crate::accept::tls::{LoadError, ServerCertificate};
use crate::config::reading::{Field, Reading};

/// Longer than any secret.
const MAX_BYTES: u64 = 64 * 1024;

/// What a file holds, without white space at its ends. Reports a file that cannot be read or holds nothing.
pub fn secret(field: &Field<String>, reading: &mut Reading<'_>) -> Option<Zeroizing<Vec<u8>>> {
    read(field, <[u8]>::trim_ascii, reading)
}

/// What a file holds, without the newline that editors put at its end.
pub fn verbatim(field: &Field<String>, reading: &mut Reading<'_>) -> Option<Zeroizing<Vec<u8>>> {
    read(field, |bytes| bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).unwrap_or(bytes), reading)
}

fn read(
    field: &Field<String>,
    trimmed: impl Fn(&[u8]) -> &[u8],
    reading: &mut Reading<'_>,
) -> Option<Zeroizing<Vec<u8>>> {
    let path = reading.path(field.value()?);
    let mut bytes = Zeroizing::new(Vec::new());
    let read = File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    let problem = match read {
        Err(error) => format!("cannot be read: {error}"),
        Ok(_) if bytes.len() as u64 > MAX_BYTES => format!("expected a secret, found more than {MAX_BYTES} bytes"),
        Ok(_) if bytes.trim_ascii().is_empty() => "expected a secret, found an empty file".to_owned(),
        Ok(_) => return Some(Zeroizing::new(trimmed(&bytes).to_vec())),
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

/// The gateway's own certificate, for servers that ask it for one; `None` as well when neither is given.
pub fn certificate_and_key(
    certificate: &Field<String>,
    key: &Field<String>,
    reading: &mut Reading<'_>,
) -> Option<ServerCertificate> {
    match (certificate.value(), key.value()) {
        (Some(certificate_file), Some(key_file)) => {
            let (certificate_path, key_path) = (reading.path(certificate_file), reading.path(key_file));
            let loaded = ServerCertificate::load(&certificate_path, &key_path);
            let report = |errors: Vec<LoadError>| {
                for error in errors {
                    let field = if error.path == key_path { key } else { certificate };
                    report_file(field, &error.path, &error.problem, reading);
                }
            };
            let loaded = loaded.map_err(report);
            loaded.inspect(|loaded| warn_if_expired(loaded, certificate, "servers may refuse it", reading)).ok()
        }
        (None, None) => None,
        _ if certificate.is_wrong() || key.is_wrong() => None,
        _ => {
            let (there, other) = if key.is_given() { (key, "certificate_file") } else { (certificate, "key_file") };
            let message = format!("missing: `{other}` belongs to it");
            reading.error(there.place, &there.path, message, "one without the other");
            None
        }
    }
}
