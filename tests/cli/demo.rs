//! `keybound demo`, as a newcomer meets it.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Ends the demo whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_plays_every_story_as_it_should() {
    let output = Command::new(env!("CARGO_BIN_EXE_keybound")).arg("demo").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains('\u{1b}'), "piped output has no colours: {text}");
    for reason in [
        "dpop_token_as_bearer",
        "proof_missing",
        "proof_key_mismatch",
        "proof_replayed",
        "proof_method",
        "proof_target",
        "proof_stale",
        "proof_token_hash",
        "certificate_missing",
        "certificate_mismatch",
        "credentials_missing",
        "token_unbound",
        "token_audience",
        "token_signature",
    ] {
        assert!(text.contains(&format!(" {reason}\n")), "{reason} in {text}");
    }
    assert!(text.contains("17 requests: 3 proven and forwarded, 14 refused. The API saw 3."), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "it fits into a terminal: {text}");
}

/// A demo that goes on, and what it prints.
struct GoesOn {
    running: Running,
    lines: Lines<BufReader<ChildStdout>>,
}

impl GoesOn {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        let mut child = command.args(["demo", "--serve"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { running: Running(child), lines }
    }

    fn command_after(&mut self, comment: &str) -> String {
        let is_it = |line: &String| line.trim() == format!("# {comment}");
        self.lines.by_ref().map(Result::unwrap).find(is_it).expect("the comment is printed");
        self.lines.next().unwrap().unwrap().trim().to_owned()
    }

    /// Ends by a signal; what it laid down for this command is gone then.
    fn ends_by(mut self, signal: &str, command: &str) {
        let folder = command.split("--key ").nth(1).unwrap().split("/client.pem").next().unwrap();
        assert!(Path::new(folder).exists());
        let pid = self.running.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        let late = Instant::now() + Duration::from_secs(30);
        let ended = loop {
            if let Some(ended) = self.running.0.try_wait().unwrap() {
                break ended;
            }
            assert!(Instant::now() < late, "{signal}: it goes on");
            thread::sleep(Duration::from_millis(10));
        };
        assert!(ended.success(), "{signal}");
        assert!(!Path::new(folder).exists(), "{signal}: the files are gone");
    }
}

#[test]
fn the_demo_that_goes_on_takes_its_files_with_it() {
    for signal in ["TERM", "HUP", "QUIT"] {
        let mut demo = GoesOn::start();
        let good = demo.command_after("a good DPoP call");
        demo.ends_by(signal, &good);
    }
}

#[test]
fn the_demo_that_goes_on_can_be_called_with_the_commands_that_it_prints() {
    let mut demo = GoesOn::start();
    let mut command_after = |comment: &str| demo.command_after(comment);
    let run = |command: &str| Command::new("sh").args(["-c", command]).output().unwrap();
    let (good, stolen) = (command_after("a good DPoP call"), command_after("the same token, stolen"));
    let (mtls, bare) = (command_after("a good mTLS call"), command_after("the same token, without the certificate"));
    let metrics = command_after("what the operator sees");
    for (command, passes) in [(&good, true), (&stolen, false), (&good, true), (&mtls, true), (&bare, false)] {
        let output = run(command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.success(), passes, "{command}\n{text}");
        assert_eq!(text.contains(r#""caller":"alice""#), passes, "{command}\n{text}");
    }
    let text = String::from_utf8(run(&metrics).stdout).unwrap();
    assert!(text.contains(r#"keybound_refusals_total{reason="certificate_missing",route="orders"}"#), "{text}");
    demo.ends_by("INT", &good);
}
