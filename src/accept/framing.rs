//! Reads along where HTTP/1.1 messages begin and end, and refuses what the library would read kindly and another reader
//! might not: lines that end without CR, a length beside a transfer coding, a second length, and any coding but `chunked`
//! (RFC 9112 §2.2, §6.1, §6.3).
//!
//! It refuses by a NUL in the place of a line's end: no head or trailer can hold one, so that the library answers with 400
//! and ends the connection.

use std::mem::take;

use memchr::memchr;

/// What is kept of a line that comes in pieces: no field that frames a message is longer.
const KEPT: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// Before a request line.
    #[default]
    Start,
    /// Behind it.
    Fields,
    /// In a body: so many bytes are left.
    Body(u64),
    /// Before the size of a chunk.
    Size,
    /// In a chunk: so many bytes are left, with the end of its line.
    Chunk(u64),
    /// Behind the last chunk.
    Trailers,
    /// Behind a request that may make a tunnel of the connection.
    Undecided,
    /// Where nobody looks any more: it is not HTTP/1.1, a tunnel, or refused.
    Beyond,
}

/// How far a connection has come.
#[derive(Debug, Default)]
pub(super) struct Framing {
    at: At,
    /// The beginning of a line that is not complete, and its last byte.
    line: Vec<u8>,
    // Of the head that is read.
    length: Option<u64>,
    chunked: bool,
    upgrades: bool,
}

/// What must not pass.
struct Ambiguous;

impl Framing {
    /// From here on the bytes are something else.
    pub(super) fn end(&mut self) {
        *self = Self { at: At::Beyond, ..Self::default() };
    }

    /// Looks at what comes next. `answered` says whether every request so far has its answer; it is asked rarely.
    pub(super) fn look(&mut self, mut bytes: &mut [u8], answered: impl FnOnce() -> bool) {
        if self.at == At::Undecided && answered() {
            self.at = At::Start;
        }
        while let Some(first) = bytes.first_mut() {
            let passed = match &mut self.at {
                At::Beyond => return,
                At::Undecided => {
                    // RFC 6455 §4.1, RFC 9110 §9.3.6: the client waits. What it sends all the same is a request to one
                    // reader and none to another.
                    *first = 0;
                    return self.end();
                }
                At::Body(left) | At::Chunk(left) => {
                    let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= passed as u64;
                    if *left == 0 {
                        self.at = if matches!(self.at, At::Body(_)) { self.behind() } else { At::Size };
                    }
                    passed
                }
                At::Start | At::Fields | At::Size | At::Trailers => self.line(bytes),
            };
            bytes = take(&mut bytes).split_at_mut(passed).1;
        }
    }

    /// Takes what is there of a line.
    fn line(&mut self, bytes: &mut [u8]) -> usize {
        let Some((line, [end, ..])) = memchr(b'\n', bytes).and_then(|at| bytes.split_at_mut_checked(at)) else {
            self.keep(bytes);
            self.bound_size(bytes);
            return bytes.len();
        };
        let passed = line.len() + 1;
        let verdict = if self.line.is_empty() {
            self.read(line)
        } else {
            self.keep(line);
            let line = take(&mut self.line);
            self.read(&line)
        };
        if verdict.is_err() {
            // The library refuses by itself what is wrong with the size of a chunk, and would take this for an extension.
            if self.at != At::Size {
                *end = 0;
            }
            self.end();
        }
        passed
    }

    /// The library bounds what stands behind a size and its semicolon, but neither zeros nor spaces before.
    fn bound_size(&mut self, bytes: &mut [u8]) {
        if self.at == At::Size
            && self.line.len() >= KEPT
            && !self.line.contains(&b';')
            && let Some(last) = bytes.last_mut()
        {
            *last = 0;
            self.end();
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.line.extend(piece.iter().take(KEPT.saturating_sub(self.line.len())));
        if let (KEPT.., Some(last), Some(end)) = (self.line.len(), self.line.last_mut(), piece.last()) {
            *last = *end;
        }
    }

    /// Reads a line without its LF.
    fn read(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        let line = line.strip_suffix(b"\r").ok_or(Ambiguous)?;
        match (self.at, line) {
            // Empty lines before a request (RFC 9112 §2.2).
            (At::Start, []) => {}
            (At::Start, _) => {
                self.at = At::Fields;
                self.upgrades = line.starts_with(b"CONNECT ");
            }
            (At::Fields, []) => self.at = self.head()?,
            (At::Fields, _) => self.field(line)?,
            (At::Size, _) => self.at = chunk(line)?,
            (At::Trailers, []) => self.at = self.behind(),
            _ => {}
        }
        Ok(())
    }

    /// A space before the colon is refused by the library.
    fn field(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        if let Some(value) = value_of(b"content-length", line) {
            let length = length(value).filter(|_| self.length.is_none() && !self.chunked);
            self.length = Some(length.ok_or(Ambiguous)?);
        } else if let Some(value) = value_of(b"transfer-encoding", line) {
            if self.chunked || self.length.is_some() || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            self.chunked = true;
        } else if let Some(value) = value_of(b"upgrade", line) {
            self.upgrades |= value.eq_ignore_ascii_case(b"websocket");
        }
        Ok(())
    }

    /// Where the end of a head leads.
    fn head(&mut self) -> Result<At, Ambiguous> {
        match (take(&mut self.length), take(&mut self.chunked)) {
            (Some(_), true) => Err(Ambiguous),
            (None, true) => Ok(At::Size),
            (None | Some(0), false) => Ok(self.behind()),
            (Some(length), false) => Ok(At::Body(length)),
        }
    }

    /// Behind a message.
    fn behind(&mut self) -> At {
        if take(&mut self.upgrades) { At::Undecided } else { At::Start }
    }
}

/// The value of a field line, if the field has this name.
fn value_of<'l>(name: &[u8], line: &'l [u8]) -> Option<&'l [u8]> {
    match line.split_at_checked(name.len())? {
        (own, [b':', value @ ..]) if own.eq_ignore_ascii_case(name) => Some(value.trim_ascii()),
        _ => None,
    }
}

/// RFC 9110 §8.6: digits, and nothing else.
fn length(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// The size of a chunk and what may stand behind it (RFC 9112 §7.1).
fn chunk(line: &[u8]) -> Result<At, Ambiguous> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let digits = line.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
    let size = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or(Ambiguous)?;
    if size == 0 { Ok(At::Trailers) } else { size.checked_add(2).map(At::Chunk).ok_or(Ambiguous) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out if it comes in pieces of this size.
    fn looked_at(text: &str, piece: usize) -> (String, At) {
        let mut framing = Framing::default();
        let mut bytes = text.as_bytes().to_vec();
        for piece in bytes.chunks_mut(piece) {
            framing.look(piece, || false);
        }
        (String::from_utf8(bytes).unwrap(), framing.at)
    }

    const SIZES: [usize; 5] = [1, 2, 3, 7, 100_000];

    #[test]
    fn what_is_clear_passes_and_its_end_is_found() {
        let many = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(1_000));
        for (text, at) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", At::Start),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n", At::Fields),
            ("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\n\nbGET / HTTP/1.1\r\n\r\n", At::Start),
            ("POST / HTTP/1.1\r\ncontent-length:\t07 \r\n\r\na\n\nb", At::Body(3)),
            ("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", At::Start),
            ("POST / HTTP/1.1\r\nTRANSFER-ENCODING: Chunked\r\n\r\n3;a=\"b\"\r\na\nb\r\nA \r\n", At::Chunk(12)),
            ("POST / HTTP/1.1\r\nTransfer-Encoding:chunked\r\n\r\n1\r\n\n\r\n00;x\r\nA: b\r\n\r\n", At::Start),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n", At::Trailers),
            ("POST / HTTP/1.1\r\nTransfer-Encodings: x\r\nContent-Length-: y\r\nContent\r\n\r\n", At::Start),
            ("GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\n\r\n", At::Start),
            ("GET / HTTP/1.1\r\nUpgrade: WebSocket\r\n\r\n", At::Undecided),
            (&many, At::Start),
        ] {
            for size in SIZES {
                assert_eq!(looked_at(text, size), (text.to_owned(), at), "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn what_could_be_read_otherwise_cannot_be_read() {
        let far = format!("Content-Length: 5\r\nX: {}\r\nTransfer-Encoding: chunked", "y".repeat(1_000));
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "transfer-encoding: chunked\r\ncontent-length: x",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5, 5",
            "Content-Length: +5",
            "Content-Length:",
            "Content-Length: 18446744073709551616",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding:",
            &far,
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\nGET / HTTP/1.1\n");
            let (at, _) = text.match_indices("\r\n\r\n").next().unwrap();
            for size in SIZES {
                let (seen, state) = looked_at(&text, size);
                assert_eq!((seen.as_bytes()[at + 1], state), (0, At::Beyond), "{text:?} by {size}");
                assert_eq!(seen.matches('\0').count(), 1);
            }
        }
    }

    #[test]
    fn a_line_ends_with_both_its_bytes() {
        for text in [
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: y\nZ: z\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\n\r\n",
        ] {
            let bare = text.match_indices('\n').find(|(at, _)| *at == 0 || text.as_bytes()[at - 1] != b'\r').unwrap().0;
            let wanted = [&text[..bare], "\0", &text[bare + 1..]].concat();
            for size in SIZES {
                assert_eq!(looked_at(text, size), (wanted.clone(), At::Beyond), "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn what_the_library_refuses_is_left_to_it() {
        for body in ["x\r\n", "\r\n", "1\n", "1;a\nb\r\n", "fffffffffffffffff\r\n", "ffffffffffffffff\r\n"] {
            let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{body}a\nb");
            for size in SIZES {
                assert_eq!(looked_at(&text, size), (text.clone(), At::Beyond), "{text:?} by {size}");
            }
        }
    }

    #[test]
    fn the_size_of_a_chunk_comes_to_an_end() {
        for (endless, passes) in [("0", false), (" ", false), (";x", true)] {
            let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1{}", endless.repeat(1_000));
            for size in SIZES {
                let (seen, at) = looked_at(&text, size);
                let wanted = if passes { (0, At::Size) } else { (1, At::Beyond) };
                assert_eq!((seen.matches('\0').count(), at), wanted, "{endless:?} by {size}");
            }
        }
    }

    #[test]
    fn nobody_speaks_before_the_answer_to_an_upgrade() {
        let asks = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        for asks in [asks, "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n"] {
            let (seen, at) = looked_at(&format!("{asks}GET / HTTP/1.1\n"), 100);
            assert_eq!((seen.as_str(), at), (format!("{asks}\0ET / HTTP/1.1\n").as_str(), At::Beyond));
        }
        for (answered, wanted) in [(false, "\0ET / HTTP/1.1\r\n"), (true, "GET / HTTP/1.1\r\n")] {
            let mut framing = Framing::default();
            framing.look(&mut asks.as_bytes().to_vec(), || true);
            let mut more = b"GET / HTTP/1.1\r\n".to_vec();
            framing.look(&mut more, || answered);
            assert_eq!(String::from_utf8(more).unwrap(), wanted);
        }
    }

    proptest! {
        /// In whatever pieces it comes, the same is refused, in the same place.
        #[test]
        fn pieces_do_not_matter(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "POST / HTTP/1.1\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Upgrade: websocket\r\n",
                "\r\n", "\n", "\r", "X: y\r\n", "abc", "3\r\n", "0\r\n", "3;x\r\n", "X: y\n",
            ]), 0..20),
            size in 1_usize..20,
        ) {
            let text = parts.concat();
            prop_assert_eq!(looked_at(&text, size), looked_at(&text, text.len().max(1)));
        }
    }
}
