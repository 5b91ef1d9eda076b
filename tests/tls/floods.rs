//! Floods below HTTP. Each ends, without the gateway's memory having grown beyond a bound and without a good client having
//! waited.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::clients::{self, Version};
use crate::ground::{Door, Ground, issued, last, open};
use crate::in_time;
use crate::odd;
use crate::records::{ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, Slow, record};
use crate::support::wire::Http;

/// How many connections flood at once.
const AT_ONCE: usize = 4;

/// More than that, all of them together may not make the gateway grow.
const BOUND: u64 = 64 * 1024 * 1024;

/// Longer than that, no good client may wait.
const WAIT: Duration = Duration::from_secs(5);

/// So much a flood may send, or so often it comes; whoever gets rid of all was not stopped.
const MUCH: usize = 32 * 1024 * 1024;

/// One flood: the door, who floods, and what it does. It says how much it sent.
struct Flood {
    name: &'static str,
    door: Door,
    tls: Arc<ClientConfig>,
    pours: fn(SocketAddr, &Arc<ClientConfig>) -> usize,
    ends: Ends,
}

/// When the gateway ends it.
#[derive(PartialEq, Eq)]
enum Ends {
    /// Before the handshake is through.
    Handshake,
    /// Later, before all is sent.
    Connection,
    /// It consists of handshakes that are in order.
    Never,
}

/// Writes the same again and again until nobody takes it.
fn pour(socket: &mut TcpStream, first: &[u8], again: &[u8]) -> io::Result<usize> {
    socket.set_write_timeout(Some(Duration::from_secs(20)))?;
    let many = again.repeat(16 * 1024 / again.len() + 1);
    socket.write_all(first)?;
    let mut written = 0;
    while written < MUCH && socket.write_all(&many).is_ok() {
        written += many.len();
    }
    Ok(written)
}

fn pours(address: SocketAddr, first: &[u8], again: &[u8]) -> usize {
    let mut socket = TcpStream::connect(address).unwrap();
    pour(&mut socket, first, again).unwrap_or(0)
}

/// The first bytes of an honest client.
fn hello(address: SocketAddr, tls: &Arc<ClientConfig>) -> Vec<u8> {
    let mut client = Slow::connect(address, tls, |bytes| bytes);
    let mut bytes = Vec::new();
    client.connection.write_tls(&mut bytes).unwrap();
    bytes
}

fn floods(ground: &Ground) -> Vec<Flood> {
    let good = issued(&ground.clients, |_| {});
    let tls = |door, version, identity| clients::rustls(ground, door, version, identity).tls.unwrap();
    let flood = |name, pours: fn(SocketAddr, &Arc<ClientConfig>) -> usize| Flood {
        name,
        door: Door::Silent,
        tls: tls(Door::Silent, Version::Tls13, &good),
        pours,
        ends: Ends::Handshake,
    };
    let shows = |name, door, identity| Flood {
        name,
        door,
        tls: tls(door, Version::Tls13, identity),
        pours: |address, tls| {
            (0..25).filter(|_| Slow::connect(address, tls, |bytes| bytes).ask(&last(&open("/open/x"))).is_ok()).count()
        },
        ends: Ends::Never,
    };
    vec![
        flood("warnings before a hello", |address, _| pours(address, &[], &record(ALERT, &[1, 90]))),
        flood("warnings behind a hello", |address, tls| pours(address, &hello(address, tls), &record(ALERT, &[1, 90]))),
        flood("changes of the cipher", |address, tls| {
            pours(address, &hello(address, tls), &record(CHANGE_CIPHER_SPEC, &[1]))
        }),
        flood("records of nothing", |address, _| pours(address, &[], &record(HANDSHAKE, &[]))),
        flood("a message of 16 MiB", |address, _| {
            pours(address, &record(HANDSHAKE, &[1, 0xFF, 0xFF, 0xFF]), &record(HANDSHAKE, &[0; 16_000]))
        }),
        flood("a message of 16 MiB in bytes", |address, _| {
            pours(address, &record(HANDSHAKE, &[1, 0xFF, 0xFF, 0xFF]), &record(HANDSHAKE, &[0]))
        }),
        flood("hellos", |address, tls| pours(address, &[], &hello(address, tls))),
        Flood {
            ends: Ends::Connection,
            ..flood("records that are not encrypted as they should be", |address, tls| {
                let mut client = Slow::connect(address, tls, |bytes| bytes);
                client.handshake().unwrap();
                pour(&mut client.socket, &[], &record(23, &[7; 100])).unwrap_or(0)
            })
        },
        Flood {
            ends: Ends::Connection,
            ..flood("new keys", |address, tls| {
                let mut client = Slow::connect(address, tls, |bytes| bytes);
                client.handshake().unwrap();
                let mut times = 0;
                while times < 20_000 {
                    for _ in 0..100 {
                        client.connection.refresh_traffic_keys().unwrap();
                    }
                    times += 100;
                    if client.flush().is_err() {
                        return times;
                    }
                }
                MUCH
            })
        },
        Flood {
            ends: Ends::Never,
            ..flood("handshakes that are left", |address, tls| {
                let hello = hello(address, tls);
                for _ in 0..100 {
                    let mut socket = TcpStream::connect(address).unwrap();
                    socket.write_all(&hello).unwrap();
                    // Until the work is done.
                    let _ = socket.read(&mut [0; 100]);
                }
                100
            })
        },
        shows("large certificates", Door::Any, &odd::large(&ground.clients)),
        shows("large certificates that must be vouched for", Door::Authorities, &odd::large(&ground.clients)),
        shows("chains that cost", Door::Authorities, &odd::costly()),
    ]
}

async fn withstands(ground: &Ground, flood: &Flood) -> Vec<usize> {
    let program = &ground.gateway.program;
    program.forget_peak();
    let before = program.memory("VmRSS");
    let began = Instant::now();
    let (address, name, pours) = (ground.address(flood.door), flood.name, flood.pours);
    let threads: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let tls = Arc::clone(&flood.tls);
            std::thread::spawn(move || pours(address, &tls))
        })
        .collect();
    let (mut worst, mut good) = (Duration::ZERO, 0);
    loop {
        let over = threads.iter().all(std::thread::JoinHandle::is_finished);
        let message = ground.stage.call("/api/item");
        let asked = Instant::now();
        let answer =
            in_time("a good client's answer", ground.dialer(Door::Silent, None).send(Http::One, &message)).await;
        assert_eq!(answer.unwrap().status, 200, "{name}");
        worst = worst.max(asked.elapsed());
        good += 1;
        if over {
            break;
        }
    }
    let sent: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let grown = program.memory("VmHWM").saturating_sub(before);
    println!(
        "{name}: {sent:?} in {:?}, {good} good requests, the slowest {worst:?}, {} KiB more",
        began.elapsed(),
        grown / 1024
    );
    assert!(flood.ends == Ends::Never || sent.iter().all(|sent| *sent < MUCH), "{name}: it goes on and on: {sent:?}");
    assert!(worst < WAIT, "{name}: a good client waited {worst:?}");
    assert!(grown < BOUND, "{name}: {grown} bytes more");
    sent
}

#[tokio::test]
async fn floods_below_http_end() {
    let ground = Ground::set().await;
    let floods = floods(&ground);
    crate::documented(&format!("{} floods, four connections each |", floods.len()));
    for flood in floods {
        let failed = ground.failures().len();
        let sent = withstands(&ground, &flood).await;
        assert!(!flood.name.starts_with("large") || sent == [25; AT_ONCE], "{}: {sent:?} were answered", flood.name);
        // What reached the API are the good requests, and the open ones of who may ask.
        let targets = ground.stage.api.seen().into_iter().map(|seen| seen.target);
        assert!(targets.into_iter().all(|target| target == "/api/item" || target == "/open/x"), "{}", flood.name);
        // Whoever floods before a handshake is through does not get through it.
        if flood.ends == Ends::Handshake {
            ground.failure(failed + AT_ONCE - 1).await;
        }
    }
    ground.is_well("all floods").await;
}
