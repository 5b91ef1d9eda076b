//! Heads: the request's is written, the answer's is read.

use std::mem::MaybeUninit;

use bytes::{BufMut as _, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use super::ExchangeError;
use super::content::Content;
use super::upload::Coding;

/// Fields of one answer.
const MOST_FIELDS: usize = 100;

/// Bytes of one answer's head.
const MOST_BYTES: usize = 64 * 1024;

const UNREADABLE: ExchangeError = ExchangeError::Protocol("a field that cannot be read");
const TOO_LARGE: ExchangeError = ExchangeError::Protocol("a head that is too large");

/// Writes the request line and the fields; the framing is ours, by what is known of the body (RFC 9112 §6).
pub(super) fn write<B>(request: &Request<B>, coding: Option<&Coding>, out: &mut BytesMut) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let method = request.method().as_str();
    out.reserve(method.len() + target.len() + 64 + request.headers().len() * 64);
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.put_slice(part.as_bytes());
    }
    let mut says_length = false;
    for (name, value) in request.headers() {
        match *name {
            header::CONTENT_LENGTH => says_length = true,
            header::TRANSFER_ENCODING => {}
            _ => write_field(name, value, out),
        }
    }
    match coding {
        Some(Coding::Length(length)) => write_field(&header::CONTENT_LENGTH, &HeaderValue::from(*length), out),
        Some(Coding::Chunked { .. }) => out.put_slice(b"transfer-encoding: chunked\r\n"),
        None if says_length => out.put_slice(b"content-length: 0\r\n"),
        None => {}
    }
    out.put_slice(b"\r\n");
}

/// One field line. Neither a name nor a value can hold a line's end.
pub(super) fn write_field(name: &HeaderName, value: &HeaderValue, out: &mut BytesMut) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

/// An answer's head, how its body is framed, and whether the connection may serve another request.
pub(super) struct Head {
    pub(super) response: Response<()>,
    pub(super) content: Content,
    pub(super) persists: bool,
    /// It says itself that its body is empty.
    pub(super) says_empty: bool,
}

/// Takes a head from what was read, if there is a whole one. `seen` is how much of it was looked at before; `room` is a
/// map that its fields may take, whatever is in it.
pub(super) fn read(
    input: &mut BytesMut,
    seen: &mut usize,
    method: &Method,
    room: &mut Option<HeaderMap>,
) -> Result<Option<Head>, ExchangeError> {
    // A head that comes byte by byte is parsed once and not once for every byte.
    let from = seen.saturating_sub(3);
    if *seen > 0 && !has_blank_line(input.get(from..).unwrap_or_default()) {
        *seen = input.len();
        return too_large(input);
    }
    let mut fields = [MaybeUninit::uninit(); MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut fields) {
        Ok(httparse::Status::Complete(length)) if length <= MOST_BYTES => length,
        Ok(httparse::Status::Complete(_)) => return Err(TOO_LARGE),
        Ok(httparse::Status::Partial) => {
            *seen = input.len();
            return too_large(input);
        }
        Err(httparse::Error::TooManyHeaders) => return Err(ExchangeError::Protocol("more fields than can be read")),
        Err(_) => return Err(ExchangeError::Protocol("what is no HTTP/1.1")),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(ExchangeError::Protocol("a status that is none"))?;
    let version = if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    // Where values lie, so that they can be cut from the buffer without a copy.
    let start = input.as_ptr() as usize;
    let place = |part: &[u8]| {
        let at = (part.as_ptr() as usize).saturating_sub(start);
        (at, at.saturating_add(part.len()))
    };
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    if let Some(reason) = parsed.reason.filter(|reason| Some(*reason) != status.canonical_reason())
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    *headers = room.take().unwrap_or_default();
    headers.clear();
    headers.reserve(parsed.headers.len());
    let mut fields = Vec::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| UNREADABLE)?;
        fields.push((name, place(field.value)));
    }
    *seen = 0;
    let head = input.split_to(length).freeze();
    for (name, (from, to)) in fields {
        if to > head.len() {
            return Err(UNREADABLE);
        }
        headers.append(name, HeaderValue::from_maybe_shared(head.slice(from..to)).map_err(|_| UNREADABLE)?);
    }
    let content = Content::of(method, status, version, headers)?;
    let persists = persists(version, headers) && !content.ends_with_the_connection();
    let says_empty = response.headers().get(header::CONTENT_LENGTH).is_some_and(|length| length == "0");
    Ok(Some(Head { response, content, persists, says_empty }))
}

fn too_large<T>(input: &BytesMut) -> Result<Option<T>, ExchangeError> {
    if input.len() > MOST_BYTES { Err(TOO_LARGE) } else { Ok(None) }
}

fn has_blank_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

/// RFC 9112 §9.3.
fn persists(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        let lines = headers.get_all(header::CONNECTION).iter();
        let mut words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        words.any(|one| one.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    !says("close") && (version == Version::HTTP_11 || says("keep-alive"))
}
