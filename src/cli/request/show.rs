//! What a person sees of a call. Credentials are never part of it.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use zeroize::Zeroizing;

use super::challenge::Challenge;
use crate::cli::say;

/// Tells on standard error what is sent and received, if anyone wants to know.
pub struct Trace {
    /// Whether anyone does.
    pub wanted: bool,
    /// What must not be shown, wherever it turns up.
    pub secret: Option<Zeroizing<String>>,
}

impl Trace {
    /// Something that happened in between.
    pub fn note(&self, text: &str) {
        if self.wanted {
            say(format_args!("* {text}"));
        }
    }

    /// What is sent.
    pub fn request<B>(&self, request: &Request<B>) {
        if self.wanted {
            let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
            say(self.without_secret(&format!("> {} {target} HTTP/1.1", request.method())));
            if let Some(authority) = request.uri().authority().filter(|_| !request.headers().contains_key(header::HOST))
            {
                say(format_args!("> host: {authority}"));
            }
            self.fields(">", request.headers());
        }
    }

    /// What is received.
    pub fn answer<B>(&self, answer: &Response<B>) {
        if self.wanted {
            say(format_args!("< {}", status_line(answer.version(), answer.status())));
            self.fields("<", answer.headers());
        }
    }

    fn fields(&self, direction: &str, headers: &HeaderMap) {
        for (name, value) in headers {
            say(self.without_secret(&format!("{direction} {name}: {}", redacted(name, value))));
        }
        say(direction);
    }

    fn without_secret(&self, line: &str) -> String {
        match &self.secret {
            Some(secret) => line.replace(secret.as_str(), "<redacted>"),
            None => line.to_owned(),
        }
    }
}

/// The head of an answer as it came, for standard output.
pub fn head(version: Version, status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut text = status_line(version, status).into_bytes();
    text.extend_from_slice(b"\n");
    for (name, value) in headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\n");
    }
    text.extend_from_slice(b"\n");
    text
}

/// One line about an answer that is not a good one.
pub fn explain(status: StatusCode, headers: &HeaderMap) -> String {
    let verdict = if status.is_client_error() { "refused" } else { "failed" };
    let mut line = format!("{verdict}: {status}");
    let challenges = Challenge::all(headers);
    // Writing to a string does not fail.
    if let Some(challenge) = challenges.iter().find(|challenge| challenge.parameter("error").is_some()) {
        let _ = write!(line, ", {}", challenge.explain());
    } else if !challenges.is_empty() {
        let wanted: Vec<_> = challenges.iter().map(Challenge::explain).collect();
        let _ = write!(line, ", credentials are wanted: {}", wanted.join(" or "));
    }
    line
}

fn status_line(version: Version, status: StatusCode) -> String {
    format!("{version:?} {status}")
}

fn redacted(name: &HeaderName, value: &HeaderValue) -> String {
    const SECRET: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
    let text = String::from_utf8_lossy(value.as_bytes());
    if SECRET.contains(name) {
        let scheme = text.split_once(' ').filter(|_| *name != header::COOKIE).map(|(scheme, _)| scheme);
        return scheme.map_or_else(|| "<redacted>".to_owned(), |scheme| format!("{scheme} <redacted>"));
    }
    if value.is_sensitive() || name == "dpop" {
        return "<redacted>".to_owned();
    }
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn credentials_are_redacted() {
        let fields = [
            ("authorization", "DPoP sesame"),
            ("authorization", "sesame"),
            ("proxy-authorization", "Basic sesame"),
            ("cookie", "a=sesame; b=sesame"),
            ("dpop", "sesame"),
        ];
        for (name, value) in &headers(&fields) {
            assert!(!redacted(name, value).contains("sesame"), "{name}");
        }
        assert_eq!(redacted(&header::AUTHORIZATION, &HeaderValue::from_static("DPoP sesame")), "DPoP <redacted>");
        let trace = Trace { wanted: true, secret: Some(Zeroizing::new("sesame".to_owned())) };
        assert_eq!(trace.without_secret("GET /?token=sesame"), "GET /?token=<redacted>");
    }

    #[test]
    fn the_challenge_that_names_an_error_explains() {
        let both = headers(&[
            ("www-authenticate", "DPoP algs=\"ES256\""),
            ("www-authenticate", "Bearer error=\"invalid_token\", error_description=\"Too old.\""),
        ]);
        let line = explain(StatusCode::UNAUTHORIZED, &both);
        assert_eq!(line, "refused: 401 Unauthorized, Bearer invalid_token: Too old.");
        let none = explain(StatusCode::UNAUTHORIZED, &headers(&[("www-authenticate", "DPoP algs=\"ES256\"")]));
        assert_eq!(none, "refused: 401 Unauthorized, credentials are wanted: DPoP (algs: ES256)");
        assert_eq!(explain(StatusCode::BAD_GATEWAY, &headers(&[])), "failed: 502 Bad Gateway");
    }
}
