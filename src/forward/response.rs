//! The upstream's body on its way to the client, with the connection that it comes over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{Lease, Tunnel};
use crate::limits::Place;

/// Streams a response. Its connection serves other requests again as soon as the last byte was read.
#[derive(Debug)]
pub struct ResponseBody {
    inner: Incoming,
    lease: Option<Lease>,
    /// Free for the next as soon as nobody reads this any more.
    place: Option<Place>,
}

impl ResponseBody {
    /// `switches`: the connection may belong to another protocol now, and an empty body does not end it.
    pub(super) fn new(inner: Incoming, lease: Lease, switches: bool) -> Self {
        let mut body = Self { inner, lease: Some(lease), place: None };
        if !switches {
            body.end_if_read();
        }
        body
    }

    /// A body whose connection now belongs to another protocol.
    pub(super) fn keep_connection(&mut self) -> Option<Tunnel> {
        self.lease.take().map(Lease::leave)
    }

    /// Keeps what the request took of its caller's limits until this body is through.
    pub(super) fn hold(&mut self, place: Option<Place>) {
        self.place = place;
    }

    fn end_if_read(&mut self) {
        if self.inner.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            // Not every body knows that it ended before it is asked once more.
            None => self.end(),
            // Nobody asks for what comes after them.
            Some(Ok(frame)) if frame.is_trailers() => self.end(),
            Some(Ok(_)) => self.end_if_read(),
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
