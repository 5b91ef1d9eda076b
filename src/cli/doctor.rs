//! `keybound doctor`: checks a deployment from outside in, and says what to fix.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::future::{BoxFuture, join_all};
use http::Uri;
use keybound::clock::{Clock as _, SystemClock};
use keybound::config::Inspection;
use keybound::gateway::Settings;

use self::finding::{Finding, Level};
use super::address::Address;
use super::configuration::ConfigArgs;
use super::serve::runtime;
use super::{duration, stdout, usage};

mod certificates;
mod configuration;
mod finding;
mod front;
mod introspection;
mod issuers;
mod listeners;
mod names;
mod redis;
mod show;
mod tls;
mod upstreams;

/// Check a deployment, and say what to fix.
///
/// Reads the configuration as `check` does, and then asks everybody whom it names: do names have addresses, does each issuer
/// publish keys that can be used, do certificates hold and for how long, does Redis keep what it is given, do upstreams
/// answer, do the clocks agree. It opens no port, connects to nobody else, and prints no secret. In Redis it enters one key,
/// which expires at once; introspection endpoints are asked about a token that nobody issued.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  keybound doctor --config keybound.yaml
  keybound doctor --config keybound.yaml --through https://api.example.com/orders

Exit codes: 0 nothing failed, 1 something failed, 2 wrong usage.")]
pub struct Doctor {
    #[command(flatten)]
    config: ConfigArgs,

    /// A URL of the API as clients use it: also checks what stands in front of the gateway.
    ///
    /// Sends requests as a stranger would, with a proof by a key made for this and a token that nobody issued. The URL must
    /// belong to a route that enforces.
    #[arg(long, value_name = "URL")]
    through: Option<String>,

    /// Certificates of authorities to trust for --through instead of the system's, as PEM.
    #[arg(long, value_name = "FILE", requires = "through")]
    cacert: Option<PathBuf>,

    /// How long to wait for each answer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    timeout: Duration,

    /// How to tell what was found.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line for each finding.
    Text,
    /// One JSON object.
    Json,
}

/// What is known before anybody is asked.
struct Circumstances {
    /// How long to wait for each answer.
    patience: Duration,
    /// Names without an address.
    lost: BTreeSet<String>,
}

impl Circumstances {
    const LOST: &str = "not asked: its name has no address";

    fn is_lost(&self, host: &str) -> bool {
        self.lost.contains(&names::bare(host).to_ascii_lowercase())
    }

    /// Why nobody can be asked there.
    fn lost(&self, uri: &Uri) -> Option<&'static str> {
        self.is_lost(uri.host().unwrap_or_default()).then_some(Self::LOST)
    }
}

impl Doctor {
    /// Asks and prints.
    ///
    /// # Errors
    /// For `report`.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut through = self.front()?;
        let Inspection { settings, report } = self.config.inspect();
        let mut findings = configuration::check(self.config.path(), &report);
        if let Some(mut settings) = settings {
            findings.extend(configuration::leave_out_broken(&mut settings, &mut through, &report));
            let runtime = runtime()?;
            findings.extend(runtime.block_on(examine(settings, through, self.timeout)));
            // Those of one subject stay as they came.
            findings.sort_by_key(|finding| finding.subject);
            // A name lookup that hangs must not hold up the exit.
            runtime.shutdown_background();
        }
        let text = match self.format {
            Format::Text => show::lines(&findings),
            Format::Json => show::json(&findings),
        };
        stdout::tell(text.as_bytes())?;
        let failed = findings.iter().any(|finding| finding.level == Level::Fail);
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn front(&self) -> anyhow::Result<Option<front::Front>> {
        let Some(url) = &self.through else { return Ok(None) };
        let address = Address::parse(url).map_err(|message| usage("doctor", format!("--through: {message}")))?;
        front::Front::new(address, self.cacert.clone()).map(Some)
    }
}

/// Asks everybody at once, and tells in a fixed order.
async fn examine(settings: Settings, through: Option<front::Front>, patience: Duration) -> Vec<Finding> {
    let now = SystemClock.now();
    let mut findings: Vec<Finding> =
        settings.listeners.iter().flat_map(|listener| listeners::check(listener, now)).collect();
    let url = through.as_ref().map(front::Front::uri);
    let (named, lost) = names::check(&settings, url, patience).await;
    findings.extend(named);
    let circumstances = &Circumstances { patience, lost };
    let known = front::Known::of(&settings);
    let Settings { issuers, introspection, replay, upstreams, .. } = settings;

    let mut looks: Vec<BoxFuture<'_, Vec<Finding>>> = Vec::new();
    looks.extend(issuers.iter().map(|issuer| Box::pin(issuers::check(issuer, circumstances)) as _));
    looks.extend(introspection.into_iter().map(|asked| Box::pin(introspection::check(asked, circumstances)) as _));
    looks.extend(replay.shared.iter().map(|store| Box::pin(redis::check(store, circumstances)) as _));
    looks.extend(upstreams.into_iter().map(|upstream| Box::pin(upstreams::check(upstream, circumstances)) as _));
    looks.extend(through.iter().map(|front| Box::pin(front.check(&known, circumstances)) as _));
    findings.extend(join_all(looks).await.into_iter().flatten());
    findings
}
