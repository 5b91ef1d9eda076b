//! HTTP/2 as frames (RFC 9113), for what no library would send.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::wire::{Dialer, Http, Message, PATIENCE, Stream};

/// What became of the one request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The stream got an answer.
    Answered,
    /// The stream was reset.
    Reset,
    /// The connection ended.
    Gone,
}

/// Field lines in order, pseudo-header fields first.
pub type Fields = Vec<(String, Vec<u8>)>;

/// What an honest client sends for this message.
pub fn fields(message: &Message) -> Fields {
    let pseudo = [
        (":method", message.method.clone()),
        (":scheme", "https".to_owned()),
        (":authority", message.host.clone().unwrap_or_default()),
        (":path", message.target.clone()),
    ];
    let pseudo = pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
    pseudo.chain(message.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))).collect()
}

/// Replaces the field's value; without a value the field is left out.
pub fn with(mut fields: Fields, name: &str, value: Option<&[u8]>) -> Fields {
    let at = fields.iter().position(|(known, _)| known == name);
    match (at, value) {
        (Some(at), Some(value)) => fields[at].1 = value.to_vec(),
        (Some(at), None) => drop(fields.remove(at)),
        (None, Some(value)) if name.starts_with(':') => fields.insert(0, (name.to_owned(), value.to_vec())),
        (None, Some(value)) => fields.push((name.to_owned(), value.to_vec())),
        (None, None) => {}
    }
    fields
}

/// For messages of failed assertions.
pub fn shown(fields: &Fields) -> String {
    let lines = fields.iter().map(|(name, value)| format!("{name} {}", value[..value.len().min(60)].escape_ascii()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Sends one request without a body over a connection of its own.
pub async fn send(dialer: &Dialer, fields: &Fields) -> io::Result<Outcome> {
    let mut client = Client::connect(dialer).await?;
    client.ask(fields).await
}

/// A connection that obeys nobody: it answers no frame, and goes on after a GOAWAY.
pub struct Client {
    stream: Box<dyn Stream>,
    next: u32,
}

impl Client {
    pub async fn connect(dialer: &Dialer) -> io::Result<Self> {
        let mut stream = dialer.connect(Http::Two).await?;
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        push_frame(SETTINGS, 0, 0, &[], &mut bytes);
        stream.write_all(&bytes).await?;
        Ok(Self { stream, next: 1 })
    }

    /// Sends one request without a body.
    pub async fn ask(&mut self, fields: &Fields) -> io::Result<Outcome> {
        let block = block(fields);
        let asked = self.next;
        self.next += 2;
        let mut bytes = Vec::new();
        push_frame(HEADERS, END_STREAM | END_HEADERS, asked, &block, &mut bytes);
        self.stream.write_all(&bytes).await?;
        tokio::time::timeout(PATIENCE, self.outcome(asked)).await.expect("an outcome in time")
    }

    async fn outcome(&mut self, asked: u32) -> io::Result<Outcome> {
        loop {
            let mut head = [0; 9];
            if self.stream.read_exact(&mut head).await.is_err() {
                return Ok(Outcome::Gone);
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if self.stream.read_exact(&mut payload).await.is_err() {
                return Ok(Outcome::Gone);
            }
            match (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]])) {
                (HEADERS, stream) if stream == asked => return Ok(Outcome::Answered),
                (RST_STREAM, stream) if stream == asked => return Ok(Outcome::Reset),
                (GOAWAY, _) => {
                    let last = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
                    if last < asked {
                        return Ok(Outcome::Gone);
                    }
                }
                _ => {}
            }
        }
    }
}

pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn push_frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
}

/// Each field as a literal without indexing, with a new name (RFC 7541 §6.2.2).
pub fn block(fields: &Fields) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        push_text(name.as_bytes(), &mut block);
        push_text(value, &mut block);
    }
    block
}

/// A string that is not Huffman-coded (RFC 7541 §5.1, §5.2).
pub fn push_text(text: &[u8], out: &mut Vec<u8>) {
    const PREFIX: usize = 0x7F;
    if text.len() < PREFIX {
        out.push(text.len().to_le_bytes()[0]);
    } else {
        out.push(0x7F);
        let mut rest = text.len() - PREFIX;
        while rest >= 0x80 {
            out.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        out.push(rest.to_le_bytes()[0]);
    }
    out.extend(text);
}
