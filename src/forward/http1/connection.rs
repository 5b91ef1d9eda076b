//! One connection, and the exchange that is under way over it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use socket2::SockRef;
use tokio_util::either::Either;
use tokio_util::io::poll_read_buf;

use super::super::body::RequestBody;
use super::super::dial::Transport;
use super::ExchangeError;
use super::content::{Content, Step};
use super::head;
use super::upload::Upload;

/// What is read at once: at first, and at most, as an answer that fills it deserves more.
const READ: usize = 8 * 1024;
const READ_AT_MOST: usize = 128 * 1024;

/// Room that a connection keeps for the next exchange.
const KEPT: usize = 2 * READ;

/// Fields that there is room for in a map that goes from a request to its answer.
pub(super) const KEPT_FIELDS: usize = 64;

/// Interim answers to one request (RFC 9110 §15.2).
const MOST_INTERIM: usize = 16;

/// A connection that one request after the other is sent over.
pub struct Connection {
    wire: Transport,
    input: BytesMut,
    /// How much the next read may bring.
    room: usize,
    upload: Upload,
    content: Content,
    /// It may serve another request after this one, as far as is known.
    persists: bool,
    /// The answer had no body by rule (HEAD, 204, 304), and an upstream that knows no better sends one behind it.
    may_be_followed: bool,
}

impl Connection {
    /// Over a new connection.
    pub fn new(wire: Transport) -> Self {
        let (input, upload) = (BytesMut::new(), Upload::default());
        Self { wire, input, room: READ, upload, content: Content::Done, persists: true, may_be_followed: false }
    }

    /// Whether it can be used, as far as is known without waiting: the upstream did not close it, and said nothing
    /// that nobody asked for. What arrives only now is not known.
    pub fn is_alive(&mut self) -> bool {
        match &mut self.wire {
            // The runtime knows most of it without asking the system.
            Either::Left(plain) if !self.may_be_followed => {
                plain.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Either::Left(plain) => {
                let peeked = SockRef::from(&*plain).peek(&mut [MaybeUninit::uninit()]);
                peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            // Session tickets come at any time, and are no answer.
            Either::Right(tls) => {
                let mut cx = Context::from_waker(Waker::noop());
                poll_read_buf(Pin::new(tls), &mut cx, &mut self.input).is_pending()
            }
        }
    }

    /// Sends a request and waits for the head of its answer. The request is taken when something of it was sent, or of
    /// its body read.
    ///
    /// # Errors
    /// [`ExchangeError`]. If the request is still there, nothing of it was sent.
    pub async fn exchange(
        &mut self,
        waiting: &mut Option<Request<RequestBody>>,
    ) -> Result<Response<()>, ExchangeError> {
        let Some(method) = waiting.as_ref().map(|request| request.method().clone()) else {
            return Err(ExchangeError::Incomplete);
        };
        self.persists = true;
        self.upload.begin(waiting);
        // How the sending ended, if not well: an upstream may answer and close before it has read everything.
        let mut failed = None;
        let (mut seen, mut interim) = (0, 0);
        let mut room = None;
        let head = poll_fn(|cx| {
            if failed.is_none()
                && let Poll::Ready(Err(error)) = self.upload.poll(&mut self.wire, cx)
            {
                if !self.upload.began() || matches!(error, ExchangeError::Body(_) | ExchangeError::Length) {
                    return Poll::Ready(Err(error));
                }
                failed = Some(error);
            }
            if !self.upload.began() {
                // What comes before the question is no answer to it.
                return Poll::Pending;
            }
            if let Some(sent) = waiting.take() {
                // The answer's fields fit where the request's were, and so do those of the client's next request, for
                // which hyper keeps the map. Not a large one: it would stay as long as the answer takes.
                room = Some(sent.into_parts().0.headers).filter(|fields| fields.capacity() <= KEPT_FIELDS);
            }
            let head = ready!(self.poll_head(&method, &mut seen, &mut interim, &mut room, cx));
            Poll::Ready(head.map_err(|error| failed.take().unwrap_or(error)))
        });
        let head = head.await?;
        if failed.is_some() {
            self.give_up();
        }
        Ok(head)
    }

    fn poll_head(
        &mut self,
        method: &Method,
        seen: &mut usize,
        interim: &mut usize,
        room: &mut Option<HeaderMap>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, ExchangeError>> {
        loop {
            if !self.input.is_empty()
                && let Some(head) = head::read(&mut self.input, seen, method, room)?
            {
                let status = head.response.status();
                if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                    *interim += 1;
                    if *interim > MOST_INTERIM {
                        return Poll::Ready(Err(ExchangeError::Protocol("too many interim answers")));
                    }
                    continue;
                }
                self.may_be_followed = head.content.is_done() && !head.says_empty;
                self.content = head.content;
                self.persists &= head.persists && !status.is_informational();
                return Poll::Ready(Ok(head.response));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(ExchangeError::Incomplete));
            }
        }
    }

    /// The next of the answer's body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        loop {
            match self.content.next(&mut self.input) {
                Ok(Step::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            let outcome = match ready!(self.poll_read(cx)) {
                Ok(0) => self.content.closed(),
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = outcome {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(self.room);
        let space = self.input.capacity() - self.input.len();
        let read = ready!(poll_read_buf(Pin::new(&mut self.wire), cx, &mut self.input))?;
        self.room = if read == space { (self.room * 2).min(READ_AT_MOST) } else { READ };
        Poll::Ready(Ok(read))
    }

    /// Whether the answer was read to its end.
    pub const fn is_end_stream(&self) -> bool {
        self.content.is_done()
    }

    /// How much is left of it.
    pub fn size_hint(&self) -> SizeHint {
        self.content.into()
    }

    /// Whether the request was sent to its end, or given up.
    pub fn is_sent(&self) -> bool {
        self.upload.is_done()
    }

    /// Sends more of a request that was answered already. An upstream that takes no more of it may still have answered
    /// well; the connection serves no other request then.
    ///
    /// # Errors
    /// [`ExchangeError::Body`] and [`ExchangeError::Length`]: the client broke off, and nobody is left to be answered.
    pub fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        let sent = ready!(self.upload.poll(&mut self.wire, cx));
        if sent.is_err() {
            self.give_up();
        }
        Poll::Ready(match sent {
            Err(error @ (ExchangeError::Body(_) | ExchangeError::Length)) => Err(error),
            Err(_) | Ok(()) => Ok(()),
        })
    }

    fn give_up(&mut self) {
        self.upload.give_up();
        self.persists = false;
    }

    /// Whether nothing speaks against another request after this one.
    pub const fn persists(&self) -> bool {
        self.persists
    }

    /// Whether it may serve another request: this one is over, and nothing came after its answer.
    pub fn serves_another(&self) -> bool {
        self.persists && self.content.is_done() && self.input.is_empty() && self.is_sent()
    }

    /// Gives back what a large message took. For connections that are kept.
    pub fn slim(&mut self) {
        if self.input.capacity() > KEPT {
            self.input = BytesMut::new();
        }
        self.upload.slim(KEPT);
    }

    /// The connection belongs to another protocol now; what of it was read already comes first.
    pub fn into_parts(self) -> (Transport, Bytes) {
        (self.wire, self.input.freeze())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("content", &self.content).finish_non_exhaustive()
    }
}
