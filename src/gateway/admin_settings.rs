//! Where the operator looks, and who that may be.

use std::fmt;
use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::accept::Address;

/// The admin port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens.
    pub address: Address,
    /// What opens the page for people and what it shows; `None`: nothing is needed on loopback, and nothing helps
    /// elsewhere.
    pub token: Option<AdminToken>,
}

impl From<SocketAddr> for AdminSettings {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.into(), token: None }
    }
}

/// A secret that opens the page for people. What is kept of it is its SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Shorter ones could be guessed.
    pub const SHORTEST: usize = 16;

    /// The token that is this secret.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Whether somebody shows it. Takes as long for a wrong one.
    pub fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        shown.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}
