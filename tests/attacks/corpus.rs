//! The corpus over HTTP/1.1: a name, bytes, and what must hold. In the bytes stand `{fields}` for `Host` and what the door
//! wants, `{path}` for a path of its own, and `{smuggled}` for a second request, `{length}` bytes long (`{hex}`).

use crate::range::Holds::{self, Answered, CutShort, Denied, Once, Refused};

pub struct Case {
    pub name: &'static str,
    pub text: &'static str,
    pub holds: Holds,
    /// The client is gone after the last byte.
    pub leaves: bool,
}

impl Case {
    pub fn method(&self) -> &'static str {
        let text = self.text.trim_start();
        ["GET", "HEAD", "OPTIONS"].into_iter().find(|method| text.starts_with(method)).unwrap_or("POST")
    }
}

/// One field more than a POST with a body in chunks that hold a second request.
macro_rules! chunked {
    ($fields:literal) => {
        concat!("POST {path} HTTP/1.1\r\n{fields}", $fields, "\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n")
    };
}

/// One field more than a POST with a second request behind what ends like an empty body in chunks.
macro_rules! posted {
    ($fields:literal, $body:literal) => {
        concat!("POST {path} HTTP/1.1\r\n{fields}", $fields, "\r\n", $body)
    };
}

macro_rules! sized {
    ($fields:literal) => {
        posted!($fields, "{smuggled}")
    };
}

macro_rules! body {
    ($body:literal) => {
        posted!("Transfer-Encoding: chunked\r\n", $body)
    };
}

const fn case(name: &'static str, holds: Holds, text: &'static str) -> Case {
    Case { name, text, holds, leaves: false }
}

const fn left(name: &'static str, text: &'static str) -> Case {
    Case { name, text, holds: CutShort, leaves: true }
}

pub const CASES: &[Case] = &[
    // Good requests: what is refused below differs from these by one thing.
    case("good: no body", Once, "GET {path} HTTP/1.1\r\n{fields}\r\n"),
    case("good: a length", Once, sized!("Content-Length: {length}\r\n")),
    case("good: chunks", Once, chunked!("Transfer-Encoding: chunked\r\n")),
    case(
        "good: chunks, extensions and trailers",
        Once,
        body!("{hex};a=b;c=\"d\"\r\n{smuggled}\r\n0\r\nX-Sum: 1\r\n\r\n"),
    ),
    case("good: an empty line before", Once, "\r\nGET {path} HTTP/1.1\r\n{fields}\r\n"),
    // Two framings.
    case(
        "CL.TE",
        Refused,
        posted!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n{smuggled}"),
    ),
    case(
        "CL.TE, the other way round",
        Refused,
        posted!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n", "0\r\n\r\n{smuggled}"),
    ),
    case(
        "CL.TE, a prefix of the next request",
        Refused,
        posted!("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
    ),
    case("TE.CL", Refused, chunked!("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n")),
    case("TE.CL, the other way round", Refused, chunked!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n")),
    case(
        "TE.CL, both say the same",
        Refused,
        posted!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ),
    case("TE.CL, a length of 0", Refused, chunked!("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n")),
    case(
        "TE.CL, a length behind the coding that is none",
        Refused,
        chunked!("Transfer-Encoding: chunked\r\nContent-Length: x\r\n"),
    ),
    case("TE.CL, names in other cases", Refused, chunked!("content-LENGTH: 4\r\ntransfer-ENCODING: chunked\r\n")),
    case("TE.CL far apart", Refused, chunked!("Content-Length: 4\r\nX: {long}\r\nTransfer-Encoding: chunked\r\n")),
    case(
        "TE.CL on a GET",
        Refused,
        "GET {path} HTTP/1.1\r\n{fields}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
    ),
    // Spellings of the coding.
    case("TE: in other cases", Once, chunked!("Transfer-Encoding: CHUNKED\r\n")),
    case("TE: no space", Once, chunked!("Transfer-Encoding:chunked\r\n")),
    case("TE: a tab", Once, chunked!("Transfer-Encoding:\tchunked\r\n")),
    case("TE: spaces behind", Once, chunked!("Transfer-Encoding: chunked \t \r\n")),
    case("TE: xchunked", Refused, chunked!("Transfer-Encoding: xchunked\r\n")),
    case("TE: chunkedx", Refused, chunked!("Transfer-Encoding: chunkedx\r\n")),
    case("TE: identity", Refused, chunked!("Transfer-Encoding: identity\r\n")),
    case("TE: nothing", Refused, chunked!("Transfer-Encoding:\r\n")),
    case("TE: cow", Refused, chunked!("Transfer-Encoding: cow\r\n")),
    case("TE: chunked, identity", Refused, chunked!("Transfer-Encoding: chunked, identity\r\n")),
    case("TE: identity, chunked", Refused, chunked!("Transfer-Encoding: identity, chunked\r\n")),
    case("TE: gzip, chunked", Refused, chunked!("Transfer-Encoding: gzip, chunked\r\n")),
    case("TE: chunked, chunked", Refused, chunked!("Transfer-Encoding: chunked, chunked\r\n")),
    case("TE: a comma before", Refused, chunked!("Transfer-Encoding: ,chunked\r\n")),
    case("TE: a comma behind", Refused, chunked!("Transfer-Encoding: chunked,\r\n")),
    case("TE: quoted", Refused, chunked!("Transfer-Encoding: \"chunked\"\r\n")),
    case("TE: apostrophes", Refused, chunked!("Transfer-Encoding: 'chunked'\r\n")),
    case("TE: a parameter", Refused, chunked!("Transfer-Encoding: chunked;q=1\r\n")),
    case("TE: a vertical tab", Refused, chunked!("Transfer-Encoding: \x0bchunked\r\n")),
    case("TE: a form feed", Refused, chunked!("Transfer-Encoding: chunked\x0c\r\n")),
    case("TE: NUL", Refused, chunked!("Transfer-Encoding: chunked\0\r\n")),
    case("TE: a line separator", Refused, chunked!("Transfer-Encoding: chunked\u{85}\r\n")),
    case("TE: a no-break space", Refused, chunked!("Transfer-Encoding: \u{a0}chunked\r\n")),
    case("TE: twice", Refused, chunked!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
    case(
        "TE: chunked, then identity",
        Refused,
        chunked!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ),
    case(
        "TE: identity, then chunked",
        Refused,
        chunked!("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    ),
    case("TE: x, then chunked", Refused, chunked!("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n")),
    case("TE: a space before the colon", Refused, chunked!("Transfer-Encoding : chunked\r\n")),
    case("TE: a tab before the colon", Refused, chunked!("Transfer-Encoding\t: chunked\r\n")),
    case("TE: NUL before the colon", Refused, chunked!("Transfer-Encoding\0: chunked\r\n")),
    case("TE: a space before the name", Refused, chunked!("Content-Length: 4\r\n Transfer-Encoding: chunked\r\n")),
    case("TE: folded value", Refused, chunked!("Transfer-Encoding:\r\n chunked\r\n")),
    case("TE: folded into another field", Refused, chunked!("X: a\r\n\tTransfer-Encoding: chunked\r\n")),
    case("TE: folded away", Refused, chunked!("Content-Length: 4\r\nX: a\r\n Transfer-Encoding: chunked\r\n")),
    case("TE: behind a bare CR", Refused, chunked!("Content-Length: 4\r\nX: a\rTransfer-Encoding: chunked\r\n")),
    case("TE: behind a bare LF", Refused, chunked!("X: a\nTransfer-Encoding: chunked\r\n")),
    case("TE: ended by a bare LF", Refused, chunked!("Transfer-Encoding: chunked\n")),
    case("TE: behind CR CR LF", Refused, chunked!("X: a\r\r\nTransfer-Encoding: chunked\r\n")),
    case(
        "TE: HTTP/1.0",
        Refused,
        "POST {path} HTTP/1.0\r\n{fields}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
    ),
    case(
        "TE: HTTP/1.0 with a length",
        Refused,
        "POST {path} HTTP/1.0\r\n{fields}Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
    ),
    case(
        "TE: nominated by Connection",
        Once,
        chunked!("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n"),
    ),
    case(
        "TE: another spelling beside a length",
        Once,
        sized!("Content-Length: {length}\r\nTransfer_Encoding: chunked\r\n"),
    ),
    case(
        "TE: as another field beside a length",
        Once,
        sized!(
            "Content-Length: {length}\r\nTE: chunked\r\nContent-Encoding: chunked\r\nX-Transfer-Encoding: chunked\r\n"
        ),
    ),
    // Spellings of the length.
    case("CL: twice the same", Refused, sized!("Content-Length: {length}\r\nContent-Length: {length}\r\n")),
    case("CL: twice", Refused, sized!("Content-Length: 0\r\nContent-Length: {length}\r\n")),
    case("CL: twice, the other way round", Refused, sized!("Content-Length: {length}\r\nContent-Length: 0\r\n")),
    case("CL: a list of the same", Refused, sized!("Content-Length: {length}, {length}\r\n")),
    case("CL: a list", Refused, sized!("Content-Length: 0, {length}\r\n")),
    case("CL: a sign", Refused, sized!("Content-Length: +{length}\r\n")),
    case("CL: negative", Refused, sized!("Content-Length: -1\r\n")),
    case("CL: minus nothing", Refused, sized!("Content-Length: -0\r\n")),
    case("CL: hexadecimal", Refused, sized!("Content-Length: 0x{hex}\r\n")),
    case("CL: a fraction", Refused, sized!("Content-Length: {length}.0\r\n")),
    case("CL: an exponent", Refused, sized!("Content-Length: 4e1\r\n")),
    case("CL: nothing", Refused, sized!("Content-Length:\r\n")),
    case("CL: words behind", Refused, sized!("Content-Length: 0 {length}\r\n")),
    case("CL: a letter behind", Refused, sized!("Content-Length: {length}a\r\n")),
    case("CL: quoted", Refused, sized!("Content-Length: \"{length}\"\r\n")),
    case("CL: an underscore", Refused, sized!("Content-Length: 4_5\r\n")),
    case("CL: other digits", Refused, sized!("Content-Length: \u{0665}\r\n")),
    case("CL: a vertical tab", Refused, sized!("Content-Length: \x0b{length}\r\n")),
    case("CL: too large", Refused, sized!("Content-Length: 99999999999999999999\r\n")),
    case("CL: 2^64", Refused, sized!("Content-Length: 18446744073709551616\r\n")),
    case("CL: 2^64 - 1", Refused, sized!("Content-Length: 18446744073709551615\r\n")),
    case("CL: 2^64 - 2", Refused, sized!("Content-Length: 18446744073709551614\r\n")),
    case("CL: zeros before", Once, sized!("Content-Length: 000{length}\r\n")),
    case("CL: spaces around", Once, sized!("Content-Length: \t {length} \t\r\n")),
    case("CL: a space before the colon", Refused, sized!("Content-Length : {length}\r\n")),
    case("CL: folded", Refused, sized!("Content-Length:\r\n {length}\r\n")),
    case("CL: a digit folded", Refused, sized!("Content-Length: 4\r\n 5\r\n")),
    case("CL: behind a bare LF", Refused, sized!("X: a\nContent-Length: {length}\r\n")),
    case("CL: behind a bare CR", Refused, sized!("X: a\rContent-Length: {length}\r\n")),
    case("CL: nominated by Connection", Denied, sized!("Connection: Content-Length\r\nContent-Length: {length}\r\n")),
    case(
        "CL: another spelling",
        Once,
        sized!("Content-Length: {length}\r\nContent_Length: 0\r\nContent.Length: 1\r\n"),
    ),
    // Bodies that a server may not expect.
    case("CL.0: on a GET", Once, "GET {path} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{smuggled}"),
    case(
        "CL.0: chunks on a GET",
        Once,
        "GET {path} HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n",
    ),
    case("CL.0: on a HEAD", Once, "HEAD {path} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{smuggled}"),
    case(
        "CL.0: with Expect",
        Once,
        "POST {path} HTTP/1.1\r\n{fields}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n{smuggled}",
    ),
    case(
        "CL.0: with another Expect",
        Once,
        "POST {path} HTTP/1.1\r\n{fields}Expect: 200-maybe, 100-continue\r\nContent-Length: {length}\r\n\r\n{smuggled}",
    ),
    case(
        "CL.0: HTTP/1.0 that stays",
        Once,
        "POST {path} HTTP/1.0\r\n{fields}Connection: keep-alive\r\nContent-Length: {length}\r\n\r\n{smuggled}",
    ),
    case(
        "CL.0: the client closes",
        Once,
        "POST {path} HTTP/1.1\r\n{fields}Connection: close\r\nContent-Length: 0\r\n\r\n{smuggled}",
    ),
    case(
        "0.CL: a length and an upgrade",
        Once,
        "GET {path} HTTP/1.1\r\n{fields}Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: {length}\r\n\r\n{smuggled}",
    ),
    left("a body that never ends", posted!("Content-Length: 1000\r\n", "{smuggled}")),
    left("a body of which nothing comes", posted!("Content-Length: 1000\r\n", "")),
    left("chunks that never end", body!("{hex}\r\n{smuggled}\r\n")),
    left("a chunk that never ends", body!("fff\r\n{smuggled}")),
    left("trailers that never end", body!("{hex}\r\n{smuggled}\r\n0\r\nX-Sum: 1\r\n")),
    left("a head that never ends", "POST {path} HTTP/1.1\r\n{fields}X: "),
    // Chunks.
    case("chunk: zeros before", Once, body!("0000{hex}\r\n{smuggled}\r\n0000\r\n\r\n")),
    case("chunk: a space behind the size", Once, body!("{hex} \r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a space before the size", CutShort, body!(" {hex}\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a sign", CutShort, body!("+{hex}\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: negative", CutShort, body!("-1\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: 0x", CutShort, body!("0x{hex}\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: an underscore", CutShort, body!("0_{hex}\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: nothing", CutShort, body!("\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: no digit before the extension", CutShort, body!(";a\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a letter", CutShort, body!("{hex}g\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: too large", CutShort, body!("fffffffffffffffff\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: too large by what is cut", CutShort, body!("100000000000000{hex}{hex}\r\n{smuggled}\r\n0\r\n\r\n")),
    left("chunk: 2^64 - 1", body!("ffffffffffffffff\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a bare LF behind the size", CutShort, body!("{hex}\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a bare CR behind the size", CutShort, body!("{hex}\r{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a bare LF in the extension", CutShort, body!("{hex};a\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a bare CR in the extension", CutShort, body!("{hex};a\rb\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: an extension that ends in LF", CutShort, body!("2;\nxx\r\n{hex}\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: a long extension", CutShort, body!("{hex};{long}\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: more than its size", CutShort, body!("1\r\n{smuggled}\r\n0\r\n\r\n")),
    case("chunk: ended by LF", CutShort, body!("{hex}\r\n{smuggled}\n0\r\n\r\n")),
    case("chunk: ended by CR", CutShort, body!("{hex}\r\n{smuggled}\r0\r\n\r\n")),
    case("chunk: ended by two bytes that are none", CutShort, body!("{hex}\r\n{smuggled}xx0\r\n\r\n")),
    case("chunk: not ended", CutShort, body!("{hex}\r\n{smuggled}0\r\n\r\n")),
    case("chunk: the last one ended by LF", CutShort, body!("{hex}\r\n{smuggled}\r\n0\n\n")),
    left("chunk: the last line ended by LF", body!("{hex}\r\n{smuggled}\r\n0\r\n\n")),
    case(
        "trailer: framing",
        Once,
        body!(
            "{hex}\r\n{smuggled}\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: other.example\r\n\r\n"
        ),
    ),
    case(
        "trailer: framing, announced",
        Once,
        posted!(
            "Trailer: Content-Length, Transfer-Encoding, Host, X-Sum\r\nTransfer-Encoding: chunked\r\n",
            "{hex}\r\n{smuggled}\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: other.example\r\nX-Sum: 1\r\n\r\n"
        ),
    ),
    case(
        "trailer: a bare LF",
        CutShort,
        posted!(
            "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n",
            "{hex}\r\n{smuggled}\r\n0\r\nX-Sum: 1\nX: y\r\n\r\n"
        ),
    ),
    case("trailer: a bare CR", CutShort, body!("{hex}\r\n{smuggled}\r\n0\r\nX-Sum: 1\rX: y\r\n\r\n")),
    case("trailer: folded", CutShort, body!("{hex}\r\n{smuggled}\r\n0\r\nX-Sum: 1\r\n 2\r\n\r\n")),
    case("trailer: no colon", CutShort, body!("{hex}\r\n{smuggled}\r\n0\r\nX-Sum\r\n\r\n")),
    case("trailer: a space before the colon", CutShort, body!("{hex}\r\n{smuggled}\r\n0\r\nX-Sum : 1\r\n\r\n")),
    case("trailer: a request", CutShort, body!("0\r\nGET /open/smuggled HTTP/1.1\r\nHost: x\r\n\r\n")),
    case("trailer: too long", CutShort, body!("{hex}\r\n{smuggled}\r\n0\r\nX-Sum: {long}\r\n\r\n")),
    // Lines.
    case("line: all end in LF", Refused, "GET {path} HTTP/1.1\nHost: {host}\n\n"),
    case("line: the first ends in LF", Refused, "GET {path} HTTP/1.1\n{fields}\r\n"),
    case("line: the head ends in LF", Refused, "GET {path} HTTP/1.1\r\n{fields}\n"),
    case("line: the head ends in LF LF", Refused, "GET {path} HTTP/1.1\r\n{fields}X: a\n\n{smuggled}"),
    case("line: LF before the request", Refused, "\nGET {path} HTTP/1.1\r\n{fields}\r\n"),
    case("line: CR before the request", Refused, "\rGET {path} HTTP/1.1\r\n{fields}\r\n"),
    case("line: CR CR LF", Refused, "GET {path} HTTP/1.1\r\r\n{fields}\r\n"),
    case("line: two spaces before the target", Refused, "GET  {path} HTTP/1.1\r\n{fields}\r\n"),
    case("line: two spaces before the version", Refused, "GET {path}  HTTP/1.1\r\n{fields}\r\n"),
    case("line: a tab before the target", Refused, "GET\t{path} HTTP/1.1\r\n{fields}\r\n"),
    case("line: a tab before the version", Refused, "GET {path}\tHTTP/1.1\r\n{fields}\r\n"),
    case("line: a space before the method", Refused, " GET {path} HTTP/1.1\r\n{fields}\r\n"),
    case("line: a space behind the version", Refused, "GET {path} HTTP/1.1 \r\n{fields}\r\n"),
    case("line: a space in the target", Refused, "GET {path} /open/smuggled HTTP/1.1\r\n{fields}\r\n"),
    case("line: a request in the target", Refused, "GET {path} HTTP/1.1 HTTP/1.1\r\n{fields}\r\n"),
    case("line: no version", Refused, "GET {path}\r\n{fields}\r\n"),
    case("line: HTTP/0.9", Refused, "GET {path}\r\n\r\n"),
    case("line: HTTP/1.2", Refused, "GET {path} HTTP/1.2\r\n{fields}\r\n"),
    case("line: HTTP/1.10", Refused, "GET {path} HTTP/1.10\r\n{fields}\r\n"),
    case("line: HTTP/01.1", Refused, "GET {path} HTTP/01.1\r\n{fields}\r\n"),
    case("line: HTTP/2.0", Refused, "GET {path} HTTP/2.0\r\n{fields}\r\n"),
    case("line: http/1.1", Refused, "GET {path} http/1.1\r\n{fields}\r\n"),
    case("line: HTTP 1.1", Refused, "GET {path} HTTP 1.1\r\n{fields}\r\n"),
    case("line: NUL in the method", Refused, "G\0ET {path} HTTP/1.1\r\n{fields}\r\n"),
    case("line: NUL in the target", Refused, "GET {path}\0 HTTP/1.1\r\n{fields}\r\n"),
    case("line: the preface of HTTP/2", Refused, "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n{smuggled}"),
    // Fields.
    case("field: no colon", Refused, "GET {path} HTTP/1.1\r\n{fields}X\r\n\r\n"),
    case("field: no name", Refused, "GET {path} HTTP/1.1\r\n{fields}: x\r\n\r\n"),
    case("field: a space in the name", Refused, "GET {path} HTTP/1.1\r\n{fields}X Y: z\r\n\r\n"),
    case("field: a control byte in the name", Refused, "GET {path} HTTP/1.1\r\n{fields}X\x01: z\r\n\r\n"),
    case("field: NUL in the value", Refused, "GET {path} HTTP/1.1\r\n{fields}X: y\0z\r\n\r\n"),
    case("field: DEL in the value", Refused, "GET {path} HTTP/1.1\r\n{fields}X: y\x7fz\r\n\r\n"),
    case("field: a bare CR in the value", Refused, "GET {path} HTTP/1.1\r\n{fields}X: y\rz\r\n\r\n"),
    case("field: a bare CR at the end", Refused, "GET {path} HTTP/1.1\r\n{fields}X: y\r\r\n\r\n"),
    case("field: a bare LF in the value", Refused, "GET {path} HTTP/1.1\r\n{fields}X: y\nZ: z\r\n\r\n"),
    case("field: a second request behind a bare LF", Refused, "GET {path} HTTP/1.1\r\n{fields}X: y\n\n{smuggled}"),
    case("field: folded", Refused, "GET {path} HTTP/1.1\r\n{fields}X: y\r\n z\r\n\r\n"),
    case("field: the first one folded", Refused, "GET {path} HTTP/1.1\r\n X: y\r\n{fields}\r\n"),
    case("field: too long", Refused, "GET {path} HTTP/1.1\r\n{fields}X: {long}\r\n\r\n{smuggled}"),
    // Hosts and targets.
    case("host: none", Denied, "GET {path} HTTP/1.1\r\n{credentials}\r\n"),
    case("host: twice", Denied, "GET {path} HTTP/1.1\r\n{fields}Host: {host}\r\n\r\n"),
    case("host: twice, another", Denied, "GET {path} HTTP/1.1\r\n{fields}Host: other.example\r\n\r\n"),
    case("host: a space before the colon", Refused, "GET {path} HTTP/1.1\r\n{credentials}Host : {host}\r\n\r\n"),
    case("host: a space before the name", Refused, "GET {path} HTTP/1.1\r\n Host: {host}\r\n{credentials}\r\n"),
    case("host: a path", Denied, "GET {path} HTTP/1.1\r\nHost: {host}/x\r\n{credentials}\r\n"),
    case("host: a list", Denied, "GET {path} HTTP/1.1\r\nHost: {host}, other.example\r\n{credentials}\r\n"),
    case("host: a port that is none", Denied, "GET {path} HTTP/1.1\r\nHost: {host}:443x\r\n{credentials}\r\n"),
    case("host: nominated by Connection", Denied, "GET {path} HTTP/1.1\r\n{fields}Connection: Host\r\n\r\n"),
    case(
        "target: absolute, another host beside it",
        Once,
        "GET https://{host}{path} HTTP/1.1\r\nHost: other.example\r\n{credentials}\r\n",
    ),
    case("target: absolute, another scheme", Denied, "GET http://{host}{path} HTTP/1.1\r\n{fields}\r\n"),
    case("target: absolute, a user", Denied, "GET https://a@{host}{path} HTTP/1.1\r\n{fields}\r\n"),
    case("target: absolute, no host beside it", Denied, "GET https://{host}{path} HTTP/1.1\r\n{credentials}\r\n"),
    case("target: absolute, a query alone", Denied, "GET https://{host}?/open/smuggled HTTP/1.1\r\n{fields}\r\n"),
    case("target: an authority", Denied, "GET {host}:443 HTTP/1.1\r\n{fields}\r\n"),
    case("target: an asterisk", Denied, "OPTIONS * HTTP/1.1\r\n{fields}\r\n"),
    case("method: CONNECT, and a request behind it", Answered, "CONNECT {host}:443 HTTP/1.1\r\n{fields}\r\n{smuggled}"),
    case(
        "upgrade: a WebSocket, and a request behind it",
        Answered,
        "GET {path} HTTP/1.1\r\n{fields}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n{smuggled}",
    ),
    case(
        "upgrade: one that nobody offers, and a length",
        Once,
        "GET {path} HTTP/1.1\r\n{fields}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\nContent-Length: {length}\r\n\r\n{smuggled}",
    ),
    case("method: TRACE", Denied, "TRACE {path} HTTP/1.1\r\n{fields}\r\n"),
];
