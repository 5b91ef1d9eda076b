//! Answers that do not come to their end, and by whom.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::access_log::{fields, logged};
use crate::stage::{Gateway, Stage, message};
use crate::support::wire::Http;

#[tokio::test]
async fn who_ended_an_answer_before_its_end_is_logged_and_counted() {
    let stage = Stage::set().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cuts = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    });
    let api = stage.api.address.to_string();
    let gateway = stage.gateway_with(|all| all.routes = all.routes.replace(&api, &address)).await;
    gateway.program.says("ready").await;
    let broken = gateway.dialer().send(Http::One, &stage.call("/api/half")).await;
    cuts.await.unwrap();
    assert!(broken.is_err(), "{broken:?}");
    let line = gateway.program.line("an access line", |line| line["path"] == "/api/half").await;
    let wanted = json!({"level": "WARN", "status": 200, "decision": "allow", "broken_off": "upstream", "bytes": 4});
    assert_eq!(fields(&line, &["level", "status", "decision", "broken_off", "bytes"]), wanted);
    assert_eq!(broken_answers(&gateway).await, (0.0, 1.0));

    let gateway = stage.gateway().await;
    let mut connection = gateway.connect().await;
    connection.write_all(&stage.call("/api/drip").to_bytes()).await.unwrap();
    stage.api.sees(1).await;
    let _ = connection.read(&mut [0; 16]).await.unwrap();
    drop(connection);
    let line = gateway.program.line("an access line", |line| line["path"] == "/api/drip").await;
    let wanted = json!({"level": "INFO", "status": 200, "broken_off": "client"});
    assert_eq!(fields(&line, &["level", "status", "broken_off"]), wanted);
    let (_, line) = logged(&gateway, Http::One, &stage.call("/api/item")).await;
    assert_eq!(fields(&line, &["level", "broken_off"]), json!({"level": "INFO", "broken_off": null}));
    assert_eq!(broken_answers(&gateway).await, (1.0, 0.0));
}

/// How many answers were broken off by clients, and by the upstream.
async fn broken_answers(gateway: &Gateway) -> (f64, f64) {
    let scrape = gateway.scrape().await;
    let by = |who| scrape.sum("keybound_broken_answers_total", &[("route", "api"), ("by", who)]);
    (by("client"), by("upstream"))
}

/// In front of an API that speaks HTTP/2, answers each request with these bytes of so many, and then nothing.
async fn before_http2(stage: &Stage, bytes: &'static str, length: usize) -> Gateway {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", stage.api.address);
    let other = format!("{{ endpoints: ['http://{}'], http2: true }}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut unfinished = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("content-length", length).body(()).unwrap();
            let mut body = respond.send_response(head, false).unwrap();
            body.send_data(bytes.into(), false).unwrap();
            unfinished.push((request, body));
        }
    });
    let gateway = stage.gateway_with(|all| {
        all.routes = all.routes.replace(&format!("'{url}'"), "other");
        all.replay += &format!("\nupstreams: {{ other: {other} }}");
    });
    let gateway = gateway.await;
    gateway.program.says("ready").await;
    gateway
}

/// The answer ends because nothing can become of the request; that is no fault of the upstream.
#[tokio::test]
async fn who_breaks_an_upload_off_breaks_its_answer_off() {
    let stage = Stage::set().await;
    let gateway = before_http2(&stage, "part", 100).await;
    let mut connection = gateway.connect().await;
    let mut call = message("/open/upload", &[("Transfer-Encoding", "chunked")]);
    call.method = "POST".to_owned();
    connection.write_all(&call.to_bytes()).await.unwrap();
    connection.write_all(b"5\r\nhello\r\n").await.unwrap();
    let mut head = [0; 12];
    connection.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    connection.write_all(b"no chunk\r\n").await.unwrap();
    let line = gateway.program.line("an access line", |line| line["path"] == "/open/upload").await;
    assert_eq!(
        fields(&line, &["level", "status", "broken_off"]),
        json!({"level": "INFO", "status": 200, "broken_off": "client"})
    );
}

/// Over HTTP/2 the end may come by itself, behind the last byte; who counts bytes has all of the answer before.
#[tokio::test]
async fn an_answer_that_came_whole_was_not_broken_off() {
    let stage = Stage::set().await;
    let gateway = before_http2(&stage, "whole", 5).await;
    let (answer, line) = logged(&gateway, Http::One, &stage.call("/api/item")).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "whole"));
    assert_eq!(
        fields(&line, &["level", "status", "broken_off"]),
        json!({"level": "INFO", "status": 200, "broken_off": null})
    );
}
