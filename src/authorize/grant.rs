//! What an authorized request was granted, and on what ground.

use std::sync::Arc;

use crate::limits::Place;
use crate::request::Credentials;
use crate::time::UnixTime;
use crate::verify::{AccessToken, Demand};

/// What was granted, and on what ground.
pub struct Grant {
    pub(super) token: Arc<AccessToken>,
    pub(super) credentials: Credentials,
    pub(super) proven: Demand,
    pub(super) nonce: Option<UnixTime>,
    pub(super) at: UnixTime,
    pub(super) place: Option<Place>,
}

impl Grant {
    /// The token.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    /// The credentials as the client sent them.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What was proven.
    pub const fn proven(&self) -> &Demand {
        &self.proven
    }

    /// When it was granted.
    pub const fn at(&self) -> UnixTime {
        self.at
    }

    /// When the proof's nonce was made, if it had to have one.
    pub const fn nonce(&self) -> Option<UnixTime> {
        self.nonce
    }
}
