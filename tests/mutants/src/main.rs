//! Breaks verification and the replay log place by place, and tells what no test noticed.
//!
//! cargo-mutants names the places. It would compile the crate once for each, a minute a time; here all of them go into
//! one program, which an environment variable tells the one to break. Another variable has it write down which of them
//! it came to, so that a mutant is shown to those tests alone that come to it.

mod compile;
mod rewrite;
mod suite;

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;
use suite::{Outcome, Suite};

/// The kinds of mutants that `rewrite` knows.
const GENRES: [&str; 5] = ["FnValue", "BinaryOperator", "UnaryOperator", "MatchArm", "MatchArmGuard"];

/// How many mutants `mutant.rs` can tell apart.
const MOST: usize = 4096;

/// What cargo-mutants says of a mutant.
#[derive(Deserialize)]
pub struct Mutant {
    pub file: String,
    pub name: String,
    pub genre: String,
    pub replacement: String,
    pub span: Span,
}

/// Where it is, the end excluded; lines and columns from 1.
#[derive(Deserialize, Clone, Copy)]
pub struct Span {
    pub start: Place,
    pub end: Place,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

fn main() {
    let repository = fs::canonicalize(std::env::args().nth(1).expect("the repository")).unwrap();
    let mut arguments = std::env::args().skip(2);
    let suites: Vec<String> = arguments.by_ref().take_while(|argument| argument != "--").collect();
    assert!(!suites.is_empty(), "expected: REPOSITORY SUITE… [-- --file FILE…], with suites such as `lib conformance`");
    let (copy, mutants) = (repository.join("target/mutants-all"), listed(&repository, &arguments.collect::<Vec<_>>()));

    let refused = compile::all(&repository, &copy, &mutants);
    for number in &refused {
        println!("{}: NOT PLACED", mutants[*number].name);
    }
    println!("{} mutants, of which {} do not compile or cannot be chosen so", mutants.len(), refused.len());
    let _ = fs::remove_dir_all(copy.join("target/tmp"));
    fs::create_dir_all(copy.join("target/tmp")).unwrap();
    let suites: Vec<Suite> = suites.iter().map(|name| Suite::build(&copy, name)).collect();

    let left: Vec<usize> = (0..mutants.len()).filter(|number| !refused.contains(number)).collect();
    let (next, endless, survivors) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(&number) = left.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcomes = suites.iter().map(|suite| suite.show(number));
            let said = match outcomes.into_iter().find(|outcome| *outcome != Outcome::Unnoticed) {
                Some(Outcome::Noticed(test)) => test,
                Some(Outcome::Late | Outcome::Died) => {
                    endless.fetch_add(1, Ordering::Relaxed);
                    "no end, or an early one".to_owned()
                }
                Some(Outcome::Unnoticed) | None => {
                    survivors.lock().unwrap().push(number);
                    "UNNOTICED".to_owned()
                }
            };
            println!("{}: {said}", mutants[number].name);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut survivors = survivors.into_inner().unwrap();
    survivors.sort_unstable();
    let endless = endless.into_inner();
    println!("\n{} mutants, {endless} without an end or with an early one, {} unnoticed:", left.len(), survivors.len());
    for number in survivors {
        let tests: usize = suites.iter().map(|suite| suite.reach(number)).sum();
        println!("{} (come to by {tests} tests)", mutants[number].name);
    }
}

/// What could be broken in these files. Tables of keys have their own program for this (tests/known_key/mutants).
fn listed(repository: &Path, wanted: &[String]) -> Vec<Mutant> {
    let mut command = Command::new("cargo");
    command.current_dir(repository).args(["mutants", "--list", "--json"]);
    command.args(["--exclude", "src/verify/known_key/**", "--exclude", "**/models.rs", "--exclude", "**/simulated.rs"]);
    if wanted.is_empty() {
        command.args(["--file", "src/verify/**/*.rs", "--file", "src/replay/**/*.rs"]);
    }
    let output = command.args(wanted).output().expect("cargo-mutants");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut mutants: Vec<Mutant> = serde_json::from_slice(&output.stdout).unwrap();
    mutants.retain(|mutant| GENRES.contains(&mutant.genre.as_str()));
    assert!(mutants.len() <= MOST, "{} mutants, but mutant.rs counts to {MOST}", mutants.len());
    mutants
}

/// Files of the copy that are written over.
fn files(mutants: &[Mutant]) -> BTreeSet<PathBuf> {
    mutants.iter().map(|mutant| PathBuf::from(&mutant.file)).collect()
}
