//! `keybound demo`: plays what can happen to a token, through real sockets.

use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::serve::{StopSignals, runtime};
use super::stdout;

mod caller;
mod issuer;
mod keepsakes;
mod stage;
mod stories;
mod table;

use keepsakes::Keepsakes;
use stage::Stage;

/// See it work, without configuration and without files.
///
/// Makes keys and certificates, starts an issuer, a sample API and the gateway on loopback, and plays what can happen
/// to a token through real sockets: used by its owner, stolen, replayed, shown with another key or certificate. Shows
/// each request's answer and the reason.
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave it running afterwards, with commands to copy.
    #[arg(long)]
    serve: bool,
}

impl Demo {
    /// Plays, and says whether everything went as it should.
    ///
    /// # Errors
    /// For `report`: a port, a key or a connection that cannot be had.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        runtime()?.block_on(self.play())
    }

    async fn play(self) -> anyhow::Result<ExitCode> {
        let mut stop = StopSignals::listen()?;
        let stage = Stage::set().await?;
        let style = table::Style::of_stdout();
        stdout::write(table::opening(&stage, style).as_bytes())?;
        let mut score = table::Score::default();
        for act in stories::acts(&stage)? {
            stdout::write(table::act(&act, style).as_bytes())?;
            for story in act.stories {
                let outcome = stage.play(&story).await?;
                stdout::write(table::line(&story, &outcome, style).as_bytes())?;
                score.count(&story, &outcome);
            }
        }
        stdout::write(table::closing(&score, stage.api_saw(), style).as_bytes())?;
        if self.serve {
            // A terminal that is closed ends it too. Before there are files to leave behind.
            let (mut hangup, mut quit) = (signal(SignalKind::hangup())?, signal(SignalKind::quit())?);
            let keepsakes = Keepsakes::of(&stage)?;
            stdout::write(table::commands(&stage, &keepsakes, style).as_bytes())?;
            tokio::select! {
                _ = stop.next() => {}
                _ = hangup.recv() => {}
                _ = quit.recv() => {}
            }
        } else {
            stdout::write(table::next_steps(style).as_bytes())?;
        }
        stage.strike().await;
        Ok(if score.as_expected() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
