//! What became of a request, in one word.

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Proven and forwarded.
    Allow,
    /// Refused by the client's fault.
    Refuse,
    /// Forwarded unproven on a route that observes, where it would be refused otherwise.
    Observe,
    /// Forwarded on a public route, or for everyone and answered here: a preflight, metadata.
    Public,
    /// Not decided or not answered by the gateway's or the upstream's fault.
    Error,
}

impl Decision {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Allow, Self::Refuse, Self::Observe, Self::Public, Self::Error];

    /// Metric label and log field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Refuse => "refuse",
            Self::Observe => "observe",
            Self::Public => "public",
            Self::Error => "error",
        }
    }
}

/// Who ended an answer before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenOff {
    /// The client left, or broke off its own body.
    Client,
    /// The upstream did, or said what makes no sense.
    Upstream,
}

impl BrokenOff {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Client, Self::Upstream];

    /// Metric label and log field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        }
    }
}
