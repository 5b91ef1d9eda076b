//! How far the time of a refusal tells tokens apart: an existing one with another key's proof, beside one that nobody issued.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use keybound::verify::Algorithm;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::Arguments;
use crate::credentials::{AUDIENCE, Call, Client, Flaw, with_another_signature};
use crate::load::{Aim, Http1, http1_bytes};
use crate::stage::{ISSUER, Setup, Stage};

const API: &str = "/api/items/17";

/// What tokens begin with that the issuer knows.
const ACTIVE: &str = "known-";

pub async fn measure(arguments: &Arguments) {
    let stage = Stage::set().await;
    let (owner, mut thief) = (stage.issuer.client(Algorithm::Es256), stage.issuer.client(Algorithm::Es256));
    let endpoint = introspection(owner.key.thumbprint().to_string()).await;
    let setup = Setup { introspection: Some(endpoint), ..Setup::default() };
    let (server, address, _) = stage.keybound(&arguments.keybound, "timing", &setup);
    let aim = server.aim(address, &stage.client(false));
    let rounds = (10_000.0 * arguments.scale) as usize;

    let (signed, forged) = (owner.token.clone(), with_another_signature(&owner.token));
    compare("JWT that was shown before", &aim, &mut thief, rounds, |_, known| {
        if known { &signed } else { &forged }.clone()
    })
    .await;
    compare("JWT that is new", &aim, &mut thief, rounds, |_, known| {
        let token = stage.issuer.token(&json!({ "jkt": owner.key.thumbprint().to_string() }));
        if known { token } else { with_another_signature(&token) }
    })
    .await;
    let opaque = |name: &str, known| format!("{}{name}", if known { ACTIVE } else { "guess-" });
    compare("opaque, asked about before", &aim, &mut thief, rounds, |_, known| opaque("token", known)).await;
    compare("opaque, new", &aim, &mut thief, rounds, |round, known| opaque(&format!("{round:06}"), known)).await;
}

/// Shows tokens of either kind in turns, with the thief's proofs, over one connection.
async fn compare(what: &str, aim: &Aim, thief: &mut Client, rounds: usize, token: impl Fn(usize, bool) -> String) {
    let mut connection = Http1::open(aim).await;
    let (mut known, mut unknown) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 0..rounds {
        // Whichever comes first may find the caches colder.
        let order = if round % 2 == 0 { [true, false] } else { [false, true] };
        for is_known in order {
            thief.token = token(round, is_known);
            let call = thief.call(&format!("https://localhost:{}", aim.address.port()), API, Flaw::None);
            let took = time(&mut connection, aim, &call).await;
            if is_known { &mut known } else { &mut unknown }.push(took);
        }
    }
    // Caches and tables fill in the first of them.
    let (known, unknown) = (sorted(known.split_off(rounds / 10)), sorted(unknown.split_off(rounds / 10)));
    let quartiles = |times: &[Duration]| [1, 2, 3].map(|part| times[times.len() * part / 4].as_micros());
    println!(
        "{what:<28} another key {:?} µs, unknown {:?} µs, overlap {:.2}, unknown slower in {:.2} of pairs",
        quartiles(&known),
        quartiles(&unknown),
        overlap(&known, &unknown),
        slower(&known, &unknown)
    );
}

async fn time(connection: &mut Http1, aim: &Aim, call: &Call) -> Duration {
    let bytes = http1_bytes(call, aim.address);
    let started = Instant::now();
    let status = connection.call(&bytes).await;
    let took = started.elapsed();
    assert_eq!(status, 401);
    took
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort_unstable();
    times
}

/// The part of two distributions that lies below both, in steps of five microseconds: 1 where they are the same.
fn overlap(one: &[Duration], other: &[Duration]) -> f64 {
    let share = |times: &[Duration], step: u128| {
        let (from, to) = (step * 5, (step + 1) * 5);
        let count =
            times.partition_point(|time| time.as_micros() < to) - times.partition_point(|time| time.as_micros() < from);
        count as f64 / times.len() as f64
    };
    (0..2_000).map(|step| share(one, step).min(share(other, step))).sum()
}

/// In which part of all pairs the second took longer: a half where nobody can tell.
fn slower(one: &[Duration], other: &[Duration]) -> f64 {
    let longer: usize = other.iter().map(|time| one.partition_point(|known| known < time)).sum();
    longer as f64 / (one.len() * other.len()) as f64
}

/// An issuer that knows tokens by their first letters, all of which are bound to this key.
async fn introspection(thumbprint: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let active = json!({
        "active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "client_id": "s6BhdRkqt3",
        "exp": 4_000_000_000_u32, "cnf": { "jkt": thumbprint },
    });
    let answers = [active.to_string(), json!({ "active": false }).to_string()].map(|body| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(socket, answers.clone()));
        }
    });
    address
}

async fn answer(mut socket: TcpStream, [active, inactive]: [String; 2]) {
    let _ = socket.set_nodelay(true);
    let mut request = Vec::new();
    while matches!(socket.read_buf(&mut request).await, Ok(1..)) {
        let text = String::from_utf8_lossy(&request);
        // Head and body come in one piece or two; the token is the first thing in the body.
        let Some(token) = text
            .split_once("\r\n\r\n")
            .and_then(|(_, body)| body.split('&').find_map(|pair| pair.strip_prefix("token=")))
        else {
            continue;
        };
        let answer = if token.starts_with(ACTIVE) { &active } else { &inactive };
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        request.clear();
    }
}
