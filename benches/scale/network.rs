//! The way from one gateway to its store: a TCP relay that can be slow, and that can be cut.
//!
//! Threads, not tasks: a runtime's timer would round every delay up to a millisecond.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A relay to one server.
#[derive(Clone)]
pub struct Way {
    /// Where it listens, on loopback.
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// One way, in microseconds.
    delay: AtomicU64,
    cut: AtomicBool,
}

impl Way {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = Self { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let state = Arc::clone(&way.state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    to.set_nodelay(true).unwrap();
                    relay(from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&state));
                }
            }
        });
        way
    }

    /// Makes every round trip longer by this.
    pub fn slow(&self, round_trip: Duration) {
        self.state.delay.store((round_trip / 2).as_micros() as u64, Relaxed);
    }

    /// Nothing passes any more, and nobody is told.
    pub fn cut(&self, cut: bool) {
        self.state.cut.store(cut, Relaxed);
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, state: Arc<State>) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    let reading = Arc::clone(&state);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let due = Instant::now() + Duration::from_micros(reading.delay.load(Relaxed));
            if sender.send((due, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            while state.cut.load(Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
