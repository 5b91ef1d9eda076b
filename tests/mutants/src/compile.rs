//! Makes the copy in which every mutant waits, and finds out which of them do not compile.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::rewrite::rewrite;
use crate::{Mutant, files};

/// Rounds in which what does not compile is taken out: the compiler does not name all of it at once.
const ROUNDS: usize = 20;

/// Copies the repository, with all mutants in it that compile. Says which do not.
pub fn all(repository: &Path, copy: &Path, mutants: &[Mutant]) -> BTreeSet<usize> {
    copied(repository, copy);
    let mut refused = BTreeSet::new();
    for _ in 0..ROUNDS {
        place(repository, copy, mutants, &refused);
        let mut check = Command::new("cargo");
        let output =
            check.current_dir(copy).args(["check", "--locked", "--lib", "--message-format", "json"]).output().unwrap();
        if output.status.success() {
            return refused;
        }
        let before = refused.len();
        refused.extend(blamed(copy, mutants, &output));
        assert!(refused.len() > before, "{}", String::from_utf8_lossy(&output.stderr));
    }
    panic!("it does not compile after {ROUNDS} rounds");
}

fn copied(repository: &Path, copy: &Path) {
    // What is compiled stays.
    for entry in fs::read_dir(copy).into_iter().flatten().flatten().filter(|entry| entry.file_name() != "target") {
        let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
    }
    let mut list = Command::new("git");
    list.current_dir(repository).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let listed = list.output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    for name in String::from_utf8(listed.stdout).unwrap().split_terminator('\0') {
        if !repository.join(name).exists() {
            continue;
        }
        let to = copy.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(repository.join(name), to).unwrap();
    }
    fs::create_dir_all(copy.join("target")).unwrap();
    for installed in ["target/interop", "tests/interop/node_modules"] {
        let _ = symlink(repository.join(installed), copy.join(installed));
    }
}

fn place(repository: &Path, copy: &Path, mutants: &[Mutant], refused: &BTreeSet<usize>) {
    for file in files(mutants) {
        let of_it = mutants.iter().enumerate();
        let of_it: Vec<_> =
            of_it.filter(|(number, mutant)| Path::new(&mutant.file) == file && !refused.contains(number)).collect();
        let text = fs::read_to_string(repository.join(&file)).unwrap();
        fs::write(copy.join(&file), rewrite(&text, &of_it)).unwrap();
    }
    fs::write(copy.join("src/mutant.rs"), include_str!("mutant.rs")).unwrap();
    let changed = |file: &str, from: &str, to: &str| {
        let text = fs::read_to_string(repository.join(file)).unwrap();
        assert!(text.contains(from), "{from} in {file}");
        fs::write(copy.join(file), text.replacen(from, to, 1)).unwrap();
    };
    changed("src/lib.rs", "pub mod accept;", "pub mod accept;\npub mod mutant;");
    // The sandbox would not let it open a file later.
    let main = "fn main() -> ExitCode {";
    changed("src/main.rs", main, &format!("{main}\n    let _ = keybound::mutant::begin();"));
    // What is broken need not be beautiful.
    let lint = "unused_must_use = \"deny\"";
    changed("Cargo.toml", lint, "unused_must_use = \"allow\"");
}

/// The mutants nearest to the errors.
fn blamed(copy: &Path, mutants: &[Mutant], output: &Output) -> BTreeSet<usize> {
    let mut blamed = BTreeSet::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else { continue };
        let message = &message["message"];
        if message["level"] != "error" {
            continue;
        }
        let text = message["message"].as_str().unwrap_or_default();
        // A function that has to stay a constant, by the last two parts of its path: nothing in it can ask. The one that
        // asks is named where a constant itself was changed, which its place tells.
        let path =
            text.strip_prefix("cannot call non-const").and_then(|text| text.split('`').nth(1)).unwrap_or_default();
        if path.contains("::") {
            let from = path.rmatch_indices("::").nth(1).map_or(0, |(at, colons)| at + colons.len());
            let (result, inside) = (format!(" {} ->", &path[from..]), format!(" in {}", &path[from..]));
            let of_it = |name: &str| name.contains(&result) || name.ends_with(&inside);
            blamed.extend((0..mutants.len()).filter(|number| of_it(&mutants[*number].name)));
        }
        let spans = message["spans"].as_array().into_iter().flatten();
        if let Some(span) = spans.into_iter().find(|span| span["is_primary"] == true) {
            blamed.extend(nearest(copy, span));
        }
    }
    blamed
}

/// The mutant of that line, or of one of the five before it.
fn nearest(copy: &Path, span: &Value) -> Option<usize> {
    const ASKED: &str = "mutant::is(";
    let text = fs::read_to_string(copy.join(span["file_name"].as_str()?)).ok()?;
    let (first, last) = (span["line_start"].as_u64()? as usize, span["line_end"].as_u64()? as usize);
    let lines = text.lines().take(last).skip(first.saturating_sub(6)).collect::<Vec<_>>();
    let line = lines.into_iter().rfind(|line| line.contains(ASKED))?;
    let number = line.rsplit(ASKED).next()?;
    number.split("u32").next()?.parse().ok()
}
