//! Why the shared store did not answer, in words for the operator.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::settings::Address;

/// Longer answers of a server are cut.
const LONGEST: usize = 200;

/// Why a proof could not be entered, or a server cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::replay) enum Failure {
    #[error("it was not reached yet")]
    Pending,
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("{0} cannot be reached: {1}")]
    Unreachable(Address, String),
    #[error("{0} says: {1}")]
    Refused(Address, String),
    #[error("{0} is not a master")]
    NotMaster(Address),
    #[error("{0} may forget live proofs: its maxmemory-policy is {1}, expected noeviction")]
    Evicts(Address, String),
    #[error("the clock of {0} differs from this host's by {1:.1} s")]
    Clock(Address, f64),
    #[error("{0} says something unexpected: {1}")]
    Puzzling(Address, &'static str),
    #[error("several servers answer behind {0}")]
    Several(Address),
    #[error("{answers} of {of} {what} agree, more than half must")]
    Minority { answers: usize, of: usize, what: &'static str },
    #[error("no master is known for some keys")]
    Uncovered,
    #[error("its masters were last asked for {0:?} ago")]
    Outdated(Duration),
    #[error("the clock of this host was set by {0:.1} s")]
    ClockSet(f64),
}

impl Failure {
    /// What a server or the way to it says.
    pub(super) fn of(address: &Address, error: &RedisError) -> Self {
        // An error of the server is a code and a sentence about commands and keys; keys are hashes.
        let said = |code: &str, detail: Option<&str>| [code, detail.unwrap_or_default()].join(" ");
        let of_several = error.clone().into_server_errors();
        let first = of_several.as_ref().and_then(|errors| errors.first());
        let text = match (first, error.code()) {
            (Some((_, first)), _) => said(first.code(), first.details()),
            (None, Some(code)) => said(code, error.detail()),
            _ if error.is_connection_dropped() => {
                return Self::Unreachable(address.clone(), "the connection broke".to_owned());
            }
            _ => error.to_string(),
        };
        let harmless = |c: char| if c.is_control() { ' ' } else { c };
        Self::Refused(address.clone(), text.chars().take(LONGEST).map(harmless).collect())
    }
}

/// Whether a server of a cluster sends the caller to another one for good.
pub(super) fn is_moved(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Moved)
}

/// Whether a server of a cluster sends the caller to another one for this key.
pub(super) fn is_ask(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Ask)
}
