//! HTTP/1.1 towards an upstream (RFC 9112), one exchange after the other over one connection.
//!
//! Whoever sends a request drives its connection: there is no task for it, and nothing is handed from one to another.
//! Heads are read by `httparse`; what an answer's framing leaves open is refused rather than guessed.

mod connection;
mod content;
mod head;
#[cfg(test)]
mod tests;
mod upload;

use std::io;

use super::body::BodyError;

pub use connection::Connection;

/// An exchange that failed.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    /// It was closed before the answer came, or in the middle of it.
    #[error("the connection was closed before the end of the answer")]
    Incomplete,
    /// What came is not HTTP, or its end cannot be told.
    #[error("{0}")]
    Protocol(&'static str),
    /// The request's body came to no good end.
    #[error("the client's body came to no good end")]
    Body(#[from] BodyError),
    /// The request's body is not as long as its head says.
    #[error("the client's body is not as long as it says")]
    Length,
}
