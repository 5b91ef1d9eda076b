//! What is wrong with a configuration, told as rustc tells it.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::document;
use super::secrecy::{without_secrets, without_user_information};

/// More would not be read, and finding a place costs a walk through the file.
const MAX_SHOWN: usize = 100;

/// Whether a configuration can be used in spite of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but somebody should know.
    Warning,
}

impl Severity {
    const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A node of the document, and how many bytes of it to underline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub number: usize,
    pub width: usize,
}

/// One problem before its place in the text is looked up.
#[derive(Debug)]
pub struct Problem {
    pub severity: Severity,
    pub place: Place,
    /// The field's path; empty for the document itself.
    pub field: String,
    /// A whole sentence without the field.
    pub message: String,
    /// What stands under the place.
    pub label: String,
    /// How to do it right.
    pub help: Option<String>,
    /// Another place that has to do with it.
    pub also: Option<(Place, &'static str)>,
}

/// One problem and where it is.
#[derive(Debug)]
pub struct Finding {
    severity: Severity,
    field: String,
    message: String,
    label: String,
    help: Option<String>,
    span: Range<usize>,
    also: Option<(Range<usize>, &'static str)>,
    line: usize,
    column: usize,
}

impl Finding {
    /// Whether it prevents the start.
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// Its field, as in `issuers[0].audiences`; empty for the file as a whole.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What was expected and found.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How to do it right, if that can be said.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Line and column, counted in characters from 1.
    pub const fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is to be said about one file, in the order of the file.
#[derive(Debug)]
pub struct Report {
    file: String,
    text: String,
    findings: Vec<Finding>,
    /// How many more there are than are shown.
    omitted: usize,
}

impl Report {
    /// Looks up the places of problems.
    pub(super) fn new(path: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        let omitted = problems.len().saturating_sub(MAX_SHOWN);
        if omitted > 0 {
            // No error gives way to a warning. The order of the walk is that of the file, but for aliases.
            problems.sort_by_key(|problem| (problem.severity == Severity::Warning, problem.place.number));
            problems.truncate(MAX_SHOWN);
        }
        let mut findings: Vec<_> = problems.into_iter().map(|problem| found(text, problem)).collect();
        findings.sort_by_key(|finding| finding.span.start);
        for finding in &mut findings {
            finding.field = without_secrets(&finding.field);
            finding.message = without_user_information(&finding.message);
            finding.help = finding.help.as_deref().map(without_user_information);
        }
        Self { file: path.display().to_string(), text: without_secrets(text), findings, omitted }
    }

    /// One error about the file as a whole, or about one byte of it.
    pub(super) fn single(path: &Path, text: &str, offset: usize, message: String, help: Option<String>) -> Self {
        let span = extent(text, text.floor_char_boundary(offset), 0);
        let (line, column) = line_and_column(text, span.start);
        let label = if text.is_empty() { String::new() } else { "here".to_owned() };
        let field = String::new();
        let only = Finding { severity: Severity::Error, field, message, label, help, span, also: None, line, column };
        Self { file: path.display().to_string(), text: without_secrets(text), findings: vec![only], omitted: 0 }
    }

    /// The problems, in the order of the file.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether there is nothing to say.
    pub const fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// For a terminal, with the source line of every problem.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for finding in &self.findings {
            out.push_str(&renderer.render(&[self.group(finding)]));
            out.push_str("\n\n");
        }
        if self.omitted > 0 {
            let _ = write!(out, "and {} more\n\n", self.omitted);
        }
        out
    }

    fn group<'a>(&'a self, finding: &'a Finding) -> Group<'a> {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let help = finding.help.as_ref().map(|help| Level::HELP.message(help.as_str()));
        if self.text.is_empty() {
            // There is no line to show, and only the line names the file.
            return Group::with_title(level.primary_title(format!("{}: {finding}", self.file))).elements(help);
        }
        let here = AnnotationKind::Primary.span(finding.span.clone()).label(finding.label.as_str());
        let there = finding.also.iter().map(|(span, label)| AnnotationKind::Context.span(span.clone()).label(*label));
        let source = Snippet::source(self.text.as_str()).path(self.file.as_str()).annotation(here).annotations(there);
        Group::with_title(level.primary_title(finding.to_string())).element(source).elements(help)
    }
}

impl Report {
    /// For a log: a line for each problem, with its place.
    pub fn lines(&self) -> impl Iterator<Item = (Severity, String)> {
        self.findings.iter().map(|finding| {
            let place =
                if self.text.is_empty() { String::new() } else { format!(":{}:{}", finding.line, finding.column) };
            (finding.severity, format!("{}{place}: {}: {finding}", self.file, finding.severity.name()))
        })
    }
}

impl fmt::Display for Report {
    /// For a log: a line for each problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (_, line)) in self.lines().enumerate() {
            write!(f, "{}{line}", if index > 0 { "\n" } else { "" })?;
        }
        if self.omitted > 0 { write!(f, "\nand {} more", self.omitted) } else { Ok(()) }
    }
}

impl std::error::Error for Report {}

fn found(text: &str, problem: Problem) -> Finding {
    let span = |place: Place| extent(text, document::locate(text, place.number), place.width);
    let at = span(problem.place);
    let (line, column) = line_and_column(text, at.start);
    Finding {
        severity: problem.severity,
        field: problem.field,
        message: problem.message,
        label: problem.label,
        help: problem.help,
        also: problem.also.map(|(place, label)| (span(place), label)),
        span: at,
        line,
        column,
    }
}

/// What to underline: a quoted text whole, `width` bytes of a plain one, else one word; never past the line.
fn extent(text: &str, start: usize, width: usize) -> Range<usize> {
    // What is missed at the end is missed behind the last word, not on a line that nobody wrote.
    let start = start.min(text.trim_end().len());
    let line = text[start..].lines().next().unwrap_or_default();
    let end_of_quote = |quote: char| {
        let mut escaped = false;
        line.char_indices().skip(1).find_map(|(at, c)| {
            let closes = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            closes.then_some(at + 1)
        })
    };
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | ':' | '{' | '}' | '[' | ']');
    let length = match line.chars().next() {
        Some(quote @ ('"' | '\'')) => end_of_quote(quote).unwrap_or(line.len()),
        _ if width > 0 => width.min(line.trim_end().len()),
        _ => line.find(is_end).unwrap_or(line.len()),
    };
    // Brackets are words of one byte; the end of a file has no byte at all.
    start..start + line.floor_char_boundary(length.max(1))
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
