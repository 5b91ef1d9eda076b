//! What became of one request: counted once, and one structured line when its answer is through or was given up.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metrics::{Decision, Metrics};
use crate::refusal::{Blame, Refusal};
use crate::request::RequestId;
use crate::verify::Binding;

/// The log target of access lines.
pub const TARGET: &str = "access";

/// The status of a request whose client left, or was cut at the end of a drain, before there was an answer; a
/// convention of access logs.
const CLIENT_GONE: u16 = 499;

/// What became of one request. Counts and writes its line at the latest when dropped, so that no request goes
/// without.
#[derive(Debug)]
pub struct Record {
    started: Instant,
    metrics: Arc<Metrics>,
    /// HTTP status, once there is one.
    status: Option<u16>,
    /// Names the request.
    pub id: RequestId,
    /// Who asked.
    pub peer: IpAddr,
    /// How.
    pub method: http::Method,
    /// Where, without query; empty when the target could not be read.
    pub host: String,
    /// What, normalized and without query; empty when the target could not be read.
    pub path: String,
    /// By which rule: its index, and its name.
    pub route: Option<(usize, String)>,
    /// The decision.
    pub decision: Decision,
    /// Why not.
    pub refusal: Option<Refusal>,
    /// What was proven.
    pub binding: Option<Binding>,
    /// `client_id` of the verified token.
    pub client_id: Option<String>,
    /// The beginning of the thumbprint that the verified token names.
    pub thumbprint: Option<String>,
    /// To the end of the decision.
    pub authorization: Option<Duration>,
    /// From forwarding to the head of the upstream's answer.
    pub upstream: Option<Duration>,
    /// Bytes of the answer's body.
    pub bytes: u64,
}

impl Record {
    /// Bytes of a thumbprint that are logged, as 8 characters: enough to tell clients apart.
    pub const THUMBPRINT_BYTES: usize = 6;

    /// Opens the record of a request.
    pub fn open(metrics: Arc<Metrics>, id: RequestId, peer: IpAddr, method: http::Method) -> Self {
        Self {
            started: Instant::now(),
            metrics,
            status: None,
            id,
            peer,
            method,
            host: String::new(),
            path: String::new(),
            route: None,
            // Until it is decided, nothing was let through; a client that leaves now harmed nobody but itself.
            decision: Decision::Refuse,
            refusal: None,
            binding: None,
            client_id: None,
            thumbprint: None,
            authorization: None,
            upstream: None,
            bytes: 0,
        }
    }

    /// There is an answer: counts the request.
    pub fn answered(&mut self, status: u16) {
        if self.status.replace(status).is_none() {
            let route = self.route.as_ref().map(|(index, _)| *index);
            if let Some(refusal) = &self.refusal {
                self.metrics.refused(route, refusal.reason());
            }
            self.metrics.answered(route, self.decision, self.binding, status, self.elapsed());
        }
    }

    /// Time since the request's head was read.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

fn millis(duration: Duration) -> f64 {
    // Microseconds are as fine as anyone reads.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

macro_rules! line {
    ($level:ident, $record:ident) => {
        tracing::$level!(
            target: TARGET,
            request_id = $record.id.as_str(),
            peer = %$record.peer,
            method = $record.method.as_str(),
            host = present(&$record.host),
            path = present(&$record.path),
            route = $record.route.as_ref().map(|(_, name)| name.as_str()),
            decision = $record.decision.as_str(),
            reason = $record.refusal.as_ref().map(|refusal| refusal.reason().slug()),
            expected = $record.refusal.as_ref().and_then(Refusal::what_was_expected),
            found = $record.refusal.as_ref().and_then(Refusal::what_was_found),
            binding = $record.binding.map(Binding::as_str),
            client_id = $record.client_id,
            thumbprint = $record.thumbprint,
            status = $record.status,
            bytes = $record.bytes,
            duration_ms = millis($record.elapsed()),
            authorization_ms = $record.authorization.map(millis),
            upstream_ms = $record.upstream.map(millis),
        )
    };
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.answered(CLIENT_GONE);
        }
        let blame = self.refusal.as_ref().map(|refusal| refusal.reason().answer().blame());
        match blame {
            Some(Blame::Gateway | Blame::Upstream) => line!(warn, self),
            Some(Blame::Client) | None => line!(info, self),
        }
    }
}
