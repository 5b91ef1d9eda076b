//! Every step of verification, one after the other, past the first that fails: for explanations.
//!
//! Asks the very functions that requests are verified with, in the same order, so the first check that fails is the reason
//! for which a request is refused. Leaves nothing but words: no [`AccessToken`](super::AccessToken) and no
//! [`Proof`](super::Proof) can be made here, whatever holds. Shows no token, proof, signature or key.

pub(crate) mod proof;
pub(crate) mod token;

use std::borrow::Cow;

use crate::refusal::Refusal;

pub use proof::{Wanted, proof};
pub use token::{Demanded, Examined, KnownIssuer, confirmation, token};

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The request and its route.
    Request,
    /// The access token.
    Token,
    /// What the token is bound to.
    Binding,
    /// The DPoP proof.
    Proof,
    /// How much the caller may ask.
    Limits,
    /// What the route demands of a token that holds.
    Policy,
    /// The API behind the gateway.
    Upstream,
}

impl Part {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Token => "token",
            Self::Binding => "binding",
            Self::Proof => "proof",
            Self::Limits => "limits",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub part: Part,
    /// What is looked at.
    pub what: &'static str,
    /// Where it is written that this must be asked.
    pub specification: &'static str,
}

impl Step {
    /// A step of the list.
    pub const fn of(part: Part, what: &'static str, specification: &'static str) -> Self {
        Self { part, what, specification }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds; with what was found, if that can be shown.
    Holds(Option<String>),
    /// It does not.
    Fails(Refusal),
    /// It need not be asked, and why.
    Needless(Cow<'static, str>),
    /// It would be asked and cannot be, and why: nobody knows what would come of it.
    Open(Cow<'static, str>),
    /// It was not asked, because an earlier one did not hold: only of requests that were really there.
    Unreached,
}

/// A step and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was asked.
    pub step: Step,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was asked so far.
#[derive(Debug, Default)]
pub struct Checks(Vec<Check>);

/// Why a check is needless that has nothing to look at.
const MISSING: &str = "what it needs is not there";

impl Checks {
    /// All of them, in order.
    pub fn into_vec(self) -> Vec<Check> {
        self.0
    }

    /// Notes an outcome.
    pub fn note(&mut self, step: Step, outcome: Outcome) {
        self.0.push(Check { step, outcome });
    }

    /// Notes what a check answered, and hands on what it found.
    pub fn ask<T>(
        &mut self,
        step: Step,
        answer: Result<T, Refusal>,
        show: impl FnOnce(&T) -> Option<String>,
    ) -> Option<T> {
        match answer {
            Ok(found) => {
                self.note(step, Outcome::Holds(show(&found)));
                Some(found)
            }
            Err(refusal) => {
                self.note(step, Outcome::Fails(refusal));
                None
            }
        }
    }

    /// The same for a check that needs what an earlier one found.
    pub fn ask_of<I, T>(
        &mut self,
        step: Step,
        of: Option<I>,
        check: impl FnOnce(I) -> Result<T, Refusal>,
        show: impl FnOnce(&T) -> Option<String>,
    ) -> Option<T> {
        if let Some(of) = of {
            return self.ask(step, check(of), show);
        }
        self.note(step, Outcome::Needless(MISSING.into()));
        None
    }
}

/// Nothing to show.
const fn silent<T>(_: &T) -> Option<String> {
    None
}
