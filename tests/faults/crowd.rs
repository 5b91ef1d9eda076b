//! Those who go on whatever happens: clients with a fresh proof for each request, a thief who repeats what was accepted, and a
//! stranger who has a stolen token alone. In the end every request is accounted for.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::api::Api;
use crate::stage::{Stage, message, now};
use crate::support::keys::Key;
use crate::support::wire::{Http, Message, Stream, read_answer};
use crate::support::{HOST, mint};
use crate::{eventually, in_time};

const CLIENTS: usize = 3;

/// The client that connects for each request; the others keep their connections.
const NEWCOMER: usize = 0;

/// Between two requests of one client: they share a machine with all that is tested.
const PAUSE: Duration = Duration::from_millis(5);

/// Longer than that, nobody may be left without an answer or an end of the connection.
const WAIT: Duration = Duration::from_secs(30);

/// A request of a good client, and what became of it.
struct Sent {
    client: usize,
    message: Message,
    /// `None`: the connection failed, and the client was told so.
    status: Option<u16>,
    took: Duration,
    when: Instant,
}

/// What everybody does until the crowd is dismissed.
struct Shared {
    stage: Arc<Stage>,
    address: SocketAddr,
    sent: Mutex<Vec<Sent>>,
    /// What thief and stranger were told, each with how often.
    told: Mutex<BTreeMap<(&'static str, u16), usize>>,
    number: AtomicUsize,
    stop: AtomicBool,
}

/// They end with this.
pub struct Crowd {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What became of all requests.
#[derive(Debug)]
pub struct Account {
    /// How many of the good clients' requests had this status; 0 for those whose connection failed.
    pub good: BTreeMap<u16, usize>,
    /// The slowest answer with status 200.
    pub slowest: Duration,
}

impl Crowd {
    pub fn gathers(stage: &Arc<Stage>, address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            stage: Arc::clone(stage),
            address,
            sent: Mutex::default(),
            told: Mutex::default(),
            number: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let mut tasks: Vec<_> = (0..CLIENTS).map(|client| tokio::spawn(asks(Arc::clone(&shared), client))).collect();
        tasks.push(tokio::spawn(repeats(Arc::clone(&shared))));
        tasks.push(tokio::spawn(tries(Arc::clone(&shared))));
        Self { shared, tasks }
    }

    /// Waits until each of the clients has had so many answers more that `fits`, counted from now.
    pub async fn each_gets(&self, what: &str, count: usize, fits: impl Fn(Option<u16>) -> bool) {
        // What was asked before does not count.
        let begun = Instant::now();
        eventually(what, async || {
            let sent = self.shared.sent.lock().unwrap();
            // They are in the order of their answers.
            let latest = || sent.iter().rev().take(1_000).filter(|sent| sent.when >= begun && fits(sent.status));
            (0..CLIENTS).all(|client| latest().filter(|sent| sent.client == client).count() >= count).then_some(())
        })
        .await;
    }

    /// Waits until good requests pass.
    pub async fn passes(&self) {
        self.each_gets("good requests pass", 5, |status| status == Some(200)).await;
    }

    /// Waits until each client has had this answer a few times.
    pub async fn is_told(&self, status: u16) {
        self.each_gets(&format!("answers of {status}"), 2, |had| had == Some(status)).await;
    }

    /// How long 99 of 100 answers since then took at most: over kept connections, and over new ones, and how many they were.
    pub fn p99(&self, since: Instant) -> [(Duration, usize); 2] {
        let sent = self.shared.sent.lock().unwrap();
        [false, true].map(|new| {
            let fits = |sent: &&Sent| sent.when >= since && (sent.client == NEWCOMER) == new;
            let mut took: Vec<Duration> = sent.iter().filter(fits).map(|sent| sent.took).collect();
            took.sort();
            (took.get(took.len() * 99 / 100).copied().unwrap_or_default(), took.len())
        })
    }

    /// The thief repeats everything that was accepted so far, at once and each in vain.
    pub async fn is_robbed_in_vain(&self) {
        let accepted: Vec<Message> = {
            let sent = self.shared.sent.lock().unwrap();
            sent.iter().filter(|sent| sent.status == Some(200)).map(|sent| sent.message.clone()).collect()
        };
        assert!(!accepted.is_empty(), "there is something to steal");
        let mut line = Line::default();
        for message in accepted {
            let status = eventually("an answer for the thief", async || line.send(&self.shared, &message).await).await;
            assert!(matches!(status, 401 | 503), "{status} for what was accepted before");
        }
    }

    /// Sends everybody home. Of each request that was answered with 200 exactly one has arrived; of those that went wrong on
    /// the way no more than one; of those that were refused, of the thief's and of the stranger's none.
    pub async fn goes(self, api: &Api, allowed: &[u16]) -> Account {
        self.goes_beside(api, allowed, &[]).await
    }

    /// The same where others have sent these, whatever became of them.
    pub async fn goes_beside(mut self, api: &Api, allowed: &[u16], others: &[&str]) -> Account {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            in_time("the end of a client", task).await.unwrap();
        }
        // What was given up may still be on its way there.
        sleep(Duration::from_millis(50)).await;
        let mut arrived = HashMap::<String, usize>::new();
        for seen in api.seen().into_iter().filter(|seen| seen.target.starts_with("/api/")) {
            *arrived.entry(seen.target).or_default() += 1;
        }
        let (mut good, mut slowest) = (BTreeMap::new(), Duration::ZERO);
        for sent in self.shared.sent.lock().unwrap().iter() {
            let count = arrived.remove(&sent.message.target).unwrap_or_default();
            let (least, most) = match sent.status {
                Some(200) => (1, 1),
                Some(502 | 504) | None => (0, 1),
                Some(_) => (0, 0),
            };
            let (target, status) = (&sent.message.target, sent.status);
            assert!((least..=most).contains(&count), "{target}: {count} arrived, and the client heard {status:?}");
            assert!(status.is_none_or(|status| allowed.contains(&status)), "{target}: {status:?}");
            assert!(sent.took < WAIT, "{target}: {status:?} after {:?}", sent.took);
            *good.entry(status.unwrap_or_default()).or_default() += 1;
            if status == Some(200) {
                slowest = slowest.max(sent.took);
            }
        }
        arrived.retain(|target, _| !others.contains(&target.as_str()));
        assert!(arrived.is_empty(), "nobody may have sent these: {arrived:?}");
        let told = self.shared.told.lock().unwrap().clone();
        for ((who, status), count) in &told {
            assert!(matches!(status, 401 | 429 | 503), "{who} was told {status}, {count} times");
        }
        for who in ["thief", "stranger"] {
            let refused: usize = told.iter().filter(|((name, _), _)| *name == who).map(|(_, count)| count).sum();
            assert!(refused > 0, "the {who} tried");
        }
        let account = Account { good, slowest };
        println!("{account:?}, others {told:?}");
        account
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A kept connection, made anew when it fails.
#[derive(Default)]
struct Line(Option<Box<dyn Stream>>);

impl Line {
    async fn send(&mut self, shared: &Shared, message: &Message) -> Option<u16> {
        let exchange = async {
            let mut stream = match self.0.take() {
                Some(stream) => stream,
                None => shared.stage.dialer(shared.address).connect(Http::One).await?,
            };
            stream.write_all(&message.to_bytes()).await?;
            let answer = read_answer(&mut *stream, false).await?;
            if answer.header("connection") != Some("close") {
                self.0 = Some(stream);
            }
            io::Result::Ok(answer.status)
        };
        timeout(WAIT, exchange).await.ok()?.ok()
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn next(&self, who: &str) -> String {
        format!("/api/{who}/{}", self.number.fetch_add(1, Ordering::SeqCst))
    }

    fn tells(&self, who: &'static str, status: Option<u16>) {
        if let Some(status) = status {
            *self.told.lock().unwrap().entry((who, status)).or_default() += 1;
        }
    }
}

async fn asks(shared: Arc<Shared>, client: usize) {
    let (mut line, token) = (Line::default(), shared.stage.token().compact());
    while shared.goes_on() {
        let message = shared.stage.call_with(&shared.next("good"), &token);
        let when = Instant::now();
        if client == NEWCOMER {
            line = Line::default();
        }
        let status = line.send(&shared, &message).await;
        shared.sent.lock().unwrap().push(Sent { client, message, status, took: when.elapsed(), when });
        sleep(PAUSE).await;
    }
}

/// Repeats the latest request that was accepted.
async fn repeats(shared: Arc<Shared>) {
    let mut line = Line::default();
    while shared.goes_on() {
        let latest = {
            let sent = shared.sent.lock().unwrap();
            sent.iter().rev().find(|sent| sent.status == Some(200)).map(|sent| sent.message.clone())
        };
        if let Some(message) = latest {
            let status = line.send(&shared, &message).await;
            shared.tells("thief", status);
        }
        sleep(PAUSE).await;
    }
}

/// Has a good token, and no key.
async fn tries(shared: Arc<Shared>) {
    let (mut line, stage) = (Line::default(), &shared.stage);
    let other = Arc::new(Key::es256());
    let token = stage.token_of(json!({"jkt": stage.key.thumbprint()})).compact();
    while shared.goes_on() {
        let path = shared.next("stranger");
        let mut proof = mint::proof(&other, "GET", &format!("https://{HOST}{path}"), now());
        proof.claims.insert("ath".into(), mint::ath(&token).into());
        let credentials = format!("DPoP {token}");
        let attempts = [
            message(&path, &[]),
            message(&path, &[("Authorization", &format!("Bearer {token}"))]),
            message(&path, &[("Authorization", &credentials)]),
            message(&path, &[("Authorization", &credentials), ("DPoP", &proof.compact())]),
            // Signed for another path.
            message(
                &path,
                &[("Authorization", &credentials), ("DPoP", &stage.proof(&token, "GET", "/api/x").compact())],
            ),
        ];
        for attempt in attempts {
            let status = line.send(&shared, &attempt).await;
            shared.tells("stranger", status);
            sleep(PAUSE).await;
        }
    }
}
