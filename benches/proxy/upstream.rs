//! The API behind every proxy: reads a head, answers 200 bytes of JSON, keeps the connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Starts it on this runtime.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(socket));
        }
    });
    address
}

async fn answer(mut socket: TcpStream) {
    let body = format!("{{\"item\":\"{}\"}}", "x".repeat(189));
    let response =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let _ = socket.set_nodelay(true);
    let mut head = Vec::with_capacity(8 * 1024);
    // Requests have no body, and nobody sends the next one before the answer.
    while matches!(socket.read_buf(&mut head).await, Ok(1..)) {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if socket.write_all(response.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
