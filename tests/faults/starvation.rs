//! Who wants all of a gateway for himself: its connections, its time, its memory, its issuer. Good clients pass all the while,
//! limits answer as they are documented, and memory comes back.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::in_time;
use crate::siege::{Siege, full, how_many};
use crate::stage::{Configuration, Gateway, Stage, message, now};
use crate::support::HOST;
use crate::support::keys::{Key, b64};
use crate::support::mint::{self, jti};
use crate::support::upstream::Upstream;
use crate::support::wire::{Http, Message, Stream, h2_exchange, read_answer};

/// One run of slowhttptest, which ends by itself, or with this.
struct Slow {
    child: Child,
    table: PathBuf,
}

/// What it saw in a second: how many connections were ended, waited, and stood, and whether a request of its own was answered.
struct Second {
    closed: usize,
    connected: usize,
    available: bool,
}

impl Slow {
    fn start(folder: &Path, arguments: &[&str], connections: usize, url: &str, seconds: usize) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop/debian/usr/bin/slowhttptest");
        // All of them in the first half of the time.
        let [count, rate] = [connections, connections.div_ceil(seconds / 2)].map(|n| n.to_string());
        let output = folder.join(format!("slow{}", arguments[0]));
        // It gets what the gateway and its clients leave of the processors, as if it came from another machine.
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(program);
        command.args(arguments).args(["-c", &count, "-r", &rate, "-l", &seconds.to_string(), "-u", url]);
        command.args(["-p", "5", "-g", "-o"]).arg(&output);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("slowhttptest is there: run `make test`, which installs it first");
        Self { child, table: output.with_added_extension("csv") }
    }

    /// What it says when it is through, second by second.
    fn says(mut self) -> Vec<Second> {
        assert!(self.child.wait().unwrap().success());
        let text = std::fs::read_to_string(&self.table).unwrap();
        let rows = text.lines().skip(1).map(|line| {
            let cells: Vec<usize> = line.split(',').map(|cell| cell.trim().parse().unwrap()).collect();
            let [_, closed, _, connected, available] = cells[..] else { panic!("{line}") };
            Second { closed, connected, available: available > 0 }
        });
        rows.collect()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn slowhttptest_in_all_its_modes_at_once() {
    let siege = Siege::of("slowhttptest", |configuration| {
        configuration.limits = "{ header_timeout: 2s, handshake_timeout: 2s, idle_timeout: 2s }".to_owned();
        patient(configuration, "2s");
    });
    let siege = siege.await;
    let (connections, seconds) = (how_many(150, 4_900), how_many(6, 60));
    let url = |path: &str| format!("https://{}{path}", siege.gateway.address);
    let modes = [
        ("slow headers", &["-H", "-i", "1", "-x", "24", "-t", "GET"][..], url("/open/slow")),
        ("slow bodies", &["-B", "-i", "3", "-s", "8192", "-x", "10", "-t", "POST"], url("/open/slow")),
        ("ranges", &["-R", "-a", "10", "-b", "3000", "-t", "HEAD"], url("/open/slow")),
        ("slow reading", &["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "32", "-k", "3"], url("/open/large")),
    ];
    let runs = modes.map(|(name, arguments, url)| {
        let run = Slow::start(siege.stage.folder.path(), arguments, connections, &url, seconds);
        (name, tokio::task::spawn_blocking(move || run.says()))
    });
    for (name, run) in runs {
        let seconds = run.await.unwrap();
        let [closed, most] = [|s: &Second| s.closed, |s: &Second| s.connected].map(|of| seconds.iter().map(of).max());
        let away = seconds.iter().filter(|second| !second.available).count();
        println!(
            "{name}: {connections} connections, {most:?} at once, {closed:?} ended, {away} seconds without an answer"
        );
        assert_eq!(away, 0, "{name}: its own requests are answered");
        assert!(
            name != "slow headers" || closed >= Some(connections / 2),
            "{name}: {closed:?} of {connections} are cut"
        );
    }
    let scrape = siege.gateway.scrape().await;
    let refused = |reason: &str| scrape.sum("keybound_refusals_total", &[("reason", reason)]);
    println!("uploads given up: {}", refused("client_slow"));
    assert!(refused("client_slow") > 0.0, "slow bodies are told so");
    siege.ends(&[]).await;
}

/// All routes lead to an upstream with this response timeout.
fn patient(configuration: &mut Configuration, timeout: &str) {
    let at = configuration.routes.find("http://").unwrap();
    let url = configuration.routes[at..].split('\'').next().unwrap().to_owned();
    configuration.routes = configuration.routes.replace(&format!("'{url}'"), "api");
    configuration.replay += &format!("\nupstreams: {{ api: {{ endpoints: ['{url}'], response_timeout: {timeout} }} }}");
}

#[tokio::test]
async fn connections_that_say_nothing() {
    let siege = Siege::of("connections", |_| {}).await;
    let each = how_many(150, 4_850);
    let held = siege.by(4, move |_, gateway, _| async move {
        let mut held = Vec::new();
        for _ in 0..each {
            // Not within the runtime's own patience for one.
            let Ok(connection) = gateway.dialer().connect(Http::One).await else { break };
            held.push(connection);
        }
        let all = held.len();
        // Good clients among them.
        tokio::time::sleep(Duration::from_secs(how_many(1, 10) as u64)).await;
        all
    });
    let held: usize = held.await.into_iter().sum();
    println!("{held} connections were held");
    assert_eq!(held, 4 * each);
    siege.ends(&[]).await;
}

/// Who begins handshakes and leaves: before the hello, in the midst of it, after it, and at the end of the handshake.
#[tokio::test]
async fn floods_of_handshakes() {
    let siege = Siege::of("handshakes", |configuration| {
        configuration.limits = "{ handshake_timeout: 1s }".to_owned();
    });
    let siege = siege.await;
    let until = Instant::now() + Duration::from_secs(how_many(2, 30) as u64);
    let made = siege.by(4, move |_, gateway, number| async move {
        let mut made = 0;
        while Instant::now() < until {
            match (number, made % 3) {
                (0 | 1, _) => drop(gateway.dialer().connect(Http::One).await),
                (_, 0) => drop(TcpStream::connect(gateway.address).await),
                (_, kind) => {
                    let Ok(mut stream) = TcpStream::connect(gateway.address).await else { continue };
                    // A record that announces more than comes, and one that is none.
                    let bytes: &[u8] = if kind == 1 { &[22, 3, 1, 2, 0, 1] } else { b"GET / HTTP/1.1\r\n\r\n" };
                    let _ = stream.write_all(bytes).await;
                    if kind == 2 {
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                }
            }
            made += 1;
        }
        made
    });
    let made: Vec<usize> = made.await;
    println!("handshakes: {made:?}");
    siege.ends(&[]).await;
}

/// Requests that nobody answers, over connections of their own, and as all streams of one.
#[tokio::test]
async fn requests_that_are_never_answered() {
    let siege = Siege::of("never answered", |configuration| patient(configuration, "4s")).await;
    let each = how_many(100, 1_500);
    let statuses = siege.by(2, move |stage, gateway, number| async move {
        let call = move |stage: &Stage| if number == 0 { message("/open/hold", &[]) } else { stage.call("/api/hold") };
        if number == 0 {
            let mut held = Vec::new();
            for _ in 0..each {
                let mut stream = gateway.connect().await;
                stream.write_all(&call(&stage).to_bytes()).await.unwrap();
                held.push(stream);
            }
            let mut statuses = Vec::new();
            for mut stream in held {
                statuses.push(in_time("an answer", read_answer(&mut *stream, false)).await.unwrap().status);
            }
            return statuses;
        }
        let stream = gateway.dialer().connect(Http::Two).await.unwrap();
        let (sender, connection) = hyper::client::conn::http2::handshake(
            hyper_util::rt::TokioExecutor::new(),
            hyper_util::rt::TokioIo::new(stream),
        )
        .await
        .unwrap();
        let task = tokio::spawn(connection);
        let asks = (0..each).map(|_| {
            let (mut sender, message) = (sender.clone(), call(&stage));
            async move { h2_exchange(&mut sender, &message).await.map_or(0, |answer| answer.status) }
        });
        let statuses = in_time("all streams", futures_util::future::join_all(asks)).await;
        task.abort();
        statuses
    });
    for (way, statuses) in ["connections", "streams"].into_iter().zip(statuses.await) {
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        println!("never answered, over {way}: {} of {} are 504, {} are 401", count(504), statuses.len(), count(401));
        // A proof may become too old in the queue of a connection that takes no more streams.
        assert_eq!(count(504) + count(401), each, "{way}: {statuses:?}");
        assert!(count(504) >= each / 2, "{way}");
    }
    siege.ends(&["/api/hold"]).await;
}

/// One key spends proofs until it may hold no more of them.
#[tokio::test]
async fn one_key_with_all_the_proofs() {
    let per_key = how_many(4_000, 50_000);
    let siege = Siege::of("one key", |configuration| {
        configuration.replay += &format!("\nreplay: {{ memory: {{ per_key: {per_key} }} }}");
    });
    let siege = siege.await;
    let each = per_key / 4 + 250;
    let key = Arc::new(Key::es256());
    let statuses = siege.by(4, move |stage, gateway, _| {
        let key = Arc::clone(&key);
        async move {
            let token = stage.token_of(json!({"jkt": key.thumbprint()})).compact();
            let credentials = format!("DPoP {token}");
            let mut line = gateway.connect().await;
            let (mut statuses, mut retry) = (Vec::new(), true);
            for _ in 0..each {
                let mut proof = mint::proof(&key, "GET", &format!("https://{HOST}/api/greedy"), now());
                proof.claims.insert("ath".into(), mint::ath(&token).into());
                let fields = [("Authorization", credentials.as_str()), ("DPoP", &proof.compact())];
                line.write_all(&message("/api/greedy", &fields).to_bytes()).await.unwrap();
                let answer = in_time("an answer", read_answer(&mut *line, false)).await.unwrap();
                retry &= answer.status != 429 || answer.header("retry-after").is_some();
                statuses.push(answer.status);
            }
            assert!(retry, "429 says when to come again");
            statuses
        }
    });
    let statuses = statuses.await.concat();
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    println!("one key: {} of {} passed, {} were told 429", count(200), statuses.len(), count(429));
    assert_eq!((count(200), count(429)), (per_key, statuses.len() - per_key));
    siege.ends(&["/api/greedy"]).await;
}

/// Tokens that nobody issued: with a `kid` that nobody has, and opaque ones.
#[tokio::test]
async fn tokens_that_nobody_issued() {
    let stage = Arc::new(Stage::set().await);
    let endpoint = Upstream::start().await;
    endpoint.replies(|_| {
        let answer = Response::builder().header("content-type", "application/json");
        answer.body(Full::new(Bytes::from_static(br#"{"active":false}"#))).unwrap()
    });
    std::fs::write(stage.file("introspection.secret"), "an-introspection-secret-6b1f\n").unwrap();
    let siege = Siege::on(Arc::clone(&stage), "invented tokens", |configuration| {
        configuration.keys = format!(
            "{{ jwks_uri: '{}' }}, introspection: {{ endpoint: 'http://{}/introspect', client_id: api, \
             client_secret_file: introspection.secret }}",
            stage.issuer.jwks_uri(),
            endpoint.address
        );
    });
    let siege = siege.await;
    let (each, fetched) = (how_many(750, 250_000), stage.issuer.fetches());
    let statuses = siege.by(4, move |stage, gateway, number| async move {
        let mut line = gateway.connect().await;
        let (claims, mut statuses) = (stage.token().claims, [0; 600]);
        let claims = b64(serde_json::Value::Object(claims).to_string());
        let proof = stage.proof("x", "GET", "/api/invented").compact();
        for _ in 0..each {
            let token = if number % 2 == 0 {
                let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": jti()});
                format!("{}.{claims}.{}", b64(header.to_string()), b64([7; 64]))
            } else {
                format!("opaque-{}", jti())
            };
            let fields = [("Authorization", format!("DPoP {token}")), ("DPoP", proof.clone())];
            let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
            line.write_all(&message("/api/invented", &fields).to_bytes()).await.unwrap();
            let answer = in_time("an answer", read_answer(&mut *line, false)).await.unwrap();
            statuses[usize::from(answer.status)] += 1;
        }
        statuses
    });
    for (number, statuses) in statuses.await.into_iter().enumerate() {
        let [denied, busy]: [usize; 2] = [401, 503].map(|status| statuses[status]);
        let kind = if number % 2 == 0 { "kids" } else { "opaque" };
        println!("invented {kind}: {denied} are 401, {busy} are 503");
        assert_eq!(denied + busy, each);
        assert!(number % 2 == 1 || busy == 0, "who has keys says no");
    }
    let (keys, questions) = (stage.issuer.fetches() - fetched, endpoint.count());
    println!("invented tokens: {keys} times the issuer's keys were fetched, {questions} questions were asked");
    assert!(full() || keys < 60, "{keys}");
    siege.ends(&[]).await;
}

/// What is too large, and how that is told.
fn oversized(stage: &Stage) -> Vec<(&'static str, Message, &'static [u16])> {
    let with = |name: &str, value: String| message("/open/x", &[(name, &value)]);
    let credentials = |token: &str, proof: &str| {
        message("/api/large", &[("Authorization", &format!("DPoP {token}")), ("DPoP", proof)])
    };
    let token = stage.token().compact();
    let fields: Vec<(String, String)> = (0..200).map(|n| (format!("X-{n}"), "x".to_owned())).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut body = message("/open/x", &[]);
    body.method = "POST".to_owned();
    body.body = vec![b'x'; 256 * 1024];
    let mut wide = stage.token();
    wide.claims.insert("wide".into(), "x".repeat(14_000).into());
    let mut deep = stage.proof(&token, "GET", "/api/large");
    deep.claims.insert("deep".into(), "x".repeat(14_000).into());
    vec![
        ("a field", with("X", "x".repeat(64 * 1024)), &[431]),
        ("fields", message("/open/x", &fields), &[431]),
        ("a target", message(&format!("/open/{}", "x".repeat(64 * 1024)), &[]), &[414, 431]),
        ("a body", body, &[413]),
        ("a token", credentials(&wide.compact(), "x"), &[400, 401]),
        ("a proof", credentials(&token, &deep.compact()), &[400, 401]),
        ("a token beyond heads", credentials(&"x".repeat(64 * 1024), "x"), &[431]),
    ]
}

#[tokio::test]
async fn everything_too_large() {
    let siege = Siege::of("too large", |configuration| {
        configuration.limits = "{ body_bytes: 64KiB }".to_owned();
    });
    let siege = siege.await;
    let until = Instant::now() + Duration::from_secs(how_many(2, 30) as u64);
    let sent = siege.by(4, move |stage, gateway, number| async move {
        let http = if number % 2 == 0 { Http::One } else { Http::Two };
        let mut sent = 0;
        while sent == 0 || Instant::now() < until {
            for (what, message, wanted) in oversized(&stage) {
                let Ok(status) = one(&gateway, http, &message).await else {
                    // Refused before all of it was written.
                    continue;
                };
                assert!(wanted.contains(&status), "{http:?}, {what}: {status}");
                sent += 1;
            }
        }
        sent
    });
    let sent: Vec<usize> = sent.await;
    println!("too large: {sent:?} were answered");
    assert!(sent.iter().all(|sent| *sent > 0));
    siege.ends(&[]).await;
}

async fn one(gateway: &Gateway, http: Http, message: &Message) -> std::io::Result<u16> {
    if http == Http::Two {
        return Ok(gateway.dialer().send(http, message).await?.status);
    }
    let mut stream: Box<dyn Stream> = gateway.connect().await;
    let _ = stream.write_all(&message.to_bytes()).await;
    Ok(in_time("an answer", read_answer(&mut *stream, false)).await?.status)
}
