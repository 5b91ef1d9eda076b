//! `keybound serve` reads its configuration again: on SIGHUP, and when the content of a file that it was made of changes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Weak;
use std::time::Duration;

use keybound::config::{Attempt, Files, Loaded, Report, Severity};
use keybound::server::Server;
use keybound::telemetry::{LogControl, TelemetrySettings};
use tokio::signal::unix::Signal;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;

use super::configuration::ConfigArgs;
use super::sandbox::{self, Sandbox};
use super::supervisor;

/// Between two looks at the files. Nobody tells of changes: a mounted ConfigMap changes by a symbolic link far up the path.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Files are left alone for so long before they are read: a certificate and its key are two files.
const SETTLED_AFTER: Duration = Duration::from_millis(250);

/// And so often at most, however often they change.
const MOST_LOOKS: usize = 20;

/// Where a configuration comes from.
pub struct Sources {
    /// The file.
    pub config: ConfigArgs,
    /// What it was made of when it was last read.
    pub files: Files,
    /// What else may be read.
    pub sandbox: Sandbox,
}

/// Reads and reloads, one time after the other.
pub struct Reloader {
    /// Gone when the process ends.
    pub server: Weak<Server>,
    /// Read again and again.
    pub sources: Sources,
    /// In force.
    pub telemetry: TelemetrySettings,
    /// What the log writes.
    pub log: LogControl,
    /// SIGHUP.
    pub hangup: Signal,
}

impl Reloader {
    /// For as long as it is polled.
    pub async fn run(mut self) {
        let mut hidden = BTreeSet::new();
        loop {
            let asked = tokio::select! {
                Some(()) = self.hangup.recv() => true,
                () = sleep(LOOK_EVERY) => false,
            };
            self.tell_hidden(&mut hidden).await;
            let cause = match asked {
                true => "SIGHUP",
                false if self.files_changed().await => "a file changed",
                false => continue,
            };
            supervisor::reloading();
            let config = self.sources.config.clone();
            match spawn_blocking(move || config.attempt()).await {
                Ok(attempt) => self.reload(attempt, cause),
                Err(error) => self.cannot_read(&error, cause).await,
            }
        }
    }

    /// Tells which files are hidden by the sandbox, where nobody else does. `told` is what was hidden the last time.
    async fn tell_hidden(&self, told: &mut BTreeSet<PathBuf>) {
        let mut files = self.sources.sandbox.unreported();
        let look = spawn_blocking(move || {
            files.retain(|file| sandbox::is_hidden(file));
            files
        });
        let Ok(hidden) = look.await else { return };
        let hidden = BTreeSet::from_iter(hidden);
        for file in hidden.difference(told) {
            tracing::error!(
                file = %file.display(),
                "the sandbox hides this file, which came after the start: without it, no host or no new key is found. Restart"
            );
        }
        *told = hidden;
    }

    /// Whether a file holds something else than it did; then waits until it is all there.
    async fn files_changed(&self) -> bool {
        let mut last = self.sources.files.clone();
        for _ in 0..MOST_LOOKS {
            let before = last.clone();
            let Ok(now) = spawn_blocking(move || before.look_again()).await else { return false };
            if now == last {
                break;
            }
            last = now;
            sleep(SETTLED_AFTER).await;
        }
        last != self.sources.files
    }

    /// Reading it panicked: a mistake of ours. Not read again before something changes.
    async fn cannot_read(&mut self, error: &JoinError, cause: &'static str) {
        let Some(server) = self.server.upgrade() else { return };
        server.gateway().metrics().config_reloaded(false);
        supervisor::reloaded(false);
        // Without the panic's words, which could quote a secret.
        let panicked = error.is_panic();
        tracing::error!(cause, panicked, "configuration not reloaded: the one in force stays");
        let before = self.sources.files.clone();
        if let Ok(now) = spawn_blocking(move || before.look_again()).await {
            self.sources.files = now;
        }
    }

    fn reload(&mut self, attempt: Attempt, cause: &'static str) {
        let Some(server) = self.server.upgrade() else { return };
        let files: Vec<String> =
            attempt.files.changed_since(&self.sources.files).map(|path| path.display().to_string()).collect();
        self.sources.files = attempt.files;
        let done = |in_force| {
            server.gateway().metrics().config_reloaded(in_force);
            supervisor::reloaded(in_force);
        };
        let Loaded { settings, warnings } = match attempt.outcome {
            Ok(loaded) => loaded,
            Err(report) => {
                done(false);
                tell(&report);
                self.sources.sandbox.explain(&self.sources.files);
                tracing::error!(cause, "configuration not reloaded: the one in force stays");
                return;
            }
        };
        let telemetry = settings.telemetry.clone();
        let key_files = sandbox::key_files(&settings);
        match server.reload(settings, self.log.access(&telemetry)) {
            Ok(mut changes) => {
                done(true);
                self.sources.sandbox.follow(key_files);
                tell(&warnings);
                if telemetry != self.telemetry {
                    changes.add_section("telemetry");
                    self.log.listen_from(telemetry.level);
                    self.telemetry = telemetry;
                }
                // Asked for by a signal, it may find them all as they were.
                let files = (!files.is_empty()).then(|| files.join(", "));
                tracing::info!(cause, %changes, files, "configuration reloaded");
            }
            Err(error) => {
                done(false);
                let error = anyhow::Error::from(error);
                tracing::error!(
                    cause,
                    error = format!("{error:#}"),
                    "configuration not reloaded: the one in force stays"
                );
            }
        }
    }
}

/// A line for each problem, with its place.
fn tell(report: &Report) {
    for (severity, problem) in report.lines() {
        match severity {
            Severity::Error => tracing::error!(problem, "in the configuration"),
            Severity::Warning => tracing::warn!(problem, "in the configuration"),
        }
    }
}
