//! WebSocket over HTTP/1.1 (RFC 6455 §4): the opening handshake is an ordinary authorized request; after the 101
//! the two connections are joined. Every other upgrade is ignored.

use std::io::Cursor;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;

use super::Forwarded;
use super::response::ResponseBody;
use crate::limits::Place;
use crate::refusal::{Reason, Refusal};
use crate::request::connection::nominated;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Whether a request asks to become a WebSocket.
pub fn is_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && nominated(headers).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
}

/// Asks the upstream for the same.
pub fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
}

/// Joins the connections when the upstream agreed. A 101 that nobody asked for is no answer (RFC 9110 §15.2.2).
/// What the request took of its caller's limits stays taken as long as there is something to say.
pub fn join(
    mut response: Response<ResponseBody>,
    client: Option<OnUpgrade>,
    place: Option<Place>,
) -> Result<Forwarded, Refusal> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.body_mut().hold(place);
        return Ok(Forwarded { response, upgraded: false });
    }
    let agreed = response
        .headers()
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let (Some(client), true) = (client, agreed) else {
        return Err(Refusal::new(Reason::UpstreamProtocol).expected("an answer").found("a 101 that was not asked for"));
    };
    let Some((tunnel, transport, first)) = response.body_mut().leave() else {
        return Err(Refusal::new(Reason::UpstreamProtocol).expected("an answer").found("a 101 without a connection"));
    };
    tokio::spawn(async move {
        let (_place, _tunnel) = (place, tunnel);
        if let Ok(client) = client.await {
            let (read, write) = tokio::io::split(transport);
            let mut upstream = tokio::io::join(Cursor::new(first).chain(read), write);
            // Either side may break off; there is nobody left to tell.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut upstream).await;
        }
    });
    Ok(Forwarded { response, upgraded: true })
}
