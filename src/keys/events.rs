//! What others may want to count.

/// Hears of every attempt to refresh an issuer's keys.
pub trait KeyEvents: Send + Sync + 'static {
    /// An attempt ended. `issuer` is a configured one.
    fn refreshed(&self, issuer: &str, result: RefreshResult);
}

/// How an attempt to refresh ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefreshResult {
    /// Other keys than before are in use.
    Loaded,
    /// The issuer still publishes the same document.
    Unchanged,
    /// Nothing usable came; what was in use stays in use.
    Failed,
}

impl RefreshResult {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Loaded, Self::Unchanged, Self::Failed];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}
