//! Where attacks are tried: one gateway in front of one upstream, and an account of every request that may have arrived
//! there.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::origin::{Kind, Origin};
use crate::stage::{Configuration, Gateway, Stage};
use crate::support::wire::{Answer, Http, Message, Stream, read_answer};
use crate::support::{HOST, mint};
use crate::{eventually, in_time};

/// Which door an attack takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A route without checks.
    Open,
    /// A route that wants a token and a proof. The attacker has both.
    Proven,
}

pub const DOORS: [Door; 2] = [Door::Open, Door::Proven];

/// What must hold of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Refused with 4xx or 505, or without a word; the connection ends, and nothing arrives.
    Refused,
    /// Refused with 4xx, and nothing arrives. Where it ends is beyond doubt, so that the connection may go on.
    Denied,
    /// One request arrives and is answered with 200.
    Once,
    /// Answered, whatever it is, and at most one request arrives. What stands behind it is refused, and the connection ends.
    Answered,
    /// Refused, but later than its head could be read: at most the beginning of one request arrives, never its end.
    CutShort,
}

/// How long the gateway waits for an upstream.
pub const RESPONSE_TIMEOUT: &str = "20s";

pub struct Range {
    pub stage: Stage,
    pub origin: Origin,
    pub gateway: Gateway,
    account: Mutex<Account>,
    played: AtomicUsize,
}

/// What may arrive: request lines without the version, each once.
#[derive(Default)]
struct Account {
    /// Whether it must.
    expected: HashMap<String, bool>,
    /// What arrived and was not expected, or arrived twice.
    strays: Vec<String>,
    /// How many lines were read.
    read: usize,
}

impl Account {
    fn read(&mut self, origin: &Origin) {
        for line in origin.seen(self.read) {
            self.read += 1;
            let known: Vec<&str> = line.split(' ').take(2).collect();
            if self.expected.remove(&known.join(" ")).is_none() {
                self.strays.push(line);
            }
        }
    }
}

impl Range {
    pub async fn set(kind: Kind) -> Self {
        Self::set_with(kind, |_| {}).await
    }

    pub async fn set_with(kind: Kind, change: impl FnOnce(&mut Configuration)) -> Self {
        let (stage, origin) = (Stage::set().await, Origin::start(kind).await);
        let upstream = origin.address;
        let gateway = stage
            .gateway_with(|configuration| {
                let route = |name: &str, prefix: &str, access: &str| {
                    format!(
                        "\n  - {{ name: {name}, match: {{ path_prefix: {prefix} }}, upstream: it, access: {access} }}"
                    )
                };
                configuration.routes = route("private", "/private", "{ scopes: [private] }")
                    + &route("api", "/api", "{}")
                    + &route("open", "/", "{ mode: public }");
                configuration.replay += &format!(
                    "\nupstreams: {{ it: {{ endpoints: ['http://{upstream}'], response_timeout: {RESPONSE_TIMEOUT} }} }}"
                );
                change(configuration);
            })
            .await;
        Self { stage, origin, gateway, account: Mutex::default(), played: AtomicUsize::new(0) }
    }

    /// A path that no other attack has.
    pub fn path(&self, door: Door) -> String {
        let number = self.played.fetch_add(1, Ordering::Relaxed);
        match door {
            Door::Open => format!("/open/{number}"),
            Door::Proven => format!("/api/{number}"),
        }
    }

    /// Field lines that the door wants.
    pub fn credentials(&self, door: Door, method: &str, path: &str) -> Vec<(String, String)> {
        if door == Door::Open {
            return Vec::new();
        }
        let token = self.stage.token().compact();
        let proof = self.stage.proof(&token, method, path).compact();
        vec![("Authorization".to_owned(), format!("DPoP {token}")), ("DPoP".to_owned(), proof)]
    }

    /// The same for a token that may read the secret.
    pub fn secret_credentials(&self, path: &str) -> Vec<(String, String)> {
        let mut token = self.stage.token_of(json!({"jkt": self.stage.key.thumbprint()}));
        token.claims.insert("scope".into(), "private".into());
        let token = token.compact();
        let mut proof = mint::proof(&self.stage.key, "GET", &format!("https://{HOST}{path}"), crate::stage::now());
        proof.claims.insert("ath".into(), mint::ath(&token).into());
        vec![("Authorization".to_owned(), format!("DPoP {token}")), ("DPoP".to_owned(), proof.compact())]
    }

    pub fn message(&self, method: &str, path: &str, fields: Vec<(String, String)>) -> Message {
        Message {
            method: method.to_owned(),
            target: path.to_owned(),
            host: Some(HOST.to_owned()),
            headers: fields.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
            body: Vec::new(),
        }
    }

    /// Says that this request line may have arrived, or must have.
    pub fn expect(&self, method: &str, path: &str, must: bool) {
        self.account.lock().unwrap().expected.insert(format!("{method} {path}"), must);
    }

    /// A good request on a connection of its own passes, and nothing but what is expected has arrived.
    pub async fn is_well(&self, door: Door, after: &str) {
        let path = self.path(door);
        self.expect("GET", &path, true);
        let message = self.message("GET", &path, self.credentials(door, "GET", &path));
        let answer = self.gateway.dialer().send(Http::One, &message).await.unwrap();
        let kind = self.origin.kind;
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{kind:?}: a good request after {after}");
        eventually("what must arrive", async || {
            let mut account = self.account.lock().unwrap();
            account.read(&self.origin);
            (!account.expected.values().any(|must| *must)).then_some(())
        })
        .await;
        let strays = self.strays();
        assert!(strays.is_empty(), "{kind:?}: {strays:?} arrived after {after}");
    }

    /// What must have arrived need not: its attack has failed, and was told of.
    pub fn forgives(&self) {
        let mut account = self.account.lock().unwrap();
        account.expected.values_mut().for_each(|must| *must = false);
        account.strays.clear();
    }

    /// What arrived and was not expected, or arrived twice.
    pub fn strays(&self) -> Vec<String> {
        let mut account = self.account.lock().unwrap();
        account.read(&self.origin);
        account.strays.clone()
    }

    pub async fn connect(&self, http: Http) -> Box<dyn Stream> {
        in_time("a connection", self.gateway.dialer().connect(http)).await.unwrap()
    }

    /// Plays bytes over HTTP/1.1 and sees whether this holds of them. `method` and `path` are how the one request would
    /// arrive; `leaves` says that the client is gone after the last byte.
    pub async fn play(&self, what: &str, bytes: &[u8], method: &str, path: &str, holds: Holds, leaves: bool) {
        let context = format!("{:?}: {what}\n{}", self.origin.kind, shown(bytes));
        match holds {
            Holds::Once => self.expect(method, path, true),
            Holds::CutShort | Holds::Answered => self.expect(method, path, false),
            Holds::Refused | Holds::Denied => {}
        }
        let mut stream = self.connect(Http::One).await;
        // The gateway may have had enough before all is written.
        let _ = stream.write_all(bytes).await;
        if leaves {
            let _ = stream.shutdown().await;
            let _ = rest(&mut *stream).await;
            return;
        }
        let first = in_time(&format!("an answer to {context}"), read_answer(&mut *stream, method == "HEAD")).await;
        if holds == Holds::Answered {
            first.unwrap_or_else(|error| panic!("{context}\n{error}"));
            let second = in_time("the second answer", read_answer(&mut *stream, false)).await;
            let second = second.unwrap_or_else(|error| panic!("{context}\n{error}"));
            assert_eq!((second.status, second.header("connection")), (400, Some("close")), "{context}\n{second:?}");
            let rest = rest(&mut *stream).await;
            assert!(rest.is_empty(), "a third answer to {context}\n{}", shown(&rest));
            return;
        }
        match (holds, &first) {
            (Holds::Answered, _) => {}
            (Holds::Once, Ok(answer)) => assert_eq!(answer.status, 200, "{context}\n{answer:?}"),
            (Holds::Once, Err(error)) => panic!("{context}\n{error}"),
            (Holds::Denied, Ok(answer)) => assert!(is_refusal(answer), "{context}\n{answer:?}"),
            (Holds::Denied, Err(error)) => panic!("{context}\n{error}"),
            (Holds::Refused | Holds::CutShort, Ok(answer)) => assert!(is_refusal(answer), "{context}\n{answer:?}"),
            (Holds::Refused | Holds::CutShort, Err(_)) => return,
        }
        let ends = first.as_ref().is_ok_and(|answer| {
            let says = answer.header("content-length").or(answer.header("transfer-encoding"));
            answer.header("connection") == Some("close") || says.is_none() && method != "HEAD"
        });
        if holds == Holds::Refused || holds == Holds::CutShort {
            assert!(ends, "the connection goes on after {context}\n{first:?}");
        }
        if ends {
            let rest = rest(&mut *stream).await;
            assert!(rest.is_empty(), "a second answer to {context}\n{}", shown(&rest));
            return;
        }
        // Whatever is left of the attack would stand before this, or be taken for more of it.
        let last = self.path(Door::Open);
        self.expect("GET", &last, true);
        let bytes = format!("GET {last} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let answer = in_time("an answer to the next request", read_answer(&mut *stream, false)).await;
        let answer = answer.unwrap_or_else(|error| panic!("no answer to the next request after {context}\n{error}"));
        assert_eq!(answer.status, 200, "the next request after {context}\n{answer:?}");
        let rest = rest(&mut *stream).await;
        assert!(rest.is_empty(), "a second answer to {context}\n{}", shown(&rest));
    }
}

fn is_refusal(answer: &Answer) -> bool {
    (400..500).contains(&answer.status) || answer.status == 505
}

/// Everything that still comes.
pub async fn rest(stream: &mut dyn Stream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    let ended: io::Result<usize> = read.expect("the connection ends");
    // Without a farewell is an end, too.
    drop(ended);
    rest
}

/// For messages of failed assertions.
pub fn shown(bytes: &[u8]) -> String {
    let text = bytes[..bytes.len().min(1_500)].escape_ascii().to_string();
    text.replace("\\r\\n", "\\r\\n\n")
}
