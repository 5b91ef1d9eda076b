//! `keybound serve`: runs the gateway.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use keybound::clock::SystemClock;
use keybound::config::Loaded;
use keybound::gateway::Gateway;
use keybound::server::Server;
use keybound::telemetry::Log;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::ConfigArgs;

/// Run the gateway.
///
/// Stops on SIGTERM or SIGINT: requests under way may finish first.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Serve {
    /// Runs until a signal says to stop.
    ///
    /// # Errors
    /// For `report`: an address that cannot be had, an upstream or issuer that cannot be set up.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Some(loaded) = self.config.load() else { return Ok(ExitCode::FAILURE) };
        // Dropped last, when nothing is left that logs.
        let log = Log::start(&loaded.settings.telemetry).context("cannot start the log")?;
        // Admin port and background work have a thread of their own: it stands still while standard output takes
        // nothing, and a signal is heard all the same.
        let background = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let background = background.context("cannot start the runtime")?;
        let ended = runtime()?.block_on(serve(loaded, self.config.path(), background.handle(), &log));
        // A resolver that hangs would hold the process.
        background.shutdown_background();
        ended
    }
}

/// A runtime for whatever does not serve clients' connections: those have workers of their own.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

async fn serve(loaded: Loaded, config: &Path, background: &Handle, log: &Log) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignals::listen()?;
    for warning in loaded.warnings.findings() {
        tracing::warn!(field = warning.field(), "{}", warning.message());
    }
    let server = {
        let _there = background.enter();
        Server::start(loaded.settings, Arc::new(SystemClock), log.access().cloned())?
    };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %config.display(), "started");
    // Elsewhere: whoever writes may have to wait for standard output.
    let readiness = background.spawn(announce_readiness(Arc::clone(server.gateway())));
    let signal = stop.next().await;
    readiness.abort();
    log.ending();
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

async fn announce_readiness(gateway: Arc<Gateway>) {
    gateway.ready().await;
    tracing::info!("ready");
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
