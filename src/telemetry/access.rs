//! What became of one request: counted once, and one structured line when its answer is through or was given up.

mod log;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Version};
use tracing::Level;

use super::decision::{BrokenOff, Decision};
use super::line::Line;
use super::metrics::Metrics;
use super::refused::{RecentRefusals, RefusedRequest};
use super::share::Share;
use super::traces::{Outcome, Station, Trace, Tracer};
use crate::clock::Clock;
use crate::refusal::{Blame, Names, Progress, Refusal};
use crate::request::{Onward, RequestId, TraceParent};
use crate::verify::{AccessToken, Binding, base64url};

pub use log::AccessLog;

/// The log target of access lines.
const TARGET: &str = "access";

/// The status of a request whose client left, or was cut at the end of a drain, before there was an answer; a
/// convention of access logs.
const CLIENT_GONE: u16 = 499;

/// Bytes of a thumbprint that are logged, as 8 characters: enough to tell clients apart.
const THUMBPRINT_BYTES: usize = 6;

/// What records are kept with.
pub struct Ledger {
    /// Each request is counted here.
    pub metrics: Arc<Metrics>,
    /// Dates the lines.
    pub clock: Arc<dyn Clock>,
    /// Each request leaves its line here, if anywhere.
    pub log: Option<AccessLog>,
    /// Those that were refused are remembered here for a while.
    pub refusals: Arc<RecentRefusals>,
    /// Some requests are traced, if any.
    pub tracer: Option<Tracer>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("log", &self.log).finish_non_exhaustive()
    }
}

/// What became of one request. Counts and writes its line at the latest when dropped, so that no request goes
/// without. What only the line tells is kept only if there is a log.
#[derive(Debug)]
pub struct Record {
    started: Instant,
    ledger: Arc<Ledger>,
    /// HTTP status, once there is one.
    status: Option<u16>,
    /// Names the request.
    pub id: RequestId,
    /// Who asked: the other end of the connection, or whom it speaks for.
    pub client: IpAddr,
    /// How: at a decision endpoint, the request that is asked about.
    pub method: http::Method,
    /// Who ended its answer before its end, if somebody did.
    broken_off: Option<BrokenOff>,
    /// Whether the message itself was HEAD, so that its answer has no body.
    pub bodiless: bool,
    /// Where and what, in one text that the path begins at an index of; empty when the target could not be read.
    target: String,
    path_at: usize,
    /// By which rule: its index.
    pub route: Option<usize>,
    /// The decision.
    pub decision: Decision,
    /// Why not.
    pub refusal: Option<Refusal>,
    /// What was proven.
    pub binding: Option<Binding>,
    /// How far it came.
    pub progress: Progress,
    /// The verified token: its claims, not its text.
    token: Option<Arc<AccessToken>>,
    /// To the end of the decision.
    authorization: Option<Duration>,
    /// From forwarding to the head of the upstream's answer.
    upstream: Option<Duration>,
    /// Its way, if it is traced.
    trace: Option<Box<Trace>>,
    version: Version,
    scheme: Option<&'static str>,
    /// Bytes of the answer's body.
    pub bytes: u64,
}

impl Record {
    /// Opens the record of a request. It goes from hand to hand until the answer is through, so it is boxed.
    pub fn open(ledger: Arc<Ledger>, id: RequestId, client: IpAddr, method: http::Method) -> Box<Self> {
        Box::new(Self {
            started: Instant::now(),
            ledger,
            status: None,
            id,
            client,
            broken_off: None,
            bodiless: method == http::Method::HEAD,
            method,
            target: String::new(),
            path_at: 0,
            route: None,
            // Until it is decided, nothing was let through; a client that leaves now harmed nobody but itself.
            decision: Decision::Refuse,
            refusal: None,
            binding: None,
            progress: Progress::default(),
            token: None,
            authorization: None,
            upstream: None,
            trace: None,
            version: Version::HTTP_11,
            scheme: None,
            bytes: 0,
        })
    }

    /// Decides whether the request with this head is traced, and begins with it. What the upstream is told of it; `None`:
    /// nobody traces.
    pub fn follow<B>(&mut self, request: &Request<B>) -> Option<Onward> {
        let (trace, onward) = self.ledger.tracer.as_ref()?.begin(request.headers(), self.ledger.clock.nanos());
        self.trace = trace;
        self.version = request.version();
        self.enter(Station::Target);
        Some(onward)
    }

    /// The request comes to a station.
    pub fn enter(&mut self, station: Station) {
        let started = self.started;
        if let Some(trace) = &mut self.trace {
            trace.enter(station, started.elapsed());
        }
    }

    /// Who asks, and how, as far as the message does not tell itself.
    pub fn asked(&mut self, client: IpAddr, method: &http::Method) {
        self.client = client;
        self.progress.read = true;
        if self.method != *method {
            self.method = method.clone();
        }
    }

    /// Where the request goes: by which scheme, its host, and its path without query, normalized.
    pub fn target(&mut self, scheme: &'static str, host: &str, path: &str) {
        self.scheme = Some(scheme);
        if self.ledger.log.is_some() || self.trace.is_some() {
            self.target.reserve_exact(host.len() + path.len());
            self.target.push_str(host);
            self.target.push_str(path);
            self.path_at = host.len();
        }
    }

    /// Where a request goes whose target could not be read, in words that are harmless in a log.
    pub fn unread_target(&mut self, path: impl FnOnce() -> String) {
        if self.ledger.log.is_some() {
            self.target = path();
        }
    }

    /// A token that holds came along. `wanted`: somebody will ask for it, log or no log.
    pub fn verified(&mut self, token: &Arc<AccessToken>, wanted: bool) {
        let named = token.confirmation().ok().flatten();
        self.progress.names = Some(Names {
            key: named.is_some_and(|named| named.jkt.is_some()),
            certificate: named.is_some_and(|named| named.x5t_s256.is_some()),
        });
        self.progress.opaque = token.is_introspected();
        if wanted || self.ledger.log.is_some() {
            self.token = Some(Arc::clone(token));
        }
    }

    /// The token that holds, if it was kept.
    pub fn token(&self) -> Option<&AccessToken> {
        self.token.as_deref()
    }

    /// What its token names was proven.
    pub const fn proven(&mut self, binding: Binding) {
        self.binding = Some(binding);
        self.progress.proven = true;
    }

    /// There is a decision. One about a request that could not be read is no measure of decisions.
    pub fn decided(&mut self, unread: bool) {
        let after = self.elapsed();
        self.authorization = Some(after);
        if let Some(trace) = &mut self.trace {
            trace.leave(after);
        }
        if !unread {
            self.ledger.metrics.decided(self.binding, after);
        }
    }

    /// The upstream answered, or did not: both durations, from the request's head and from the decision.
    pub fn returned(&mut self) -> (Duration, Duration) {
        let after = self.elapsed();
        let took = after.saturating_sub(self.authorization.unwrap_or_default());
        self.upstream = Some(took);
        if let Some(trace) = &mut self.trace {
            trace.leave(after);
        }
        (after, took)
    }

    /// There is an answer, so long after the request's head: counts the request.
    pub fn answered(&mut self, status: u16, after: Duration) {
        if self.status.replace(status).is_none() {
            match &self.refusal {
                Some(refusal) if self.decision == Decision::Observe => {
                    self.ledger.metrics.observed(self.route, refusal.reason());
                }
                Some(refusal) => self.ledger.metrics.refused(self.route, refusal.reason()),
                None => {}
            }
            if let Some(refusal) = &self.refusal {
                self.ledger.refusals.note(self.refused(refusal));
            }
            self.ledger.metrics.answered(self.route, self.decision, self.binding, status, after);
        }
    }

    /// Its answer was ended before its end; whoever did so first is counted.
    pub fn broke_off(&mut self, by: BrokenOff) {
        if self.broken_off.is_none() {
            self.broken_off = Some(by);
            self.ledger.metrics.broke_off(self.route, by);
        }
    }

    /// What is remembered of it, once it is refused.
    fn refused(&self, refusal: &Refusal) -> RefusedRequest {
        // As in the access log: whoever traces may know the target for its own sake.
        let target = self.ledger.log.as_ref().map_or("", |_| &*self.target);
        let (host, path) = target.split_at_checked(self.path_at).unwrap_or_default();
        RefusedRequest::new(refusal, self.progress, self.id, self.client, self.ledger.clock.now())
            .asked(&self.method, host, path)
            .known(
                self.route.and_then(|index| self.ledger.metrics.route_name(index)),
                self.token.as_ref().and_then(|token| token.client_id()),
                self.decision == Decision::Observe,
            )
    }

    /// Time since the request's head was read.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn level(&self) -> Level {
        match self.refusal.as_ref().map(|refusal| refusal.reason().answer().blame()) {
            Some(Blame::Gateway | Blame::Upstream) => Level::WARN,
            None if self.broken_off == Some(BrokenOff::Upstream) => Level::WARN,
            Some(Blame::Client) | None => Level::INFO,
        }
    }

    /// What a trace tells of it, now that it ends.
    fn outcome(&self, status: Option<u16>, lasted: Duration) -> Outcome {
        let host = Outcome::host(self.target.get(..self.path_at).unwrap_or_default());
        Outcome {
            id: self.id,
            method: Outcome::method(&self.method),
            version: self.version,
            scheme: self.scheme,
            host,
            route: self.route,
            decision: self.decision,
            reason: self.refusal.as_ref().map(Refusal::reason),
            binding: self.binding,
            status,
            lasted,
        }
    }

    /// Whether it was answered, and nobody has to look at it: nothing refused it or would have, and nothing failed.
    fn went_well(&self) -> bool {
        let answered = self.status.is_some_and(|status| status < 500 && status != CLIENT_GONE);
        answered && self.refusal.is_none() && self.broken_off.is_none()
    }

    /// The fields, in their order. What is not known is left out. `share`: of the requests that went well, those that
    /// leave a line; one line then stands for several requests.
    fn write(&self, mut line: Line<'_>, share: Share, duration: Duration) {
        let present = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let (host, path) = self.target.split_at_checked(self.path_at).unwrap_or_default();
        line.text("request_id", self.id.as_str());
        if let Some(trace) = &self.trace {
            line.text("trace_id", &TraceParent::trace_name(trace.id()));
        }
        line.address("peer", self.client);
        line.text("method", self.method.as_str());
        line.text_if("host", present(host));
        line.text_if("path", present(path));
        line.text_if("route", self.route.and_then(|index| self.ledger.metrics.route_name(index)).map(|name| &**name));
        line.text("decision", self.decision.as_str());
        if let Some(refusal) = &self.refusal {
            line.text("reason", refusal.reason().slug());
            line.text_if("expected", refusal.what_was_expected());
            line.text_if("found", refusal.what_was_found());
        }
        line.text_if("binding", self.binding.map(Binding::as_str));
        if let Some(token) = &self.token {
            line.text_if("client_id", token.client_id());
            let confirmation = token.confirmation().ok().flatten();
            let thumbprint = confirmation.and_then(|named| named.jkt.map(|jkt| jkt.0).or(named.x5t_s256));
            let mut room = [0; THUMBPRINT_BYTES.div_ceil(3) * 4];
            let beginning = thumbprint.as_ref().and_then(|bytes| bytes.get(..THUMBPRINT_BYTES));
            line.text_if("thumbprint", beginning.and_then(|bytes| base64url::encode_into(bytes, &mut room)));
        }
        if let Some(status) = self.status {
            line.number("status", status.into());
        }
        line.text_if("broken_off", self.broken_off.map(BrokenOff::as_str));
        line.number("bytes", self.bytes);
        line.millis("duration_ms", duration);
        line.millis_if("authorization_ms", self.authorization);
        line.millis_if("upstream_ms", self.upstream);
        if !share.is_all() && self.went_well() {
            line.share("sample", share.number());
        }
        line.end(TARGET);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.status.is_some() && self.ledger.log.is_none() && self.trace.is_none() {
            return;
        }
        let (duration, status) = (self.elapsed(), self.status);
        self.answered(status.unwrap_or(CLIENT_GONE), duration);
        if let Some(log) = self.ledger.log.as_ref().filter(|log| log.wants(self)) {
            log.write(self, duration);
        }
        if let Some(trace) = self.trace.take() {
            let outcome = self.outcome(status, duration);
            trace.end(outcome);
        }
    }
}

#[cfg(test)]
mod tests;
