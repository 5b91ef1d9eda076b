//! The API behind the gateway. It can make its clients wait, and it records what it sees.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::in_time;

#[derive(Debug, Clone)]
pub struct Seen {
    pub target: String,
    pub headers: HeaderMap,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

struct Shared {
    seen: Mutex<Vec<Seen>>,
    remembers: AtomicBool,
    arrived: watch::Sender<usize>,
    connections: AtomicUsize,
    released: watch::Sender<bool>,
}

/// What `…/large` says.
const LARGE: &str = match std::str::from_utf8(&[b'x'; 1024 * 1024]) {
    Ok(text) => text,
    Err(_) => "",
};

/// `…/hold` is answered and `…/drip` is finished only when [`Api::release`] says so; `…/socket` echoes over a
/// WebSocket; `…/large` is large; everything else is fine at once.
pub struct Api {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Api {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    pub async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            remembers: AtomicBool::new(true),
            arrived: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            released: watch::Sender::new(false),
        });
        let task = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        *self.shared.arrived.borrow()
    }

    /// Remembers no request from now on: there will be millions.
    pub fn counts_only(&self) {
        self.shared.remembers.store(false, Ordering::SeqCst);
    }

    /// How many connections came in.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until this many requests have come in.
    pub async fn sees(&self, count: usize) {
        let mut arrived = self.shared.arrived.subscribe();
        in_time("requests at the API", arrived.wait_for(|arrived| *arrived >= count)).await.unwrap();
    }

    pub fn release(&self) {
        self.shared.released.send_replace(true);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let shared = Arc::clone(&shared);
        shared.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(request, &shared).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = connection.with_upgrades().await;
        });
    }
}

async fn answer(mut request: Request<Incoming>, shared: &Shared) -> Response<Reply> {
    if shared.remembers.load(Ordering::SeqCst) {
        let seen = Seen { target: request.uri().to_string(), headers: request.headers().clone() };
        shared.seen.lock().unwrap().push(seen);
    }
    shared.arrived.send_modify(|arrived| *arrived += 1);
    let mut released = shared.released.subscribe();
    let released = async move { drop(released.wait_for(|released| *released).await) };
    let path = request.uri().path().to_owned();
    let _ = request.body_mut().collect().await;
    if path.ends_with("/socket") {
        return upgrade(request);
    }
    if path.ends_with("/drip") {
        return Response::new(Reply { first: Some("first, "), until: Some(Box::pin(released)), last: Some("last") });
    }
    if path.ends_with("/hold") {
        released.await;
    }
    let text = if path.ends_with("/large") { LARGE } else { "fine" };
    Response::new(Reply { first: Some(text), until: None, last: None })
}

fn upgrade(request: Request<Incoming>) -> Response<Reply> {
    let accept = derive_accept_key(request.headers()[header::SEC_WEBSOCKET_KEY].as_bytes());
    tokio::spawn(async move {
        let stream = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response.header(header::CONNECTION, "upgrade").header(header::UPGRADE, "websocket");
    response.header(header::SEC_WEBSOCKET_ACCEPT, accept).body(Reply::default()).unwrap()
}

/// A body that may pause.
#[derive(Default)]
pub struct Reply {
    first: Option<&'static str>,
    until: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    last: Option<&'static str>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(text) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))));
        }
        if let Some(until) = &mut self.until {
            std::task::ready!(until.as_mut().poll(cx));
            self.until = None;
        }
        Poll::Ready(self.last.take().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.last.is_none() && self.until.is_none()
    }
}
