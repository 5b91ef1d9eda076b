//! The request's body on its way: streamed, never buffered, counted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::reserved::OwnFields;

/// What a body did so far; shared between the body and whoever waits for the response.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    /// When something of the body moved last, in microseconds since then.
    moved: AtomicU64,
    bytes: AtomicU64,
    exceeded: AtomicBool,
    waits_for_client: AtomicBool,
}

impl Progress {
    /// Nothing has moved yet.
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            moved: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            exceeded: AtomicBool::new(false),
            waits_for_client: AtomicBool::new(false),
        }
    }

    /// When something of the body moved last; at first, when the request was sent.
    pub fn last_moved(&self) -> Instant {
        self.begun + Duration::from_micros(self.moved.load(Ordering::Relaxed))
    }

    fn moves(&self) {
        let since = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.moved.store(since, Ordering::Relaxed);
    }

    /// Whether it is the client whom everybody waits for.
    pub fn waits_for_client(&self) -> bool {
        self.waits_for_client.load(Ordering::Relaxed)
    }

    /// Whether the body grew over its bound and was cut.
    pub fn exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }
}

/// A client's body. Reading it is what makes hyper answer `Expect: 100-continue`, so that happens only after
/// the decision (RFC 9110 §10.1.1).
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    http2: bool,
    own: OwnFields,
    progress: Option<Arc<Progress>>,
    limit: Option<u64>,
}

/// The client's body ended before its end, or grew too large.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client went away or broke the framing.
    #[error("the client's body broke off")]
    Client(#[source] hyper::Error),
    /// The client took back the rest without an error (RST_STREAM with NO_ERROR, RFC 9113 §8.1).
    #[error("the client's body was cut off")]
    Cut,
    /// More bytes than `limits.body_bytes`.
    #[error("the client's body is larger than allowed")]
    TooLarge,
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self { inner: None, http2: false, own: OwnFields::default(), progress: None, limit: None }
    }

    /// The body of a request to a gateway whose routes fill `own`, which came over HTTP/2 or not.
    pub const fn new(body: Incoming, http2: bool, own: OwnFields) -> Self {
        Self { inner: Some(body), http2, own, progress: None, limit: None }
    }

    /// Reports what moves, and cuts at `limit` bytes.
    #[must_use]
    pub fn watched(mut self, progress: Arc<Progress>, limit: Option<u64>) -> Self {
        self.progress = Some(progress);
        self.limit = limit;
        self
    }

    fn count(&self, data: &Bytes) -> Result<(), BodyError> {
        let Some(progress) = &self.progress else { return Ok(()) };
        progress.moves();
        let total = progress.bytes.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
        if self.limit.is_some_and(|limit| total > limit) {
            progress.exceeded.store(true, Ordering::Relaxed);
            return Err(BodyError::TooLarge);
        }
        Ok(())
    }
}

impl RequestBody {
    /// RFC 9110 §6.5.1: credentials and identities in trailers count for nothing, here and at the upstream.
    fn clean_trailers(&self, trailers: HeaderMap) -> HeaderMap {
        let mut clean = HeaderMap::with_capacity(trailers.len());
        let mut name = None;
        for (next, value) in trailers {
            name = next.or(name);
            if let Some(name) = name.as_ref().filter(|name| !self.own.forbid_trailer(name)) {
                clean.append(name.clone(), value);
            }
        }
        clean
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let polled = Pin::new(inner).poll_frame(cx);
        if let Some(progress) = &self.progress {
            progress.waits_for_client.store(polled.is_pending(), Ordering::Relaxed);
        }
        let frame = match ready!(polled) {
            // The library takes a stream that was given up for one that ended.
            None if self.http2 && !self.is_end_stream() => return Poll::Ready(Some(Err(BodyError::Cut))),
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Client(error)))),
            Some(Ok(frame)) => frame,
        };
        if let Some(data) = frame.data_ref()
            && let Err(error) = self.count(data)
        {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(Some(Ok(frame.into_data().map_or_else(
            |frame| Frame::trailers(self.clean_trailers(frame.into_trailers().unwrap_or_default())),
            Frame::data,
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
