//! One line in the making: JSON (RFC 8259), or a text for people that looks like the other lines of that form.
//! Appends to a buffer and allocates nothing else.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use tracing::Level;

use crate::time::UnixTime;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// For people; with ANSI colours or without.
    Text {
        /// Whether the terminal is told to colour it.
        colours: bool,
    },
}

/// A line that has begun. Fields come in the order of the calls.
pub struct Line<'a> {
    out: &'a mut Vec<u8>,
    form: Form,
}

impl<'a> Line<'a> {
    /// Begins with timestamp and level; the text form names the target here.
    pub fn begin(out: &'a mut Vec<u8>, form: Form, at: UnixTime, level: Level, target: &str) -> Self {
        let (at, level) = (at.rfc3339(), level.as_str());
        let pieces: &[&str] = match form {
            Form::Json => &[r#"{"timestamp":""#, at.as_str(), r#"","level":""#, level, r#"""#],
            Form::Text { colours: false } => &[at.as_str(), pad(level), level, " ", target, ":"],
            Form::Text { colours: true } => {
                let colour = if level == "WARN" { "\x1b[33m" } else { "\x1b[32m" };
                let dim = "\x1b[2m";
                let plain = "\x1b[0m";
                &[
                    dim,
                    at.as_str(),
                    plain,
                    " ",
                    colour,
                    &pad(level)[1..],
                    level,
                    plain,
                    " ",
                    dim,
                    target,
                    plain,
                    dim,
                    ":",
                    plain,
                ]
            }
        };
        for piece in pieces {
            out.extend_from_slice(piece.as_bytes());
        }
        Self { out, form }
    }

    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// `name` is one of ours and needs no escape.
    fn name(&mut self, name: &str) {
        let (before, after) = match self.form {
            Form::Json => (",\"", "\":"),
            Form::Text { colours: false } => (" ", "="),
            Form::Text { colours: true } => (" \x1b[3m", "\x1b[0m\x1b[2m=\x1b[0m"),
        };
        self.put(before);
        self.put(name);
        self.put(after);
    }

    /// A text that may hold anything.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        match self.form {
            Form::Json => quoted(self.out, value),
            // Escapes what a terminal might obey. A Vec takes everything.
            Form::Text { .. } => drop(write!(self.out, "{value:?}")),
        }
    }

    /// The same, left out when there is none.
    pub fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// A whole number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        digits(self.out, value);
    }

    /// A number from 0 to 1, never in scientific notation, which not every reader of logs knows.
    pub fn share(&mut self, name: &str, value: f64) {
        self.name(name);
        // A Vec takes everything.
        drop(write!(self.out, "{value}"));
    }

    /// An address.
    pub fn address(&mut self, name: &str, value: IpAddr) {
        self.name(name);
        let quote = if self.form == Form::Json { "\"" } else { "" };
        self.put(quote);
        match value {
            IpAddr::V4(value) => {
                for (index, octet) in value.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.out.push(b'.');
                    }
                    digits(self.out, octet.into());
                }
            }
            IpAddr::V6(value) => drop(write!(self.out, "{value}")),
        }
        self.put(quote);
    }

    /// Milliseconds with a fraction: microseconds are as fine as anyone reads. No zeros at the end but one, as other
    /// writers of JSON have it.
    pub fn millis(&mut self, name: &str, value: Duration) {
        self.name(name);
        let micros = u64::try_from((value.as_nanos() + 500) / 1000).unwrap_or(u64::MAX);
        digits(self.out, micros / 1000);
        self.out.push(b'.');
        let mut fraction = micros % 1000;
        for place in [100, 10, 1] {
            self.out.push(digit(fraction / place));
            fraction %= place;
            if fraction == 0 {
                break;
            }
        }
    }

    /// The same, left out when there is none.
    pub fn millis_if(&mut self, name: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.millis(name, value);
        }
    }

    /// Ends the line.
    pub fn end(mut self, target: &str) {
        match self.form {
            Form::Json => {
                self.text("target", target);
                self.put("}\n");
            }
            Form::Text { .. } => self.put("\n"),
        }
    }
}

/// Levels end in one column.
fn pad(level: &str) -> &'static str {
    if level.len() < 5 { "  " } else { " " }
}

/// Of a number below ten.
fn digit(value: u64) -> u8 {
    b"0123456789"[(value % 10) as usize]
}

fn digits(out: &mut Vec<u8>, mut value: u64) {
    let mut room = [0; 20];
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = digit(value);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&room[at..]);
}

/// RFC 8259 §7: what must be escaped, and nothing else.
fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        let short = match byte {
            b'"' | b'\\' => byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0C => b'f',
            _ => {
                let hex = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 0xF)]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
