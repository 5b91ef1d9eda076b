//! Leaves of the document: texts, numbers, durations, sizes, words, lists and mappings of free names.

use std::time::Duration;

use super::document::{Node, Value};
use super::reading::{Field, Reading, Written, named};
use super::report::Place;
use super::secrecy::without_secrets;
use crate::telemetry::Share;

/// Longer than anything a gateway waits for, and short enough that no arithmetic with it overflows.
const MAX_DURATION: Duration = Duration::from_hours(366 * 24);

impl Written for String {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::Text(text) => reading.expand(text, node, path).map(|(text, _)| text),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
                reading.mismatch::<()>(node, path, "a text");
                hint(reading, "put it in quotes");
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => reading.mismatch(node, path, "a text"),
        }
    }
}

impl Written for bool {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let read = match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Text(text) => from_environment(reading.expand(text, node, path)?),
            _ => None,
        };
        read.or_else(|| reading.mismatch(node, path, "`true` or `false`"))
    }
}

impl Written for u64 {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let read = match &node.value {
            Value::Integer(value) => Self::try_from(*value).ok(),
            Value::Text(text) => from_environment(reading.expand(text, node, path)?),
            _ => None,
        };
        read.or_else(|| reading.mismatch(node, path, "a whole number"))
    }
}

/// A text is no number, unless the environment put it there: it holds nothing but texts.
fn from_environment<T: std::str::FromStr>((text, expanded): (String, bool)) -> Option<T> {
    text.parse().ok().filter(|_| expanded)
}

impl Written for Duration {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        const EXPECTED: &str = "a duration such as `30s` or `5m`";
        match &node.value {
            Value::Text(text) => {
                let (text, _) = reading.expand(text, node, path)?;
                match humantime::parse_duration(&text) {
                    Ok(duration) if duration <= MAX_DURATION => Some(duration),
                    Ok(_) => reading.mismatch(node, path, "a duration of at most a year"),
                    Err(_) => reading.mismatch(node, path, EXPECTED),
                }
            }
            Value::Integer(number @ 0..) => {
                reading.mismatch::<()>(node, path, EXPECTED);
                hint(reading, &format!("did you mean `{number}s`?"));
                None
            }
            _ => reading.mismatch(node, path, EXPECTED),
        }
    }
}

impl Written for Share {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let number = match &node.value {
            Value::Float(number) => Some(*number),
            Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
            Value::Text(text) => from_environment(reading.expand(text, node, path)?),
            _ => None,
        };
        let share = number.and_then(Self::of);
        share.or_else(|| reading.mismatch(node, path, "0, or a number from 0.000001 to 1"))
    }
}

/// A number of bytes: `32KiB`, `10MB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Written for Size {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let read = match &node.value {
            Value::Integer(bytes) => u64::try_from(*bytes).ok(),
            Value::Text(text) => bytes(&reading.expand(text, node, path)?.0),
            _ => None,
        };
        read.map(Self).or_else(|| reading.mismatch(node, path, "a size such as `64KiB` or `1MiB`"))
    }
}

fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = text[digits..].trim_start();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*factor)
}

impl<T: Written> Written for Vec<Field<T>> {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        if let Value::List(items) = &node.value {
            let item = |(index, item)| Field::of(item, format!("{path}[{index}]"), reading);
            return Some(items.iter().enumerate().map(item).collect());
        }
        reading.mismatch::<()>(node, path, "a list");
        if let Value::Text(text) = &node.value {
            hint(reading, &format!("did you mean `[{text}]`?"));
        }
        None
    }
}

/// A mapping whose names are the operator's.
#[derive(Debug)]
pub struct Named<T>(pub Vec<(Name, Field<T>)>);

/// A name that the operator gave, and where it stands.
#[derive(Debug)]
pub struct Name {
    pub text: String,
    pub place: Place,
}

impl<T: Written> Written for Named<T> {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        let entries = named(node, path, reading)?;
        let entry = |(key, name, value): (&Node, &str, &Node)| {
            let name = Name { text: name.to_owned(), place: Place::of(key) };
            let path = format!("{path}.{}", name.text.escape_debug());
            (name, Field::of(value, path, reading))
        };
        Some(Self(entries.into_iter().map(entry).collect()))
    }
}

/// Anything: a field that is read but has no meaning yet.
impl Written for Node {
    fn read(node: &Node, _: &str, _: &mut Reading<'_>) -> Option<Self> {
        Some(node.clone())
    }
}

/// Reads one of a few words.
pub fn word<T: Copy>(node: &Node, path: &str, words: &[(&str, T)], reading: &mut Reading<'_>) -> Option<T> {
    let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
    let text = match &node.value {
        Value::Text(text) => reading.expand(text, node, path)?.0,
        _ => String::new(),
    };
    let found = words.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        reading.mismatch::<()>(node, path, &choices(&names));
        match closest(&text, names.iter().copied()) {
            Some(name) => hint(reading, &format!("did you mean `{name}`?")),
            // `1.2` is a number where "1.2" is meant.
            None if matches!(node.value, Value::Float(_)) => hint(reading, "put it in quotes"),
            None => {}
        }
    }
    found.map(|(_, value)| *value)
}

fn hint(reading: &mut Reading<'_>, help: &str) {
    if let Some(problem) = reading.problems.last_mut() {
        problem.help(help);
    }
}

/// `a`, `b` or `c`
pub fn choices(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// A value in words, short and harmless on a terminal.
pub fn describe(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Integer(value) => format!("`{value}`"),
        Value::Float(value) => format!("the number `{value}`"),
        Value::Text(text) => quoted(text),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    }
}

/// A text in backticks, short and harmless on a terminal.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    // Before it is cut: what is hidden ends with a character that may be behind the cut.
    let text = without_secrets(text);
    let cut = text.floor_char_boundary(LONGEST);
    format!("`{}{}`", text[..cut].escape_debug(), if cut < text.len() { "…" } else { "" })
}

/// The name that was probably meant.
pub fn closest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = |name: &str| distance(&wrong.to_lowercase(), name);
    names
        .map(|name| (near(name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3))
        .map(|(_, name)| name)
}

/// How many characters to insert, remove, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    // A long text is near to no name; without a bound it would only cost.
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(LONGEST).collect(), b.chars().take(LONGEST).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [("0", 0), ("32KiB", 32768), ("1 MiB", 1 << 20), ("2GiB", 2 << 30), ("10MB", 10_000_000)] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for text in ["", "KiB", "1kib", "-1", "1.5MiB", "1MiBs", "99999999999GiB", "١KiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_slip_is_recognized_and_another_word_is_not() {
        let names = ["address", "audiences", "tls", "algorithms"];
        for (wrong, meant) in
            [("adress", "address"), ("audience", "audiences"), ("TLS", "tls"), ("algorihtms", "algorithms")]
        {
            assert_eq!(closest(wrong, names.into_iter()), Some(meant), "{wrong}");
        }
        for wrong in ["port", "x", "", "certificate"] {
            assert_eq!(closest(wrong, names.into_iter()), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_found_is_short_and_harmless() {
        assert_eq!(quoted("a\u{1b}[31m\u{202e}"), "`a\\u{1b}[31m\\u{202e}`");
        assert!(quoted(&"€".repeat(500)).len() < 100);
    }
}
