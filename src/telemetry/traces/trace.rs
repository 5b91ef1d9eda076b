//! One request that is traced, from its head to the end of its answer.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{Method, Version};

use super::export::Exporter;
use crate::refusal::Reason;
use crate::request::RequestId;
use crate::telemetry::decision::Decision;
use crate::verify::Binding;

/// Where a request passes, in this order; not every one comes by all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Station {
    /// Target and route are read.
    Target,
    /// The token is taken out and verified.
    Token,
    /// The caller proves possession of what the token names: proof, certificate.
    Binding,
    /// Nobody asks too much.
    Limits,
    /// Each proof passes once.
    Replay,
    /// The token may do this.
    Policy,
    /// To the head of the upstream's answer.
    Upstream,
}

impl Station {
    pub(super) const COUNT: usize = Self::Upstream as usize + 1;

    /// The span's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Token => "token",
            Self::Binding => "binding",
            Self::Limits => "limits",
            Self::Replay => "replay",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
        }
    }
}

/// A route as traces name it.
#[derive(Debug, Clone)]
pub struct TracedRoute {
    /// Its name.
    pub name: String,
    /// The paths that it covers begin with this.
    pub path_prefix: String,
    /// Its upstream, if it has one: its name, and its address if there is only one.
    pub upstream: Option<(String, Option<Authority>)>,
}

/// When a station was entered and left, from the request's head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) from: Duration,
    pub(super) to: Option<Duration>,
}

/// A traced request.
#[derive(Debug)]
pub struct Trace {
    pub(super) id: [u8; 16],
    pub(super) span: [u8; 8],
    /// The step that calls the upstream.
    pub(super) upstream: [u8; 8],
    /// The client's step.
    pub(super) parent: Option<[u8; 8]>,
    /// In nanoseconds since the epoch.
    pub(super) began: u64,
    pub(super) routes: Arc<[TracedRoute]>,
    pub(super) exporter: Arc<Exporter>,
    /// By station.
    pub(super) marks: [Option<Mark>; Station::COUNT],
    pub(super) outcome: Option<Outcome>,
}

/// What became of it.
#[derive(Debug)]
pub struct Outcome {
    /// Names the request.
    pub id: RequestId,
    /// How, if by a method that HTTP defines.
    pub method: Option<&'static str>,
    /// In which version of HTTP.
    pub version: Version,
    /// By which scheme, if its target could be read.
    pub scheme: Option<&'static str>,
    /// Of whom, if its target could be read and that is a name.
    pub host: String,
    /// By which rule: its index.
    pub route: Option<usize>,
    /// The decision.
    pub decision: Decision,
    /// Why not.
    pub reason: Option<Reason>,
    /// What was proven.
    pub binding: Option<Binding>,
    /// The answer, if there was one.
    pub status: Option<u16>,
    /// To the end of the answer.
    pub lasted: Duration,
}

impl Outcome {
    /// The longest name that DNS has. No host beyond it is told.
    const LONGEST_HOST: usize = 253;

    /// The name of a method that HTTP defines.
    pub fn method(method: &Method) -> Option<&'static str> {
        const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
        KNOWN.into_iter().find(|known| *known == method.as_str())
    }

    /// What is told of a host, in a text of its own: many may wait.
    pub fn host(host: &str) -> String {
        if host.len() <= Self::LONGEST_HOST { host.to_owned() } else { String::new() }
    }
}

impl Trace {
    /// Names the trace.
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The request comes to a station, so long after its head, and has left the one before.
    pub fn enter(&mut self, station: Station, after: Duration) {
        self.leave(after);
        if let Some(mark) = self.marks.get_mut(station as usize) {
            *mark = Some(Mark { from: after, to: None });
        }
    }

    /// It has left the station where it was.
    pub fn leave(&mut self, after: Duration) {
        for mark in self.marks.iter_mut().flatten() {
            mark.to.get_or_insert(after);
        }
    }

    /// It is through: on to the exporter.
    pub fn end(mut self: Box<Self>, outcome: Outcome) {
        self.leave(outcome.lasted);
        self.outcome = Some(outcome);
        let exporter = Arc::clone(&self.exporter);
        exporter.take(self);
    }

    /// How many spans it has.
    pub(super) fn spans(&self) -> u64 {
        1 + self.marks.iter().flatten().count() as u64
    }
}
