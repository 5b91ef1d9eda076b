//! Issuers' public keys.
//!
//! Enters: where each issuer publishes them. Leaves: its [`Keyset`](crate::verify::Keyset), at the price of a
//! memory load. They are fetched in the background, before they grow old; keys that were loaded once serve
//! through an outage of their issuer. Never: a fetch on a request's way (a request with an unknown key may
//! ask for one and wait for moments), a key of one issuer for another, a key's bytes in a log.

mod allowance;
mod discovery;
mod error;
mod events;
pub mod fetch;
mod file;
mod issuer;
mod issuers;
mod pace;
mod settings;
#[cfg(test)]
mod tests;

pub use discovery::discover;
pub use error::LoadError;
pub use events::{KeyEvents, RefreshResult};
pub use file::{read_jwks, read_jwks_file};
pub use issuer::{Issuer, IssuerStatus, Keys};
pub use issuers::Issuers;
pub use settings::{IssuerSettings, KeySource};
