//! How the play is shown: colours on a terminal, the same text without them anywhere else.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use super::keepsakes::Keepsakes;
use super::stage::{Outcome, Stage};
use super::stories::{Act, Story};

/// Whether colours are wanted.
#[derive(Clone, Copy)]
pub struct Style(bool);

impl Style {
    /// On a terminal, unless `NO_COLOR` says otherwise.
    pub fn of_stdout() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !plain)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// How many stories went which way.
#[derive(Default)]
pub struct Score {
    passed: usize,
    refused: usize,
    surprises: usize,
}

impl Score {
    /// Adds one story.
    pub fn count(&mut self, story: &Story, outcome: &Outcome) {
        match (went_as_expected(story, outcome), outcome.status.is_success()) {
            (false, _) => self.surprises += 1,
            (true, true) => self.passed += 1,
            (true, false) => self.refused += 1,
        }
    }

    /// Whether nothing was a surprise.
    pub const fn as_expected(&self) -> bool {
        self.surprises == 0
    }
}

fn went_as_expected(story: &Story, outcome: &Outcome) -> bool {
    outcome.reason == story.expected && outcome.status.is_success() == story.expected.is_none()
}

/// Who takes part.
pub fn opening(stage: &Stage, style: Style) -> String {
    let mut text = String::new();
    let mut row = |name: &str, place: &str, does: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {}  {place:<26} {}", style.bold(&format!("{name:<8}")), style.dim(does));
    };
    row("issuer", &stage.issuer.name, "signs access tokens that name a key");
    row("gateway", &stage.gateway(), "lets through what is proven");
    row("API", &format!("http://{}", stage.api), "knows nothing of all this");
    format!("\n{}\n\n{text}", style.bold("Keybound: a stolen token is worth nothing here"))
}

/// The heading of an act.
pub fn act(act: &Act, style: Style) -> String {
    format!("\n{}\n", style.bold(act.title))
}

/// One story: who, what, answer and reason.
pub fn line(story: &Story, outcome: &Outcome, style: Style) -> String {
    let status = outcome.status.as_u16();
    let (mark, colour) = match (went_as_expected(story, outcome), outcome.status.is_success()) {
        (false, _) => ("?", "1;35"),
        (true, true) => ("✔", "32"),
        (true, false) => ("✘", "31"),
    };
    let why = match (&outcome.caller, outcome.reason) {
        (Some(caller), _) => format!("the API greets {caller}"),
        (None, Some(reason)) => reason.slug().to_owned(),
        (None, None) => String::new(),
    };
    let answer = style.paint(colour, &format!("{mark} {status}"));
    format!("  {answer}  {:<7} {:<42} {}\n", story.who, story.what, style.dim(&why))
}

/// The sum.
pub fn closing(score: &Score, api_saw: usize, style: Style) -> String {
    let Score { passed, refused, surprises } = score;
    let total = passed + refused + surprises;
    let verdict = if *surprises == 0 {
        style.paint("32", "Everything went as it should.")
    } else {
        style.paint("1;31", &format!("{surprises} went otherwise than they should!"))
    };
    format!("\n{total} requests: {passed} proven and forwarded, {refused} refused. The API saw {api_saw}. {verdict}\n")
}

/// Where to go from here.
pub fn next_steps(style: Style) -> String {
    let mut text = format!("\n{}\n", style.bold("Next"));
    for (command, does) in [
        ("keybound demo --serve", "leave this running and call it yourself"),
        ("keybound check --config FILE", "validate a configuration; config.example.yaml shows all of it"),
        ("keybound serve --config FILE", "protect an API"),
    ] {
        let _ = writeln!(text, "  {command:<30} {}", style.dim(does));
    }
    text.push('\n');
    text
}

/// Commands to copy while it runs.
pub fn commands(stage: &Stage, keepsakes: &Keepsakes, style: Style) -> String {
    let url = format!("{}/orders", stage.gateway());
    let program = std::env::current_exe().ok().map_or_else(|| "keybound".to_owned(), |path| path.display().to_string());
    let file = |name: &str| keepsakes.path(name).display().to_string();
    let request = format!("{program} request {url} --cacert {}", file(Keepsakes::SERVER));
    let dpop = format!("--token-file {} --key {}", file(Keepsakes::DPOP_TOKEN), file(Keepsakes::KEY));
    let mtls = format!("--token-file {}", file(Keepsakes::MTLS_TOKEN));
    let certificate = format!("--cert {} --cert-key {}", file(Keepsakes::CERTIFICATE), file(Keepsakes::KEY));
    let commands = [
        ("a good DPoP call", format!("{request} {dpop} -i")),
        ("the same token, stolen", format!("{request} {dpop} --bearer -i")),
        ("a good mTLS call", format!("{request} {mtls} {certificate} -i")),
        ("the same token, without the certificate", format!("{request} {mtls} -i")),
        (
            "mTLS with curl",
            format!(
                "curl -i --cacert {} --cert {} --key {} -H \"Authorization: Bearer $(cat {})\" {url}",
                file(Keepsakes::SERVER),
                file(Keepsakes::CERTIFICATE),
                file(Keepsakes::KEY),
                file(Keepsakes::MTLS_TOKEN)
            ),
        ),
        ("a live page for people: open this in a browser", format!("http://{}/", stage.admin())),
        ("what the operator sees", format!("curl http://{}/metrics", stage.admin())),
    ];
    let mut text =
        format!("\n{}\n", style.bold("Still running. Copy one of these; Ctrl-C ends it and removes the files."));
    for (what, command) in commands {
        let _ = writeln!(text, "\n  {}\n  {command}", style.dim(&format!("# {what}")));
    }
    text.push('\n');
    text
}
