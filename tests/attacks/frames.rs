//! The corpus over HTTP/2: what of it would be another message in HTTP/1.1 (RFC 9113 §8.2, §8.3, §10.3).

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::in_time;
use crate::range::Holds::{self, CutShort, Once, Refused};
use crate::range::{Door, Range};
use crate::support::HOST;
use crate::support::frames::{
    END_HEADERS, END_STREAM, Fields, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block, push_frame, shown, with,
};
use crate::support::wire::{Http, Stream};

pub const DATA: u8 = 0;
pub const PRIORITY: u8 = 2;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// What is changed of a good request: a POST whose body is a second request.
pub enum Change {
    /// A field more, behind all others.
    Add(&'static str, &'static [u8]),
    /// A field more, before all others.
    First(&'static str, &'static [u8]),
    /// Another value.
    Set(&'static str, &'static [u8]),
    Drop(&'static str),
    /// A field behind the body.
    Trailer(&'static str, &'static [u8]),
    NoBody,
    /// The fields come in three frames, which part them anywhere.
    Split,
    /// The body ends without an end of the stream.
    Open,
}

use Change::{Add, Drop, First, NoBody, Open, Set, Split, Trailer};

pub struct Case {
    pub name: &'static str,
    pub holds: Holds,
    pub changes: &'static [Change],
}

const fn case(name: &'static str, holds: Holds, changes: &'static [Change]) -> Case {
    Case { name, holds, changes }
}

const SMUGGLED: &[u8] = b"GET /open/smuggled HTTP/1.1\r\nHost: rs.example\r\n\r\n";

pub const FRAMES: &[Case] = &[
    case("h2 good: a length", Once, &[]),
    case("h2 good: no length", Once, &[Drop("content-length")]),
    case("h2 good: no body", Once, &[Set("content-length", b"0"), NoBody]),
    case("h2 good: trailers", Once, &[Drop("content-length"), Trailer("x-sum", b"1")]),
    case("h2 good: fields in pieces", Once, &[Split]),
    // Fields of a connection.
    case("h2: transfer-encoding", Refused, &[Add("transfer-encoding", b"chunked")]),
    case("h2: transfer-encoding, no length", Refused, &[Drop("content-length"), Add("transfer-encoding", b"chunked")]),
    case("h2: transfer-encoding, identity", Refused, &[Add("transfer-encoding", b"identity")]),
    case("h2: transfer-encoding, upper case", Refused, &[Add("Transfer-Encoding", b"chunked")]),
    case("h2: transfer-encoding, a space behind the name", Refused, &[Add("transfer-encoding ", b"chunked")]),
    case("h2: transfer-encoding, a tab behind the name", Refused, &[Add("transfer-encoding\t", b"chunked")]),
    case("h2: transfer-encoding, a colon in the name", Refused, &[Add("transfer-encoding:chunked", b"x")]),
    case("h2: connection", Refused, &[Add("connection", b"close")]),
    case("h2: connection that nominates", Refused, &[Add("connection", b"content-length")]),
    case("h2: keep-alive", Refused, &[Add("keep-alive", b"timeout=5")]),
    case("h2: proxy-connection", Refused, &[Add("proxy-connection", b"keep-alive")]),
    case("h2: upgrade", Refused, &[Add("upgrade", b"websocket")]),
    case("h2: te", Refused, &[Add("te", b"chunked")]),
    case("h2: te, trailers and more", Refused, &[Add("te", b"trailers, chunked")]),
    case("h2: te, trailers", Once, &[Add("te", b"trailers")]),
    case("h2: http2-settings", Once, &[Add("http2-settings", b"AAMAAABkAARAAAAAAAIAAAAA")]),
    case("h2: transfer_encoding", Once, &[Add("transfer_encoding", b"chunked")]),
    case("h2: content_length", Once, &[Add("content_length", b"0")]),
    // Lengths.
    case("h2: a length of 0", CutShort, &[Set("content-length", b"0")]),
    case("h2: a length that is too short", CutShort, &[Set("content-length", b"1")]),
    case("h2: a length that is too long", CutShort, &[Set("content-length", b"1000")]),
    case("h2: a length and no body", CutShort, &[NoBody]),
    case("h2: two lengths", Refused, &[Add("content-length", b"0")]),
    case("h2: two lengths that are the same", Refused, &[Set("content-length", b"48"), Add("content-length", b"48")]),
    case("h2: a list of lengths", Refused, &[Set("content-length", b"48, 48")]),
    case("h2: a length with a sign", Refused, &[Set("content-length", b"+48")]),
    case("h2: a negative length", Refused, &[Set("content-length", b"-1")]),
    case("h2: no digit", Refused, &[Set("content-length", b"")]),
    case("h2: hexadecimal", Refused, &[Set("content-length", b"0x30")]),
    case("h2: a length that is too large", Refused, &[Set("content-length", b"99999999999999999999")]),
    case("h2: spaces around a length", Refused, &[Set("content-length", b" 48 ")]),
    // Names and values that would be lines.
    case("h2: CR LF in a value", Refused, &[Add("x", b"y\r\nTransfer-Encoding: chunked")]),
    case(
        "h2: CR LF CR LF in a value",
        Refused,
        &[Add("x", b"y\r\n\r\nGET /open/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")],
    ),
    case("h2: LF in a value", Refused, &[Add("x", b"y\nTransfer-Encoding: chunked")]),
    case("h2: CR in a value", Refused, &[Add("x", b"y\rTransfer-Encoding: chunked")]),
    case("h2: NUL in a value", Refused, &[Add("x", b"y\0z")]),
    case("h2: DEL in a value", Refused, &[Add("x", b"y\x7fz")]),
    case("h2: CR LF at the end of a value", Refused, &[Add("x", b"y\r\n")]),
    case("h2: CR LF in a cookie", Refused, &[Add("cookie", b"a=1\r\nX: y"), Add("cookie", b"b=2")]),
    case("h2: CR LF in a name", Refused, &[Add("x: y\r\nz", b"1")]),
    case("h2: LF in a name", Refused, &[Add("x\nz", b"1")]),
    case("h2: a colon in a name", Refused, &[Add("x: y", b"1")]),
    case("h2: a space in a name", Refused, &[Add("x y", b"1")]),
    case("h2: NUL in a name", Refused, &[Add("x\0", b"1")]),
    case("h2: upper case", Refused, &[Add("X-Custom", b"1")]),
    case("h2: other letters", Refused, &[Add("x\u{e9}", b"1")]),
    case("h2: no name", Refused, &[Add("", b"1")]),
    case("h2: a colon alone", Refused, &[Add(":", b"1")]),
    // Pseudo-header fields.
    case("h2: no :method", Refused, &[Drop(":method")]),
    case("h2: no :path", Refused, &[Drop(":path")]),
    case("h2: no :scheme", Refused, &[Drop(":scheme")]),
    case("h2: no :authority", Refused, &[Drop(":authority")]),
    case("h2: two :method", Refused, &[First(":method", b"GET")]),
    case("h2: two :path", Refused, &[First(":path", b"/open/smuggled")]),
    case("h2: two :scheme", Refused, &[First(":scheme", b"https")]),
    case("h2: two :authority", Refused, &[First(":authority", b"rs.example")]),
    case("h2: :path behind a field", Refused, &[Drop(":path"), Add(":path", b"/open/smuggled")]),
    case("h2: :authority behind a field", Refused, &[Add(":authority", b"other.example")]),
    case("h2: a field before", Refused, &[First("x", b"y")]),
    case("h2: an unknown one", Refused, &[First(":smuggled", b"1")]),
    case("h2: :status", Refused, &[First(":status", b"200")]),
    case("h2: :protocol", Refused, &[First(":protocol", b"websocket")]),
    case("h2: :Method", Refused, &[Drop(":method"), First(":Method", b"POST")]),
    case("h2: :method with a line", Refused, &[Set(":method", b"GET /open/smuggled HTTP/1.1\r\nHost: x\r\n\r\nPOST")]),
    case("h2: :method with a target", Refused, &[Set(":method", b"GET /open/smuggled HTTP/1.1")]),
    case("h2: no character in :method", Refused, &[Set(":method", b"")]),
    case("h2: CONNECT", Refused, &[Set(":method", b"CONNECT"), Drop(":path"), Drop(":scheme")]),
    case("h2: TRACE", Refused, &[Set(":method", b"TRACE")]),
    case("h2: :path with a line", Refused, &[Set(":path", b"/open/x HTTP/1.1\r\nHost: x\r\n\r\nGET /open/smuggled")]),
    case("h2: :path with a version", Refused, &[Set(":path", b"/open/smuggled HTTP/1.1")]),
    case("h2: :path with a space", Refused, &[Set(":path", b"/open/smuggled x")]),
    case("h2: :path with a tab", Refused, &[Set(":path", b"/open/smuggled\tx")]),
    case("h2: :path with NUL", Refused, &[Set(":path", b"/open/smuggled\0")]),
    case("h2: no character in :path", Refused, &[Set(":path", b"")]),
    case("h2: :path that is no path", Refused, &[Set(":path", b"open/smuggled")]),
    case("h2: :path that is a URL", Refused, &[Set(":path", b"https://rs.example/open/smuggled")]),
    case("h2: :path that is a star", Refused, &[Set(":path", b"*")]),
    case("h2: :path that is a query", Refused, &[Set(":path", b"?open/smuggled")]),
    case("h2: :authority with a line", Refused, &[Set(":authority", b"rs.example\r\nX: y")]),
    case("h2: :authority with a path", Refused, &[Set(":authority", b"rs.example/open/smuggled?")]),
    case("h2: :authority with a user", Refused, &[Set(":authority", b"a@rs.example")]),
    case("h2: :authority with a space", Refused, &[Set(":authority", b"rs.example x")]),
    case("h2: no character in :authority", Refused, &[Set(":authority", b"")]),
    case("h2: another host", Refused, &[Add("host", b"other.example")]),
    case("h2: two hosts", Refused, &[Add("host", b"rs.example"), Add("host", b"rs.example")]),
    case("h2: :scheme with a line", Refused, &[Set(":scheme", b"https\r\nX: y")]),
    case("h2: :scheme that is a URL", Refused, &[Set(":scheme", b"https://rs.example/open/smuggled?")]),
    case("h2: :scheme http", Refused, &[Set(":scheme", b"http")]),
    case("h2: :scheme file", Refused, &[Set(":scheme", b"file")]),
    // Trailers.
    case("h2: a length behind the body", Once, &[Drop("content-length"), Trailer("content-length", b"9")]),
    case(
        "h2: a length behind the body, announced",
        Once,
        &[
            Drop("content-length"),
            Add("trailer", b"content-length, host"),
            Trailer("content-length", b"9"),
            Trailer("host", b"x"),
        ],
    ),
    case(
        "h2: transfer-encoding behind the body",
        CutShort,
        &[Drop("content-length"), Trailer("transfer-encoding", b"chunked")],
    ),
    // RFC 9113 §8.1 calls it malformed; the library drops it.
    case("h2: :path behind the body", Once, &[Drop("content-length"), Trailer(":path", b"/open/smuggled")]),
    case(
        "h2: CR LF behind the body",
        CutShort,
        &[Drop("content-length"), Trailer("x", b"y\r\n\r\nGET /open/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")],
    ),
    case("h2: trailers that end nothing", CutShort, &[Drop("content-length"), Trailer("x", b"y"), Open]),
];

fn added(mut fields: Fields, changes: &[Change]) -> Fields {
    let line = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    for change in changes {
        match change {
            Add(name, value) => fields.push(line(name, value)),
            First(name, value) => fields.insert(0, line(name, value)),
            Set(name, value) => fields = with(fields, name, Some(value)),
            Drop(name) => fields = with(fields, name, None),
            Trailer(..) | NoBody | Split | Open => {}
        }
    }
    fields
}

pub async fn play(case: &Case, range: &Range, door: Door) {
    let path = range.path(door);
    let mut fields: Fields = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", &path)]
        .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
        .to_vec();
    let credentials = range.credentials(door, "POST", &path);
    fields.extend(credentials.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.into_bytes())));
    fields.push(("content-length".to_owned(), SMUGGLED.len().to_string().into_bytes()));
    let fields = added(fields, case.changes);
    let context = format!("{:?}: {}\n{}", range.origin.kind, case.name, shown(&fields));
    match case.holds {
        Holds::Once => range.expect("POST", &path, true),
        Holds::CutShort | Holds::Answered => range.expect("POST", &path, false),
        Holds::Refused | Holds::Denied => {}
    }
    let mut wire = Wire::over(range.connect(Http::Two).await).await.unwrap();
    let is = |wanted: fn(&Change) -> bool| case.changes.iter().any(wanted);
    let trailers: Fields = case
        .changes
        .iter()
        .filter_map(|change| match change {
            Trailer(name, value) => Some(((*name).to_owned(), value.to_vec())),
            _ => None,
        })
        .collect();
    let has_body = !is(|change| matches!(change, NoBody));
    let mut out = Vec::new();
    let (fields, end) = (block(&fields), if has_body { 0 } else { END_STREAM });
    if is(|change| matches!(change, Split)) {
        let pieces: Vec<&[u8]> = fields.chunks(fields.len().div_ceil(3)).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let last = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
            let (kind, flags) = if at == 0 { (HEADERS, last | end) } else { (CONTINUATION, last) };
            push_frame(kind, flags, 1, piece, &mut out);
        }
    } else {
        push_frame(HEADERS, END_HEADERS | end, 1, &fields, &mut out);
    }
    if has_body {
        push_frame(DATA, if trailers.is_empty() { END_STREAM } else { 0 }, 1, SMUGGLED, &mut out);
    }
    if !trailers.is_empty() {
        let end = if is(|change| matches!(change, Open)) { 0 } else { END_STREAM };
        push_frame(HEADERS, END_HEADERS | end, 1, &block(&trailers), &mut out);
    }
    let _ = wire.write(&out).await;
    let outcome = in_time(&format!("an outcome of {context}"), wire.outcome(1)).await;
    let passed = outcome == Outcome::Answered { is_200: true };
    assert_eq!(passed, case.holds == Holds::Once, "{context}\n{outcome:?}");
}

/// What became of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered { is_200: bool },
    Reset,
    Gone,
}

/// A connection that is written to and read frame by frame.
pub struct Wire {
    pub stream: Box<dyn Stream>,
    /// The bodies of all answers.
    pub bodies: Vec<u8>,
}

/// A frame: its kind, flags, stream and payload.
pub type Frame = (u8, u8, u32, Vec<u8>);

impl Wire {
    pub async fn over(mut stream: Box<dyn Stream>) -> io::Result<Self> {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        push_frame(SETTINGS, 0, 0, &[], &mut bytes);
        stream.write_all(&bytes).await?;
        Ok(Self { stream, bodies: Vec::new() })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    pub async fn read(&mut self) -> io::Result<Frame> {
        read(&mut self.stream).await
    }

    pub async fn outcome(&mut self, asked: u32) -> Outcome {
        let mut is_200 = false;
        loop {
            let Ok((kind, flags, stream, payload)) = self.read().await else { return Outcome::Gone };
            match (kind, stream) {
                (HEADERS, stream) if stream == asked => {
                    // The static table has it (RFC 7541 appendix A); before it may stand a size of the table.
                    is_200 |= payload.iter().find(|byte| **byte & 0xE0 != 0x20) == Some(&0x88);
                }
                (DATA, stream) if stream == asked => self.bodies.extend(payload),
                (RST_STREAM, stream) if stream == asked => return Outcome::Reset,
                (GOAWAY, _) if payload.get(4..8).is_some_and(|code| code != [0; 4]) => return Outcome::Gone,
                _ => continue,
            }
            if flags & END_STREAM != 0 && stream == asked {
                return Outcome::Answered { is_200 };
            }
        }
    }
}

pub async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}
