//! The house rules that a compiler does not know: imports run one way, the pure stations stay pure, files stay short,
//! and the conformance table tells the truth.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Which stations each station may import, in the order of a request's way. What is not listed may import anything.
const MAY_IMPORT: [(&str, &[&str]); 21] = [
    ("workers", &[]),
    ("tending", &[]),
    ("refusal", &[]),
    ("time", &[]),
    ("clock", &["time"]),
    ("request", &["refusal"]),
    ("verify", &["refusal", "time", "request"]),
    ("identity", &["time", "verify"]),
    ("limits", &["refusal", "time", "verify"]),
    ("routes", &["refusal", "time", "request", "verify", "identity", "limits"]),
    ("accept", &["refusal", "time", "request", "workers"]),
    ("keys", &["refusal", "time", "clock", "verify", "tending"]),
    ("replay", &["refusal", "time", "clock", "verify", "workers"]),
    ("introspect", &["refusal", "time", "clock", "verify", "keys", "prover"]),
    ("tokens", &["refusal", "time", "clock", "verify", "keys", "introspect"]),
    ("authorize", &["refusal", "time", "request", "verify", "limits", "routes", "replay"]),
    ("explain", &["refusal", "time", "request", "verify", "routes"]),
    ("respond", &["refusal", "request", "routes"]),
    ("forward", &["refusal", "request", "identity", "limits", "routes", "authorize", "keys", "workers", "tending"]),
    ("telemetry", &["refusal", "time", "clock", "request", "verify", "keys"]),
    (
        "gateway",
        &[
            "refusal",
            "time",
            "clock",
            "request",
            "verify",
            "identity",
            "limits",
            "routes",
            "accept",
            "keys",
            "introspect",
            "replay",
            "tokens",
            "authorize",
            "respond",
            "forward",
            "telemetry",
        ],
    ),
];

/// Stations without I/O, async, clock and logging.
const PURE: [&str; 9] = ["refusal", "time", "request", "verify", "identity", "limits", "routes", "explain", "respond"];

const IMPURE: [&str; 13] = [
    "tokio",
    "hyper",
    "rustls::",
    "std::fs",
    "std::io",
    "TcpStream",
    "UdpSocket",
    "SystemTime",
    "Instant::",
    "tracing",
    "log::",
    "async ",
    ".await",
];

/// (station, file, text without comments and tests).
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(&root).unwrap().to_owned();
            let is_test =
                relative.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
            if relative.extension().is_none_or(|extension| extension != "rs") || is_test {
                continue;
            }
            let station =
                relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let code: Vec<&str> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
            sources.push((station, relative, code.join("\n")));
        }
    }
    assert!(sources.len() > 30, "the sources were found");
    sources
}

fn imports(code: &str) -> Vec<String> {
    let name = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    code.split("crate::").skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn imports_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    for (station, file, code) in sources() {
        let Some(allowed) = allowed.get(station.as_str()) else { continue };
        for import in imports(&code) {
            let fine = import == station || allowed.contains(&import.as_str());
            assert!(fine, "{}: `{station}` may import {allowed:?}, not `{import}`", file.display());
        }
    }
}

#[test]
fn pure_stations_stay_pure() {
    for (station, file, code) in sources() {
        if PURE.contains(&station.as_str()) {
            for word in IMPURE {
                assert!(!code.contains(word), "{}: `{word}` in a pure station", file.display());
            }
        }
    }
}

#[test]
fn the_system_clock_has_one_caller() {
    for (station, file, code) in sources() {
        assert!(station == "clock" || !code.contains("SystemTime::now"), "{}: ask the clock instead", file.display());
    }
}

#[test]
fn files_stay_short() {
    for (_, file, _) in sources() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(&file);
        let lines = fs::read_to_string(path).unwrap().lines().count();
        assert!(lines <= 400, "{}: {lines} lines; split by specification section or by station", file.display());
    }
}

/// Some of the conformance checklist's numbers, section 3.
struct Family {
    prefix: &'static str,
    digits: usize,
    /// What lies between the ranges does not exist.
    ranges: &'static [RangeInclusive<usize>],
}

static FAMILIES: [Family; 3] = [
    Family { prefix: "POS", digits: 2, ranges: &[1..=65] },
    Family {
        prefix: "NEG",
        digits: 3,
        ranges: &[1..=28, 30..=105, 110..=139, 143..=155, 160..=191, 200..=210, 213..=230, 240..=254, 285..=291],
    },
    Family { prefix: "SHP", digits: 2, ranges: &[1..=11] },
];

impl Family {
    fn number(&self, number: usize) -> String {
        format!("{}-{number:0digits$}", self.prefix, digits = self.digits)
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The table in `tests/conformance/README.md`: number and what carries it.
fn conformance_table() -> Vec<(String, String)> {
    let text = fs::read_to_string(repository("tests/conformance/README.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.splitn(3, " | ");
        let (number, _case, carried_by) = (cells.next()?, cells.next()?, cells.next()?);
        let prefix = number.split('-').next()?;
        let is_ours = FAMILIES.iter().any(|family| family.prefix == prefix);
        is_ours.then(|| (number.to_owned(), carried_by.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// What stands between backticks as `place::function`, as (file, function).
fn tests_named_in(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('`').skip(1).step_by(2).filter_map(|name| {
        let (place, function) = name.rsplit_once("::")?;
        let file = if place.contains('/') { place.to_owned() } else { format!("tests/conformance/{place}.rs") };
        Some((file, function.to_owned()))
    })
}

/// The numbers that a test's name begins with: `neg_012_and_014_two_lines`, `pos_03_to_06_spellings`.
fn numbers_of(function: &str) -> Vec<String> {
    let mut numbers = Vec::new();
    let mut family = None;
    let (mut last, mut is_range) = (0, false);
    for word in function.split('_') {
        if let Some(named) = FAMILIES.iter().find(|family| family.prefix.eq_ignore_ascii_case(word)) {
            family = Some(named);
        } else if let (Some(family), Ok(number)) = (family, word.parse::<usize>()) {
            let first = if is_range { last + 1 } else { number };
            numbers.extend((first..=number).map(|number| family.number(number)));
            (last, is_range) = (number, false);
        } else if word == "to" {
            is_range = true;
        } else if word != "and" {
            break;
        }
    }
    numbers
}

#[test]
fn the_conformance_table_has_no_gaps() {
    let all = |family: &'static Family| family.ranges.iter().cloned().flatten().map(|number| family.number(number));
    let mut expected: Vec<String> = FAMILIES.iter().flat_map(all).collect();
    let mut found: Vec<String> = conformance_table().into_iter().map(|(number, _)| number).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    for (number, carried_by) in conformance_table() {
        let waits = ["later: ", "not offered: "].iter().any(|beginning| carried_by.starts_with(beginning));
        let elsewhere = carried_by.contains("support/shape.rs");
        let carried = tests_named_in(&carried_by).next().is_some();
        assert!(carried || waits || elsewhere, "{number}: no test, and no word about why: {carried_by}");
    }
}

#[test]
fn the_tests_of_the_conformance_table_exist() {
    let text = fs::read_to_string(repository("tests/conformance/README.md")).unwrap();
    let mut count = 0;
    for (file, function) in text.lines().filter(|line| line.starts_with("| ")).flat_map(tests_named_in) {
        let source = fs::read_to_string(repository(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {function}(")), "{file} has no {function}");
        count += 1;
    }
    assert!(count > 300, "the tests were found: {count}");
}

/// What the threat model says is shown.
#[test]
fn the_threat_model_names_what_there_is() {
    let text = fs::read_to_string(repository("docs/threat-model.md")).unwrap();
    let table: BTreeMap<String, String> = conformance_table().into_iter().collect();
    let is_number = |word: &&str| FAMILIES.iter().any(|family| word.starts_with(&format!("{}-", family.prefix)));
    let numbers: Vec<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter(is_number).collect();
    assert!(numbers.len() > 40, "the numbers were found: {numbers:?}");
    for number in numbers {
        let carried_by = table.get(number).unwrap_or_else(|| panic!("there is no {number}"));
        assert!(tests_named_in(carried_by).next().is_some(), "{number} waits: {carried_by}");
    }
    for name in text.split('`').skip(1).step_by(2).filter(|name| name.contains(".rs")) {
        let (file, function) = name.split_once("::").unwrap_or((name, ""));
        let source = fs::read_to_string(repository(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(source.contains(&format!("fn {function}")), "{file} has no {function}");
    }
}

#[test]
fn numbered_tests_stand_in_the_rows_of_their_numbers() {
    let table: BTreeMap<String, String> = conformance_table().into_iter().collect();
    let mut count = 0;
    for entry in fs::read_dir(repository("tests/conformance")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let file = format!("tests/conformance/{}", path.file_name().unwrap().to_str().unwrap());
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Some((_, rest)) = line.split_once("fn ") else { continue };
            let function: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            for number in numbers_of(&function) {
                let row = table.get(&number).unwrap_or_else(|| panic!("{file}: {function}: there is no {number}"));
                let stands = tests_named_in(row).any(|named| named == (file.clone(), function.clone()));
                assert!(stands, "{file}: {function} is missing in the row of {number}");
                count += 1;
            }
        }
    }
    assert!(count > 200, "the numbered tests were found: {count}");
}

#[test]
fn numbers_are_read_from_names() {
    assert_eq!(numbers_of("neg_012_and_014_two_dpop_lines"), ["NEG-012", "NEG-014"]);
    assert_eq!(numbers_of("pos_03_to_06_spellings"), ["POS-03", "POS-04", "POS-05", "POS-06"]);
    assert_eq!(numbers_of("pos_07_and_08_and_11_to_12_equal"), ["POS-07", "POS-08", "POS-11", "POS-12"]);
    assert_eq!(numbers_of("neg_149_and_pos_37_twice"), ["NEG-149", "POS-37"]);
    assert_eq!(numbers_of("neg_128_a_malleated_signature"), ["NEG-128"]);
    assert_eq!(numbers_of("an_answer_of_404_to_405"), Vec::<String>::new());
}

/// Every Markdown file that is the repository's own.
fn documents() -> Vec<PathBuf> {
    let mut folders = vec![repository("")];
    let mut documents = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !matches!(name, "target" | "node_modules" | ".git") {
                folders.push(path);
            } else if name.ends_with(".md") {
                documents.push(path);
            }
        }
    }
    documents
}

/// The lines that are neither in a block of code nor in the middle of a line of it.
fn prose(text: &str) -> Vec<String> {
    let mut in_code = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !is_fence && !in_code
    });
    outside.map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join("``")).collect()
}

/// The names that headings can be led to by, as hosts of repositories make them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if in_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase().replace(|c: char| !(c.is_alphanumeric() || "-_ ".contains(c)), "");
        let anchor = kept.replace(' ', "-");
        let before = anchors.iter().filter(|other| **other == anchor).count();
        anchors.push(if before == 0 { anchor } else { format!("{anchor}-{before}") });
    }
    anchors
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut count = 0;
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in prose(&text).iter().flat_map(|line| line.split("](").skip(1)) {
            let target = link.split([')', ' ']).next().unwrap();
            if target.contains("://") {
                continue;
            }
            count += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { document.clone() } else { document.with_file_name("").join(file) };
            let leads = path.exists()
                && (heading.is_empty()
                    || anchors(&fs::read_to_string(&path).unwrap_or_default()).iter().any(|anchor| anchor == heading));
            if !leads {
                broken.push(format!("{}: {target}", document.strip_prefix(repository("")).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
    assert!(count > 20, "links were found: {count}");
}

#[test]
fn anchors_are_read_from_headings() {
    let text = "# One, two\n```\n# not\n```\n## `a[].b_c`\n## Same\n#none\n## Same\n### [0.1.0] – now";
    assert_eq!(anchors(text), ["one-two", "ab_c", "same", "same-1", "010--now"]);
    assert_eq!(prose("a [`b`](c)\n```\n[x](y)\n```\nd"), ["a [``](c)", "d"]);
}
