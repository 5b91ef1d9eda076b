//! The seeds of every fuzz target, through the same functions, in an ordinary build.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

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
