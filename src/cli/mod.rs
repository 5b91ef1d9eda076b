//! Arguments as typed, one file a verb. Exit codes: 0 done, 1 the answer is no, 2 wrong usage.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

mod address;
mod admin;
mod check;
mod completions;
mod configuration;
mod credentials;
mod demo;
mod doctor;
mod drain;
mod explain;
mod health;
mod key;
mod proof;
mod reload;
mod request;
mod sandbox;
mod schema;
mod serve;
mod stdout;
mod supervisor;

/// A TLS-terminating reverse proxy that makes stolen access tokens worthless.
///
/// Keybound stands in front of HTTP APIs that know nothing of it, and lets a request through only if the caller
/// proves possession of the key that its access token is bound to: with a signed proof (DPoP, RFC 9449) or a client
/// certificate (mutual TLS, RFC 8705).
///
/// The other commands are the client's side of the same: they make keys and proofs, and call a protected API from a
/// shell.
#[derive(Debug, Parser)]
#[command(name = "keybound", version, arg_required_else_help = true, after_long_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  the answer is no: a refused request, an invalid configuration, a file that cannot be used
  2  wrong usage";

#[derive(Debug, Subcommand)]
enum Verb {
    Serve(serve::Serve),
    Check(check::Check),
    Doctor(doctor::Doctor),
    Health(health::Health),
    Drain(drain::Drain),
    Demo(demo::Demo),
    Explain(explain::Explain),
    Request(request::Request),
    Proof(proof::Proof),
    Key(key::Key),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// For [`report`].
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Serve(verb) => verb.run(),
            Verb::Check(verb) => verb.run(),
            Verb::Doctor(verb) => verb.run(),
            Verb::Health(verb) => verb.run(),
            Verb::Drain(verb) => verb.run(),
            Verb::Demo(verb) => verb.run(),
            Verb::Explain(verb) => verb.run(),
            Verb::Request(verb) => verb.run(),
            Verb::Proof(verb) => verb.run(),
            Verb::Key(verb) => verb.run(),
            Verb::Schema(verb) => verb.run(),
            Verb::Completions(verb) => verb.run(),
        }
    }
}

/// Tells on standard error what went wrong, and which exit code says so.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<stdout::Closed>() {
        return ExitCode::SUCCESS;
    }
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // Standard error may be closed, and there is nowhere else to tell.
        let _ = usage.print();
        return ExitCode::from(2);
    }
    say(format_args!("error: {error:#}"));
    ExitCode::FAILURE
}

/// A mistake in the arguments that clap cannot see. `message` must not repeat what may be secret.
fn usage(verb: &str, message: impl Display) -> anyhow::Error {
    let mut command = Cli::command();
    command.build();
    let error = match command.find_subcommand_mut(verb) {
        Some(verb) => verb.error(ErrorKind::ValueValidation, message),
        None => command.error(ErrorKind::ValueValidation, message),
    };
    error.into()
}

/// Whether a file is `-`, which stands for standard input or output.
fn is_dash(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// A duration as configurations have it. For clap.
fn duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 500ms, 30s or 5m")
}

/// One line for the person, not for the next program. Unlike `eprintln!` it does not panic when nobody listens.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
