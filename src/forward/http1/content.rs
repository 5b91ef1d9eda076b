//! An answer's body: where it ends, and what of it is there.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use http_body::{Frame, SizeHint};

use super::ExchangeError;

/// The line that begins a chunk, with its extensions, which nobody reads.
const MOST_OF_A_SIZE: usize = 4 * 1024;

/// All trailers together.
const MOST_OF_TRAILERS: usize = 16 * 1024;

/// Fields among them.
const MOST_TRAILERS: usize = 64;

/// What is still to come of a body (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked(Chunk),
    /// Everything until the connection ends.
    UntilClose,
}

/// Where in its chunks a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    Size,
    Data(u64),
    /// The end of the line behind a chunk's data.
    DataEnd,
    Trailers,
}

/// What the bytes that are there amount to.
pub(super) enum Step {
    Frame(Frame<Bytes>),
    End,
    /// Nothing without more of them.
    More,
}

impl Content {
    /// By the answer's head. Two statements about the length that could be read in two ways are refused (RFC 9112 §6.3,
    /// §11.1); one that is made twice is made once.
    pub(super) fn of(
        method: &Method,
        status: StatusCode,
        version: Version,
        headers: &mut HeaderMap,
    ) -> Result<Self, ExchangeError> {
        if *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            return Ok(Self::Done);
        }
        let length = length(headers)?;
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        if let Some(coding) = codings.next() {
            if version == Version::HTTP_10 || length.is_some() {
                return Err(ExchangeError::Protocol("a Transfer-Encoding beside another framing"));
            }
            // Undoing another coding is nobody's wish: none was asked for (RFC 9110 §10.1.4).
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(ExchangeError::Protocol("another Transfer-Encoding than chunked"));
            }
            return Ok(Self::Chunked(Chunk::Size));
        }
        Ok(match length {
            Some(0) => Self::Done,
            Some(length) => Self::Length(length),
            None => Self::UntilClose,
        })
    }

    pub(super) const fn is_done(self) -> bool {
        matches!(self, Self::Done)
    }

    pub(super) const fn ends_with_the_connection(self) -> bool {
        matches!(self, Self::UntilClose)
    }

    pub(super) const fn size_hint(self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Length(left) => Some(left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes what can be taken.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Step, ExchangeError> {
        loop {
            match self {
                Self::Done => return Ok(Step::End),
                Self::UntilClose if input.is_empty() => return Ok(Step::More),
                Self::UntilClose => return Ok(Step::Frame(Frame::data(input.split().freeze()))),
                Self::Length(left) => {
                    let Some(data) = take(left, input) else { return Ok(Step::More) };
                    if *left == 0 {
                        *self = Self::Done;
                    }
                    return Ok(Step::Frame(Frame::data(data)));
                }
                Self::Chunked(Chunk::Data(left)) => {
                    let Some(data) = take(left, input) else { return Ok(Step::More) };
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::DataEnd);
                    }
                    return Ok(Step::Frame(Frame::data(data)));
                }
                Self::Chunked(Chunk::DataEnd) => match input.get(..2) {
                    None => return Ok(Step::More),
                    Some(b"\r\n") => {
                        _ = input.split_to(2);
                        *self = Self::Chunked(Chunk::Size);
                    }
                    Some(_) => return Err(ExchangeError::Protocol("a chunk longer than it says")),
                },
                Self::Chunked(Chunk::Size) => match chunk_size(input)? {
                    None => return Ok(Step::More),
                    Some(0) => *self = Self::Chunked(Chunk::Trailers),
                    Some(size) => *self = Self::Chunked(Chunk::Data(size)),
                },
                Self::Chunked(Chunk::Trailers) => {
                    let Some(trailers) = trailers(input)? else { return Ok(Step::More) };
                    *self = Self::Done;
                    if !trailers.is_empty() {
                        return Ok(Step::Frame(Frame::trailers(trailers)));
                    }
                }
            }
        }
    }

    /// The connection ended here.
    pub(super) fn closed(&mut self) -> Result<(), ExchangeError> {
        match self {
            Self::UntilClose | Self::Done => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(ExchangeError::Incomplete),
        }
    }
}

impl From<Content> for SizeHint {
    fn from(content: Content) -> Self {
        content.size_hint().map_or_else(Self::default, Self::with_exact)
    }
}

/// As much as there is of what is left.
fn take(left: &mut u64, input: &mut BytesMut) -> Option<Bytes> {
    if input.is_empty() {
        return None;
    }
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
    *left -= length as u64;
    Some(input.split_to(length).freeze())
}

/// The one length that all fields agree on (RFC 9110 §8.6).
fn length(headers: &mut HeaderMap) -> Result<Option<u64>, ExchangeError> {
    const WRONG: ExchangeError = ExchangeError::Protocol("a Content-Length that is none");
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let more = lines.next().is_some();
    let text = first.to_str().map_err(|_| WRONG)?;
    // The parser of numbers takes a sign, which the field does not.
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !more && digits(text) {
        return text.parse().map(Some).map_err(|_| WRONG);
    }
    let mut agreed = None;
    for line in headers.get_all(header::CONTENT_LENGTH) {
        for one in line.to_str().map_err(|_| WRONG)?.split(',').map(str::trim) {
            if !digits(one) || agreed.is_some_and(|before: u64| one.parse() != Ok(before)) {
                return Err(WRONG);
            }
            agreed = Some(one.parse().map_err(|_| WRONG)?);
        }
    }
    let agreed = agreed.ok_or(WRONG)?;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(agreed));
    Ok(Some(agreed))
}

/// The line before a chunk, if it is whole.
fn chunk_size(input: &mut BytesMut) -> Result<Option<u64>, ExchangeError> {
    const WRONG: ExchangeError = ExchangeError::Protocol("a chunk without a size");
    match httparse::parse_chunk_size(input) {
        Ok(httparse::Status::Complete((length, size))) => {
            let line = input.split_to(length);
            // The library takes a line without digits for a zero, and any byte in an extension.
            let fine = line.first().is_some_and(u8::is_ascii_hexdigit);
            let text = line.strip_suffix(b"\r\n").unwrap_or_default();
            if fine && !text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) { Ok(Some(size)) } else { Err(WRONG) }
        }
        Ok(httparse::Status::Partial) if input.len() < MOST_OF_A_SIZE => Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => Err(WRONG),
    }
}

/// What stands behind the last chunk, if it is whole.
fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, ExchangeError> {
    const WRONG: ExchangeError = ExchangeError::Protocol("trailers that cannot be read");
    if input.starts_with(b"\r\n") {
        _ = input.split_to(2);
        return Ok(Some(HeaderMap::new()));
    }
    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    let (length, map) = match httparse::parse_headers(input, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) => {
            let mut map = HeaderMap::with_capacity(fields.len());
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| WRONG)?;
                map.append(name, HeaderValue::from_bytes(field.value).map_err(|_| WRONG)?);
            }
            (length, map)
        }
        Ok(httparse::Status::Partial) if input.len() < MOST_OF_TRAILERS => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(WRONG),
    };
    _ = input.split_to(length);
    Ok(Some(map))
}
