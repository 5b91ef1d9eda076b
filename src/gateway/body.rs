//! The answer's body: ours or the upstream's, streaming, with the request's record on board. The record writes its
//! line when the body is through or dropped.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::remove_dpop;
use crate::forward::{ResponseBody, ResponseError};
use crate::telemetry::{BrokenOff, Record};

/// The body of every answer.
#[derive(Debug)]
pub struct Body {
    content: Content,
    record: Box<Record>,
}

#[derive(Debug)]
enum Content {
    Own(Option<Bytes>),
    Upstream(ResponseBody),
}

impl Body {
    pub(super) const fn own(text: Bytes, record: Box<Record>) -> Self {
        Self { content: Content::Own(Some(text)), record }
    }

    pub(super) const fn nothing(record: Box<Record>) -> Self {
        Self { content: Content::Own(None), record }
    }

    pub(super) const fn upstream(body: ResponseBody, record: Box<Record>) -> Self {
        Self { content: Content::Upstream(body), record }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // A client that left in the middle. Whoever counts bytes does not ask for an end that brings none.
        if let Content::Upstream(body) = &self.content
            && !body.is_end_stream()
            && body.size_hint().exact() != Some(0)
        {
            self.record.broke_off(BrokenOff::Client);
        }
    }
}

/// Trailers may not say what the head may not.
fn clean_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            remove_dpop(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let frame = match &mut self.content {
            Content::Own(text) => text.take().map(|text| Ok(Frame::data(text))),
            Content::Upstream(body) => ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(clean_trailers)),
        };
        match &frame {
            Some(Ok(frame)) => self.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                self.record.broke_off(if error.is_clients() { BrokenOff::Client } else { BrokenOff::Upstream });
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own(text) => text.is_none(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}
