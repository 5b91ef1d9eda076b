//! What is written about the gateway's work, and where it goes.

use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri};

use super::listeners::report_file;
use super::upstreams::is_here;
use super::{is_host_and_port, not_empty, secrets};
use crate::config::reading::{Field, Reading};
use crate::config::written::{self, AccessLog, LogFormat, LogLevel};
use crate::telemetry::{self, Share, TelemetrySettings, TraceSettings};

/// What collectors call the place for traces (OTLP/HTTP).
const TRACES: &str = "/v1/traces";

/// Fields that say how a message is sent, and are not the operator's.
const FRAMING: [HeaderName; 8] =
    [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING, UPGRADE];

pub fn telemetry(written: &written::Telemetry, reading: &mut Reading<'_>) -> TelemetrySettings {
    let default = TelemetrySettings::default();
    TelemetrySettings {
        format: written.log.format.value().map_or(default.format, |format| match format {
            LogFormat::Json => telemetry::LogFormat::Json,
            LogFormat::Text => telemetry::LogFormat::Text,
        }),
        level: written.log.level.value().map_or(default.level, |level| match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Warn => tracing::Level::WARN,
            LogLevel::Info => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
            LogLevel::Trace => tracing::Level::TRACE,
        }),
        access_log: access_log(&written.access_log, reading).unwrap_or(default.access_log),
        traces: traces(written, reading),
    }
}

/// The share of good requests that leave a line, if any do.
#[expect(clippy::option_option, reason = "left out is not the same as off")]
fn access_log(field: &Field<AccessLog>, reading: &mut Reading<'_>) -> Option<Option<Share>> {
    match field.value()? {
        AccessLog::AllOrNone(all) => Some(all.then_some(Share::ALL)),
        AccessLog::Sample(written) => {
            written.sample.required("for example `sample: 0.01`", reading).map(|share| Some(*share))
        }
    }
}

fn traces(written: &written::Telemetry, reading: &mut Reading<'_>) -> Option<TraceSettings> {
    let written::Traces { sample, service_name, headers_file } = &written.traces;
    let endpoint = written.otlp_endpoint.meaning(reading, |text| endpoint(text));
    let service_name = service_name.meaning(reading, |text| not_empty(text));
    let headers = headers(headers_file, reading);
    if headers_file.is_given() && !written.otlp_endpoint.is_given() {
        let message = "has no effect without `telemetry.otlp_endpoint`";
        reading.error(headers_file.place, &headers_file.path, message, "nobody gets these fields");
    }
    let endpoint = endpoint?;
    let clear = endpoint.scheme() == Some(&Scheme::HTTP) && !endpoint.authority().is_some_and(is_here);
    if clear && headers_file.is_given() {
        let message = "what is in `telemetry.traces.headers_file` crosses the network in the clear";
        let field = &written.otlp_endpoint;
        reading.warning(field.place, &field.path, message, "plain HTTP across the network");
    }
    Some(TraceSettings {
        endpoint,
        share: sample.value().copied().unwrap_or(Share::ALL),
        service_name: service_name.unwrap_or_else(|| TraceSettings::SERVICE_NAME.to_owned()),
        headers,
    })
}

/// Where a collector takes traces, if this is where it is.
fn endpoint(text: &str) -> Result<Uri, &'static str> {
    const EXPECTED: &str = "a URL such as `http://127.0.0.1:4318`";
    let mut parts = text.parse::<Uri>().map_err(|_| EXPECTED)?.into_parts();
    let (scheme, authority) = (parts.scheme.as_ref().ok_or(EXPECTED)?, parts.authority.as_ref().ok_or(EXPECTED)?);
    if *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS {
        return Err("a URL that begins with `http://` or `https://`");
    }
    if authority.as_str().contains('@') {
        return Err("a URL without user name and password");
    }
    // `http` drops a fragment.
    if !is_host_and_port(authority) || text.contains(['?', '#']) {
        return Err(EXPECTED);
    }
    let path = parts.path_and_query.as_ref().map_or("", |path| path.path());
    let base = path.strip_suffix(TRACES).unwrap_or(path).trim_end_matches('/');
    parts.path_and_query = Some(format!("{base}{TRACES}").parse().map_err(|_| EXPECTED)?);
    Uri::from_parts(parts).map_err(|_| EXPECTED)
}

/// One field for each line. No message shows what the file holds.
fn headers(file: &Field<String>, reading: &mut Reading<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(text) = secrets::secret(file, reading) else { return Vec::new() };
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let fields: Result<_, String> = lines.map(|(index, line)| field(line).map_err(|why| told(index, why))).collect();
    fields.unwrap_or_else(|problem| {
        let path = reading.path(file.value().map_or("", String::as_str));
        report_file(file, &path, &problem, reading);
        Vec::new()
    })
}

fn told(index: usize, why: &str) -> String {
    format!("line {}: expected {why}", index + 1)
}

fn field(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    const EXPECTED: &str = "a header field, `Name: value`";
    let colon = line.iter().position(|byte| *byte == b':').ok_or(EXPECTED)?;
    let (name, value) = line.split_at(colon);
    let name = HeaderName::from_bytes(name).map_err(|_| EXPECTED)?;
    let mut value = HeaderValue::from_bytes(value.get(1..).ok_or(EXPECTED)?.trim_ascii()).map_err(|_| EXPECTED)?;
    if FRAMING.contains(&name) {
        return Err("a field that does not say how the message is sent");
    }
    value.set_sensitive(true);
    Ok((name, value))
}
