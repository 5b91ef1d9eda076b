//! Whether the configuration can be read, and which of its sections can be gone by.

use std::path::Path;

use keybound::config::{Finding as Problem, Report, Severity};
use keybound::gateway::Settings;

use super::finding::{Finding, Subject};
use super::front::Front;

const HERE: Subject = Subject::Configuration;

/// One finding for each error and warning, or one that there is none.
pub fn check(path: &Path, report: &Report) -> Vec<Finding> {
    let file = path.display();
    let finding = |problem: &Problem| {
        let (line, column) = problem.place();
        let (what, found) = (format!("{file}:{line}:{column}"), problem.to_string());
        let advice = problem.help().unwrap_or("`keybound check` shows the line").to_owned();
        match problem.severity() {
            Severity::Error => HERE.wrong(what, found, advice),
            Severity::Warning => HERE.warn(what, found, advice),
        }
    };
    let mut findings: Vec<Finding> = report.findings().iter().map(finding).collect();
    if !errs(report, |_| true) {
        findings.insert(0, HERE.ok(file.to_string(), "valid"));
    }
    findings
}

/// Takes out what cannot be gone by, and says so. Where a section has an error, TLS may be what was not
/// understood, and nobody must be asked in the clear.
pub fn leave_out_broken(settings: &mut Settings, through: &mut Option<Front>, report: &Report) -> Vec<Finding> {
    const WHY: &str = "not looked at: its configuration has errors";
    let mut findings = Vec::new();
    let mut broken = |subject: Subject, sections: &[&str]| {
        let broken = is_broken(report, sections);
        findings.extend(broken.then(|| subject.skip("all", WHY)));
        broken
    };
    if broken(Subject::Listeners, &["listeners"]) {
        settings.listeners.clear();
    }
    if broken(Subject::Issuers, &["issuers"]) {
        settings.issuers.clear();
        settings.introspection.clear();
    }
    if broken(Subject::Redis, &["replay"]) {
        settings.replay.shared = None;
    }
    if broken(Subject::Upstreams, &["upstreams", "routes"]) {
        settings.upstreams.clear();
    }
    if through.is_some() && broken(Subject::Front, &["listeners", "routes", "limits"]) {
        *through = None;
    }
    findings
}

/// Whether one of these sections cannot be gone by.
fn is_broken(report: &Report, sections: &[&str]) -> bool {
    errs(report, |field| {
        let section = field.split(['.', '[']).next().unwrap_or_default();
        section.is_empty() || sections.contains(&section)
    })
}

fn errs(report: &Report, concerns: impl Fn(&str) -> bool) -> bool {
    let mut findings = report.findings().iter();
    findings.any(|problem| problem.severity() == Severity::Error && concerns(problem.field()))
}
