//! A file becomes [`Settings`], once. Imported by `cli` only.
//!
//! Enters: a path and the environment. Leaves: settings in which every value is checked and every file was
//! read, or a [`Report`] of everything that is wrong, each problem with its place. Never: a start with a field
//! that nobody understood.
//!
//! The stations: `document` (text to nodes with places), `reading` and `values` (nodes to `written`, the
//! configuration as written), `schema` (the same for editors), `meaning` (as written to as meant), `report` (problems as
//! rustc prints them).

mod document;
mod environment;
mod files;
mod meaning;
mod reading;
mod report;
mod schema;
mod secrecy;
mod values;
mod written;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::gateway::Settings;
pub use files::Files;
use reading::{Reading, Written as _};
pub use report::{Finding, Report, Severity};

/// More than any configuration holds; bounds what a wrong path, say to a device, can cost.
const MAX_BYTES: u64 = 1 << 20;

/// What a configuration may hold, as a JSON Schema (2020-12).
pub fn schema() -> serde_json::Value {
    schema::schema::<written::Configuration>("Configuration")
}

/// The same for people: every field with its type, default and meaning, in Markdown.
pub fn reference() -> String {
    schema::reference::document(&schema())
}

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What it means.
    pub settings: Settings,
    /// What somebody should know nevertheless.
    pub warnings: Report,
}

/// What became of reading a configuration.
#[derive(Debug)]
pub struct Attempt {
    /// A configuration, or everything that is wrong with it, and the warnings too.
    pub outcome: Result<Loaded, Report>,
    /// The file and those that it names: when one of them changes, another attempt makes sense. Without the JWK sets of
    /// issuers, which `keys` looks at.
    pub files: Files,
}

/// A configuration for whoever looks at what it names, and does not run it.
#[derive(Debug)]
pub struct Inspection {
    /// What could be understood of it. Where `report` has an error, the section with the error is not what was meant: it
    /// may lack a certificate, or TLS.
    pub settings: Option<Settings>,
    /// Errors and warnings.
    pub report: Report,
}

/// Reads a configuration and the files it names, and goes on past what is wrong with it. To run it, ask [`load`].
pub fn inspect(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Inspection {
    match understand(path, environment, &mut Files::default()) {
        Ok((settings, report)) => Inspection { settings, report },
        Err(report) => Inspection { settings: None, report },
    }
}

/// Reads a configuration and the files it names. `environment` answers for `${NAME}`.
///
/// # Errors
/// Everything that is wrong with it, and the warnings too.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Report> {
    attempt(path, environment).outcome
}

/// The same, for who wants to know which files it depends on.
pub fn attempt(path: &Path, environment: &dyn Fn(&str) -> Option<String>) -> Attempt {
    let mut files = Files::default();
    files.note(path);
    let outcome = read(path, environment, &mut files);
    Attempt { outcome, files }
}

fn read(path: &Path, environment: &dyn Fn(&str) -> Option<String>, files: &mut Files) -> Result<Loaded, Report> {
    let (settings, report) = understand(path, environment, files)?;
    let failed = report.findings().iter().any(|finding| finding.severity() == Severity::Error);
    match settings {
        Some(settings) if !failed => Ok(Loaded { settings, warnings: report }),
        _ => Err(report),
    }
}

/// What it means as far as it has a meaning, and everything that is to be said about it.
fn understand(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    files: &mut Files,
) -> Result<(Option<Settings>, Report), Report> {
    let text = text(path)?;
    let node = match document::parse(&text) {
        Ok(node) => node,
        Err(broken) => {
            let message = format!("not valid YAML: {}", broken.problem);
            let help = syntax_help(&text, broken.offset);
            return Err(Report::single(path, &text, broken.offset, message, help));
        }
    };
    if node.value == document::Value::Null {
        let help = "the smallest useful configuration has `listeners`, `issuers` and `routes`".to_owned();
        return Err(Report::single(path, &text, 0, "this configuration is empty".to_owned(), Some(help)));
    }
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut reading = Reading::new(environment, directory, std::mem::take(files));
    let settings =
        written::Configuration::read(&node, "", &mut reading).map(|written| meaning::settings(&written, &mut reading));
    *files = reading.files.take();
    Ok((settings, Report::new(path, &text, reading.problems)))
}

fn text(path: &Path) -> Result<String, Report> {
    let refuse = |problem: String, help: Option<&str>| Report::single(path, "", 0, problem, help.map(str::to_owned));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let help = match error.kind() {
            io::ErrorKind::NotFound => Some("a relative path begins at the current directory"),
            io::ErrorKind::IsADirectory => Some("name the file, not its directory"),
            _ => None,
        };
        return Err(refuse(format!("cannot be read: {error}"), help));
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refuse(format!("larger than the {MAX_BYTES} bytes that a configuration may have"), None));
    }
    match String::from_utf8(bytes) {
        // A byte order mark is no part of the first line.
        Ok(text) => Ok(text.trim_start_matches('\u{FEFF}').to_owned()),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            Err(Report::single(path, &text, valid, "not a text in UTF-8".to_owned(), None))
        }
    }
}

/// Hints for the mistakes that a YAML parser reports in words of its own.
fn syntax_help(text: &str, offset: usize) -> Option<String> {
    let offset = text.floor_char_boundary(offset);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let help = if line.trim_start_matches(' ').starts_with('\t') {
        "YAML is indented with spaces, not with tabs"
    } else if line.contains("${") {
        "between `{}` and `[]`, write `\"${NAME}\"` in quotes"
    } else {
        return None;
    };
    Some(help.to_owned())
}
