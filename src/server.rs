//! A running process: the stations put together, started in order, stopped in order.

mod reload;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::accept::{
    Address, BindError, Events, Gate, Handshake, Limits, Listener, ListenerSettings, LocalListener, PassedSockets,
    SocketFile,
};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::gateway::{Current, Door, Gateway, GatewayError, Settings};
use crate::refusal::Reason;
use crate::telemetry::{AccessLog, Decision, Metrics};
use crate::workers::{self, Workers};

pub use reload::ReloadError;
use reload::{InForce, ListenerTls};

/// How often what is no longer needed is let go of: spent proofs that can no longer be accepted, idle connections.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// The last connections while the process ends.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// For the traces of the last requests.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// A server that cannot start. Nothing is left half-started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be opened.
    #[error(transparent)]
    Listener(#[from] BindError),
    /// The admin port cannot be opened.
    #[error("the admin port cannot be opened")]
    Admin(#[source] BindError),
    /// A socket was passed that nobody is to accept on. Its clients would wait for ever.
    #[error("a socket was passed for {passed}, where nobody is to listen; listeners: {listeners}; admin port: {admin}")]
    Passed {
        /// Its address and name.
        passed: String,
        /// Where there are listeners.
        listeners: String,
        /// Where the admin port is.
        admin: Address,
    },
    /// The gateway cannot be set up.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The system gives no threads.
    #[error("the threads that serve connections cannot be started")]
    Workers(#[source] std::io::Error),
}

/// A gateway with its listeners, its admin port and its background work.
#[derive(Debug)]
pub struct Server {
    current: Current,
    in_force: Mutex<InForce>,
    gate: Gate,
    admin_gate: Gate,
    workers: Arc<Workers>,
    addresses: Vec<SocketAddr>,
    admin: Address,
    listening: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
    /// Removed at the end.
    admin_file: Mutex<Option<SocketFile>>,
    /// Since when it is not ready any more.
    draining_since: OnceLock<Instant>,
}

/// The admin port, open.
enum AdminListener {
    Network(Listener),
    Local(LocalListener),
}

impl AdminListener {
    fn open(address: &Address, passed: &mut PassedSockets) -> Result<Self, BindError> {
        Ok(match address {
            Address::Network(address) => Self::Network(Listener::open(&ListenerSettings::plain(*address), passed)?),
            Address::Unix(path) => Self::Local(LocalListener::open(path, passed)?),
        })
    }

    fn address(&self) -> Address {
        match self {
            Self::Network(listener) => listener.address().into(),
            Self::Local(listener) => listener.address(),
        }
    }

    const fn is_passed(&self) -> bool {
        match self {
            Self::Network(listener) => listener.is_passed(),
            Self::Local(listener) => listener.is_passed(),
        }
    }

    fn take_file(&mut self) -> Option<SocketFile> {
        match self {
            Self::Network(_) => None,
            Self::Local(listener) => listener.take_file(),
        }
    }
}

/// Counts what `accept` reports.
struct CountConnections(Arc<Metrics>);

impl CountConnections {
    /// A request that no handler saw.
    fn count(&self, reason: Reason) {
        self.0.refused(None, reason);
        self.0.answered(None, Decision::Refuse, None, reason.answer().status(), Duration::ZERO);
    }
}

impl Events for CountConnections {
    fn connection_opened(&self) {
        self.0.connections.opened();
    }

    fn connection_closed(&self) {
        self.0.connections.closed();
    }

    fn full(&self, limit: u32) {
        tracing::warn!(limit, "limits.connections is reached: clients wait until a connection ends");
    }

    fn handshake(&self, client: SocketAddr, outcome: Handshake<'_>) {
        self.0.connections.handshake(outcome.as_str());
        if let Handshake::Failed(error) = outcome {
            tracing::debug!(%client, %error, "TLS handshake failed");
        }
    }

    fn refused(&self, client: SocketAddr, reason: Reason) {
        self.count(reason);
        tracing::info!(%client, reason = reason.slug(), "refused before it was read");
    }

    fn malformed(&self, client: SocketAddr) {
        self.count(Reason::MessageMalformed);
        tracing::info!(%client, reason = Reason::MessageMalformed.slug(), "refused before it was read");
    }

    fn accept_failed(&self, error: &std::io::Error) {
        tracing::error!(%error, "connections cannot be accepted");
    }
}

impl Server {
    /// Opens every socket, then starts. Must run on a tokio runtime. Requests leave their lines in `log`, if there is
    /// one.
    ///
    /// # Errors
    /// [`StartError`]; no socket stays open then.
    pub fn start(settings: Settings, clock: Arc<dyn Clock>, log: Option<AccessLog>) -> Result<Self, StartError> {
        Self::start_on(PassedSockets::default(), settings, clock, log)
    }

    /// The same, on sockets that were `passed` to this process where their addresses are those of the settings. All must be
    /// wanted.
    ///
    /// # Errors
    /// [`StartError`]; no socket stays open then.
    pub fn start_on(
        mut passed: PassedSockets,
        mut settings: Settings,
        clock: Arc<dyn Clock>,
        log: Option<AccessLog>,
    ) -> Result<Self, StartError> {
        let bound = settings.listeners.iter().map(|listener| Listener::open(listener, &mut passed));
        let bound: Vec<Listener> = bound.collect::<Result<_, _>>()?;
        let mut admin = AdminListener::open(&settings.admin.address, &mut passed).map_err(StartError::Admin)?;
        if let Some(passed) = passed.left() {
            let listeners: Vec<String> =
                settings.listeners.iter().map(|listener| listener.address.to_string()).collect();
            return Err(StartError::Passed { passed, listeners: listeners.join(", "), admin: settings.admin.address });
        }
        let limits = settings.limits.clone();
        let current = Current::new(Gateway::new(&mut settings, clock, log)?);
        let tls = bound.iter().zip(&mut settings.listeners);
        let tls = tls.map(|(listener, settings)| ListenerTls::new(listener.tls(), settings)).collect();
        let workers = Workers::start(workers::per_core()).map_err(StartError::Workers)?;
        let mut server = Self {
            gate: Gate::new(limits.clone()),
            admin_gate: Gate::new(Limits { connections: 64, ..limits }),
            workers: Arc::new(workers),
            addresses: bound.iter().map(Listener::address).collect(),
            admin: admin.address(),
            admin_file: Mutex::new(admin.take_file()),
            draining_since: OnceLock::new(),
            listening: Vec::new(),
            background: Vec::new(),
            in_force: Mutex::new(InForce::new(tls)),
            current,
        };
        server.gateway().metrics().connections.begin(server.gate.capacity(), &Handshake::ALL);
        server.start_background();
        server.run_admin(admin);
        for (index, listener) in bound.into_iter().enumerate() {
            server.run_listener(listener, index);
        }
        Ok(server)
    }

    fn start_background(&mut self) {
        let (replay, runtimes) = (Arc::clone(self.gateway().replay()), self.workers.runtimes());
        self.background.push(tokio::spawn(async move { replay.run(runtimes).await }));
        self.tend();
        let current = self.current.clone();
        self.background.push(tokio::spawn(async move {
            let mut tick = tokio::time::interval(TIDY_EVERY);
            loop {
                tick.tick().await;
                current.get().tidy();
            }
        }));
    }

    fn run_listener(&mut self, listener: Listener, index: usize) {
        let (tls, passed) = (listener.tls().is_some(), listener.is_passed());
        tracing::info!(address = %listener.address(), tls, passed = passed.then_some(true), "listening");
        let door = Door::new(self.current.clone(), index);
        let events = Arc::new(CountConnections(Arc::clone(self.gateway().metrics())));
        let gate = self.gate.clone();
        let workers = Arc::clone(&self.workers);
        self.listening.push(tokio::spawn(listener.run_on(door, events, gate, workers)));
    }

    fn run_admin(&mut self, listener: AdminListener) {
        tracing::info!(address = %self.admin, passed = listener.is_passed().then_some(true), "admin listening");
        let admin = Admin::new(self.current.clone(), &self.addresses);
        let gate = self.admin_gate.clone();
        self.background.push(match listener {
            AdminListener::Network(listener) => tokio::spawn(listener.run(admin, Arc::new(()), gate)),
            AdminListener::Local(listener) => tokio::spawn(listener.run(admin, Arc::new(()), gate)),
        });
    }

    /// Where clients connect, in the order of the settings, with the ports that the system picked.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the operator looks.
    pub const fn admin(&self) -> &Address {
        &self.admin
    }

    /// The gateway in force.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.current.get()
    }

    /// Names the gateway in force, for who wants to hold no longer than that.
    pub const fn current(&self) -> &Current {
        &self.current
    }

    /// Resolves when requests may be sent.
    pub async fn ready(&self) {
        self.current.ready().await;
    }

    /// Takes the gateway out of service and goes on: not ready at once; after `drain_delay` clients are asked to leave as their
    /// requests are through. Who still connects is served, a request at a time. [`stop`](Self::stop) ends what this began.
    pub async fn drain(&self) {
        self.leave_service().await;
        self.gate.empty();
    }

    /// Ends in order: not ready at once, still accepting for `drain_delay`; then no new connections, and requests
    /// under way may finish within `drain_timeout`. True when all of them did.
    pub async fn stop(&self) -> bool {
        self.leave_service().await;
        self.gate.close();
        let drained = tokio::time::timeout(self.gateway().limits().drain_timeout, self.gate.drained()).await.is_ok();
        self.cut().await;
        self.gateway().flush_traces(LAST_TRACES).await;
        drained
    }

    /// Not ready any more, for as long as whoever sends requests here needs to hear of it.
    async fn leave_service(&self) {
        let gateway = self.gateway();
        gateway.start_draining();
        let since = *self.draining_since.get_or_init(Instant::now);
        tokio::time::sleep_until(since + gateway.limits().drain_delay).await;
    }

    /// Ends at once: every connection is cut, before anything behind it goes away and makes up an answer.
    pub async fn cut(&self) {
        self.gate.abort();
        // While its socket listens: nobody can take the file for one that was left behind.
        drop(self.admin_file.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.admin_gate.close();
        let ended = async { tokio::join!(self.gate.drained(), self.admin_gate.drained()) };
        // Whoever still reads the admin port is not worth waiting for.
        let _ = tokio::time::timeout(LAST_PATIENCE, ended).await;
        self.admin_gate.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.gate.abort();
        self.admin_gate.abort();
        for task in self.listening.iter().chain(&self.background) {
            task.abort();
        }
    }
}
