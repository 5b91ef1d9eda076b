//! Several gateways that share a replay log, in front of one API, and clients that send copies of one proof.

use std::sync::Arc;

use keybound::clock::{Clock, SystemClock};
use keybound::replay::{MemorySettings, RedisSettings, ReplaySettings};
use keybound::server::Server;
use keybound::verify::{Nonces, ProofRules};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::support::keys::{Key, b64};
use crate::support::upstream::Upstream;
use crate::support::wire::{Answer, read_one};
use crate::support::{self, AUDIENCE, HOST, ISSUER, Plan, jwks_of, mint};
use crate::{PATIENCE, eventually, in_time};

const TARGET: &str = "/api/item";

pub struct Fleet {
    pub gateways: Vec<Server>,
    pub upstream: Upstream,
    pub nonces: Option<Nonces>,
    replay: ReplaySettings,
    key: Arc<Key>,
    token: String,
    files: tempfile::TempDir,
}

/// A signed proof as it travels.
#[derive(Clone)]
pub struct Proof {
    request: Arc<[u8]>,
    /// Where its request goes: a query of its own, by which the upstream tells it from others.
    pub target: String,
}

impl Fleet {
    /// Gateways that share this store, ready.
    pub async fn start(size: usize, store: RedisSettings) -> Self {
        Self::with_nonces(size, store, None).await
    }

    /// The same where proofs must hold a nonce of these.
    pub async fn with_nonces(size: usize, store: RedisSettings, nonces: Option<Nonces>) -> Self {
        let mut fleet = Self::unready(store, nonces).await;
        fleet.gateways = (0..size).map(|_| fleet.another()).collect();
        for gateway in &fleet.gateways {
            in_time("a gateway is ready", gateway.ready()).await;
        }
        fleet
    }

    /// Nobody yet.
    pub async fn unready(store: RedisSettings, nonces: Option<Nonces>) -> Self {
        let (issuer_key, key) = (Arc::new(Key::es256()), Arc::new(Key::es256()));
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("jwks.json"), jwks_of(&[("k1", &issuer_key)]).to_string()).unwrap();
        let mut token = mint::access_token(
            ISSUER,
            AUDIENCE,
            &issuer_key,
            json!({"jkt": key.thumbprint()}),
            SystemClock.now().secs(),
        );
        token.claims["exp"] = (SystemClock.now().secs() + 3600).into();
        let replay = ReplaySettings { memory: MemorySettings::default(), shared: Some(store) };
        let upstream = Upstream::start().await;
        Self { gateways: Vec::new(), upstream, nonces, replay, key, token: token.compact(), files }
    }

    /// Gateways that are added from now on trust the same issuer as those of another fleet, and serve the same client.
    pub fn trust(&mut self, other: &Self) {
        std::fs::copy(other.files.path().join("jwks.json"), self.files.path().join("jwks.json")).unwrap();
        (self.key, self.token) = (Arc::clone(&other.key), other.token.clone());
    }

    /// Gateways that are added from now on remember so much by themselves.
    pub const fn remember(&mut self, memory: MemorySettings) {
        self.replay.memory = memory;
    }

    /// One more gateway.
    pub async fn add(&mut self) {
        let gateway = self.another();
        in_time("a gateway is ready", gateway.ready()).await;
        self.gateways.push(gateway);
    }

    /// A gateway that may not be ready yet.
    pub fn another(&self) -> Server {
        self.another_by(Arc::new(SystemClock))
    }

    /// The same, by another clock.
    pub fn another_by(&self, clock: Arc<dyn Clock>) -> Server {
        let proofs = ProofRules { nonces: self.nonces.clone(), ..ProofRules::default() };
        let public_url = Some("https://rs.example");
        let plan = Plan { tls: false, public_url, proofs, replay: self.replay.clone(), ..Plan::default() };
        let settings = support::settings(plan, self.upstream.address, &self.files.path().join("jwks.json"));
        Server::start(settings, clock, None).expect("the gateway starts")
    }

    /// A proof of now.
    pub fn proof(&self) -> Proof {
        self.proof_at(
            SystemClock.now().secs(),
            self.nonces.as_ref().map(|nonces| nonces.mint(SystemClock.now()).unwrap()),
        )
    }

    /// A proof of that second.
    pub fn proof_at(&self, issued_at: i64, nonce: Option<String>) -> Proof {
        self.proof_with(mint::jti(), issued_at, nonce)
    }

    /// A proof of now whose key lies in one of these slots of a cluster. That may take thousands of tries: whatever else the
    /// task waits for is looked after in between.
    pub async fn proof_in(&self, slots: std::ops::Range<u16>) -> Proof {
        let jkt = self.jkt();
        loop {
            let mut some = std::iter::repeat_with(mint::jti).take(64);
            if let Some(jti) = some.find(|jti| slots.contains(&slot(entry(&jkt, jti).as_bytes()))) {
                return self.proof_with(jti, SystemClock.now().secs(), None);
            }
            tokio::task::yield_now().await;
        }
    }

    /// A proof of that second, and the name under which gateways of all versions enter it.
    pub fn proof_and_entry(&self, issued_at: i64) -> (Proof, String) {
        let jti = mint::jti();
        let entry = entry(&self.jkt(), &jti);
        (self.proof_with(jti, issued_at, None), entry)
    }

    fn jkt(&self) -> Vec<u8> {
        keybound::verify::base64url::decode(&self.key.thumbprint()).unwrap()
    }

    fn proof_with(&self, jti: String, issued_at: i64, nonce: Option<String>) -> Proof {
        let mut proof = mint::proof(&self.key, "GET", &format!("https://{HOST}{TARGET}"), issued_at);
        let target = format!("{TARGET}?proof={jti}");
        proof.claims.insert("jti".into(), jti.into());
        proof.claims.insert("ath".into(), mint::ath(&self.token).into());
        if let Some(nonce) = nonce {
            proof.claims.insert("nonce".into(), nonce.into());
        }
        let (token, proof) = (&self.token, proof.compact());
        let text =
            format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}\r\n\r\n");
        Proof { request: text.into_bytes().into(), target }
    }

    /// So many connections, evenly spread.
    pub async fn lines(&self, count: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        for index in 0..count {
            lines.push(Line::to(&self.gateways[index % self.gateways.len()]).await);
        }
        lines
    }

    /// One answer of each gateway to this proof, one after the other.
    pub async fn everywhere(&self, proof: &Proof) -> Vec<u16> {
        let mut statuses = Vec::new();
        for gateway in &self.gateways {
            statuses.push(once(gateway, proof).await.status);
        }
        statuses
    }

    /// Waits until every gateway trusts the store and good requests pass there, as they do for a client that signs
    /// anew for each.
    pub async fn recovers(&self) {
        for gateway in &self.gateways {
            eventually("good requests pass again", async || {
                let passes = once(gateway, &self.proof()).await.status == 200;
                (passes && metric(gateway, "keybound_replay_store_available") == 1).then_some(())
            })
            .await;
        }
    }
}

/// What a proof is entered as.
fn entry(jkt: &[u8], jti: &str) -> String {
    let hash = Sha256::digest([jkt, &[0], jti.as_bytes()].concat());
    format!("keybound:{}", b64(&hash[..16]))
}

/// Where a cluster keeps a key: CRC-16/XMODEM, by its definition.
fn slot(key: &[u8]) -> u16 {
    let mut remainder = 0_u32;
    for byte in key.iter().chain(&[0, 0]) {
        for bit in (0..8).rev() {
            remainder = remainder << 1 | u32::from(byte >> bit & 1);
            if remainder >> 16 == 1 {
                remainder ^= 0x1_1021;
            }
        }
    }
    u16::try_from(remainder % 16384).unwrap()
}

/// What one gateway's metrics say; 0 when there is no such line.
pub fn metric(gateway: &Server, line: &str) -> u64 {
    let gateway = gateway.gateway();
    let text = String::from_utf8(gateway.metrics().render(&gateway.snapshot()).unwrap()).unwrap();
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

pub fn refusals(gateway: &Server, reason: keybound::refusal::Reason) -> u64 {
    metric(gateway, &format!("keybound_refusals_total{{reason=\"{}\",route=\"api\"}}", reason.slug()))
}

/// Sends a proof over a connection of its own.
pub async fn once(gateway: &Server, proof: &Proof) -> Answer {
    Line::to(gateway).await.send(proof).await
}

/// A kept connection to one gateway.
pub struct Line(BufReader<TcpStream>);

impl Line {
    pub async fn to(gateway: &Server) -> Self {
        let stream = TcpStream::connect(gateway.addresses()[0]).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub async fn send(&mut self, proof: &Proof) -> Answer {
        self.send_to_whoever_is_left(proof).await.expect("an answer")
    }

    /// The same, where the gateway may be gone.
    async fn send_to_whoever_is_left(&mut self, proof: &Proof) -> std::io::Result<Answer> {
        let exchange = async {
            self.0.write_all(&proof.request).await?;
            read_one(&mut self.0, false).await
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }
}

/// Sends copies of one proof over all lines at once.
pub async fn volley(lines: &mut [Line], proof: &Proof) -> Vec<u16> {
    let sending = lines.iter_mut().map(|line| async { line.send(proof).await.status });
    futures_util::future::join_all(sending).await
}

/// The same, while gateways end: 0 is no answer.
pub async fn volley_at_whoever_is_left(lines: &mut [Line], proof: &Proof) -> Vec<u16> {
    let sending = lines
        .iter_mut()
        .map(|line| async { line.send_to_whoever_is_left(proof).await.map_or(0, |answer| answer.status) });
    futures_util::future::join_all(sending).await
}

pub fn passed(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status == 200).count()
}

pub fn refused(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status == 401).count()
}
