//! What a look at a deployment found.

use std::borrow::Cow;

/// What it is about, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// The file.
    Configuration,
    /// Certificates and authorities of the listeners.
    Listeners,
    /// Names of other hosts.
    Names,
    /// Metadata, keys, clock.
    Issuers,
    /// Who is asked about opaque tokens.
    Introspection,
    /// The Redis that replicas share.
    Redis,
    /// The APIs.
    Upstreams,
    /// What stands in front.
    Front,
}

impl Subject {
    /// A heading.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Listeners => "listeners",
            Self::Names => "names",
            Self::Issuers => "issuers",
            Self::Introspection => "introspection",
            Self::Redis => "redis",
            Self::Upstreams => "upstreams",
            Self::Front => "front",
        }
    }
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and somebody should know.
    Warn,
    /// It does not work, or will refuse good requests.
    Fail,
    /// It could not be looked at.
    Skip,
}

impl Level {
    /// The mark before a line. What must not be passed over stands out.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Skip => "skip",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// How it is.
    pub level: Level,
    /// Which one.
    pub what: String,
    /// What it should be, if it is not that.
    pub expected: Option<String>,
    /// What it is.
    pub found: String,
    /// What to do.
    pub advice: Option<Cow<'static, str>>,
}

impl Subject {
    fn finding(self, level: Level, what: impl Into<String>, found: impl Into<String>) -> Finding {
        Finding { subject: self, level, what: what.into(), expected: None, found: found.into(), advice: None }
    }

    /// As it should be.
    pub fn ok(self, what: impl Into<String>, found: impl Into<String>) -> Finding {
        self.finding(Level::Ok, what, found)
    }

    /// It works.
    pub fn warn(
        self,
        what: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Finding {
        Finding { advice: Some(advice.into()), ..self.finding(Level::Warn, what, found) }
    }

    /// It does not.
    pub fn fail(
        self,
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        advice: &'static str,
    ) -> Finding {
        let finding = self.finding(Level::Fail, what, found);
        Finding { expected: Some(expected.into()), advice: Some(advice.into()), ..finding }
    }

    /// It does not, and `found` says what was expected as well.
    pub fn wrong(
        self,
        what: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<Cow<'static, str>>,
    ) -> Finding {
        Finding { advice: Some(advice.into()), ..self.finding(Level::Fail, what, found) }
    }

    /// It was not looked at, and why.
    pub fn skip(self, what: impl Into<String>, why: impl Into<String>) -> Finding {
        self.finding(Level::Skip, what, why)
    }
}
