//! The comparison: each case against nginx, in pairs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keybound::verify::Algorithm;
use rustls::ClientConfig;

use crate::Arguments;
use crate::credentials::{Call, Client, Flaw};
use crate::load::{self, Aim, Calls, Run, Shape};
use crate::machine;
use crate::network::Way;
use crate::peers::{self, Nginx};
use crate::report::{Idle, Report, Row};
use crate::stage::{Server, Setup, Stage};

const OPEN: &str = "/open/items/17";
const API: &str = "/api/items/17";

const H1: Shape = Shape::Http1(64);
const H1_MANY: Shape = Shape::Http1(1000);
const H2: Shape = Shape::Http2(4, 16);
const TLS: Shape = Shape::Handshakes(16);

/// Idle connections whose memory is looked at.
const IDLE: usize = 10_000;

/// What a case sends.
#[derive(Clone, Copy)]
enum Shown {
    /// Credentials that nobody looks at.
    Unread,
    /// A certificate-bound token.
    Mtls,
    /// A fresh proof each, by so many clients in turn.
    Proofs(Algorithm, usize),
    /// A fresh proof each, nine of ten by so many clients in turn, the tenth by one that comes seldom.
    Mixed(usize),
    /// The same bad proof each time.
    Bad(Flaw),
    /// The same proof each time, spent before.
    Spent,
    Nothing,
}

struct Case {
    name: &'static str,
    server: &'static str,
    shape: Shape,
    shown: Shown,
    requests: usize,
    expected: u16,
}

const fn case(
    name: &'static str,
    server: &'static str,
    shape: Shape,
    shown: Shown,
    requests: usize,
    expected: u16,
) -> Case {
    Case { name, server, shape, shown, requests, expected }
}

fn cases() -> Vec<Case> {
    use Algorithm::{EdDsa, Es256, Ps256};
    use Shown::{Bad, Mixed, Mtls, Nothing, Proofs, Spent, Unread};
    vec![
        case("keybound public", "keybound", H1, Unread, 60_000, 200),
        case("keybound public, access log", "keybound-log", H1, Unread, 60_000, 200),
        case("keybound mTLS", "keybound-mtls", H1, Mtls, 60_000, 200),
        case("keybound DPoP ES256", "keybound", H1, Proofs(Es256, 1), 20_000, 200),
        case("keybound DPoP ES256, no tables", "keybound-generic", H1, Proofs(Es256, 1), 20_000, 200),
        case("keybound DPoP ES256, 1 of 10 keys new", "keybound", H1, Mixed(100), 20_000, 200),
        case("keybound DPoP ES256, Redis", "keybound-redis", H1, Proofs(Es256, 1), 20_000, 200),
        case("keybound DPoP ES256, Redis 1 ms away", "keybound-redis-1ms", H1, Proofs(Es256, 1), 20_000, 200),
        case("keybound DPoP ES256, Redis 5 ms away", "keybound-redis-5ms", H1, Proofs(Es256, 1), 20_000, 200),
        case("keybound DPoP EdDSA", "keybound", H1, Proofs(EdDsa, 1), 25_000, 200),
        case("keybound DPoP PS256", "keybound", H1, Proofs(Ps256, 1), 3_000, 200),
        case("keybound DPoP ES256, 100 keys", "keybound", H1, Proofs(Es256, 100), 20_000, 200),
        case("keybound DPoP ES256, 10,000 keys", "keybound", H1, Proofs(Es256, 10_000), 30_000, 200),
        case("keybound public, 1,000 connections", "keybound", H1_MANY, Unread, 60_000, 200),
        case("keybound DPoP ES256, 1,000 connections", "keybound", H1_MANY, Proofs(Es256, 1), 20_000, 200),
        case("keybound refuses: spent proof", "keybound", H1, Spent, 20_000, 401),
        case("keybound refuses: bad signature", "keybound", H1, Bad(Flaw::Signature), 20_000, 401),
        case("keybound refuses: stale proof", "keybound", H1, Bad(Flaw::Stale), 60_000, 401),
        case("keybound refuses: other method", "keybound", H1, Bad(Flaw::Method), 60_000, 401),
        case("keybound refuses: other token", "keybound", H1, Bad(Flaw::TokenHash), 60_000, 401),
        case("keybound refuses: no credentials", "keybound", H1, Nothing, 60_000, 401),
        case("keybound public, HTTP/2", "keybound", H2, Unread, 50_000, 200),
        case("keybound mTLS, HTTP/2", "keybound-mtls", H2, Mtls, 50_000, 200),
        case("keybound DPoP ES256, HTTP/2", "keybound", H2, Proofs(Es256, 1), 20_000, 200),
        case("nginx plain, access log", "nginx-log", H1, Unread, 60_000, 200),
        case("HAProxy plain", "haproxy", H1, Unread, 60_000, 200),
        case("HAProxy jwt_verify ES256, no binding", "haproxy-verify", H1, Mtls, 10_000, 200),
        case("Apache mod_oauth2, mTLS ES256", "apache-mtls", H1, Mtls, 3_000, 200),
        case("Apache mod_oauth2, DPoP ES256", "apache-dpop", H1, Proofs(Es256, 1), 3_000, 200),
        case("handshake, keybound", "keybound", TLS, Unread, 2_500, 200),
        case("handshake with client certificate, keybound", "keybound-mtls", TLS, Unread, 2_000, 200),
    ]
}

/// Everything that was started.
struct Cast {
    nginx: Nginx,
    _redis: Option<Server>,
    servers: Vec<(&'static str, Arc<Server>, SocketAddr)>,
    without_certificate: Arc<ClientConfig>,
    with_certificate: Arc<ClientConfig>,
}

impl Cast {
    fn start(stage: &Stage, arguments: &Arguments, wanted: impl Fn(&str) -> bool) -> Self {
        let mut servers = Vec::new();
        let (server, plain, asking) = stage.keybound(&arguments.keybound, "keybound", &Setup::default());
        let server = Arc::new(server);
        servers.push(("keybound", Arc::clone(&server), plain));
        servers.push(("keybound-mtls", server, asking));
        if wanted("keybound-log") {
            let setup = Setup { access_log: true, ..Setup::default() };
            let (server, plain, _) = stage.keybound(&arguments.keybound, "keybound-log", &setup);
            servers.push(("keybound-log", Arc::new(server), plain));
        }
        if wanted("keybound-generic") {
            let setup = Setup { key_tables: false, ..Setup::default() };
            let (server, plain, _) = stage.keybound(&arguments.keybound, "keybound-generic", &setup);
            servers.push(("keybound-generic", Arc::new(server), plain));
        }
        let redis = if wanted("keybound-redis") { peers::redis(stage) } else { None };
        if let Some((_, port)) = &redis {
            for (name, millis) in [("keybound-redis", 0), ("keybound-redis-1ms", 1), ("keybound-redis-5ms", 5)] {
                let way = Way::to(*port);
                way.slow(Duration::from_millis(millis));
                let store = Some(if millis == 0 { *port } else { way.port });
                let setup = Setup { store, ..Setup::default() };
                let (server, plain, _) = stage.keybound(&arguments.keybound, name, &setup);
                servers.push((name, Arc::new(server), plain));
            }
        }
        let pairs = [
            ("haproxy", ["haproxy", "haproxy-verify"], peers::haproxy as fn(&Stage) -> _),
            ("apache", ["apache-dpop", "apache-mtls"], peers::apache),
        ];
        for (peer, names, start) in pairs {
            if wanted(peer)
                && let Some((server, first, second)) = start(stage)
            {
                let server = Arc::new(server);
                servers
                    .extend(names.into_iter().zip([first, second]).map(|(name, at)| (name, Arc::clone(&server), at)));
            }
        }
        Self {
            nginx: Nginx::start(stage),
            _redis: redis.map(|(server, _)| server),
            servers,
            without_certificate: stage.client(false),
            with_certificate: stage.client(true),
        }
    }

    fn nginx(&self, certificate: bool) -> Aim {
        let (address, client) = if certificate {
            (self.nginx.asking, &self.with_certificate)
        } else {
            (self.nginx.plain, &self.without_certificate)
        };
        self.nginx.server.aim(address, client)
    }

    fn aim(&self, server: &str) -> Option<Aim> {
        if server == "nginx-log" {
            return Some(self.nginx.server.aim(self.nginx.logging, &self.without_certificate));
        }
        let (_, found, address) = self.servers.iter().find(|(name, ..)| *name == server)?;
        let client = if server.ends_with("mtls") { &self.with_certificate } else { &self.without_certificate };
        Some(found.aim(*address, client))
    }
}

pub async fn measure(arguments: &Arguments) {
    let fits = |name: &str, word: &str| word.strip_prefix('=').map_or(name.contains(word), |whole| whole == name);
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|word| fits(name, word));
    let cases: Vec<Case> = cases().into_iter().filter(|case| wanted(case.name)).collect();
    let stage = Stage::set().await;
    let cast = Cast::start(&stage, arguments, |peer| cases.iter().any(|case| case.server.starts_with(peer)));
    let mut report = Report::default();
    if wanted("idle") {
        // First, while no server has memory left over from other work.
        let own = cast.aim("keybound").expect("it was started");
        report.idle.push(idle(&stage, "keybound", &own).await);
        report.idle.push(idle(&stage, "nginx", &cast.nginx(false)).await);
    }
    for case in &cases {
        let Some(aim) = cast.aim(case.server) else { continue };
        let certificate = matches!(case.shape, Shape::Handshakes(_)) && case.server.ends_with("mtls");
        report.add(pairs(&stage, &cast.nginx(certificate), &aim, case, arguments).await);
    }
    report.write(&arguments.out);
}

/// Alternates with nginx under the same load.
async fn pairs(stage: &Stage, nginx: &Aim, aim: &Aim, case: &Case, arguments: &Arguments) -> Row {
    let requests = ((case.requests as f64 * arguments.scale) as usize).max(200);
    // As many as nginx needs for a comparable time.
    let of_nginx = if matches!(case.shape, Shape::Handshakes(_)) { requests } else { requests.clamp(20_000, 60_000) };
    let clients = Clients::new(stage, case.shown);
    let strangers = Clients { all: Vec::new(), seldom: AtomicUsize::new(0) };
    if clients.all.len() > 1 {
        // Each token was seen before.
        let (count, spare) = (clients.all.len(), case.shape.warm_up());
        let calls = clients.calls(stage, aim, Shown::Proofs(Algorithm::Es256, count), count + spare).await;
        load::run(aim, case.shape, &calls, count, case.expected).await;
    }
    let (mut own, mut theirs, mut verifications) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds {
        let shown = if matches!(case.shown, Shown::Mtls) { Shown::Mtls } else { Shown::Unread };
        let calls = strangers.calls(stage, nginx, shown, of_nginx + case.shape.warm_up()).await;
        theirs.push(load::run(nginx, case.shape, &calls, of_nginx, 200).await);
        verifications.push(machine::verification_nanos());
        let calls = clients.calls(stage, aim, case.shown, requests + case.shape.warm_up()).await;
        own.push(load::run(aim, case.shape, &calls, requests, case.expected).await);
    }
    Row::new(case.name, own, theirs, verifications)
}

/// Who sends a case's requests.
struct Clients {
    all: Vec<Client>,
    /// How often those that come seldom were chosen.
    seldom: AtomicUsize,
}

/// Clients that come seldom: enough that none comes often while a case runs.
const SELDOM: usize = 10_000;

impl Clients {
    fn new(stage: &Stage, shown: Shown) -> Self {
        let (algorithm, count) = match shown {
            Shown::Proofs(algorithm, count) => (algorithm, count),
            Shown::Mixed(regulars) => (Algorithm::Es256, regulars + SELDOM),
            Shown::Bad(_) | Shown::Spent => (Algorithm::Es256, 1),
            Shown::Unread | Shown::Mtls | Shown::Nothing => (Algorithm::Es256, 0),
        };
        Self { all: (0..count).map(|_| stage.issuer.client(algorithm)).collect(), seldom: AtomicUsize::new(0) }
    }

    async fn calls(&self, stage: &Stage, aim: &Aim, shown: Shown, count: usize) -> Calls {
        let origin = format!("https://localhost:{}", aim.address.port());
        match shown {
            Shown::Unread => {
                let call = unread(stage, aim.address);
                Calls::Each((0..count).map(|_| call.with_another_proof()).collect())
            }
            Shown::Nothing => Calls::Same(Call { path: API, authorization: None, proof: None }),
            Shown::Mtls => {
                let authorization = Some(format!("Bearer {}", stage.mtls_token()));
                Calls::Same(Call { path: API, authorization, proof: None })
            }
            Shown::Bad(flaw) => Calls::Same(self.all[0].call(&origin, API, flaw)),
            Shown::Spent => {
                let call = Calls::Same(self.all[0].call(&origin, API, Flaw::None));
                load::run(aim, Shape::Handshakes(1), &call, 1, 200).await;
                call
            }
            Shown::Proofs(..) => {
                let client = |at: usize| &self.all[at % self.all.len()];
                Calls::Each((0..count).map(|at| client(at).call(&origin, API, Flaw::None)).collect())
            }
            Shown::Mixed(regulars) => {
                let client = |at: usize| match at % 10 {
                    9 => &self.all[regulars + self.seldom.fetch_add(1, Ordering::Relaxed) % SELDOM],
                    _ => &self.all[at % regulars],
                };
                Calls::Each((0..count).map(|at| client(at).call(&origin, API, Flaw::None)).collect())
            }
        }
    }
}

/// Credentials as they come, on a route where nobody looks at them.
fn unread(stage: &Stage, address: SocketAddr) -> Call {
    let client = stage.issuer.client(Algorithm::Es256);
    client.call(&format!("https://localhost:{}", address.port()), OPEN, Flaw::None)
}

async fn idle(stage: &Stage, name: &'static str, aim: &Aim) -> Idle {
    let call = unread(stage, aim.address);
    let before = machine::memory_kib(aim.pid);
    let open = load::open_idle(aim, &call, IDLE).await;
    // Long enough for what a server gives back when a connection falls silent.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let after = machine::memory_kib(aim.pid);
    drop(open);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    Idle { server: name, before_kib: before, each_kib: after.saturating_sub(before) as f64 / IDLE as f64 }
}

/// The median of some runs by what they cost.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The run with the median cost.
pub fn median_run(mut runs: Vec<Run>) -> Run {
    runs.sort_by_key(|run| run.cpu_nanos);
    runs.swap_remove(runs.len() / 2)
}
