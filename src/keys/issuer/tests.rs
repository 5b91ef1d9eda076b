use rustls::RootCertStore;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::clock::ManualClock;
use crate::keys::Issuers;
use crate::keys::fetch::Limits;
use crate::keys::tests::{Answer, TestIssuer, ec, ok, with_fields};
use crate::tending::Tending;
use crate::verify::Algorithm;

mod demand;
mod discovery;
mod documents;
mod files;
mod outage;

const START: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Nothing happens by itself after the first load, and failures are retried at once.
fn pace() -> Pace {
    Pace {
        limits: Limits { connect: Duration::from_millis(500), total: Duration::from_millis(500), ..Limits::default() },
        interval: Duration::from_hours(1),
        shortest: Duration::from_hours(1),
        first_retry: Duration::from_millis(10),
        last_retry: Duration::from_millis(20),
        file_interval: Duration::from_millis(20),
        ..Pace::default()
    }
}

/// Hears everything.
#[derive(Default)]
struct Recorder(Mutex<Vec<(String, RefreshResult)>>);

impl KeyEvents for Recorder {
    fn refreshed(&self, issuer: &str, result: RefreshResult) {
        self.0.lock().unwrap().push((issuer.to_owned(), result));
    }
}

impl Recorder {
    fn results(&self) -> Vec<RefreshResult> {
        self.0.lock().unwrap().iter().map(|(_, result)| *result).collect()
    }
}

/// A gateway's view of one issuer.
struct Gateway {
    name: String,
    issuers: Arc<Issuers>,
    clock: Arc<ManualClock>,
    events: Arc<Recorder>,
    task: JoinHandle<()>,
}

const NAME: &str = "https://as.example";

fn rules(name: &str) -> IssuerRules {
    IssuerRules::new(name, vec!["https://rs.example".to_owned()])
}

fn no_roots() -> Arc<RootCertStore> {
    Arc::new(RootCertStore::empty())
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    fn run(name: &str, source: KeySource) -> Self {
        Self::run_at(pace(), name, source)
    }

    fn run_at(pace: Pace, name: &str, source: KeySource) -> Self {
        Self::run_trusting(Arc::new(RootCertStore::empty()), pace, name, source)
    }

    fn run_trusting(roots: Arc<RootCertStore>, pace: Pace, name: &str, source: KeySource) -> Self {
        let mut gateway = Self::idle(roots, pace, name, source);
        let issuers = Arc::clone(&gateway.issuers);
        gateway.task = tokio::spawn(async move { issuers.run().await });
        gateway
    }

    /// Without its background task.
    fn idle(roots: Arc<RootCertStore>, pace: Pace, name: &str, source: KeySource) -> Self {
        let (clock, events) = (Arc::new(ManualClock::at(START)), Arc::<Recorder>::default());
        let settings = IssuerSettings { rules: rules(name), source, roots: Some(roots) };
        let (dyn_clock, dyn_events): (Arc<dyn Clock>, Arc<dyn KeyEvents>) = (clock.clone(), events.clone());
        let issuers = Issuers::with_pace(vec![settings], &dyn_clock, &dyn_events, pace, &Issuers::default()).unwrap();
        let task = tokio::spawn(async {});
        Self { name: name.to_owned(), issuers: Arc::new(issuers), clock, events, task }
    }

    /// The issuers after a reload.
    fn followed_by(&self, settings: IssuerSettings) -> Issuers {
        let (clock, events): (Arc<dyn Clock>, Arc<dyn KeyEvents>) = (self.clock.clone(), self.events.clone());
        self.issuers.succeed(vec![settings], &clock, &events).unwrap()
    }

    fn issuer(&self) -> &Issuer {
        self.issuers.get(&self.name).unwrap()
    }

    async fn loaded(&self) -> &Self {
        timeout(Duration::from_secs(5), self.issuer().loaded()).await.unwrap();
        self
    }

    /// How many keys have this `kid`.
    fn knows(&self, kid: &str) -> usize {
        let Ok(keys) = self.issuer().keys() else { return 0 };
        Algorithm::ALL.iter().map(|algorithm| keys.candidates(Some(kid), *algorithm).count()).sum()
    }

    fn last_error(&self) -> String {
        self.issuer().status().last_error.unwrap_or_default()
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not happen within five seconds");
}

fn jwks_of(server: &TestIssuer) -> KeySource {
    KeySource::Uri(server.url("/jwks").parse().unwrap())
}

async fn publishing(keys: &[Value]) -> TestIssuer {
    let server = TestIssuer::start().await;
    server.answer("/jwks", Answer::jwks(keys));
    server
}

#[tokio::test]
async fn keys_are_loaded_at_once_and_read_from_memory() {
    let server = publishing(&[ec("one")]).await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    gateway.loaded().await;
    assert!(gateway.issuers.all_loaded());
    assert_eq!((gateway.knows("one"), gateway.knows("other")), (1, 0));
    for _ in 0..1_000 {
        gateway.issuer().keys().unwrap();
    }
    assert_eq!(server.asked(), ["/jwks"]);
    assert_eq!(gateway.events.results(), [RefreshResult::Loaded]);
    assert!(gateway.issuers.get("https://as.example/").is_none());
}

#[tokio::test]
async fn before_the_first_load_the_keys_are_unavailable() {
    let server = TestIssuer::start().await;
    let gateway = Gateway::run("https://as.example", jwks_of(&server));
    until(|| gateway.events.results().len() > 2).await;
    assert_eq!(gateway.issuer().keys().unwrap_err().reason(), Reason::KeysUnavailable);
    assert!(!gateway.issuers.all_loaded());
    let status = gateway.issuer().status();
    assert_eq!((status.keys, status.age), (0, None));
    assert!(status.to_string().contains("no keys yet; the last attempt failed: http://127.0.0.1"), "{status}");
    assert!(status.to_string().contains("found 404"), "{status}");
    // It is tried again.
    server.answer("/jwks", Answer::jwks(&[ec("one")]));
    gateway.loaded().await;
    assert_eq!(gateway.issuer().status().last_error, None);
}

#[tokio::test]
async fn keys_are_refreshed_before_they_are_old() {
    let server = TestIssuer::start().await;
    let body = serde_json::json!({ "keys": [ec("one")] }).to_string();
    server.answer("/jwks", Answer::Bytes(with_fields("Cache-Control: max-age=1\r\n", &body)));
    let quick = Pace { shortest: Duration::from_millis(10), longest: Duration::from_millis(10), ..pace() };
    let gateway = Gateway::run_at(quick, "https://as.example", jwks_of(&server));
    until(|| gateway.events.results().len() >= 4).await;
    assert_eq!(
        gateway.events.results()[..3],
        [RefreshResult::Loaded, RefreshResult::Unchanged, RefreshResult::Unchanged]
    );
    assert_eq!(gateway.knows("one"), 1);
}

#[tokio::test]
async fn dropping_the_task_stops_it() {
    let server = publishing(&[ec("one")]).await;
    let quick = Pace { interval: Duration::from_millis(5), ..pace() };
    let gateway = Gateway::run_at(quick, "https://as.example", jwks_of(&server));
    until(|| gateway.events.results().len() >= 3).await;
    gateway.task.abort();
    until(|| gateway.task.is_finished()).await;
    sleep(Duration::from_millis(20)).await;
    server.asked();
    sleep(Duration::from_millis(60)).await;
    assert_eq!(server.asked(), Vec::<String>::new());
    assert_eq!(gateway.knows("one"), 1);
}

#[tokio::test]
async fn https_with_the_configured_authority() {
    let (server, roots) = TestIssuer::start_tls().await;
    let name = server.name();
    server.metadata("/.well-known/oauth-authorization-server", &name).answer("/jwks", Answer::jwks(&[ec("one")]));
    let gateway = Gateway::run_trusting(roots, pace(), &name, KeySource::Discover);
    assert_eq!(gateway.loaded().await.knows("one"), 1);

    let stranger = Gateway::run(&name, KeySource::Discover);
    until(|| stranger.last_error().contains("UnknownIssuer")).await;
    assert!(!stranger.issuer().is_loaded());
}

#[tokio::test]
async fn a_reload_has_no_moment_without_keys() {
    let server = publishing(&[ec("one")]).await;
    let before = Gateway::run(NAME, jwks_of(&server));
    before.loaded().await;
    assert_eq!(server.asked(), ["/jwks"]);

    // As it was: the very same, and its task goes on.
    let settings = || IssuerSettings { rules: rules(NAME), source: jwks_of(&server), roots: Some(no_roots()) };
    let same = before.followed_by(settings());
    assert!(std::ptr::eq(same.get(NAME).unwrap(), before.issuer()) && same.agree_with(&before.issuers));
    let mut refreshing = Tending::default();
    before.issuers.keep_fresh(&mut refreshing);
    until(|| server.asked() == ["/jwks"]).await;
    same.keep_fresh(&mut refreshing);

    // With other rules: another one, which has the keys already.
    let mut stricter = settings();
    stricter.rules.audiences = vec!["https://other.example".to_owned()];
    let stricter = before.followed_by(stricter);
    assert!(!std::ptr::eq(stricter.get(NAME).unwrap(), before.issuer()) && !stricter.agree_with(&before.issuers));
    assert_eq!(stricter.get(NAME).unwrap().status().keys, 1);

    // Read from elsewhere, read otherwise, or vouched for by others: without keys.
    let mut elsewhere = settings();
    elsewhere.source = KeySource::Uri(server.url("/other").parse().unwrap());
    let mut otherwise = settings();
    otherwise.rules.algorithms = vec![Algorithm::Es384];
    let distrusting = IssuerSettings { roots: None, ..settings() };
    for (what, other) in [("elsewhere", elsewhere), ("otherwise", otherwise), ("distrusting", distrusting)] {
        assert!(!before.followed_by(other).all_loaded(), "{what}");
    }

    // Its task ends with it.
    let running = refreshing.tasks();
    Issuers::default().keep_fresh(&mut refreshing);
    assert_eq!((running, refreshing.tasks()), (1, 0));
    // Two configurations know it, and the task of the one that still runs.
    until(|| Arc::strong_count(same.0.get(NAME).unwrap()) == 4).await;
}

#[test]
fn what_a_request_holds_may_cross_threads() {
    fn send<T: Send>(_: impl FnOnce(&'static Issuer) -> T) {}
    fn share<T: Send + Sync>() {}
    send(Issuer::refresh_for_unknown_key);
    share::<Keys>();
    share::<Issuers>();
}
