//! Asking an issuer about its opaque tokens (RFC 7662).
//!
//! Enters: a token that nobody here can read, and its hash. Leaves: an [`AccessToken`](crate::verify::AccessToken) that
//! its issuer says is active, checked now. What is remembered is what the issuer said, for at most `cache`, never a
//! verdict: time and audience are asked again each time, and so is the proof. Never: a token shown to anybody but the
//! one issuer that the route means, two calls about one token at a time, more calls at once than the issuer is to get,
//! a token or a secret in a log.

mod endpoint;
mod failure;
mod introspector;
mod introspectors;
mod memory;
mod probe;
mod settings;

pub use introspector::{Introspector, IntrospectorStatus};
pub use introspectors::Introspectors;
pub use probe::{Probed, probe};
pub use settings::{AnswerForm, ClientAuthentication, IntrospectionSettings};
