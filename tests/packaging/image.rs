//! The image, as far as it can be judged without building it.

use std::process::Command;

use crate::tools::{KEYBOUND, program, ran, repository, said, text};

/// The instructions of the Dockerfile, each in one line.
fn instructions() -> Vec<String> {
    let joined = text("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Those of the stage that is shipped.
fn shipped() -> Vec<String> {
    let all = instructions();
    let last = all.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    all[last..].to_vec()
}

/// The arguments of an instruction in its exec form, which needs no shell.
fn exec(instruction: &str) -> Vec<String> {
    let all = shipped();
    let line = all.iter().find(|line| line.starts_with(instruction)).unwrap_or_else(|| panic!("no {instruction}"));
    let list = line.find('[').unwrap_or_else(|| panic!("not in exec form: {line}"));
    serde_json::from_str(&line[list..]).unwrap()
}

#[test]
fn hadolint_has_nothing_to_say() {
    assert_eq!(said("hadolint", &["--no-color", "--failure-threshold", "style", "Dockerfile"]), "");
}

#[test]
fn what_is_copied_is_what_cargo_needs() {
    let folder = tempfile::tempdir().unwrap();
    let ignored = text(".dockerignore");
    for line in instructions().iter().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(ignored.lines().any(|kept| kept == format!("!{source}")), "{source} is in .dockerignore");
            let (success, words) = ran(Command::new("cp").arg("-r").arg(repository(source)).arg(folder.path()));
            assert!(success, "{words}");
        }
    }
    // A build wants every target that the manifest names, also those that it does not build.
    let manifest = text("Cargo.toml");
    let names = manifest.split("[[bench]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for bench in names {
        let places = [format!("benches/{bench}.rs"), format!("benches/{bench}/main.rs")];
        assert!(places.iter().any(|place| folder.path().join(place).is_file()), "the benchmark {bench} is not copied");
    }
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        assert!(folder.path().join(file).is_file(), "{file} is not copied");
    }
    // What the sources take into the program.
    let (mut folders, mut taken) = (vec![folder.path().join("src")], 0);
    while let Some(here) = folders.pop() {
        for entry in std::fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for rest in source.split("include_str!(\"").skip(1) {
                let file = here.join(rest.split('"').next().unwrap());
                assert!(file.is_file(), "{} takes {}, which is not copied", path.display(), file.display());
                taken += 1;
            }
        }
    }
    assert!(taken > 0, "they were found");
}

/// Where it does not fit, the compiler says nothing, and the program is a sixth slower.
#[test]
fn the_profile_is_there_and_of_the_compiler_that_builds() {
    const PROFILE: &str = "benches/profile/keybound.profdata";
    let all = instructions();
    let compiler = all[0].strip_prefix("FROM rust:").and_then(|rest| rest.split('-').next()).unwrap();
    assert_eq!(compiler.split('.').count(), 3, "{compiler} may become another compiler");
    assert!(all.contains(&"COPY benches benches".to_owned()));
    assert!(all.iter().any(|line| line.starts_with("RUN ") && line.contains(" benches/profile/build ")));
    assert!(text("Makefile").contains("\tbenches/profile/build\n"));
    assert!(text("benches/profile/build").contains("RUSTC_WRAPPER=$profile/rustc"));
    assert!(text("benches/profile/rustc").contains("-Cprofile-use=$(dirname \"$0\")/keybound.profdata"));
    assert_eq!(text("benches/profile/compiler").trim(), compiler, "made by another compiler: `make profile`");
    // The names of functions lie in it as they are.
    let profile = std::fs::read(repository(PROFILE)).unwrap();
    let names = |what: &str| profile.windows(what.len()).any(|bytes| bytes == what.as_bytes());
    for station in ["7request", "6tokens", "6verify", "6replay", "9authorize", "7forward", "7gateway", "9telemetry"] {
        assert!(names(&format!("8keybound{station}")), "{station}");
    }
}

#[test]
fn it_runs_as_a_number_and_without_a_shell() {
    let shipped = shipped();
    assert!(shipped.iter().all(|line| !line.starts_with("RUN ")), "there is no shell to run it with");
    assert!(shipped.contains(&"USER 65532:65532".to_owned()), "not root, and a number");
    assert!(shipped.contains(&"STOPSIGNAL SIGTERM".to_owned()));
    for label in ["title", "description", "licenses", "version", "revision"] {
        let label = format!("org.opencontainers.image.{label}=");
        assert!(shipped.iter().any(|line| line.starts_with("LABEL ") && line.contains(&label)), "{label}");
    }
    assert!(text("Dockerfile").contains(concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"), "\n")));
    // The program knows what it is told.
    let (entry, health) = (exec("ENTRYPOINT "), exec("HEALTHCHECK "));
    assert!(entry.len() == 1 && health[0] == entry[0], "{entry:?} {health:?}");
    for arguments in [&exec("CMD ")[..], &health[1..]] {
        let (success, words) = ran(Command::new(KEYBOUND).args(arguments).arg("--help"));
        assert!(success, "{arguments:?}: {words}");
    }
}

/// `distroless/cc` has the C library and libgcc.
#[test]
fn the_program_needs_no_library_that_the_image_lacks() {
    const THERE: [&str; 6] =
        ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2"];
    assert!(shipped()[0].starts_with("FROM gcr.io/distroless/cc-debian12:nonroot"));
    let (success, words) = ran(Command::new(program("readelf")).args(["--dynamic", "--wide", KEYBOUND]));
    assert!(success, "{words}");
    let needed: Vec<&str> = words.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert!(!needed.is_empty(), "{words}");
    for line in needed {
        let library = line.split(['[', ']']).nth(1).unwrap();
        assert!(THERE.contains(&library), "{library} is not in the image");
    }
}
