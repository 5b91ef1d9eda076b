//! What stands between the gateway and a neighbour, and lets it look killed, paused, slow or mad.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::eventually;

/// How the neighbour looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it is.
    Well,
    /// Nobody listens, and connections end.
    Killed,
    /// Nothing moves, and nobody is told.
    Paused,
    /// Everything takes this much longer, each way.
    Slow(Duration),
    /// It answers with bytes that are none of its language's.
    Mad,
}

pub struct Relay {
    /// Where the neighbour seems to be.
    pub address: SocketAddr,
    mood: watch::Sender<Mood>,
    /// Whether somebody listens.
    open: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn to(neighbour: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mood = watch::Sender::new(Mood::Well);
        let (opened, open) = watch::channel(true);
        let task = tokio::spawn(listens(listener, neighbour, mood.subscribe(), opened));
        Self { address, mood, open, task }
    }

    pub async fn becomes(&self, mood: Mood) {
        self.mood.send_replace(mood);
        eventually("the relay follows", async || (*self.open.borrow() == (mood != Mood::Killed)).then_some(())).await;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listens(
    mut listener: TcpListener,
    neighbour: SocketAddr,
    mut mood: watch::Receiver<Mood>,
    opened: watch::Sender<bool>,
) {
    let address = listener.local_addr().unwrap();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let killed = {
            let mut mood = mood.clone();
            async move { drop(mood.wait_for(|mood| *mood == Mood::Killed).await) }
        };
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(carries(client, neighbour, mood.clone()));
            }
            () = killed => {
                drop(listener);
                connections.shutdown().await;
                opened.send_replace(false);
                let _ = mood.wait_for(|mood| *mood != Mood::Killed).await;
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_reuseaddr(true).unwrap();
                socket.bind(address).unwrap();
                listener = socket.listen(1024).unwrap();
                opened.send_replace(true);
            }
        }
    }
}

async fn carries(client: TcpStream, neighbour: SocketAddr, mood: watch::Receiver<Mood>) {
    let Ok(server) = TcpStream::connect(neighbour).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Either side ends both.
    tokio::select! {
        () = moves(from_client, to_server, mood.clone(), false) => {}
        () = moves(from_server, to_client, mood, true) => {}
    }
}

async fn moves(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut mood: watch::Receiver<Mood>,
    answers: bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let bytes = &mut buffer[..length];
        let _ = mood.wait_for(|mood| *mood != Mood::Paused).await;
        let now = *mood.borrow();
        match now {
            Mood::Slow(by) => tokio::time::sleep(by).await,
            Mood::Mad if answers => aws_lc_rs::rand::fill(bytes).unwrap(),
            _ => {}
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
