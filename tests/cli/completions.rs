//! `keybound completions`, as shells use it.

use std::fs;
use std::process::Command;

use super::{Ran, done, folder, run};

/// What bash offers behind these words.
fn offered(words: &[&str]) -> Vec<String> {
    let folder = folder();
    fs::write(folder.path().join("keybound.bash"), done(&folder, &["completions", "bash"])).unwrap();
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (last, before) = (words.last().unwrap(), words.get(words.len() - 2).unwrap_or(&""));
    let script = format!(
        "source ./keybound.bash\ncomplete -p keybound >&2\nCOMP_WORDS=({})\nCOMP_CWORD={}\n\
         _keybound keybound '{last}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words.len() - 1,
    );
    let output = Command::new("bash").args(["--norc", "-c", &script]).current_dir(&folder).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("-F _keybound"), "{told}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_and_arguments() {
    let all = offered(&["keybound", ""]);
    for verb in [
        "serve",
        "check",
        "doctor",
        "health",
        "drain",
        "demo",
        "request",
        "proof",
        "key",
        "explain",
        "schema",
        "completions",
    ] {
        assert!(all.contains(&verb.to_owned()), "{verb} in {all:?}");
    }
    assert_eq!(offered(&["keybound", "ex"]), ["explain"]);
    assert_eq!(offered(&["keybound", "explain", "--j"]), ["--jwks", "--json"]);
    assert_eq!(offered(&["keybound", "explain", "--scheme", "b"]), ["bearer"]);
    assert_eq!(offered(&["keybound", "completions", "f"]), ["fish"]);
}

#[test]
fn every_shell_has_a_script() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = done(&folder, &["completions", shell]);
        for word in ["explain", "proof-file", "thumbprint"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let script = done(&folder, &["completions", "bash"]);
    fs::write(folder.path().join("keybound.bash"), script).unwrap();
    let parsed = Command::new("bash").args(["-n", "keybound.bash"]).current_dir(&folder).status().unwrap();
    assert!(parsed.success());
    let Ran { code, out, err } = run(&folder, &["completions", "cmd"]);
    assert!(code == 2 && out.is_empty() && err.contains("possible values"), "{err}");
}
