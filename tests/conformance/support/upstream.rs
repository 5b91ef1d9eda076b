//! The API behind the gateway: it records what it sees and answers what it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A request as the API saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
    pub trailers: Option<http::HeaderMap>,
}

impl Seen {
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

type Reply = Arc<dyn Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync>;

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    reply: Arc<Mutex<Reply>>,
    open: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let reply: Arc<Mutex<Reply>> =
            Arc::new(Mutex::new(Arc::new(|_: &Seen| Response::new(Full::new(Bytes::from_static(b"{\"ok\":true}"))))));
        let open = watch::Sender::new(true);
        let connections = Arc::<AtomicUsize>::default();
        let recording = (Arc::clone(&seen), Arc::clone(&connections));
        let task = tokio::spawn(serve(listener, recording, Arc::clone(&reply), open.subscribe()));
        Self { address, seen, reply, open, connections, task }
    }

    /// Whether it answers what it sees, or keeps everybody waiting.
    pub fn answers(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Answers this from now on.
    pub fn replies(&self, reply: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) {
        *self.reply.lock().unwrap() = Arc::new(reply);
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests were for this target.
    pub fn count_of(&self, target: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.target == target).count()
    }

    pub fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().expect("the upstream saw a request").clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    (seen, connections): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicUsize>),
    reply: Arc<Mutex<Reply>>,
    open: watch::Receiver<bool>,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        connections.fetch_add(1, Ordering::SeqCst);
        let (seen, reply, open) = (Arc::clone(&seen), Arc::clone(&reply), open.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (seen, reply, mut open) = (Arc::clone(&seen), Arc::clone(&reply), open.clone());
                async move {
                    let (parts, body) = request.into_parts();
                    // A body that breaks off was still a request that came here.
                    let (body, trailers) = match body.collect().await {
                        Ok(collected) => {
                            let trailers = collected.trailers().cloned();
                            (collected.to_bytes(), trailers)
                        }
                        Err(_) => (Bytes::new(), None),
                    };
                    let request = Seen {
                        method: parts.method.to_string(),
                        target: parts.uri.to_string(),
                        headers: parts.headers,
                        body,
                        trailers,
                    };
                    seen.lock().unwrap().push(request.clone());
                    let _ = open.wait_for(|open| *open).await;
                    let reply = Arc::clone(&reply.lock().unwrap());
                    Ok::<_, Infallible>(reply(&request))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
