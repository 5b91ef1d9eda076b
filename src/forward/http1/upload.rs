//! The request on its way out: its head, then its body as it comes, never buffered.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Request};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::super::body::RequestBody;
use super::{ExchangeError, head};

/// Pieces of a body up to this size are written together with what stands before them.
const SMALL: usize = 4 * 1024;

/// How the end of a request's body is told.
#[derive(Debug)]
pub(super) enum Coding {
    /// So many bytes are left.
    Length(u64),
    /// In chunks, with those trailers that the head announces.
    Chunked { announced: Vec<HeaderName> },
}

/// What is still to be written.
#[derive(Default)]
pub(super) struct Upload {
    out: BytesMut,
    /// Comes after it.
    piece: Bytes,
    /// The line behind a chunk is still to be ended.
    ends_line: bool,
    body: Option<(RequestBody, Coding)>,
    unflushed: bool,
    /// Something of the request was handed to the connection.
    began: bool,
}

impl Upload {
    /// Makes this request ready. It is taken if it has a body, which may be waited for before anything is sent.
    pub(super) fn begin(&mut self, waiting: &mut Option<Request<RequestBody>>) {
        self.give_up();
        self.began = false;
        let Some(request) = waiting else { return };
        let coding = coding(request);
        head::write(request, coding.as_ref(), &mut self.out);
        if let Some(coding) = coding {
            self.body = waiting.take().map(|request| (request.into_body(), coding));
        }
    }

    /// Whether the upstream may have seen anything of it.
    pub(super) const fn began(&self) -> bool {
        self.began
    }

    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.out.is_empty() && self.piece.is_empty() && !self.unflushed
    }

    /// Gives back what is more than so many bytes of room.
    pub(super) fn slim(&mut self, kept: usize) {
        if self.out.capacity() > kept {
            self.out = BytesMut::new();
        }
    }

    /// Nothing more is sent.
    pub(super) fn give_up(&mut self) {
        self.out.clear();
        self.piece = Bytes::new();
        self.body = None;
        (self.unflushed, self.ends_line) = (false, false);
    }

    /// Writes what can be written.
    pub(super) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        wire: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ExchangeError>> {
        loop {
            // More of a body while there is room for it, so that small pieces travel together, and with the head. A body
            // that is broken from the start does not even leave a head behind.
            let waits = self.poll_body(cx)?.is_pending();
            ready!(self.poll_write(wire, cx))?;
            if self.piece.is_empty() && (waits || self.body.is_none()) {
                if self.unflushed {
                    ready!(Pin::new(&mut *wire).poll_flush(cx))?;
                    self.unflushed = false;
                }
                return if waits { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    fn poll_write<W: AsyncWrite + Unpin>(&mut self, wire: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut *wire).poll_write(cx, &self.out))?;
            self.wrote(written)?;
            self.out.advance(written);
        }
        while !self.piece.is_empty() {
            let written = ready!(Pin::new(&mut *wire).poll_write(cx, &self.piece))?;
            self.wrote(written)?;
            self.piece.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        (self.began, self.unflushed) = (true, true);
        Ok(())
    }

    /// Takes the next of the body, until it is worth a write. Pending: there is no more for now.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, ExchangeError> {
        while self.piece.is_empty() && self.out.len() < SMALL {
            if self.ends_line {
                self.out.put_slice(b"\r\n");
                self.ends_line = false;
            }
            let Some((body, coding)) = &mut self.body else { break };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(frame) => frame.transpose()?,
            };
            match frame.map(http_body::Frame::into_data) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => self.add(data)?,
                Some(Err(frame)) => {
                    match coding {
                        Coding::Length(0) => {}
                        Coding::Length(_) => return Err(ExchangeError::Length),
                        Coding::Chunked { announced } => {
                            self.out.put_slice(b"0\r\n");
                            write_trailers(&frame.into_trailers().unwrap_or_default(), announced, &mut self.out);
                        }
                    }
                    self.body = None;
                }
                None => {
                    match coding {
                        Coding::Length(0) => {}
                        Coding::Length(_) => return Err(ExchangeError::Length),
                        Coding::Chunked { .. } => self.out.put_slice(b"0\r\n\r\n"),
                    }
                    self.body = None;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn add(&mut self, data: Bytes) -> Result<(), ExchangeError> {
        let Some((_, coding)) = &mut self.body else { return Ok(()) };
        match coding {
            Coding::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(ExchangeError::Length)?;
                if *left == 0 {
                    self.body = None;
                }
            }
            Coding::Chunked { .. } => {
                self.out.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
                self.ends_line = true;
            }
        }
        if data.len() <= SMALL {
            self.out.put_slice(&data);
        } else {
            self.piece = data;
        }
        Ok(())
    }
}

/// As the client framed it where that is known, and in chunks otherwise (RFC 9112 §6.1, §6.2).
fn coding(request: &Request<RequestBody>) -> Option<Coding> {
    if request.body().is_end_stream() {
        return None;
    }
    let headers = request.headers();
    let length = request.body().size_hint().exact().filter(|_| headers.contains_key(header::CONTENT_LENGTH));
    Some(match length {
        Some(length) => Coding::Length(length),
        None => Coding::Chunked { announced: announced(headers) },
    })
}

/// RFC 9110 §6.6.2.
fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::TRAILER).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

fn write_trailers(trailers: &HeaderMap<HeaderValue>, announced: &[HeaderName], out: &mut BytesMut) {
    for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
        head::write_field(name, value, out);
    }
    out.put_slice(b"\r\n");
}
