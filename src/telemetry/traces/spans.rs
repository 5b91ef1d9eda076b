//! Traces in the words of OpenTelemetry: spans of OTLP, attributes of the semantic conventions for HTTP. What the
//! conventions want to know of a URL's path and query is left out.

use http::Version;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};

use super::trace::{Mark, Outcome, Station, Trace, TracedRoute};
use crate::refusal::{Blame, Reason};
use crate::telemetry::decision::Decision;

/// The flag of W3C Trace Context: what is exported was sampled.
const SAMPLED: u32 = 1;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who exports.
pub struct Resource {
    attributes: Vec<KeyValue>,
    ids: RandomIdGenerator,
}

impl Resource {
    pub fn new(service_name: &str, instance: &str) -> Self {
        let attributes = vec![
            text("service.name", service_name),
            text("service.version", VERSION),
            text("service.instance.id", instance),
        ];
        Self { attributes, ids: RandomIdGenerator::default() }
    }

    /// All spans of these traces.
    pub fn request(&self, traces: &[Box<Trace>]) -> ExportTraceServiceRequest {
        let spans = traces.iter().filter_map(|trace| Some((trace, trace.outcome.as_ref()?)));
        let spans = spans.flat_map(|(trace, outcome)| self.spans(trace, outcome)).collect();
        let scope = InstrumentationScope { name: "keybound".into(), version: VERSION.into(), ..Default::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
        let resource = v1::Resource { attributes: self.attributes.clone(), ..Default::default() };
        let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
    }

    fn spans(&self, trace: &Trace, outcome: &Outcome) -> Vec<Span> {
        let mut spans = vec![server(trace, outcome)];
        let last = last_of_the_decision(trace, outcome);
        for (station, mark) in STATIONS.into_iter().zip(&trace.marks) {
            let Some(mark) = mark else { continue };
            let mut span = if station == Station::Upstream {
                client(trace, outcome, mark)
            } else {
                let id = self.ids.new_span_id().to_bytes();
                child(trace, id, station.as_str(), SpanKind::Internal, mark)
            };
            if let Some(reason) = outcome.reason.filter(|_| last == Some(station)) {
                span.attributes.push(text("keybound.reason", reason.slug()));
                if let Some(error) = failure(outcome, reason) {
                    fail(&mut span, error);
                }
            }
            if let Some(binding) = outcome.binding.filter(|_| station == Station::Binding) {
                span.attributes.push(text("keybound.binding", binding.as_str()));
            }
            spans.push(span);
        }
        spans
    }
}

const STATIONS: [Station; Station::COUNT] = [
    Station::Target,
    Station::Token,
    Station::Binding,
    Station::Limits,
    Station::Replay,
    Station::Policy,
    Station::Upstream,
];

/// Where a refusal was made. On a route that observes, the request went on.
fn last_of_the_decision(trace: &Trace, outcome: &Outcome) -> Option<Station> {
    let passed = STATIONS.into_iter().zip(&trace.marks).filter(|(_, mark)| mark.is_some());
    let decides = |station: &Station| outcome.decision != Decision::Observe || *station != Station::Upstream;
    passed.map(|(station, _)| station).rfind(decides)
}

/// What a refusal is called that is not the client's fault.
fn failure(outcome: &Outcome, reason: Reason) -> Option<&'static str> {
    let to_blame = outcome.decision != Decision::Observe && reason.answer().blame() != Blame::Client;
    to_blame.then(|| reason.slug())
}

/// The whole request.
fn server(trace: &Trace, outcome: &Outcome) -> Span {
    let route = route(trace, outcome);
    let method = outcome.method;
    let shown = method.unwrap_or("HTTP");
    let name = route.map_or_else(|| shown.to_owned(), |route| format!("{shown} {}", route.path_prefix));
    let whole = Mark { from: std::time::Duration::ZERO, to: Some(outcome.lasted) };
    let mut span = child(trace, trace.span, &name, SpanKind::Server, &whole);
    span.parent_span_id = trace.parent.map(Vec::from).unwrap_or_default();
    span.flags = SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32;
    if trace.parent.is_some() {
        span.flags |= SpanFlags::ContextIsRemoteMask as u32;
    }
    let attributes = &mut span.attributes;
    attributes.push(text("http.request.method", method.unwrap_or("_OTHER")));
    attributes.push(text("network.protocol.version", version(outcome.version)));
    if let Some(scheme) = outcome.scheme {
        attributes.push(text("url.scheme", scheme));
    }
    if !outcome.host.is_empty() {
        attributes.push(text("server.address", &outcome.host));
    }
    if let Some(route) = route {
        attributes.push(text("http.route", &route.path_prefix));
        attributes.push(text("keybound.route", &route.name));
    }
    if let Some(status) = outcome.status {
        attributes.push(number("http.response.status_code", status.into()));
    }
    attributes.push(text("keybound.request_id", outcome.id.as_str()));
    attributes.push(text("keybound.decision", outcome.decision.as_str()));
    if let Some(reason) = outcome.reason {
        attributes.push(text("keybound.reason", reason.slug()));
    }
    if let Some(binding) = outcome.binding {
        attributes.push(text("keybound.binding", binding.as_str()));
    }
    match (outcome.reason.and_then(|reason| failure(outcome, reason)), outcome.status) {
        (Some(error), _) => fail(&mut span, error),
        (None, Some(status @ 500..)) => fail(&mut span, &status.to_string()),
        // Nobody waited for the answer, which is no failure of ours.
        (None, None) => span.attributes.push(text("error.type", Reason::ClientGone.slug())),
        (None, Some(_)) => {}
    }
    span
}

/// The request to the upstream.
fn client(trace: &Trace, outcome: &Outcome, mark: &Mark) -> Span {
    let method = outcome.method;
    let mut span = child(trace, trace.upstream, method.unwrap_or("HTTP"), SpanKind::Client, mark);
    span.attributes.push(text("http.request.method", method.unwrap_or("_OTHER")));
    if let Some((name, address)) = route(trace, outcome).and_then(|route| route.upstream.as_ref()) {
        span.attributes.push(text("keybound.upstream", name));
        if let Some(address) = address {
            span.attributes.push(text("server.address", address.host()));
            span.attributes.extend(address.port_u16().map(|port| number("server.port", port.into())));
        }
    }
    // What the gateway answered in the upstream's place is not the upstream's answer.
    let answered = outcome.reason.is_none() || outcome.decision == Decision::Observe;
    if let Some(status) = outcome.status.filter(|_| answered) {
        span.attributes.push(number("http.response.status_code", status.into()));
        if status >= 400 {
            fail(&mut span, &status.to_string());
        }
    }
    span
}

/// A step of the request.
fn child(trace: &Trace, id: [u8; 8], name: &str, kind: SpanKind, mark: &Mark) -> Span {
    let at =
        |after: std::time::Duration| trace.began.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
    Span {
        trace_id: trace.id.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: trace.span.to_vec(),
        flags: SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32,
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: at(mark.from),
        end_time_unix_nano: at(mark.to.unwrap_or(mark.from)),
        ..Span::default()
    }
}

fn fail(span: &mut Span, error: &str) {
    span.attributes.push(text("error.type", error));
    span.status = Some(Status { code: StatusCode::Error.into(), message: String::new() });
}

fn route<'t>(trace: &'t Trace, outcome: &Outcome) -> Option<&'t TracedRoute> {
    trace.routes.get(outcome.route?)
}

/// One that the conventions know: clients may invent others.
const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
