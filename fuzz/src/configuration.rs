//! A configuration file: read to the end whatever it holds, and every problem has its place. The files that it may name lie
//! beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use keybound::config::{self, Report, Severity};

/// What configurations name, beside the one in question.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("keybound-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    for (name, content) in [
        ("tls.crt", include_str!("../files/tls.crt")),
        ("tls.key", include_str!("../files/tls.key")),
        ("jwks.json", r#"{"keys":[]}"#),
        ("secret", "0123456789abcdef0123456789abcdef"),
    ] {
        fs::write(folder.join(name), content).expect("a file");
    }
    folder
});

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8443".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

pub fn run(data: &[u8]) {
    // Devices and the like may be waited for, or never end.
    if [&b"/dev"[..], b"/proc", b"/sys"].iter().any(|name| data.windows(name.len()).any(|part| part == *name)) {
        return;
    }
    let path = FOLDER.join("keybound.yaml");
    fs::write(&path, data).expect("a file");
    let text = String::from_utf8_lossy(data).into_owned();
    match config::load(&path, &environment) {
        Ok(loaded) => {
            assert!(loaded.warnings.findings().iter().all(|finding| finding.severity() == Severity::Warning));
            has_places(&loaded.warnings, &text);
            let again = || inspect(&path).iter().all(|(severity, _)| *severity == Severity::Warning);
            assert!(!is_looked_at_twice(data) || again(), "nothing else is wrong with it");
        }
        Err(report) => {
            let errors = report.findings().iter().filter(|finding| finding.severity() == Severity::Error).count();
            assert!(errors > 0, "something is wrong");
            has_places(&report, &text);
            if is_looked_at_twice(data) {
                assert_eq!(report.lines().collect::<Vec<_>>(), inspect(&path), "said the same way twice");
            }
        }
    }
}

/// Few of them: reading takes milliseconds.
fn is_looked_at_twice(data: &[u8]) -> bool {
    data.len() % 8 == 1
}

fn inspect(path: &Path) -> Vec<(Severity, String)> {
    config::inspect(path, &environment).report.lines().collect()
}

fn has_places(report: &Report, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    for finding in report.findings() {
        let (line, column) = finding.place();
        assert!(line >= 1 && column >= 1 && line <= lines.len(), "{line}:{column}: {finding}");
        assert!(column <= lines[line - 1].chars().count() + 1, "{line}:{column}: {finding}");
        assert!(!finding.message().is_empty());
    }
    let shown = format!("{report}\n{}", report.render(text.len() % 2 == 1));
    assert!(!shown.is_empty());
}
