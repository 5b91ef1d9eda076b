//! `keybound serve`: runs the gateway.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use keybound::accept::PassedSockets;
use keybound::clock::SystemClock;
use keybound::config::{Attempt, Loaded};
use keybound::gateway::Current;
use keybound::server::Server;
use keybound::telemetry::Log;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::{ConfigArgs, tell};
use super::reload::{Reloader, Sources};
use super::sandbox::SandboxArgs;
use super::supervisor;

/// Run the gateway.
///
/// Stops on SIGTERM or SIGINT: requests under way may finish first. On SIGUSR1 it lets clients go and waits for its end. Reads the configuration again on SIGHUP, and when
/// one of its files changes.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

impl Serve {
    /// Runs until a signal says to stop.
    ///
    /// # Errors
    /// For `report`: an address that cannot be had, an upstream or issuer that cannot be set up.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = runtime()?;
        let requests = {
            let _there = runtime.enter();
            Requests::listen()?
        };
        let Attempt { outcome, files } = self.config.attempt();
        let loaded = match outcome {
            Ok(loaded) => loaded,
            Err(report) => {
                tell(&report);
                return Ok(ExitCode::FAILURE);
            }
        };
        let passed = supervisor::passed_sockets()?;
        // Before there is another thread, and a client.
        let sandbox = self.sandbox.enter(&files, &loaded.settings, &passed)?;
        // Dropped last, when nothing is left that logs.
        let log = Log::start(&loaded.settings.telemetry).context("cannot start the log")?;
        // Admin port and background work have a thread of their own: it stands still while standard output takes
        // nothing, and a signal is heard all the same.
        let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let background = background.context("cannot start the runtime")?;
        let sources = Sources { config: self.config, files, sandbox };
        let ended = runtime.block_on(serve(loaded, passed, sources, requests, background.handle(), &log));
        // A resolver that hangs would hold the process.
        background.shutdown_background();
        ended
    }
}

/// A runtime for whatever does not serve clients' connections: those have workers of their own.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

async fn serve(
    loaded: Loaded,
    passed: PassedSockets,
    sources: Sources,
    requests: Requests,
    background: &Handle,
    log: &Log,
) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    let Requests { hangup, mut drain } = requests;
    for warning in loaded.warnings.findings() {
        tracing::warn!(field = warning.field(), "{}", warning.message());
    }
    let telemetry = loaded.settings.telemetry.clone();
    let server = {
        let _there = background.enter();
        let access = log.control().access(&telemetry);
        Arc::new(Server::start_on(passed, loaded.settings, Arc::new(SystemClock), access)?)
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %sources.config.path().display(), "started");
    sources.sandbox.log();
    supervisor::started();
    // Elsewhere: whoever writes may have to wait for standard output.
    let readiness = background.spawn(announce_readiness(server.current().clone()));
    let (log_control, server_there) = (log.control().clone(), Arc::downgrade(&server));
    let reloader = Reloader { server: server_there, sources, telemetry, log: log_control, hangup };
    let reloading = background.spawn(reloader.run());
    // What is drained or ends does not change any more, and is not ready.
    let settle = || {
        readiness.abort();
        reloading.abort();
    };
    let signal = tokio::select! {
        signal = stop.next() => signal,
        Some(()) = drain.recv() => {
            settle();
            supervisor::draining();
            tracing::info!("draining");
            tokio::select! {
                signal = stop.next() => signal,
                never = async { server.drain().await; std::future::pending().await } => never,
            }
        }
    };
    settle();
    log.ending();
    supervisor::stopping();
    tracing::info!(signal, "stopping");
    let drained = tokio::select! {
        drained = server.stop() => drained,
        // Whoever asks twice does not want to wait.
        _ = stop.next() => {
            server.cut().await;
            false
        }
    };
    tracing::info!(drained, "stopped");
    Ok(if drained { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn announce_readiness(current: Current) {
    current.ready().await;
    tracing::info!("ready");
    supervisor::ready();
}

/// SIGHUP and SIGUSR1. They are heard before the configuration is read: whoever sends one so early means the gateway that
/// is about to be there. Those that end it are not, because reading takes as long as a pipe does.
struct Requests {
    hangup: Signal,
    drain: Signal,
}

impl Requests {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { hangup: listen(SignalKind::hangup())?, drain: listen(SignalKind::user_defined1())? })
    }
}

/// SIGTERM, as orchestrators send it, and SIGINT, as people do.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on these signals no longer end the process by themselves.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
