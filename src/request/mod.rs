//! What was asked and by whom, parsed once. Pure.
//!
//! Enters: a peer and an HTTP head. Leaves: an [`Inbound`] whose [`Target`] routing, `htu` and forwarding
//! all read, and [`Credentials`] taken *out* of it. Never: a second look at the raw target.

mod certificate;
pub mod connection;
mod credentials;
mod forwarded;
mod front;
mod inbound;
mod path;
mod peer;
mod target;
mod trace;

pub use certificate::{CertificateEncoding, CertificateField};
pub use credentials::{Credentials, LastShown, ProofField, Scheme, lets_a_token_through};
pub use front::{ForwardedFields, Front, OriginalRequest, Shown, Told};
pub use inbound::{Inbound, RequestId};
pub use peer::{ClientCertificate, Peer, ServedNames, TlsFacts};
pub use target::{ListenerScheme, PublicUrl, Seen, Target};
pub use trace::{Onward, TRACEPARENT, TRACESTATE, TraceParent};
