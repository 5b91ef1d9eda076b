//! An authorization server as far as the gateway sees one: a JWK set behind HTTP, in good days and bad ones.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::jwks_of;
use crate::support::keys::Key;

/// How its endpoint behaves.
#[derive(Clone)]
pub enum Mood {
    /// Publishes this.
    Publishes(Value),
    /// Shows a page for people, with status 200.
    Html,
    /// Answers with this status.
    Fails(StatusCode),
    /// Accepts and says nothing.
    Hangs,
}

pub struct IssuerServer {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    fetches: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl IssuerServer {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, fetches) = (Arc::new(Mutex::new(mood)), Arc::new(Mutex::new(0)));
        let task = tokio::spawn(serve(listener, Arc::clone(&mood), Arc::clone(&fetches)));
        Self { address, mood, fetches, task }
    }

    pub fn jwks_uri(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// From now on.
    pub fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn publishes(&self, keys: &[(&str, &Key)]) {
        self.becomes(Mood::Publishes(jwks_of(keys)));
    }

    /// How often somebody asked for the keys.
    pub fn fetches(&self) -> usize {
        *self.fetches.lock().unwrap()
    }
}

impl Drop for IssuerServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, mood: Arc<Mutex<Mood>>, fetches: Arc<Mutex<usize>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (mood, fetches) = (Arc::clone(&mood), Arc::clone(&fetches));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                assert_eq!(request.uri().path(), "/jwks");
                *fetches.lock().unwrap() += 1;
                let mood = mood.lock().unwrap().clone();
                async move { Ok::<_, Infallible>(answer(mood).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(mood: Mood) -> Response<Full<Bytes>> {
    let (status, body) = match mood {
        Mood::Publishes(jwks) => (StatusCode::OK, jwks.to_string()),
        Mood::Html => (StatusCode::OK, "<!doctype html><title>Sign in</title>".to_owned()),
        Mood::Fails(status) => (status, String::new()),
        Mood::Hangs => pending().await,
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}
