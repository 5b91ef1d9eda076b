//! Why an issuer could not be asked.

use thiserror::Error;

use crate::keys::LoadError;
use crate::keys::fetch::Place;
use crate::prover::KeyError;
use crate::verify::BadAnswer;

/// Why a question got no answer. For the operator: it names places, never contents.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// No answer came, or one that is no plain success.
    #[error(transparent)]
    Call(#[from] LoadError),
    /// The answer cannot be understood.
    #[error("{0}: {1}")]
    Answer(Place, BadAnswer),
    /// The answer is signed, and there are no keys to check it with.
    #[error("{0}: no keys of the issuer were loaded yet")]
    NoKeys(Place),
    /// The client assertion could not be signed.
    #[error("no client assertion could be made: {0}")]
    Assertion(#[from] KeyError),
    /// Whoever asked went away without a word: a mistake of ours.
    #[error("the question was given up")]
    GivenUp,
}
