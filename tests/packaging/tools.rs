//! The tools that check, and what they said.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub const KEYBOUND: &str = env!("CARGO_BIN_EXE_keybound");

pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub fn text(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A program that `tests/install` put below `target/interop`, or one of the system.
pub fn program(name: &str) -> PathBuf {
    let installed = ["target/interop/bin", "target/interop/venv/bin"].map(repository);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = installed.into_iter().chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()));
    found.unwrap_or_else(|| panic!("{name} is missing: run `make test`, which installs it first"))
}

/// Whether it succeeded, and all that it said.
pub fn ran(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
}

/// What it said, when it must succeed.
pub fn said(name: &str, arguments: &[impl AsRef<OsStr>]) -> String {
    let (success, words) = ran(Command::new(program(name)).args(arguments).current_dir(repository("")));
    assert!(success, "{name}: {words}");
    words
}

/// Every document of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let value = |document| <Value as serde::Deserialize>::deserialize(document).unwrap();
    documents.map(value).filter(|value| !value.is_null()).collect()
}

/// Every file below a folder of the repository.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![repository(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    files
}

/// What stands at a path such as `spec.template.0.name`; null if nothing does.
pub fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, step| match step.parse::<usize>() {
        Ok(index) if value.is_array() => &value[index],
        _ => &value[step],
    })
}

/// The elements of a list; none if there is none.
pub fn list<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    at(value, path).as_array().into_iter().flatten()
}
