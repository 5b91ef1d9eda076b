//! An upstream that takes one spelling of HTTP/1.1 and no other: what the gateway writes must leave nothing to read otherwise.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Request lines, and what was wrong with those that are not canonical.
pub type Log = Arc<Mutex<Vec<String>>>;

pub async fn serve(listener: TcpListener, log: Log) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            loop {
                match exchange(&mut stream, &log).await {
                    Ok(()) => {}
                    Err(Wrong::Gone) => return,
                    Err(Wrong::Spelled(how)) => {
                        log.lock().unwrap().push(format!("NOT CANONICAL {how}"));
                        return;
                    }
                }
            }
        });
    }
}

enum Wrong {
    /// The gateway left, perhaps in the middle.
    Gone,
    Spelled(String),
}

impl From<io::Error> for Wrong {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

fn wrong<T>(how: &str, line: &[u8]) -> Result<T, Wrong> {
    Err(Wrong::Spelled(format!("{how}: {}", line.escape_ascii())))
}

/// A line without its end, which is CR LF and appears nowhere else in it.
async fn line(stream: &mut BufReader<TcpStream>) -> Result<Vec<u8>, Wrong> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    if !line.ends_with(b"\n") {
        return Err(Wrong::Gone);
    }
    let Some(text) = line.strip_suffix(b"\r\n") else { return wrong("a bare LF", &line) };
    if text.iter().any(|byte| *byte != b'\t' && byte.is_ascii_control()) {
        return wrong("a control byte", text);
    }
    Ok(text.to_vec())
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// A field line: its name in lower case and its value, without spaces around.
fn field(line: &[u8]) -> Result<(String, Vec<u8>), Wrong> {
    let Some(at) = line.iter().position(|byte| *byte == b':') else { return wrong("no colon", line) };
    let (name, value) = (&line[..at], &line[at + 1..]);
    let Some(value) = value.strip_prefix(b" ") else { return wrong("no space behind the colon", line) };
    if !is_token(name) || value.trim_ascii() != value {
        return wrong("a field", line);
    }
    Ok((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()))
}

async fn exchange(stream: &mut BufReader<TcpStream>, log: &Log) -> Result<(), Wrong> {
    let first = line(stream).await?;
    let parts: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    match parts[..] {
        [method, target, b"HTTP/1.1"] if is_token(method) && target.starts_with(b"/") => {}
        _ => return wrong("a request line", &first),
    }
    log.lock().unwrap().push(String::from_utf8_lossy(&first).into_owned());
    let (mut length, mut chunked, mut hosts) = (None, false, 0);
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = field(&line)?;
        match name.as_str() {
            "host" => hosts += 1,
            "content-length" => {
                let text = String::from_utf8_lossy(&value).into_owned();
                let number: Option<usize> = text.parse().ok().filter(|number: &usize| number.to_string() == text);
                if number.is_none() || length.is_some() || chunked {
                    return wrong("a length", &line);
                }
                length = number;
            }
            "transfer-encoding" => {
                if value != b"chunked" || length.is_some() || chunked {
                    return wrong("a transfer coding", &line);
                }
                chunked = true;
            }
            _ => {
                let folded: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
                if ["contentlength", "transferencoding", "host"].contains(&folded.as_str()) {
                    return wrong("a field that could be taken for framing", &line);
                }
            }
        }
    }
    if hosts != 1 {
        return wrong("hosts", &first);
    }
    if chunked {
        chunks(stream).await?;
    } else {
        stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine").await?;
    Ok(())
}

async fn chunks(stream: &mut BufReader<TcpStream>) -> Result<(), Wrong> {
    loop {
        let size = line(stream).await?;
        let text = String::from_utf8_lossy(&size).into_owned();
        let number = usize::from_str_radix(&text, 16).ok().filter(|number| format!("{number:x}") == text);
        let Some(number) = number else { return wrong("the size of a chunk", &size) };
        if number == 0 {
            break;
        }
        stream.read_exact(&mut vec![0; number]).await?;
        let end = line(stream).await?;
        if !end.is_empty() {
            return wrong("a chunk that goes on", &end);
        }
    }
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            return Ok(());
        }
        let (name, _) = field(&line)?;
        let known = ["content-length", "transfer-encoding", "host", "authorization", "connection", "trailer", "te"];
        if known.contains(&name.as_str()) {
            return wrong("a trailer", &line);
        }
    }
}
