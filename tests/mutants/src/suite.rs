//! A suite of tests: which of its tests come to which mutant, and what they say of it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub struct Suite {
    copy: PathBuf,
    program: PathBuf,
    /// By mutant.
    tests: BTreeMap<usize, Vec<String>>,
    /// How long each test takes while nothing is broken.
    usual: BTreeMap<String, Duration>,
}

/// How long tests may take beyond twice the usual time.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a suite makes of a mutant.
#[derive(PartialEq, Eq)]
pub enum Outcome {
    /// The test that failed first.
    Noticed(String),
    /// Its tests did not end in time.
    Late,
    /// Its tests ended before they were done.
    Died,
    Unnoticed,
}

impl Suite {
    /// Compiles a suite, and runs each of its tests once by itself.
    pub fn build(copy: &Path, name: &str) -> Self {
        let mut suite = Self {
            copy: copy.to_owned(),
            program: program(copy, name),
            tests: BTreeMap::new(),
            usual: BTreeMap::new(),
        };
        let listed = Command::new(&suite.program).current_dir(copy).arg("--list").output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let tests = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        // Tables of keys take minutes in code that is not optimized, and are not what is broken.
        for test in tests.filter(|test| !test.contains("known_key")) {
            suite.follow(test);
        }
        println!("{name}: its tests come to {} of the mutants", suite.tests.len());
        suite
    }

    fn follow(&mut self, test: &str) {
        let reached = self.copy.join("target/reached");
        let _ = fs::remove_file(&reached);
        let mut command = self.command(&[test.to_owned()]);
        let started = Instant::now();
        let status = command.env("KEYBOUND_REACHED", &reached).stdout(Stdio::null()).status().unwrap();
        assert!(status.success(), "{test} fails though nothing is broken");
        self.usual.insert(test.to_owned(), started.elapsed());
        for number in fs::read_to_string(&reached).unwrap_or_default().lines() {
            let tests = self.tests.entry(number.parse().unwrap()).or_default();
            if tests.last().is_none_or(|last| last != test) {
                tests.push(test.to_owned());
            }
        }
    }

    /// How many of its tests come to a mutant.
    pub fn reach(&self, number: usize) -> usize {
        self.tests.get(&number).map_or(0, Vec::len)
    }

    /// Runs the tests that come to a mutant, until one fails.
    pub fn show(&self, number: usize) -> Outcome {
        let Some(tests) = self.tests.get(&number) else { return Outcome::Unnoticed };
        let mut command = self.command(tests);
        command
            .process_group(0)
            .env("KEYBOUND_MUTANT", number.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (tell, told) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || output.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let usual: Duration = tests.iter().filter_map(|test| self.usual.get(test)).sum();
        let end = Instant::now() + PATIENCE + 2 * usual;
        let outcome = loop {
            match told.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.ends_with("... FAILED") => {
                    break Outcome::Noticed(line.split(' ').nth(1).unwrap_or_default().to_owned());
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => break Outcome::Late,
                Err(RecvTimeoutError::Disconnected) => {
                    break if child.wait().unwrap().success() { Outcome::Unnoticed } else { Outcome::Died };
                }
            }
        };
        // With the servers that its tests started.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).stderr(Stdio::null()).status();
        let _ = child.wait();
        outcome
    }

    fn command(&self, tests: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.copy).arg("--exact").args(tests);
        // Property tests: that a case fails is enough, and the next mutant must not profit by it.
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
        command.env("RUST_BACKTRACE", "0").env("TMPDIR", self.copy.join("target/tmp")).stderr(Stdio::null());
        command
    }
}

/// Compiles a suite, and says where it is.
fn program(copy: &Path, name: &str) -> PathBuf {
    let mut command = Command::new("cargo");
    command.current_dir(copy).args(["test", "--locked", "--no-run", "--message-format", "json"]);
    match name {
        "lib" => command.arg("--lib"),
        name => command.args(["--test", name]),
    };
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{name} does not compile");
    let artifacts =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let tests = artifacts.filter(|artifact| artifact["profile"]["test"] == true);
    let executable = tests.filter_map(|artifact| Some(PathBuf::from(artifact["executable"].as_str()?))).last();
    executable.expect("a program of tests")
}
