//! Standard output. Its reader may leave early, as `head` does; that is no error.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Nobody reads any more.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub struct Closed;

/// Writes what goes along with an exit code that counts by itself. Whether somebody still reads.
///
/// # Errors
/// What the system says.
pub fn tell(bytes: &[u8]) -> anyhow::Result<bool> {
    match write(bytes) {
        Err(error) if error.is::<Closed>() => Ok(false),
        other => other.map(|()| true),
    }
}

/// Writes and flushes.
///
/// # Errors
/// [`Closed`], or what the system says.
pub fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        other => other.context("cannot write to standard output"),
    }
}
