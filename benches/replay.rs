//! What the replay log costs: time per insert, bytes per entry, the slowest insert, an hour at a steady rate.
//!
//! `cargo bench --features simulation --bench replay`
//!
//! Two threads insert at a constant rate of a simulated clock, and `expire` runs beside them as in the gateway.
//! Every row is a process of its own, so that none counts memory which another one left behind. Times are processor
//! time of a thread, so that it does not count what other threads of two cores do: two threads at 200 ns make ten
//! million inserts a second. The slowest insert is real time, of one thread beside `expire`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a benchmark that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use keybound::replay::{MemoryLog, MemorySettings, SimulatedProof};
use keybound::time::UnixTime;
use keybound::verify::{ProofRules, ReplayKey, Thumbprint};
use mimalloc::MiMalloc;

/// The program's.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const THREADS: usize = 2;

/// How long the default rules accept a proof that is sent when it is signed: 60 s and 30 s.
const STAY: u64 = 90_000;

const START: UnixTime = UnixTime::from_millis(1_800_000_000_000);

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let numbers: Vec<u64> = arguments.iter().skip(1).map(|number| number.parse().unwrap()).collect();
    match (arguments.first().map(String::as_str), &numbers[..]) {
        (None, []) => report(),
        (Some("log"), [live, keys]) => println!("{}", row(&log_at(*live, *keys))),
        (Some("peer"), [live]) => println!("{}", row(&peer_at(*live))),
        (Some("hour"), [live]) => println!("{}", row(&an_hour_at(*live))),
        other => panic!("not a measurement: {other:?}"),
    }
}

fn report() {
    let peer = measure(&["peer", "10000000"]);
    println!("\nreplay log, {THREADS} threads; `×` is against DashMap<[u8; 16], u64> with 10,000,000 entries\n");
    let columns = ["live", "keys", "fill ns", "insert ns", "×", "bytes/entry", "×", "slowest ms"];
    println!("{}", columns.map(|column| format!("{column:>12}")).concat());
    let [fill, insert, bytes, slowest] = peer[..] else { panic!("{peer:?}") };
    let line = |name: &str, keys: &str, [a, b, c, d]: [f64; 4]| {
        let (faster, smaller) = (b / insert, c / bytes);
        println!("{name:>12}{keys:>12}{a:>12.0}{b:>12.0}{faster:>12.2}{c:>12.1}{smaller:>12.2}{d:>12.2}");
    };
    let sizes = [1_000, 10_000, 100_000, 1_000_000, 10_000_000].map(|live| (live, 100_000));
    for (live, keys) in sizes.into_iter().chain([(10_000_000, 1), (10_000_000, 10_000_000)]) {
        let (live, keys) = (format!("{live}"), format!("{keys}"));
        line(&live, &keys, measure(&["log", &live, &keys]).try_into().unwrap());
    }
    line("DashMap", "", [fill, insert, bytes, slowest]);
    println!("\nan hour of simulated time with 1,000,000 live entries: MiB after every five minutes\n");
    println!("{}", measure(&["hour", "1000000"]).iter().map(|mib| format!("{mib:>7.1}")).collect::<String>());
}

/// Runs one measurement in a process of its own.
fn measure(arguments: &[&str]) -> Vec<f64> {
    let mut command = Command::new(env::current_exe().unwrap());
    // What is freed goes back to the system at once: memory is then what the log holds. Simulated time runs hundreds
    // of times faster than the clock by which the allocator waits otherwise.
    let output = command.args(arguments).env("MIMALLOC_PURGE_DELAY", "0").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn row(numbers: &[f64]) -> String {
    numbers.iter().map(|number| format!("{number} ")).collect()
}

/// A log with a constant number of live entries.
struct Steady {
    log: MemoryLog,
    live: u64,
    keys: u64,
    /// Where each thread is: the clock that `expire` sees is the slower one's.
    reached: [AtomicU64; THREADS],
}

impl Steady {
    fn new(live: u64, keys: u64) -> Self {
        let settings = MemorySettings { capacity: 1 << 30, per_key: u32::MAX };
        let log = MemoryLog::new(settings, &ProofRules::default(), START);
        Self { log, live, keys, reached: Default::default() }
    }

    /// The moment of the insert with this number.
    fn time(&self, number: u64) -> UnixTime {
        START + Duration::from_millis(number * STAY / self.live)
    }

    fn insert(&self, number: u64) {
        let now = self.time(number);
        let thumbprint = Thumbprint(bytes(number % self.keys));
        let proof = SimulatedProof {
            replay_key: ReplayKey(bytes(number)),
            thumbprint,
            issued_at: now,
            nonce: None,
            accepted_until: now + Duration::from_millis(STAY),
        };
        self.log.simulate(&proof, now).unwrap();
    }

    /// Does `act` while `expire` runs beside it every simulated second; tells the most memory that was seen then.
    fn with_upkeep<T>(&self, act: impl FnOnce() -> T) -> (T, u64) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let upkeep = scope.spawn(|| {
                let (mut last, mut most) = (START, 0);
                while !done.load(Relaxed) {
                    let now = self.time(self.reached.iter().map(|number| number.load(Relaxed)).min().unwrap());
                    if now >= last + Duration::from_secs(1) {
                        self.log.expire(now);
                        last = now;
                    }
                    most = most.max(resident());
                    thread::sleep(Duration::from_millis(1));
                }
                most.max(resident())
            });
            let result = act();
            done.store(true, Relaxed);
            (result, upkeep.join().unwrap())
        })
    }
}

/// ns per insert while it fills and when it is full, peak of bytes per live entry, slowest insert in ms.
fn log_at(live: u64, keys: u64) -> [f64; 4] {
    // Small logs are measured again and again, so that there is something to measure.
    let rounds = (1_000_000 / live).max(1);
    let (mut fill, mut insert, mut memory, mut slowest) = (0.0, 0.0, 0, Duration::ZERO);
    for _ in 0..rounds {
        let before = resident();
        let steady = Steady::new(live, keys);
        let act = |number| steady.insert(number);
        fill += steady.with_upkeep(|| spread(0..live, &steady.reached, act)).0;
        let (time, most) = steady.with_upkeep(|| spread(live..2 * live, &steady.reached, act));
        insert += time;
        memory = memory.max(most.saturating_sub(before));
        slowest = slowest.max(steady.with_upkeep(|| slowest_of(2 * live..3 * live, &steady.reached, act)).0);
    }
    let rounds = rounds as f64;
    [fill / rounds, insert / rounds, memory as f64 / live as f64, slowest.as_secs_f64() * 1e3]
}

/// The same of a map that never forgets. The second figure is of the last tenth, when it has its size.
fn peer_at(live: u64) -> [f64; 4] {
    let (before, secret, reached) = (resident(), RandomState::new(), Default::default());
    let map: DashMap<[u8; 16], u64> = DashMap::new();
    let insert = |number: u64| {
        let replay_key = bytes(number);
        // The log hashes the key too.
        std::hint::black_box(secret.hash_one(bytes(number % 100_000)));
        match map.entry(replay_key[..16].try_into().unwrap()) {
            Entry::Vacant(place) => drop(place.insert(number + STAY)),
            Entry::Occupied(_) => panic!("a copy"),
        }
    };
    let most = live * 9 / 10;
    let fill = spread(0..most, &reached, insert);
    let last = spread(most..live, &reached, insert);
    let memory = resident() - before;
    let slowest = slowest_of(live..live + live / 10, &reached, insert);
    [fill, last, memory as f64 / live as f64, slowest.as_secs_f64() * 1e3]
}

/// MiB that the log holds after each five minutes, and after all of it is over.
fn an_hour_at(live: u64) -> Vec<f64> {
    let (before, steady) = (resident(), Steady::new(live, 100_000));
    let inserts = |minutes: u64| minutes * 60_000 * live / STAY;
    let held = || resident().saturating_sub(before) as f64 / f64::from(1 << 20);
    let mut memory = Vec::new();
    for minutes in (0..60).step_by(5) {
        let range = inserts(minutes)..inserts(minutes + 5);
        steady.with_upkeep(|| spread(range, &steady.reached, |number| steady.insert(number)));
        memory.push(held());
    }
    steady.log.expire(steady.time(inserts(60)) + Duration::from_millis(2 * STAY));
    memory.push(held());
    memory
}

/// Does `act` for every number, on all threads, and tells the nanoseconds that a thread needed for one.
fn spread(numbers: Range<u64>, reached: &[AtomicU64; THREADS], act: impl Fn(u64) + Sync) -> f64 {
    let count = numbers.end - numbers.start;
    let times = on_threads(numbers, reached, THREADS, |parts| {
        let start = thread_time();
        parts.for_each(|numbers| numbers.for_each(&act));
        thread_time() - start
    });
    times.iter().sum::<u64>() as f64 / count as f64
}

/// Nanoseconds that this thread has run, from the scheduler's account.
fn thread_time() -> u64 {
    // Brings the account up to date.
    thread::sleep(Duration::from_micros(50));
    let account = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    account.split_whitespace().next().unwrap().parse().unwrap()
}

/// Does `act` for every number on one thread, and tells how long the slowest took.
fn slowest_of(numbers: Range<u64>, reached: &[AtomicU64; THREADS], act: impl Fn(u64) + Sync) -> Duration {
    let times = on_threads(numbers, reached, 1, |parts| {
        let timed = parts.flatten().map(|number| {
            let start = Instant::now();
            act(number);
            start.elapsed()
        });
        timed.max().unwrap_or_default()
    });
    times.into_iter().max().unwrap_or_default()
}

/// Hands the numbers out in small parts, so that no thread runs ahead of the others, and collects the answers.
fn on_threads<T: Send>(
    numbers: Range<u64>,
    reached: &[AtomicU64; THREADS],
    threads: usize,
    act: impl Fn(&mut dyn Iterator<Item = Range<u64>>) -> T + Sync,
) -> Vec<T> {
    let (next, part) = (AtomicU64::new(numbers.start), (numbers.end / 1_000).clamp(10, 1_000));
    let work = |own: usize| {
        act(&mut std::iter::from_fn(|| {
            let first = next.fetch_add(part, Relaxed).min(numbers.end);
            // Whoever does not run must not hold the clock back.
            for reached in &reached[if threads == 1 { 0..THREADS } else { own..own + 1 }] {
                reached.store(first, Relaxed);
            }
            (first < numbers.end).then(|| first..(first + part).min(numbers.end))
        }))
    };
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|own| scope.spawn(move || work(own))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// 32 bytes that look like a hash of `number` (SplitMix64).
fn bytes(number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (word, index) in bytes.chunks_exact_mut(8).zip(1..) {
        let mut z = (4 * number + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes
}

/// The memory of this process, in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
