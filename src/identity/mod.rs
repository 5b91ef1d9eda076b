//! Who was proven to ask, in a signed JWT for the upstream (RFC 7519): with it, an API need not trust the network
//! between itself and the gateway. Pure: no I/O, and the time is an argument.
//!
//! Enters: a verified token, what was proven in the request that it came with, and that request. Leaves: one assertion
//! about this one request, of a type that no verifier of access tokens accepts. Never: the private key.

mod assertion;
mod key;

pub use assertion::{Identity, Statement};
pub use key::{IdentityKey, public_set};
