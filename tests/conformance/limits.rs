//! How much one caller may ask, and how often one sender may fail. Time stands still until a test moves it.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use keybound::limits::{Per, Rate, RouteLimits};
use keybound::refusal::Reason;
use keybound::routes::Policy;
use keybound::verify::Accepted;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::support::keys::Key;
use crate::support::mint;
use crate::support::shape::assert_refusal;
use crate::support::shot::Shot;
use crate::support::wire::{Answer, Http, PATIENCE, read_answer, read_one};
use crate::support::{Identity, Plan, World, public_route};

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate::new(per_second, Duration::from_secs(1), burst)
}

fn limited(limits: RouteLimits) -> Plan {
    let accepted = Accepted { dpop: true, mtls: true, unbound: true };
    let policy = Policy { accepted, limits: Some(limits), ..Policy::default() };
    Plan { policy, client_certificates: true, ..Plan::default() }
}

fn often(per: Per, per_second: u32, burst: u32) -> Plan {
    limited(RouteLimits { per, rate: Some(rate(per_second, burst)), concurrent: None })
}

fn at_once(concurrent: u32) -> Plan {
    limited(RouteLimits { per: Per::Thumbprint, rate: None, concurrent: Some(concurrent) })
}

async fn status(shot: &Shot) -> u16 {
    shot.send(Http::One).await.status
}

/// Refused for `reason`, with the time after which to come again; reaches nobody and spends nothing.
async fn told_to_wait(world: &World, http: Http, reason: Reason, seconds: &str, shot: &Shot) {
    let (seen, counted, spent) = (world.upstream.count(), world.refusals("api", reason), world.spent());
    let answer = shot.send(http).await;
    let context = format!("{http:?} {answer:?}\n{}", world.metrics());
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some(seconds)), "{context}");
    assert_eq!(answer.header("www-authenticate"), None, "{context}");
    assert_eq!(world.refusals("api", reason), counted + 1, "{context}");
    assert_eq!((world.upstream.count(), world.spent()), (seen, spent), "{context}");
    assert_refusal(&answer, reason, shot);
}

async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looked = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looked).await.unwrap_or_else(|_| panic!("{what}"))
}

// How often.

#[tokio::test]
async fn tr_25_whoever_asks_too_often_may_come_again_with_the_same_proof() {
    for http in [Http::One, Http::Two] {
        let world = often(Per::Thumbprint, 2, 3).start().await;
        for _ in 0..3 {
            world.passes_over(http, &world.good()).await;
        }
        let shot = world.good().frozen();
        for _ in 0..3 {
            told_to_wait(&world, http, Reason::LimitRate, "1", &shot).await;
        }
        // Nobody else waits for it.
        world.passes_over(http, &Shot::dpop(&world, &world.k2)).await;
        world.passes_over(http, &world.good_mtls(&Identity::self_signed())).await;
        world.clock.advance(Duration::from_millis(499));
        told_to_wait(&world, http, Reason::LimitRate, "1", &shot).await;
        world.clock.advance(Duration::from_millis(1));
        world.passes_over(http, &shot).await;
        let spent = world.refusals("api", Reason::ProofReplayed);
        world.clock.advance(Duration::from_millis(500));
        assert_eq!((status(&shot).await, world.refusals("api", Reason::ProofReplayed)), (401, spent + 1));
    }
}

#[tokio::test]
async fn a_certificate_is_a_caller_as_well() {
    let world = often(Per::Thumbprint, 1, 2).start().await;
    let [one, other] = [Identity::self_signed(), Identity::self_signed()];
    world.passes(&world.good_mtls(&one)).await;
    told_to_wait(&world, Http::One, Reason::LimitRate, "1", &world.good_mtls(&one)).await;
    world.passes(&world.good_mtls(&other)).await;
}

#[tokio::test]
async fn a_client_and_a_subject_are_callers_whatever_their_keys() {
    for (per, claim) in [(Per::ClientId, "client_id"), (Per::Subject, "sub")] {
        let world = often(per, 1, 2).start().await;
        world.passes_over(Http::One, &world.good()).await;
        world.passes_over(Http::One, &Shot::dpop(&world, &world.k2)).await;
        for shot in [world.good(), Shot::dpop(&world, &world.k2), world.good_mtls(&Identity::self_signed())] {
            told_to_wait(&world, Http::Two, Reason::LimitRate, "1", &shot).await;
        }
        world.passes(&world.good().claim(claim, "another")).await;
        // Whoever the token does not name is not without a limit.
        world.passes(&world.good().no_claim(claim)).await;
        told_to_wait(&world, Http::One, Reason::LimitRate, "1", &world.good().no_claim(claim)).await;
        world.passes_over(Http::One, &Shot::dpop(&world, &world.k2).no_claim(claim)).await;
    }
}

#[tokio::test]
async fn a_repeated_proof_takes_nothing_from_its_owner() {
    let world = often(Per::Thumbprint, 1, 2).start().await;
    let shot = world.good().frozen();
    world.passes_over(Http::One, &shot).await;
    for _ in 0..5 {
        assert_eq!(status(&shot).await, 401);
    }
    assert_eq!(world.refusals("api", Reason::ProofReplayed), 5);
    world.passes_over(Http::One, &world.good()).await;
    told_to_wait(&world, Http::One, Reason::LimitRate, "1", &world.good()).await;
}

#[tokio::test]
async fn what_is_refused_before_takes_nothing() {
    let world = often(Per::Thumbprint, 1, 1).start().await;
    for shot in [
        world.good().no_proof(),
        world.good().proof_claim("htm", "POST"),
        Shot::dpop(&world, &world.k1).with(|shot| shot.proof.as_mut().unwrap().key = world.k2.clone()),
        world.good().claim("aud", "https://other.example"),
    ] {
        assert_eq!(status(&shot).await, 401);
    }
    world.passes_over(Http::One, &world.good()).await;
}

// How many at once.

/// An upstream that says `first` to each request, and `rest` when it is released; then it hangs up.
struct Holding {
    address: SocketAddr,
    arrived: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Holding {
    async fn start(first: &'static str, rest: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, released) = (watch::Sender::new(0), watch::Sender::new(false));
        let (count, until) = (arrived.clone(), released.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, first, rest, count.clone(), until.clone()));
            }
        });
        Self { address, arrived, released }
    }

    async fn sees(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let seen = arrived.wait_for(|arrived| *arrived >= count);
        tokio::time::timeout(PATIENCE, seen).await.expect("requests at the upstream").unwrap();
    }

    fn count(&self) -> usize {
        *self.arrived.borrow()
    }

    fn release(&self) {
        self.released.send_replace(true);
    }
}

async fn serve(
    mut stream: TcpStream,
    first: &'static str,
    rest: &'static str,
    arrived: watch::Sender<usize>,
    released: watch::Sender<bool>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let _ = stream.write_all(first.as_bytes()).await;
    arrived.send_modify(|arrived| *arrived += 1);
    let mut released = released.subscribe();
    let _ = released.wait_for(|released| *released).await;
    let _ = stream.write_all(rest.as_bytes()).await;
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn sent(shot: &Shot, http: Http) -> impl Future<Output = Answer> + use<> {
    let shot = shot.clone();
    let task = tokio::spawn(async move { shot.send(http).await });
    async { task.await.unwrap() }
}

/// Until the place of k1 is free, without taking it for longer than an answer. Proofs that have to wait are not spent.
async fn is_free(world: &World) {
    eventually("a place is free again", async || {
        let code = status(&world.good()).await;
        (code != 429).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_so_many_at_once_and_a_place_is_free_after_the_answer() {
    for http in [Http::One, Http::Two] {
        let upstream = Holding::start("", ANSWER).await;
        let world = Plan { upstream: Some(upstream.address), ..at_once(2) }.start().await;
        let [first, second] = [sent(&world.good(), http), sent(&world.good(), http)];
        upstream.sees(2).await;
        let shot = world.good().frozen();
        told_to_wait(&world, http, Reason::LimitConcurrent, "1", &shot).await;
        // Another key has places of its own.
        let third = sent(&Shot::dpop(&world, &world.k2), http);
        upstream.sees(3).await;
        assert_eq!(upstream.count(), 3);
        upstream.release();
        for answer in [first.await, second.await, third.await] {
            assert_eq!(answer.status, 200);
        }
        eventually("the same proof passes", async || (status(&shot).await == 200).then_some(())).await;
        assert_eq!(world.refusals("api", Reason::ProofReplayed), 0);
    }
}

#[tokio::test]
async fn a_place_is_taken_until_the_end_of_a_long_answer() {
    let upstream = Holding::start("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhel", "lo!").await;
    let world = Plan { upstream: Some(upstream.address), ..at_once(1) }.start().await;
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    stream.write_all(&world.good().message().to_bytes()).await.unwrap();
    let mut begun = Vec::new();
    while !begun.ends_with(b"\r\n\r\nhel") {
        begun.push(stream.read_u8().await.unwrap());
    }
    told_to_wait(&world, Http::Two, Reason::LimitConcurrent, "1", &world.good()).await;
    upstream.release();
    let mut rest = [0; 3];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"lo!");
    is_free(&world).await;
}

#[tokio::test]
async fn a_place_is_free_when_the_client_leaves() {
    for first in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"] {
        let upstream = Holding::start(first, "").await;
        let world = Plan { upstream: Some(upstream.address), ..at_once(1) }.start().await;
        let mut stream = world.dialer.connect(Http::One).await.unwrap();
        stream.write_all(&world.good().message().to_bytes()).await.unwrap();
        upstream.sees(1).await;
        told_to_wait(&world, Http::One, Reason::LimitConcurrent, "1", &world.good()).await;
        drop(stream);
        // The next is held as well: it is there when the upstream sees it.
        let (dialer, shots) = (world.dialer.clone(), || world.good().message());
        eventually("the next one is let in", async || {
            let mut stream = dialer.connect(Http::One).await.unwrap();
            stream.write_all(&shots().to_bytes()).await.unwrap();
            let refused = async { matches!(read_one(&mut stream, true).await, Ok(answer) if answer.status == 429) };
            tokio::select! {
                () = upstream.sees(2) => Some(()),
                refused = refused => (!refused).then_some(()),
            }
        })
        .await;
        assert!(upstream.count() >= 2);
    }
}

#[tokio::test]
async fn a_place_is_free_after_every_kind_of_failure() {
    // No port that a test beside this one may be given.
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (upstream, code) in [(nobody, 502), (silent.local_addr().unwrap(), 504)] {
        let response_timeout = Duration::from_millis(100);
        let world = Plan { upstream: Some(upstream), response_timeout, ..at_once(1) }.start().await;
        for http in [Http::One, Http::Two, Http::One] {
            assert_eq!(world.good().send(http).await.status, code);
        }
    }
    // Refused later, by the replay log and by the policy.
    let mut plan = at_once(1);
    plan.policy.scopes = vec!["read".to_owned()];
    let world = plan.start().await;
    let shot = world.good().frozen();
    world.passes_over(Http::One, &shot).await;
    for _ in 0..3 {
        assert_eq!(status(&shot).await, 401);
        assert_eq!(status(&world.good().claim("scope", "write")).await, 403);
    }
    is_free(&world).await;
    assert_eq!(world.refusals("api", Reason::LimitConcurrent), 0);
    // An answer that breaks off.
    let upstream = Holding::start("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "").await;
    upstream.release();
    let world = Plan { upstream: Some(upstream.address), ..at_once(1) }.start().await;
    for number in 1..4 {
        assert!(world.dialer.send(Http::One, &world.good().message()).await.is_err());
        eventually("the next one is let in", async || {
            let _ = world.dialer.send(Http::One, &world.good().message()).await;
            (upstream.count() > number).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_tunnel_takes_its_place_until_it_ends() {
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let upstream = Holding::start(switching, "bye").await;
    let world = Plan { upstream: Some(upstream.address), ..at_once(1) }.start().await;
    let mut stream = world.dialer.connect(Http::One).await.unwrap();
    let shot = world.good().header("Connection", "Upgrade").header("Upgrade", "websocket");
    stream.write_all(&shot.message().to_bytes()).await.unwrap();
    assert_eq!(read_one(&mut stream, false).await.unwrap().status, 101);
    for _ in 0..3 {
        told_to_wait(&world, Http::One, Reason::LimitConcurrent, "1", &world.good()).await;
    }
    upstream.release();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye");
    drop(stream);
    is_free(&world).await;
}

// How often one may fail.

/// Behind something that speaks TLS for it, so that a test can choose where it calls from.
fn braked(per_minute: u32, burst: u32) -> Plan {
    let failures = Some(Rate::new(per_minute, Duration::from_secs(60), burst));
    let open = public_route("open", "/open");
    Plan { failures, tls: false, public_url: Some("https://rs.example"), routes_before: vec![open], ..Plan::default() }
}

async fn from(address: &str, world: &World, shot: &Shot) -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    let exchange = async {
        let mut stream = socket.connect(world.dialer.address).await.unwrap();
        stream.write_all(&shot.message().to_bytes()).await.unwrap();
        read_answer(&mut stream, false).await.unwrap().status
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
}

fn bent(shot: Shot) -> Shot {
    shot.with(|shot| {
        shot.proof.as_mut().unwrap().edit_signature = Some(mint::bent);
    })
}

#[tokio::test]
async fn whoever_fails_too_often_is_slowed_down_and_nobody_else() {
    let world = braked(7, 3).start().await;
    for _ in 0..3 {
        assert_eq!(status(&bent(world.good())).await, 401);
    }
    let checked = world.metric("keybound_token_cache_misses_total");
    for http in [Http::One, Http::Two] {
        // Nine: a seventh of a minute, rounded up.
        told_to_wait(&world, http, Reason::LimitFailures, "9", &bent(world.good())).await;
        told_to_wait(&world, http, Reason::LimitFailures, "9", &world.good()).await;
    }
    assert_eq!(world.metric("keybound_token_cache_misses_total"), checked, "no token was verified for it");
    assert_eq!(world.refusals("api", Reason::ProofSignature), 3);
    // Elsewhere, and where nothing is checked, nobody is slowed down.
    assert_eq!(from("127.0.0.2", &world, &world.good()).await, 200);
    assert_eq!(status(&world.good().target("/open/x")).await, 200);
    // Time alone brings it back, and as slowly as it said.
    let shot = world.good().frozen();
    world.clock.advance(Duration::from_millis(8571));
    told_to_wait(&world, Http::One, Reason::LimitFailures, "1", &shot).await;
    world.clock.advance(Duration::from_millis(1));
    for _ in 0..3 {
        world.passes_over(Http::One, &world.good()).await;
    }
    world.passes_over(Http::One, &shot).await;
    assert_eq!(status(&bent(world.good())).await, 401);
    told_to_wait(&world, Http::One, Reason::LimitFailures, "9", &world.good()).await;
}

#[tokio::test]
async fn a_success_does_not_reset_failures() {
    let world = braked(1, 3).start().await;
    for _ in 0..3 {
        assert_eq!(status(&bent(world.good())).await, 401);
        if world.refusals("api", Reason::ProofSignature) < 3 {
            world.passes_over(Http::One, &world.good()).await;
        }
    }
    told_to_wait(&world, Http::One, Reason::LimitFailures, "60", &world.good()).await;
}

#[tokio::test]
async fn tokens_that_fail_count_and_what_costs_nothing_does_not() {
    let stranger = std::sync::Arc::new(Key::es256());
    let forged = |world: &World| world.good().with(|shot| shot.token.key = stranger.clone());
    let expired = |world: &World| world.good().claim("exp", world.now() - 60);
    for (failing, reason) in [
        (&forged as &dyn Fn(&World) -> Shot, Reason::TokenSignature),
        (&expired, Reason::TokenExpired),
        (&|world: &World| world.good().proof_claim("iat", 0), Reason::ProofStale),
    ] {
        let world = braked(60, 2).start().await;
        for _ in 0..20 {
            for free in [
                world.good().authorization(&["DPoP a.b"]),
                world.good().authorization(&[]),
                world.good().token_header("typ", "JWT"),
                world.good().token_header("alg", "none"),
            ] {
                assert_eq!(status(&free).await, 401);
            }
        }
        assert_eq!((status(&failing(&world)).await, status(&failing(&world)).await), (401, 401));
        assert_eq!(world.refusals("api", reason), 2);
        told_to_wait(&world, Http::One, Reason::LimitFailures, "1", &world.good()).await;
    }
}

#[tokio::test]
async fn repeated_proofs_lock_out_nobody_but_whoever_repeats_them() {
    let world = braked(60, 3).start().await;
    let captured = world.good().frozen();
    world.passes_over(Http::One, &captured).await;
    for _ in 0..3 {
        assert_eq!(from("127.0.0.66", &world, &captured).await, 401);
    }
    for _ in 0..3 {
        assert_eq!(from("127.0.0.66", &world, &captured).await, 429);
    }
    assert_eq!(world.refusals("api", Reason::LimitFailures), 3);
    // Its owner, elsewhere, and its neighbour, with another key.
    world.passes(&world.good()).await;
    assert_eq!(from("127.0.0.66", &world, &Shot::dpop(&world, &world.k2)).await, 200);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(from("127.0.0.66", &world, &world.good()).await, 200);
}

#[tokio::test]
async fn a_client_that_learns_its_nonces_is_not_slowed_down() {
    let plan = braked(60, 2);
    let world = Plan { proofs: Plan::nonces().proofs, ..plan }.start().await;
    for key in [&world.k1, &world.k2] {
        let shot = Shot::dpop(&world, key).no_proof_claim("nonce");
        assert_eq!(status(&shot).await, 401);
        assert_eq!(status(&Shot::dpop(&world, key)).await, 200);
    }
    assert_eq!(world.refusals("api", Reason::ProofNonceMissing), 2);
    // One that never does is.
    let deaf = || world.good().no_proof_claim("nonce");
    assert_eq!((status(&deaf()).await, status(&deaf()).await), (401, 429));
    assert_eq!(status(&Shot::dpop(&world, &world.k2)).await, 200);
}
