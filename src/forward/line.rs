//! One connection to an upstream, and who drives it.
//!
//! A request without a body drives its connection by itself: whoever waits for the response, or reads it, moves the
//! bytes. That saves handing each step from one task to another and back. A request with a body, or one that may
//! become another protocol, needs somebody who sends while nobody reads; its connection gets a task of its own.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::coop;

use super::body::RequestBody;

/// What an upstream is connected by.
pub(super) type Socket = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection. Closed when dropped.
pub(super) struct Line {
    sender: SendRequest<RequestBody>,
    /// `None`: a task of its own drives it, or it has ended.
    connection: Option<Box<Connection<Socket, RequestBody>>>,
}

impl Line {
    pub(super) async fn open(socket: Socket) -> hyper::Result<Self> {
        let (sender, connection) = http1::handshake(socket).await?;
        let mut line = Self { sender, connection: Some(Box::new(connection)) };
        // Only then does it take a request.
        line.settle();
        Ok(line)
    }

    /// Whether it can take a request, as far as the system has told.
    pub(super) fn is_open(&mut self) -> bool {
        self.settle();
        !self.sender.is_closed()
    }

    /// Whether the exchange before has come to its end on both sides, so that the next need not wait for it. To be
    /// asked right after [`Line::is_open`].
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Gives it a task of its own, for good.
    pub(super) fn detach(&mut self) {
        if let Some(connection) = self.connection.take() {
            tokio::spawn(async move {
                // How it ends is told to whoever waits for a response.
                let _ = connection.with_upgrades().await;
            });
        }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    /// With the request, if nothing of it was sent.
    pub(super) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        if self.connection.is_none() {
            return self.sender.try_send_request(request).await;
        }
        // Its news come from the connection, which is asked first; so it need not wake anybody, and may not put off
        // the answer that it has.
        let mut response = pin!(coop::unconstrained(self.sender.try_send_request(request)));
        let connection = &mut self.connection;
        poll_fn(|cx| {
            drive(connection, cx);
            let polled = response.as_mut().poll(&mut idle());
            if polled.is_ready() {
                // The body is asked for right away; that must not wake the task that asks.
                drive(connection, &mut idle());
            }
            polled
        })
        .await
    }

    /// Moves what can be moved and wakes nobody for the rest: from now on it is nobody's business.
    fn settle(&mut self) {
        // A task that has done much may still look at what is there.
        let settle = coop::unconstrained(poll_fn(|cx| {
            self.drive(cx);
            Poll::Ready(())
        }));
        let _ = pin!(settle).poll(&mut idle());
    }

    /// Moves what can be moved, and has the task woken when there is more.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, cx);
    }

    /// Whether whoever reads the response has to drive it.
    pub(super) const fn is_driven(&self) -> bool {
        self.connection.is_some()
    }
}

fn drive(slot: &mut Option<Box<Connection<Socket, RequestBody>>>, cx: &mut Context<'_>) {
    if let Some(connection) = slot
        && let Poll::Ready(_ended) = Pin::new(&mut **connection).poll(cx)
    {
        // How it ended is told to whoever waits for a response.
        *slot = None;
    }
}

/// Wakes nobody.
pub(super) const fn idle() -> Context<'static> {
    Context::from_waker(std::task::Waker::noop())
}
