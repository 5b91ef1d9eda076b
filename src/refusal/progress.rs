//! How far a request came before it was refused.

/// What a token names for its sender to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// A proof key (`cnf.jkt`).
    pub key: bool,
    /// A certificate (`cnf.x5t#S256`).
    pub certificate: bool,
}

/// What was known of a request when it was refused. With the reason, it tells which checks it passed: a few bits, so
/// that keeping them costs a request that passes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Its target was read.
    pub read: bool,
    /// Its token is for its issuer to read.
    pub opaque: bool,
    /// Its token holds, and names this.
    pub names: Option<Names>,
    /// What its token names was proven.
    pub proven: bool,
}
