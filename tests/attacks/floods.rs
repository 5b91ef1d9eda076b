//! Floods: connections that never stop. Each ends, without the gateway's memory having grown beyond a bound and without a
//! good client having waited.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::frames::{CONTINUATION, DATA, PING, PRIORITY, WINDOW_UPDATE, read};
use crate::in_time;
use crate::origin::Kind;
use crate::range::{Door, RESPONSE_TIMEOUT, Range};
use crate::support::HOST;
use crate::support::frames::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, block, push_frame, push_text,
};
use crate::support::wire::Http;

/// How many connections flood at once.
const AT_ONCE: usize = 4;

/// More than that, all of them together may not make the gateway grow.
const BOUND: u64 = 64 * 1024 * 1024;

/// Longer than that, no good client may wait.
const WAIT: Duration = Duration::from_secs(5);

/// Within that, a flood must have ended.
const ENDS: Duration = Duration::from_secs(20);

/// That long floods are watched that nobody ends.
const GOES_ON: Duration = Duration::from_secs(1);

/// A flood of HTTP/2: what comes first, and what comes again and again, by its number.
pub struct Flood {
    name: &'static str,
    first: fn() -> Vec<u8>,
    again: fn(u32) -> Vec<u8>,
    /// Whether the client reads what it is told.
    reads: bool,
    /// Whether the gateway ends it. What consists of requests goes on as long as the client likes.
    ends: bool,
}

const fn flood(name: &'static str, first: fn() -> Vec<u8>, again: fn(u32) -> Vec<u8>) -> Flood {
    Flood { name, first, again, reads: true, ends: true }
}

/// By a client that does not read what it is told.
const fn deaf(name: &'static str, first: fn() -> Vec<u8>, again: fn(u32) -> Vec<u8>) -> Flood {
    Flood { name, first, again, reads: false, ends: true }
}

const fn requests(name: &'static str, first: fn() -> Vec<u8>, again: fn(u32) -> Vec<u8>) -> Flood {
    Flood { name, first, again, reads: true, ends: false }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_frame(kind, flags, stream, payload, &mut out);
    out
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

fn request(method: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "https"), (":authority", HOST), (":path", "/open/flood")];
    block(&fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec())
}

fn fields(count: usize, length: usize) -> Vec<u8> {
    block(&(0..count).map(|_| ("x".to_owned(), vec![b'y'; length])).collect())
}

fn stream(number: u32) -> u32 {
    2 * number + 1
}

fn asks(number: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &request("GET"))
}

fn posts(number: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream(number), &request("POST"))
}

fn resets(number: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream(number), &8u32.to_be_bytes())
}

fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        list.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A field of 4,000 bytes that goes into the table, and a thousand times the one byte that stands for it.
fn bomb(number: u32) -> Vec<u8> {
    let mut block = request("GET");
    block.push(0x40);
    push_text(b"x", &mut block);
    push_text(&[b'y'; 4_000], &mut block);
    block.extend([0x80 | 62; 1_000]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &block)
}

pub const FRAMES: &[Flood] = &[
    flood(
        "CONTINUATION: large fields",
        || frame(HEADERS, END_STREAM, 1, &request("GET")),
        |_| frame(CONTINUATION, 0, 1, &fields(1, 16_000)),
    ),
    flood(
        "CONTINUATION: small fields",
        || frame(HEADERS, END_STREAM, 1, &request("GET")),
        |_| frame(CONTINUATION, 0, 1, &fields(1, 1)),
    ),
    flood(
        "CONTINUATION: nothing",
        || frame(HEADERS, END_STREAM, 1, &request("GET")),
        |_| frame(CONTINUATION, 0, 1, &[]),
    ),
    flood(
        "CONTINUATION: one field that never ends",
        || frame(HEADERS, END_STREAM, 1, &[0, 0x7F, 0xFF, 0xFF, 0xFF, 0x7F]),
        |_| frame(CONTINUATION, 0, 1, &[b'x'; 16_000]),
    ),
    flood(
        "CONTINUATION: trailers",
        || [posts(0), frame(HEADERS, END_STREAM, 1, &fields(1, 1))].concat(),
        |_| frame(CONTINUATION, 0, 1, &fields(100, 100)),
    ),
    flood("rapid reset", nothing, |n| [asks(n), resets(n)].concat()),
    flood("rapid reset in the middle of bodies", nothing, |n| {
        [posts(n), frame(DATA, 0, stream(n), b"x"), resets(n)].concat()
    }),
    flood("made to reset: an update of nothing", nothing, |n| {
        [posts(n), frame(WINDOW_UPDATE, 0, stream(n), &[0; 4])].concat()
    }),
    flood("made to reset: a window that is too large", nothing, |n| {
        [posts(n), frame(WINDOW_UPDATE, 0, stream(n), &[0x7F, 0xFF, 0xFF, 0xFF])].concat()
    }),
    flood("made to reset: DATA behind the end", nothing, |n| [asks(n), frame(DATA, 0, stream(n), b"x")].concat()),
    flood("made to reset: requests that are none", nothing, |n| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &fields(1, 1))
    }),
    flood("made to reset: a stream that depends on itself", nothing, |n| {
        [posts(n), frame(PRIORITY, 0, stream(n), &[stream(n).to_be_bytes().as_slice(), &[0]].concat())].concat()
    }),
    flood("streams that never end", nothing, posts),
    flood("SETTINGS: nothing", nothing, |_| settings(&[])),
    flood("SETTINGS: another size of the table each time", nothing, |n| settings(&[(1, n % 2 * 4_096)])),
    flood(
        "SETTINGS: another window each time",
        || [0, 1, 2, 3].map(posts).concat(),
        |n| settings(&[(4, n % 2 * 0x7FFF_FFFF)]),
    ),
    flood("SETTINGS: thousands in a frame", nothing, |_| settings(&[(0xABCD, 1); 2_000])),
    deaf("SETTINGS to one who does not read", nothing, |_| settings(&[])),
    flood("PING", nothing, |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes())),
    deaf("PING by one who does not read", nothing, |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes())),
    flood("PRIORITY", nothing, |n| frame(PRIORITY, 0, stream(n), &[0, 0, 0, 0, 1])),
    flood("WINDOW_UPDATE", nothing, |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    flood("DATA: nothing", || posts(0), |_| frame(DATA, 0, 1, &[])),
    flood("DATA: padding", || posts(0), |_| frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat())),
    flood("frames that nobody knows", nothing, |_| frame(0xEE, 0, 0, &[0; 16_000])),
    flood("GOAWAY", nothing, |_| frame(GOAWAY, 0, 0, &[0; 8])),
    flood("PUSH_PROMISE", nothing, |_| frame(5, END_HEADERS, 1, &[0, 0, 0, 2])),
    flood("HPACK: bombs", nothing, bomb),
    flood(
        "HPACK: a bomb in pieces",
        || {
            frame(HEADERS, END_STREAM, 1, &{
                let mut block = request("GET");
                block.push(0x40);
                push_text(b"x", &mut block);
                push_text(&[b'y'; 4_000], &mut block);
                block
            })
        },
        |_| frame(CONTINUATION, 0, 1, &[0x80 | 62; 16_000]),
    ),
    requests("HPACK: sizes of the table", nothing, |n| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream(n),
            &[&[0x20, 0x3F, 0xE1, 0x1F].repeat(2_000)[..], &request("GET")].concat(),
        )
    }),
    flood("HPACK: a size that is too large", nothing, |n| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &[0x3F, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F])
    }),
    flood("HPACK: a number that never ends", nothing, |n| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &[0xFF; 16_000])
    }),
    flood("HPACK: fields without name and value", nothing, |n| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &[&request("GET")[..], &[0; 12_000]].concat())
    }),
    requests("answers of 431", nothing, |n| {
        frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &[request("GET"), fields(200, 1)].concat())
    }),
];

/// The same over HTTP/1.1.
pub const LINES: &[Flood] = &[
    flood("empty lines", nothing, |_| b"\r\n".to_vec()),
    flood("a method", nothing, |_| vec![b'X'; 1_000]),
    flood("a target", || b"GET /".to_vec(), |_| vec![b'x'; 1_000]),
    flood("a field", || b"GET / HTTP/1.1\r\nX: ".to_vec(), |_| vec![b'x'; 1_000]),
    flood("fields", || b"GET / HTTP/1.1\r\n".to_vec(), |_| b"X: y\r\n".to_vec()),
    flood(
        "a size of a chunk",
        || b"POST /open/flood HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        |_| vec![b'0'; 1_000],
    ),
    flood(
        "spaces behind a size",
        || b"POST /open/flood HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n1".to_vec(),
        |_| vec![b' '; 1_000],
    ),
    flood(
        "an extension",
        || b"POST /open/flood HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n1;".to_vec(),
        |_| vec![b'x'; 1_000],
    ),
    flood(
        "extensions",
        || b"POST /open/flood HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        |_| b"1;xxxxxxxx\r\nx\r\n".to_vec(),
    ),
    flood(
        "a trailer",
        || b"POST /open/flood HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ".to_vec(),
        |_| vec![b'x'; 1_000],
    ),
    flood(
        "trailers",
        || b"POST /open/flood HTTP/1.1\r\nHost: rs.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".to_vec(),
        |_| b"X: y\r\n".to_vec(),
    ),
    requests("requests in one go", nothing, |_| b"GET /open/flood HTTP/1.1\r\nHost: rs.example\r\n\r\n".to_vec()),
];

/// Floods until the connection ends, or for a while if it does not. Says how many bytes that took.
async fn pours(range: &Range, flood: &Flood, http: Http) -> u64 {
    let connection = range.connect(http).await;
    let (mut reader, mut writer) = tokio::io::split(connection);
    let written = AtomicU64::new(0);
    let reads = async {
        if !flood.reads {
            std::future::pending::<()>().await;
        }
        if http == Http::One {
            let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
        } else {
            while let Ok((kind, ..)) = read(&mut reader).await {
                if kind == GOAWAY {
                    break;
                }
            }
        }
    };
    let writes = async {
        let mut out = (flood.first)();
        if http == Http::Two {
            out = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings(&[]), out].concat();
        }
        let mut number = 4;
        loop {
            while out.len() < 32 * 1024 {
                out.extend((flood.again)(number));
                number += 1;
            }
            if writer.write_all(&out).await.is_err() {
                return;
            }
            written.fetch_add(out.len() as u64, Ordering::Relaxed);
            out.clear();
        }
    };
    // Whoever does not read finds out when it cannot write any more; the rest may never find out.
    let enough = async {
        if flood.ends {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GOES_ON).await;
    };
    tokio::select! {
        () = writes => {}
        () = reads => {}
        () = enough => {}
    }
    written.load(Ordering::Relaxed)
}

async fn withstands(range: &Arc<Range>, flood: &'static Flood, http: Http) {
    let name = flood.name;
    range.gateway.program.forget_peak();
    let before = range.gateway.program.memory("VmRSS");
    let began = Instant::now();
    let floods: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let range = Arc::clone(range);
            // On a thread of its own: the good client waits for the gateway alone.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(pours(&range, flood, http))
            })
        })
        .collect();
    let (mut worst, mut good) = (Duration::ZERO, 0);
    loop {
        let over = floods.iter().all(std::thread::JoinHandle::is_finished);
        let path = range.path(Door::Proven);
        let message = range.message("GET", &path, range.credentials(Door::Proven, "GET", &path));
        let asked = Instant::now();
        let answer = in_time("a good client's answer", range.gateway.dialer().send(Http::One, &message)).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{name}: a good client: {}", answer.text());
        worst = worst.max(asked.elapsed());
        good += 1;
        if over {
            break;
        }
        assert!(began.elapsed() < ENDS, "{name}: it goes on and on");
    }
    let took = began.elapsed();
    let mut written = 0;
    for flood in floods {
        written += flood.join().unwrap();
    }
    let grown = range.gateway.program.memory("VmHWM").saturating_sub(before);
    println!(
        "{http:?} {name}: {written} bytes in {took:?}, {good} good requests, the slowest {worst:?}, {} KiB more",
        grown / 1024
    );
    assert!(worst < WAIT, "{name}: a good client waited {worst:?}");
    assert!(grown < BOUND, "{name}: {grown} bytes more");
}

async fn range() -> Arc<Range> {
    let range = Range::set_with(Kind::Strict, |configuration| {
        configuration.limits = "{ header_timeout: 1s, idle_timeout: 1s }".to_owned();
        // A body of which nothing moves is given up after that.
        configuration.replay = configuration.replay.replace(RESPONSE_TIMEOUT, "3s");
        configuration.telemetry = "{ access_log: false }".to_owned();
    });
    Arc::new(range.await)
}

#[tokio::test]
async fn floods_of_frames_end() {
    let range = range().await;
    for flood in FRAMES {
        withstands(&range, flood, Http::Two).await;
    }
}

#[tokio::test]
async fn floods_of_lines_end() {
    let range = range().await;
    for flood in LINES {
        withstands(&range, flood, Http::One).await;
    }
}
