//! The upstream's body on its way to the client, with the connection that it comes over.

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::dial::Transport;
use super::http1::{Connection, ExchangeError};
use super::pool::{Lease, Tunnel};
use super::uploading::Uploading;
use crate::limits::Place;

/// Streams a response. Its connection serves other requests again as soon as the last byte was read.
#[derive(Debug)]
pub struct ResponseBody {
    /// Until the end of an answer over HTTP/1.1.
    source: Option<Source>,
    lease: Option<Lease>,
    /// Free for the next as soon as nobody reads this any more.
    place: Option<Place>,
}

#[derive(Debug)]
enum Source {
    Http1(Box<Connection>),
    /// The same, while the request is still being sent.
    Uploading(Uploading),
    Http2(Incoming),
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// Over HTTP/1.1.
    #[error(transparent)]
    Http1(#[from] ExchangeError),
    /// Over HTTP/2.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

impl ResponseError {
    /// Whether it was the client who broke off, while the upstream answered already.
    pub fn is_clients(&self) -> bool {
        match self {
            Self::Http1(error) => matches!(error, ExchangeError::Body(_) | ExchangeError::Length),
            // A stream is reset from here because its request cannot be sent any further, and for nothing else.
            Self::Http2(error) => {
                let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
                cause.is_some_and(|cause| cause.is_reset() && !cause.is_remote() && !cause.is_library())
            }
        }
    }
}

impl ResponseBody {
    /// The answer that begins on this connection.
    pub(super) fn http1(response: Response<()>, connection: Box<Connection>, lease: Lease) -> Response<Self> {
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let source = if connection.is_sent() || switches {
            Source::Http1(connection)
        } else {
            Source::Uploading(Uploading::new(connection))
        };
        let mut body = Self { source: Some(source), lease: Some(lease), place: None };
        // An empty body does not end a connection that may belong to another protocol now.
        if !switches {
            body.end_if_read();
        }
        response.map(|()| body)
    }

    /// The answer that begins on this stream.
    pub(super) fn http2(response: Response<Incoming>, lease: Lease) -> Response<Self> {
        response.map(|incoming| {
            let mut body = Self { source: Some(Source::Http2(incoming)), lease: Some(lease), place: None };
            body.end_if_read();
            body
        })
    }

    /// The connection, which now belongs to another protocol, and what of that was read already.
    pub(super) fn leave(&mut self) -> Option<(Tunnel, Transport, Bytes)> {
        let lease = self.lease.take()?;
        let Some(Source::Http1(connection)) = self.source.take() else { return None };
        let (transport, first) = connection.into_parts();
        Some((lease.leave(), transport, first))
    }

    /// Keeps what the request took of its caller's limits until this body is through.
    pub(super) fn hold(&mut self, place: Option<Place>) {
        self.place = place;
    }

    fn end_if_read(&mut self) {
        if self.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        match self.source.take() {
            Some(Source::Http1(connection)) => lease.end(connection),
            Some(Source::Uploading(uploading)) => uploading.end(lease),
            // Others share it.
            other => self.source = other,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let frame = match &mut self.source {
            None => None,
            Some(Source::Http1(connection)) => ready!(connection.poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
            Some(Source::Uploading(uploading)) => {
                ready!(uploading.poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Some(Source::Http2(body)) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into)),
        };
        Poll::Ready(frame)
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let frame = ready!(self.poll(cx));
        match &frame {
            // Not every body knows that it ended before it is asked once more.
            None => self.end(),
            // Nobody asks for what comes after them.
            Some(Ok(frame)) if frame.is_trailers() => self.end(),
            Some(Ok(_)) => self.end_if_read(),
            Some(Err(_)) => (self.source, self.lease) = (None, None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            None => true,
            Some(Source::Http1(connection)) => connection.is_end_stream(),
            Some(Source::Uploading(uploading)) => uploading.is_end_stream(),
            Some(Source::Http2(body)) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            None => SizeHint::with_exact(0),
            Some(Source::Http1(connection)) => connection.size_hint(),
            Some(Source::Uploading(uploading)) => uploading.size_hint(),
            Some(Source::Http2(body)) => body.size_hint(),
        }
    }
}
