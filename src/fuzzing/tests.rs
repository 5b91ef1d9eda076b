//! The seeds of every fuzz target, through the same functions, in an ordinary build.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn every_target_has_seeds_a_program_and_a_place_in_the_list() {
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    let listed: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names(&corpus()), listed);
    assert_eq!(names(&corpus().with_file_name("fuzz_targets")), listed);
}

#[test]
fn seeds_break_nothing() {
    for (name, run) in targets::TARGETS {
        let mut seeds: Vec<_> = fs::read_dir(corpus().join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        seeds.sort_unstable();
        assert!(seeds.len() >= 5, "{name} has seeds");
        for seed in seeds {
            let bytes = fs::read(&seed).unwrap();
            assert!(catch_unwind(|| run(&bytes)).is_ok(), "{} breaks a property", seed.display());
        }
    }
}

/// The lines of a lock file for each package: what it is called, which version, of what it is made.
fn packages(lock: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    lock.split("[[package]]").skip(1).map(|package| {
        let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = ")).unwrap();
        let dependencies =
            package.split_once("dependencies = [").map_or("", |(_, rest)| rest.split_once(']').unwrap().0);
        (value("name").trim_matches('"'), value("version"), dependencies)
    })
}

#[test]
fn what_is_fuzzed_is_what_ships() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (manifest, ours, theirs) = (read("Cargo.toml"), read("Cargo.lock"), read("fuzz/Cargo.lock"));
    let shipped: BTreeSet<_> = packages(&ours).map(|(name, version, _)| (name, version)).collect();
    let own = ["arbitrary", "keybound-fuzz", "libfuzzer-sys"];
    let others = packages(&theirs).map(|(name, version, _)| (name, version)).filter(|(name, _)| !own.contains(name));
    let others: Vec<_> = others.filter(|package| !shipped.contains(package)).collect();
    assert!(others.is_empty(), "fuzz/Cargo.lock has {others:?}, and Cargo.lock has not");
    let (_, _, known) = packages(&theirs).find(|(name, ..)| *name == "keybound").unwrap();
    let wanted = manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]")).unwrap();
    let wanted = wanted.lines().filter(|line| !line.starts_with('#') && !line.contains("optional = true"));
    let wanted: Vec<_> = wanted
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, how)| how.split_once("package = \"").map_or(name, |(_, name)| name.split_once('"').unwrap().0))
        .collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    for name in wanted {
        // Beside a version, where a lock has several.
        assert!(
            known.contains(&format!("\"{name}\"")) || known.contains(&format!("\"{name} ")),
            "fuzz/Cargo.lock lacks {name}"
        );
    }
}
