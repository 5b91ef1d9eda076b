//! Where a listener is.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Begins a Unix socket's address, as in `unix:/run/keybound/admin.sock`.
const UNIX: &str = "unix:";

/// The place of a listener: on the network, or in this host's file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// IP address and port.
    Network(SocketAddr),
    /// The file of a Unix socket: an absolute path.
    Unix(PathBuf),
}

impl Address {
    /// Reads `unix:/absolute/path`; `None`: the text does not begin with `unix:`.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn parse_unix(text: &str) -> Option<Result<Self, &'static str>> {
        let path = Path::new(text.strip_prefix(UNIX)?);
        let address = if !path.is_absolute() || path.file_name().is_none() {
            Err("an absolute path behind `unix:`, such as `unix:/run/keybound/admin.sock`")
        } else if std::os::unix::net::SocketAddr::from_pathname(path).is_err() {
            Err("a path of at most 107 bytes: the system has no room for a longer socket's")
        } else {
            Ok(Self::Unix(path.to_owned()))
        };
        Some(address)
    }

    /// IP address and port; `None`: it is a Unix socket.
    pub const fn network(&self) -> Option<SocketAddr> {
        match self {
            Self::Network(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Network(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}
