//! From nodes to what is written, without stopping at the first problem.
//!
//! A [`Field`] remembers where it stands and whether it was left out, wrong (then that was reported) or given,
//! so that whoever gives it a meaning can report problems at its place and says nothing twice.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::document::{Node, Value};
use super::environment;
use super::files::Files;
use super::report::{Place, Problem, Severity};
use super::schema::Schema;
use super::values::{choices, closest, describe};

/// One reading of one file: what it may ask, and the problems found so far.
pub struct Reading<'e> {
    pub problems: Vec<Problem>,
    /// Those that it is made of.
    pub files: RefCell<Files>,
    environment: &'e dyn Fn(&str) -> Option<String>,
    directory: &'e Path,
}

impl<'e> Reading<'e> {
    /// `files`: what was looked at before.
    pub const fn new(environment: &'e dyn Fn(&str) -> Option<String>, directory: &'e Path, files: Files) -> Self {
        Self { problems: Vec::new(), files: RefCell::new(files), environment, directory }
    }

    /// The file of that name, which is about to be read. A path as written is relative to the configuration's directory.
    pub fn path(&self, written: &str) -> PathBuf {
        let path = self.path_for_others(written);
        self.note(&path);
        path
    }

    /// The configuration is to be read again when what is in this file changes.
    pub fn note(&self, path: &Path) {
        self.files.borrow_mut().note(path);
    }

    /// The same for a file that somebody else looks at again and again.
    pub fn path_for_others(&self, written: &str) -> PathBuf {
        self.directory.join(written)
    }

    /// Puts the environment's values into a text. The flag says whether there were any to put.
    pub fn expand(&mut self, text: &str, node: &Node, path: &str) -> Option<(String, bool)> {
        if !text.contains('$') {
            return Some((text.to_owned(), false));
        }
        match environment::expand(text, self.environment) {
            Ok(expanded) => Some((expanded, true)),
            Err((message, help)) => {
                self.error(Place::of(node), path, message, "").help(help);
                None
            }
        }
    }

    /// Reports; the answer takes a hint.
    pub fn error(&mut self, place: Place, field: &str, message: impl Into<String>, label: &str) -> &mut Problem {
        self.report(Severity::Error, place, field, message.into(), label)
    }

    /// Reports what does not prevent the start.
    pub fn warning(&mut self, place: Place, field: &str, message: impl Into<String>, label: &str) -> &mut Problem {
        self.report(Severity::Warning, place, field, message.into(), label)
    }

    fn report(&mut self, severity: Severity, place: Place, field: &str, message: String, label: &str) -> &mut Problem {
        let (field, label) = (field.to_owned(), label.to_owned());
        let problem = Problem { severity, place, field, message, label, help: None, also: None };
        let at = self.problems.len();
        self.problems.push(problem);
        &mut self.problems[at]
    }

    /// Reports a value that is something else than what its field holds. Always `None`.
    pub fn mismatch<T>(&mut self, node: &Node, path: &str, expected: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", describe(node));
        self.error(Place::of(node), path, message, &format!("expected {expected}"));
        None
    }
}

impl Problem {
    /// Adds how to do it right.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place.
    pub fn also(&mut self, place: Place, label: &'static str) -> &mut Self {
        self.also = Some((place, label));
        self
    }
}

impl Place {
    pub fn of(node: &Node) -> Self {
        let width = if let Value::Text(text) = &node.value { text.len() } else { 0 };
        Self { number: node.number, width }
    }
}

/// What a value can be read as.
pub trait Written: Schema + Sized {
    /// `None` when a problem was reported.
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self>;
}

/// What a mapping has under one name.
pub trait Member: Schema + Sized {
    /// `owner` is the mapping's place, for what is not there.
    fn read(value: Option<&Node>, path: String, owner: Place, reading: &mut Reading<'_>) -> Self;
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Field<T> {
    pub path: String,
    pub place: Place,
    /// The value in words, for messages.
    found: String,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Absent,
    Wrong,
    Given(T),
}

/// A [`Field`] where `null` says the same as leaving it out.
#[derive(Debug)]
pub struct Nullable<T>(Field<T>);

impl<T> std::ops::Deref for Nullable<T> {
    type Target = Field<T>;

    fn deref(&self) -> &Field<T> {
        &self.0
    }
}

impl<T: Written> Field<T> {
    /// Reads a value that is there.
    pub fn of(node: &Node, path: String, reading: &mut Reading<'_>) -> Self {
        let state = T::read(node, &path, reading).map_or(State::Wrong, State::Given);
        Self { path, place: Place::of(node), found: describe(node), state }
    }
}

impl<T: Written> Member for Field<T> {
    fn read(value: Option<&Node>, path: String, owner: Place, reading: &mut Reading<'_>) -> Self {
        match value {
            Some(node) => Self::of(node, path, reading),
            None => Self { path, place: owner, found: "nothing".to_owned(), state: State::Absent },
        }
    }
}

impl<T: Written> Member for Nullable<T> {
    fn read(value: Option<&Node>, path: String, owner: Place, reading: &mut Reading<'_>) -> Self {
        Self(Member::read(value.filter(|node| node.value != Value::Null), path, owner, reading))
    }
}

impl<T> Field<T> {
    /// The value, if one was given that could be read.
    pub const fn value(&self) -> Option<&T> {
        match &self.state {
            State::Given(value) => Some(value),
            State::Absent | State::Wrong => None,
        }
    }

    /// Whether anything stands there, right or wrong.
    pub const fn is_given(&self) -> bool {
        !matches!(self.state, State::Absent)
    }

    /// Whether something stands there that was reported already.
    pub const fn is_wrong(&self) -> bool {
        matches!(self.state, State::Wrong)
    }

    /// The value; reports when the field was left out.
    pub fn required(&self, example: &str, reading: &mut Reading<'_>) -> Option<&T> {
        if !self.is_given() {
            let name = self.path.rsplit('.').next().unwrap_or_default();
            let label = format!("`{name}` must be given here");
            reading.error(self.place, &self.path, "missing", &label).help(example);
        }
        self.value()
    }

    /// Reports a value that is of the right type and still cannot be used.
    pub fn refuse<'r>(&self, expected: &str, reading: &'r mut Reading<'_>) -> &'r mut Problem {
        let message = format!("expected {expected}, found {}", self.found);
        reading.error(self.place, &self.path, message, &format!("expected {expected}"))
    }

    /// What the value means; reports `Err`, which says what was expected.
    pub fn meaning<U, E: AsRef<str>>(
        &self,
        reading: &mut Reading<'_>,
        meaning: impl FnOnce(&T) -> Result<U, E>,
    ) -> Option<U> {
        meaning(self.value()?).map_err(|expected| self.refuse(expected.as_ref(), reading)).ok()
    }
}

/// The entries of a mapping that is being read, by name.
pub struct Members<'n> {
    entries: Vec<(&'n str, &'n Node)>,
    path: String,
    owner: Place,
}

impl<'n> Members<'n> {
    /// Reports unknown and doubled names.
    pub fn of(node: &'n Node, path: &str, known: &[&str], reading: &mut Reading<'_>) -> Option<Self> {
        let known: Vec<_> = known.iter().map(|name| plain(name)).collect();
        let mut entries = Vec::new();
        for (key, name, value) in named(node, path, reading)? {
            if known.contains(&name) {
                entries.push((name, value));
                continue;
            }
            let help = closest(name, known.iter().copied())
                .map_or_else(|| format!("known here: {}", choices(&known)), |name| format!("did you mean `{name}`?"));
            reading.error(Place::of(key), &join(path, name), "unknown field", "no such field").help(help);
        }
        Some(Self { entries, path: path.to_owned(), owner: Place::of(node) })
    }

    /// A mapping that holds nothing.
    pub const fn none(path: String, owner: Place) -> Self {
        Self { entries: Vec::new(), path, owner }
    }

    /// What stands under a name.
    pub fn take<M: Member>(&self, name: &str, reading: &mut Reading<'_>) -> M {
        let name = plain(name);
        let value = self.entries.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        M::read(value, join(&self.path, name), self.owner, reading)
    }
}

/// The entries of a mapping: the name's node, the name, the value. Reports what is no name, and what is doubled.
pub fn named<'n>(node: &'n Node, path: &str, reading: &mut Reading<'_>) -> Option<Vec<(&'n Node, &'n str, &'n Node)>> {
    let Value::Map(entries) = &node.value else {
        return reading.mismatch(node, path, "a mapping of names to values");
    };
    let mut out: Vec<(&Node, &str, &Node)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let Value::Text(name) = &key.value else {
            reading.mismatch::<()>(key, path, "a name");
            continue;
        };
        if let Some((first, ..)) = out.iter().find(|(_, known, _)| known == name) {
            let first = Place::of(first);
            reading
                .error(Place::of(key), &join(path, name), "given twice", "given again here")
                .also(first, "first here");
            continue;
        }
        out.push((key, name, value));
    }
    Some(out)
}

/// Rust writes a field as `r#match` where the file says `match`.
pub fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

fn join(path: &str, name: &str) -> String {
    let name = name.escape_debug();
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}
