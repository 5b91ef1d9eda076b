//! What scripts in browsers, and clients that come without instructions, are told about a route.

use std::time::Duration;

use http::{HeaderValue, Uri};

use super::access::unused;
use super::{not_empty, within};
use crate::config::reading::{Field, Reading};
use crate::config::written;
use crate::request::PublicUrl;
use crate::routes::{Cors, Described, Origins};

/// No browser remembers for longer.
const MAX_AGE: Duration = Duration::from_hours(24);

const ORIGIN: &str = "an origin as browsers send it, such as `https://app.example.com`";

pub fn cors(written: &written::Cors, reading: &mut Reading<'_>) -> Cors {
    let list = &written.allow_origins;
    let items = list.required("for example `allow_origins: [https://app.example.com]`", reading);
    let any = items.and_then(|items| items.iter().find(|item| item.value().is_some_and(|text| text == "*")));
    let allow_credentials = written.allow_credentials.value().copied().unwrap_or_default();
    let mut listed = Vec::new();
    if let Some(items) = items {
        if items.is_empty() {
            let help = "leave `cors` out if no script of another origin calls this route";
            reading
                .error(list.place, &list.path, "empty: no script could read an answer", "this list is empty")
                .help(help);
        }
        let others = items.iter().filter(|item| any.is_none_or(|any| !std::ptr::eq(*item, any)));
        listed.extend(others.filter_map(|item| origin(item, reading)));
        if let Some(any) = any.filter(|_| items.len() > 1) {
            any.refuse("`*` alone, or a list of origins", reading).help("`*` is every origin, the others included");
        }
    }
    if let (Some(any), true) = (any, allow_credentials) {
        let help =
            "list the origins; or leave `allow_credentials` out: tokens and proofs in header fields do not need it";
        any.refuse("a list of origins beside `allow_credentials: true`", reading).help(help);
    }
    Cors {
        origins: if any.is_some() { Origins::Any } else { Origins::Listed(listed) },
        allow_credentials,
        max_age: within(&written.max_age, Duration::ZERO, MAX_AGE, reading).unwrap_or(Cors::MAX_AGE),
    }
}

/// RFC 6454 §6.2: in lower case, without a path, without the port that the scheme has anyway. Browsers send nothing
/// else, and origins are compared byte for byte.
fn origin(field: &Field<String>, reading: &mut Reading<'_>) -> Option<HeaderValue> {
    let text = field.value()?;
    if text == "null" {
        let help = "sandboxed frames, local files and redirected requests all send `null`, whoever wrote them";
        field.refuse("an origin that names somebody", reading).help(help);
        return None;
    }
    let is_web = text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
    let serialized = match text.split_once("://") {
        // Extensions and applications have schemes of their own.
        Some((scheme, host)) if !is_web => is_opaque_host(scheme, host).then(|| text.clone()),
        Some((scheme, rest)) => {
            PublicUrl::parse(&format!("{}://{rest}", scheme.to_ascii_lowercase())).ok().map(|url| url.origin())
        }
        None => None,
    };
    match serialized {
        Some(serialized) if serialized == *text => HeaderValue::from_str(&serialized).ok(),
        Some(serialized) => {
            field.refuse(ORIGIN, reading).help(format!("did you mean `{serialized}`?"));
            None
        }
        None => {
            let report = field.refuse(ORIGIN, reading);
            if text.contains('*') {
                report.help("patterns are not known: list each origin");
            } else if let Some(guess) = without_path(text) {
                report.help(format!("did you mean `{guess}`?"));
            }
            None
        }
    }
}

/// Such as `chrome-extension://…`.
fn is_opaque_host(scheme: &str, host: &str) -> bool {
    let begins = scheme.starts_with(|c: char| c.is_ascii_lowercase());
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    begins && scheme.bytes().all(fits) && !host.is_empty() && host.bytes().all(plain)
}

/// What is left of a URL, or what becomes of a bare host.
fn without_path(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    PublicUrl::parse(&format!("{}://{host}", scheme.to_ascii_lowercase())).ok().map(|url| url.origin())
}

pub fn metadata(written: &written::Metadata, public: bool, told: bool, reading: &mut Reading<'_>) -> Described {
    let given = [&written.resource_name, &written.resource_documentation].into_iter().filter(|field| field.is_given());
    for field in given {
        if public {
            unused(field, reading);
        } else if !told {
            let message = "has no effect: no listener has a `public_url`, so clients are told of no resource";
            reading
                .warning(field.place, &field.path, message, "never told")
                .help("set `public_url` of a listener to the scheme and authority that clients see");
        }
    }
    Described {
        name: written.resource_name.meaning(reading, |text| not_empty(text)),
        documentation: written.resource_documentation.meaning(reading, |text| page(text)),
    }
}

fn page(text: &str) -> Result<String, &'static str> {
    let is_page = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    text.parse().ok().filter(is_page).map(|_| text.to_owned()).ok_or("a URL such as `https://docs.example.com/orders`")
}
