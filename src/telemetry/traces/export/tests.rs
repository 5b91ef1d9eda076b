use http::{HeaderMap, Version};
use prometheus::Registry;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::request::RequestId;
use crate::telemetry::decision::Decision;
use crate::telemetry::said::Said;
use crate::telemetry::share::Share;
use crate::telemetry::traces::{Outcome, Station, Tracer};

fn end_one(tracer: &Tracer, number: u64) {
    let (trace, _) = tracer.begin(&HeaderMap::new(), 0);
    let mut trace = trace.unwrap();
    trace.enter(Station::Target, Duration::ZERO);
    trace.end(Outcome {
        id: RequestId::new(1, number),
        method: Some("GET"),
        version: Version::HTTP_11,
        scheme: None,
        host: String::new(),
        route: None,
        decision: Decision::Refuse,
        reason: None,
        binding: None,
        status: Some(404),
        lasted: Duration::ZERO,
    });
}

/// Answers everything with 200. Every body arrives after its head, whole.
async fn take_everything(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        let whole = text.find("\r\n\r\n").and_then(|head| {
            let (_, length) = text[..head].split_once("content-length: ")?;
            let length: usize = length.lines().next()?.parse().ok()?;
            Some(head + 4 + length)
        });
        // The lossy text may be longer than the bytes: heads are ASCII, and what follows them is only counted.
        if let Some(whole) = whole.filter(|whole| read.len() >= *whole) {
            read.drain(..whole);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        } else if stream.read_buf(&mut read).await.unwrap() == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_and_told_once() {
    let (said, _here) = Said::listen();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = TraceSettings {
        endpoint: format!("http://{}/v1/traces", listener.local_addr().unwrap()).parse().unwrap(),
        share: Share::ALL,
        service_name: "keybound".to_owned(),
        headers: Vec::new(),
    };
    let tally = Tally::new(&Registry::new()).unwrap();
    let exporter = Exporter::start(&settings, "1", tally.clone(), &Handle::current()).unwrap();
    let tracer = Tracer::new(Share::ALL, Vec::new(), Arc::clone(&exporter));
    let collector = tokio::spawn(take_everything(listener));
    // Nobody empties the queue meanwhile: there is one thread.
    let (room, beyond) = (QUEUE as u64, 500);
    for number in 0..room + beyond {
        end_one(&tracer, number);
    }
    assert_eq!(tally.dropped.get(), 2 * beyond);
    exporter.flush(Duration::from_secs(30)).await;
    assert_eq!((tally.exported.get(), tally.failed.get(), tally.dropped.get()), (2 * room, 0, 2 * beyond));
    let times = |what: &str| said.text().matches(what).count();
    assert_eq!((times("traces are dropped:"), times("traces are dropped no more")), (1, 1));
    // Whoever has no exporter any more has no connection to the collector.
    drop((tracer, exporter));
    timeout(Duration::from_secs(30), collector).await.unwrap().unwrap();
}
