//! Good, bad and changing, mixed, for as long as `KEYBOUND_SOAK` says (seconds; without it a moment): nothing leaks, nothing
//! slows down, and the counters add up exactly.
//!
//! `KEYBOUND_SOAK=3600 cargo test --locked --config tests/optimized.toml --test lifecycle soak -- --nocapture`

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{MissedTickBehavior, interval};

use crate::process::Program;
use crate::samples::Scrape;
use crate::stage::{Gateway, Stage, message};
use crate::support::keys::Key;
use crate::support::mint::bent;
use crate::support::wire::{Message, Stream, read_answer};
use crate::{eventually, in_time};

const CLIENTS: u64 = 16;

/// The share of what the gateway can do at most that it is asked for.
const LOAD: f64 = 0.7;

/// What one client sends in turn, and what it is answered.
const MIX: [(Request, u16); 20] = {
    use Request::*;
    [
        (Good, 200),
        (Open, 200),
        (Good, 200),
        (Replayed, 401),
        (Good, 200),
        (WithoutScope, 403),
        (Good, 200),
        (Good, 200),
        (BadSignature, 401),
        (Good, 200),
        (UpstreamDown, 502),
        (Good, 200),
        (Stale, 401),
        (Good, 200),
        (Open, 200),
        (Nothing, 401),
        (Good, 200),
        (Nowhere, 404),
        (Good, 200),
        (AsBearer, 401),
    ]
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Request {
    Good,
    Open,
    /// The good one before it, once more.
    Replayed,
    WithoutScope,
    BadSignature,
    Stale,
    UpstreamDown,
    Nothing,
    Nowhere,
    AsBearer,
}

/// One client with a key of its own.
struct Client<'s> {
    stage: &'s Stage,
    key: Arc<Key>,
    token: String,
    expires: Instant,
    last: Option<Message>,
}

impl<'s> Client<'s> {
    fn new(stage: &'s Stage) -> Self {
        let mut client =
            Self { stage, key: Arc::new(Key::es256()), token: String::new(), expires: Instant::now(), last: None };
        client.renew();
        client
    }

    /// Tokens last for five minutes.
    fn renew(&mut self) {
        self.token = self.stage.token_of(json!({"jkt": self.key.thumbprint()})).compact();
        self.expires = Instant::now() + Duration::from_secs(240);
    }

    fn message(&mut self, request: Request) -> Message {
        if self.expires < Instant::now() {
            self.renew();
        }
        let path = match request {
            Request::WithoutScope => "/admin-api/item",
            Request::UpstreamDown => "/down/item",
            Request::Open => return message("/open/item", &[]),
            Request::Nowhere => return message("/nowhere", &[]),
            Request::Nothing => return message("/api/item", &[]),
            Request::AsBearer => return message("/api/item", &[("Authorization", &format!("Bearer {}", self.token))]),
            Request::Replayed => return self.last.clone().expect("a good one came before"),
            Request::Good | Request::BadSignature | Request::Stale => "/api/item",
        };
        let mut proof = self.stage.proof_by(&self.key, &self.token, "GET", path);
        match request {
            Request::BadSignature => proof.edit_signature = Some(bent),
            Request::Stale => drop(proof.claims.insert("iat".into(), json!(crate::stage::now() - 600))),
            _ => {}
        }
        let fields = [("Authorization", &*format!("DPoP {}", self.token)), ("DPoP", &proof.compact())];
        let message = message(path, &fields);
        if request == Request::Good {
            self.last = Some(message.clone());
        }
        message
    }
}

/// What clients saw.
#[derive(Default)]
struct Seen {
    answers: BTreeMap<(Request, u16), u64>,
    /// Milliseconds of good requests, in the order in which they were answered.
    latencies: Vec<f32>,
}

impl Seen {
    fn count(&self, fits: impl Fn(Request, u16) -> bool) -> u64 {
        self.answers.iter().filter(|((request, status), _)| fits(*request, *status)).map(|(_, count)| count).sum()
    }

    fn add(&mut self, other: Self) {
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
        self.latencies.extend(other.latencies);
    }
}

/// Sends until `stop`, a request every so often; `None`: as soon as the last was answered.
async fn drive(gateway: &Gateway, client: &mut Client<'_>, every: Option<Duration>, stop: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut connection: Box<dyn Stream> = gateway.connect().await;
    let mut clock = every.map(interval);
    if let Some(clock) = &mut clock {
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    // A connection is not for ever: a few hundred requests, as with many clients.
    for (number, (request, expected)) in MIX.iter().cycle().enumerate() {
        if Instant::now() > stop {
            break;
        }
        if number % 500 == 499 {
            connection = gateway.connect().await;
        }
        if let Some(clock) = &mut clock {
            clock.tick().await;
        }
        let bytes = client.message(*request).to_bytes();
        let sent = Instant::now();
        connection.write_all(&bytes).await.unwrap();
        let answer = in_time("an answer", read_answer(&mut *connection, false)).await.unwrap();
        assert_eq!(answer.status, *expected, "{request:?}: {}", answer.text());
        *seen.answers.entry((*request, answer.status)).or_default() += 1;
        if *request == Request::Good {
            seen.latencies.push(sent.elapsed().as_secs_f32() * 1e3);
        }
    }
    seen
}

async fn drive_all(gateway: &Gateway, clients: &mut [Client<'_>], every: Option<Duration>, time: Duration) -> Seen {
    let stop = Instant::now() + time;
    let all = clients.iter_mut().map(|client| drive(gateway, client, every, stop));
    let mut seen = Seen::default();
    for one in futures_util::future::join_all(all).await {
        seen.add(one);
    }
    seen
}

/// What the process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn by(program: &Program) -> Self {
        let count = |what: &str| fs::read_dir(format!("/proc/{}/{what}", program.id())).unwrap().count();
        Self { kib: program.memory("VmRSS") / 1024, descriptors: count("fd"), threads: count("task") }
    }
}

/// Milliseconds.
fn p99(latencies: &[f32]) -> f32 {
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted[sorted.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak() {
    let asked: Option<u64> = std::env::var("KEYBOUND_SOAK").ok().map(|seconds| seconds.parse().expect("seconds"));
    let quarter = Duration::from_secs(asked.unwrap_or(4)) / 4;
    let stage = Stage::set().await;
    stage.api.counts_only();
    let quiet = "{ access_log: false }".to_owned();
    let gateway = stage.gateway_with(|configuration| configuration.telemetry = quiet.clone()).await;
    let mut clients: Vec<Client<'_>> = (0..CLIENTS).map(|_| Client::new(&stage)).collect();

    let (mut all, began) = (Seen::default(), Instant::now());
    all.add(drive_all(&gateway, &mut clients, None, Duration::from_secs(2)).await);
    let most = all.count(|_, _| true) as f64 / began.elapsed().as_secs_f64();
    let every = Duration::from_secs_f64(CLIENTS as f64 / (most * LOAD));
    println!("{most:.0} requests a second at most; from now on {:.0}", most * LOAD);

    let (running, reloads) = (AtomicBool::new(true), AtomicU64::new(0));
    let change = async {
        while running.load(Relaxed) {
            stage.changes(|configuration| {
                configuration.telemetry.clone_from(&quiet);
                configuration.limits = format!("{{ body_bytes: {}MiB }}", 1 + reloads.load(Relaxed) % 2);
            });
            gateway.program.signal("HUP");
            let before = reloads.fetch_add(1, Relaxed);
            eventually("a reload", async || (gateway.reloads().await.0 > before as f64).then_some(())).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let load = async {
        let mut quarters = Vec::new();
        for _ in 0..4 {
            let seen = drive_all(&gateway, &mut clients, Some(every), quarter).await;
            let held = Held::by(&gateway.program);
            println!("p99 {:.2} ms of {} good requests, {held:?}", p99(&seen.latencies), seen.latencies.len());
            quarters.push((p99(&seen.latencies), held));
            all.add(Seen { latencies: Vec::new(), ..seen });
        }
        running.store(false, Relaxed);
        quarters
    };
    let ((), quarters) = tokio::join!(change, load);

    let scrape = gateway.scrape().await;
    adds_up(&scrape, &all, stage.api.count() as u64);
    let answers = all.count(|_, _| true);
    assert_eq!(gateway.reloads().await.1, 0.0, "reloads that were refused");
    println!("{answers} answers, {} reloads: every counter adds up", reloads.load(Relaxed));
    let ([(_, _), (early, before), .., (late, after)], true) = (&quarters[..], reloads.load(Relaxed) > 0) else {
        panic!("{quarters:?}")
    };
    assert!(after.descriptors <= before.descriptors + 8, "descriptors: {before:?}, {after:?}");
    assert_eq!(after.threads, before.threads);
    // A moment is too short to tell: proofs are remembered for a minute and a half.
    if asked.is_some_and(|seconds| seconds >= 600) {
        assert!(after.kib < before.kib * 11 / 10, "memory: {before:?}, {after:?}");
        assert!(late < &(early * 1.5), "p99: {early} ms, then {late} ms");
    }
}

/// What clients saw is what the gateway counted.
fn adds_up(scrape: &Scrape, seen: &Seen, arrived: u64) {
    let sum = |name: &str, labels: &[(&str, &str)]| scrape.sum(name, labels) as u64;
    let requests = |label: &str, value: &str| sum("keybound_requests_total", &[(label, value)]);
    for status in [200, 401, 403, 404, 502] {
        assert_eq!(requests("code", &status.to_string()), seen.count(|_, seen| seen == status), "{status}");
    }
    let [allowed, refused, open, failed] =
        ["allow", "refuse", "public", "error"].map(|decision| requests("decision", decision));
    assert_eq!(allowed + refused + open + failed, seen.count(|_, _| true));
    assert_eq!(allowed, seen.count(|request, _| request == Request::Good));
    assert_eq!(open, seen.count(|request, _| request == Request::Open));
    assert_eq!(failed, seen.count(|request, _| request == Request::UpstreamDown));
    assert_eq!(sum("keybound_refusals_total", &[]), refused + failed);
    // What a token may do is asked when its proof is spent.
    let accepted = allowed + failed + seen.count(|request, _| request == Request::WithoutScope);
    assert_eq!(sum("keybound_replay_inserts_total", &[]), accepted, "proofs that were accepted");
    assert_eq!(arrived, allowed + open, "requests at the API");
    for (reason, request) in [
        ("proof_replayed", Request::Replayed),
        ("proof_signature", Request::BadSignature),
        ("proof_stale", Request::Stale),
        ("scope_missing", Request::WithoutScope),
        ("credentials_missing", Request::Nothing),
        ("dpop_token_as_bearer", Request::AsBearer),
    ] {
        assert_eq!(
            sum("keybound_refusals_total", &[("reason", reason)]),
            seen.count(|seen, _| seen == request),
            "{reason}"
        );
    }
}
