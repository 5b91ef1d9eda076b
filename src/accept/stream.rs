//! The byte stream below HTTP: plain or TLS, observed.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::task::coop;
use tokio_rustls::server::TlsStream;

use super::Events;
use super::activity::Activity;
use super::framing::Framing;
use super::gate::{Phases, Place};
use super::socket::Socket;

/// The first bytes of the HTTP/2 preface (RFC 9113 §3.4): no method of HTTP/1.1 begins like this.
const PREFACE: [u8; 3] = *b"PRI";

/// So many bytes of HTTP/2 count like one call of the system, of which a task has 128 in a turn: 64 KiB. They may be
/// thousands of frames, which the library takes in one go while other connections wait.
const SHARE: usize = 512;

/// Where bytes come from and go to.
pub(super) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
    /// A Unix socket.
    ThisHost(UnixStream),
}

/// A connection's stream. It goes with the connection into an upgrade, and with it the place among all connections.
pub(super) struct Stream {
    transport: Transport,
    first: FirstBytes,
    activity: Arc<Activity>,
    framing: Framing,
    http2: bool,
    /// The client is not taking what is written. A copy of what `activity` knows, to spare its lock.
    blocked: bool,
    /// The client has sent its last byte.
    ended: bool,
    /// After an upgrade nobody watches over the connection, so that it has to hear of the gate by itself.
    phases: Phases,
    aborted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    place: Place,
}

/// Bytes read ahead, given back to whoever reads next.
#[derive(Default)]
struct FirstBytes {
    bytes: [u8; PREFACE.len()],
    filled: usize,
    given: usize,
    /// What was read even before them.
    before: Bytes,
}

impl Stream {
    pub(super) fn new(transport: Transport, activity: Arc<Activity>, phases: Phases, place: Place) -> Self {
        let first = FirstBytes::default();
        let (framing, http2, blocked, ended) = (Framing::default(), false, false, false);
        Self { transport, first, activity, framing, http2, blocked, ended, phases, aborted: None, place }
    }

    /// The client speaks HTTP/2.
    pub(super) fn speaks_http2(&mut self) {
        self.http2 = true;
        self.framing.end();
        self.activity.speaks_http2();
    }

    /// Who hears what happens here.
    pub(super) const fn events(&self) -> &Arc<dyn Events> {
        self.place.events()
    }

    /// Waits for as many bytes as it takes to know whether the client speaks HTTP/2 with prior knowledge
    /// (RFC 9113 §3.3). They are read again afterwards. May be dropped and called again.
    ///
    /// # Errors
    /// Of the socket; `UnexpectedEof` when the client leaves without a word.
    pub(super) async fn is_http2(&mut self) -> io::Result<bool> {
        loop {
            let seen = &self.first.bytes[..self.first.filled];
            if !PREFACE.starts_with(seen) {
                return Ok(false);
            }
            if seen.len() == PREFACE.len() {
                return Ok(true);
            }
            let read = self.transport.read(&mut self.first.bytes[self.first.filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received(self.first.filled, read);
        }
    }

    /// Gives back what somebody read and did not use. It is read again before anything else.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        let first = std::mem::take(&mut self.first);
        let later = [&first.before[..], &first.bytes[first.given..first.filled]].concat();
        // A copy: even if nothing is left of it, the buffer that it came in stays as long as this.
        self.first.before = [bytes, &later].concat().into();
    }

    /// Waits for the client's next byte, which is read again afterwards. Takes no buffer: most connections rest most of
    /// the time. May be dropped and called again.
    ///
    /// # Errors
    /// Of the socket; `UnexpectedEof` when the client leaves without a word.
    pub(super) async fn rest(&mut self) -> io::Result<()> {
        if self.first.filled > 0 || !self.first.before.is_empty() {
            return Ok(());
        }
        let read = self.transport.read(&mut self.first.bytes).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.received(0, read);
        Ok(())
    }

    /// Bytes came in before anybody asked for them.
    fn received(&mut self, from: usize, read: usize) {
        self.first.filled = from + read;
        self.framing.look(&mut self.first.bytes[from..from + read], || self.activity.is_quiet());
        self.activity.received();
    }

    /// Reads what the client still sends, to no purpose but that the last answer survives: closing a socket with
    /// unread bytes resets the connection, and the answer may be lost with it (RFC 9112 §9.6).
    pub(super) async fn discard(&mut self) {
        let mut sink = vec![0; 8 * 1024];
        while !self.ended && self.transport.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    }

    fn poll_transport(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_aborted(cx)?;
        let (before, room) = (buf.filled().len(), buf.remaining());
        ready!(Pin::new(&mut self.transport).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            let Self { framing, activity, .. } = self;
            if activity.is_upgraded() {
                framing.end();
            }
            let read = &mut buf.filled_mut()[before..];
            framing.look(read, || activity.is_quiet());
            if self.http2 {
                tire(cx, read.len());
            }
            self.activity.received();
        } else if room > 0 {
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_aborted(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.activity.is_upgraded() {
            return Ok(());
        }
        let phases = &self.phases;
        let aborted = self.aborted.get_or_insert_with(|| Box::pin(phases.clone().aborted()));
        match aborted.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                // A finished future must not be polled again.
                self.aborted = Some(Box::pin(std::future::ready(())));
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    fn note<T>(&mut self, progress: Poll<T>) -> Poll<T> {
        if self.blocked != progress.is_pending() {
            self.blocked = progress.is_pending();
            self.activity.blocked(self.blocked);
        }
        progress
    }
}

/// Takes from the task's turn what it will take to read so many bytes of HTTP/2.
fn tire(cx: &mut Context<'_>, bytes: usize) {
    for _ in 0..bytes / SHARE {
        match coop::poll_proceed(cx) {
            Poll::Ready(turn) => turn.made_progress(),
            Poll::Pending => return,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let first = &mut self.first;
        if !first.before.is_empty() {
            let length = first.before.len().min(buf.remaining());
            buf.put_slice(&first.before.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if first.given < first.filled {
            let rest = &first.bytes[first.given..first.filled];
            let rest = &rest[..rest.len().min(buf.remaining())];
            buf.put_slice(rest);
            first.given += rest.len();
            if first.given < first.filled || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // The rest of what came along with them, if it is there already.
            self.first = FirstBytes::default();
            return match self.poll_transport(cx, buf) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            };
        }
        self.poll_transport(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_aborted(cx)?;
        let progress = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.note(progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_aborted(cx)?;
        let progress = Pin::new(&mut self.transport).poll_write_vectored(cx, bytes);
        self.note(progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.transport).poll_flush(cx);
        self.note(progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.transport).poll_shutdown(cx);
        self.note(progress)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::ThisHost(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::ThisHost(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Self::ThisHost(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::ThisHost(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::ThisHost(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::ThisHost(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
