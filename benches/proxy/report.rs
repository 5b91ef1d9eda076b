//! The table, for the terminal and for the README.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::cases::{median, median_run};
use crate::load::Run;
use crate::{chart, machine, peers};

/// One case.
pub struct Row {
    pub name: &'static str,
    pub run: Run,
    /// Processor time over nginx's in the run right before it, median.
    pub ratio: f64,
    /// The same for the slowest request in a thousand.
    pub tail_ratio: f64,
    /// Microseconds that one aws-lc-rs P-256 verification took meanwhile.
    pub verification: f64,
    pub nginx: f64,
}

impl Row {
    pub fn new(name: &'static str, own: Vec<Run>, nginx: Vec<Run>, verifications: Vec<u64>) -> Self {
        let pairs = || own.iter().zip(&nginx);
        let tail = |run: &Run| run.percentile(0.999).as_secs_f64();
        Self {
            name,
            ratio: median(pairs().map(|(own, nginx)| own.cpu_micros() / nginx.cpu_micros()).collect()),
            tail_ratio: median(pairs().map(|(own, nginx)| tail(own) / tail(nginx)).collect()),
            verification: median(verifications.iter().map(|nanos| *nanos as f64 / 1e3).collect()),
            nginx: median(nginx.iter().map(Run::cpu_micros).collect()),
            run: median_run(own),
        }
    }

    fn cells(&self) -> [String; 9] {
        let millis = |part| format!("{:.2}", self.run.percentile(part).as_secs_f64() * 1e3);
        [
            self.name.to_owned(),
            format!("{:.1}", self.run.cpu_micros()),
            format!("{:.2}", self.ratio),
            format!("{:.0}", self.run.per_second()),
            millis(0.5),
            millis(0.99),
            millis(0.999),
            format!("{:.1}", self.tail_ratio),
            format!("{:.1}", self.run.memory_kib as f64 / 1024.0),
        ]
    }
}

const HEADINGS: [&str; 9] =
    ["case", "CPU µs", "× nginx", "req/s", "p50 ms", "p99 ms", "p99.9 ms", "p99.9 × nginx", "MiB"];

/// What many connections at rest cost.
pub struct Idle {
    pub server: &'static str,
    pub before_kib: u64,
    pub each_kib: f64,
}

#[derive(Default)]
pub struct Report {
    pub rows: Vec<Row>,
    pub idle: Vec<Idle>,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        if self.rows.is_empty() {
            println!("{}", aligned(&HEADINGS.map(str::to_owned)));
        }
        println!("{}   nginx {:.1} µs, verification {:.1} µs", aligned(&row.cells()), row.nginx, row.verification);
        self.rows.push(row);
    }

    /// Writes `table.md` and `chart.svg`.
    pub fn write(&self, folder: &Path) {
        let mut text = format!("{}.\n{}\n\n", machine::description(), versions());
        writeln!(text, "| {} |\n|{}", HEADINGS.join(" | "), " --- |".repeat(HEADINGS.len())).unwrap();
        for row in &self.rows {
            writeln!(text, "| {} |", row.cells().join(" | ")).unwrap();
        }
        let nginx =
            median(self.rows.iter().map(|row| row.nginx).collect::<Vec<_>>().into_iter().chain([0.0]).collect());
        let verification = self.rows.iter().map(|row| row.verification).chain([0.0]).collect();
        writeln!(
            text,
            "\nnginx itself: {nginx:.1} µs. One P-256 verification by aws-lc-rs: {:.1} µs.",
            median(verification)
        )
        .unwrap();
        if !self.idle.is_empty() {
            text += "\n| 10,000 idle TLS connections | KiB each | MiB before |\n| --- | --- | --- |\n";
            for idle in &self.idle {
                writeln!(text, "| {} | {:.1} | {:.1} |", idle.server, idle.each_kib, idle.before_kib as f64 / 1024.0)
                    .unwrap();
                println!("idle connection, {}: {:.1} KiB", idle.server, idle.each_kib);
            }
        }
        let targets = self.targets();
        if !targets.is_empty() {
            text += "\n| target | wanted | measured | met |\n| --- | --- | --- | --- |\n";
            for (what, wanted, measured) in targets {
                let met = if measured <= wanted { "yes" } else { "no" };
                writeln!(text, "| {what} | ≤ {wanted:.2} | {measured:.2} | {met} |").unwrap();
                println!("{what}: {measured:.2} (at most {wanted:.2}): {met}");
            }
        }
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("table.md"), text).unwrap();
        fs::write(folder.join("chart.svg"), chart::draw(self)).unwrap();
        println!("written: {}", folder.display());
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// What is promised, the bound, and what was measured.
    fn targets(&self) -> Vec<(String, f64, f64)> {
        let mut targets = Vec::new();
        let mut promise = |what: &str, wanted: f64, measured: Option<f64>| {
            targets.extend(measured.map(|measured| (what.to_owned(), wanted, measured)));
        };
        let ratio = |name: &str| self.row(name).map(|row| row.ratio);
        // Of two cases: each in units of the nginx that ran beside it.
        let over = |name: &str, other: &str| Some(ratio(name)? / ratio(other)?);
        for (version, suffix) in [("HTTP/1.1", ""), ("HTTP/2", ", HTTP/2")] {
            promise(&format!("public, {version}, × nginx"), 1.0, ratio(&format!("keybound public{suffix}")));
            promise(&format!("mTLS, {version}, × nginx"), 1.0, ratio(&format!("keybound mTLS{suffix}")));
        }
        let dpop = |suffix: &str, of_public: &str| {
            let (dpop, public) =
                (self.row(&format!("keybound DPoP ES256{suffix}"))?, self.row(&format!("keybound public{of_public}"))?);
            let limit = public.ratio * dpop.nginx + dpop.verification;
            Some(dpop.ratio * dpop.nginx / limit)
        };
        promise("DPoP ES256, × (public + one verification)", 1.12, dpop("", ""));
        promise("DPoP ES256 over HTTP/2, × (public + one verification)", 1.12, dpop(", HTTP/2", ", HTTP/2"));
        promise("DPoP ES256 without tables, × (public + one verification)", 1.12, dpop(", no tables", ""));
        promise("DPoP ES256 without tables, × nginx", 5.0, ratio("keybound DPoP ES256, no tables"));
        promise("DPoP ES256, × nginx", 2.9, ratio("keybound DPoP ES256"));
        let p99 = |name: &str| self.row(name).map(|row| row.run.percentile(0.99).as_secs_f64());
        let slower = |name: &str| Some(p99(name)? / p99("keybound DPoP ES256, no tables")?);
        promise("p99, DPoP ES256, × without tables", 1.0, slower("keybound DPoP ES256"));
        promise("p99, 1 of 10 keys new, × without tables", 1.0, slower("keybound DPoP ES256, 1 of 10 keys new"));
        promise("DPoP ES256, × mod_oauth2's", 1.0 / 7.0, over("keybound DPoP ES256", "Apache mod_oauth2, DPoP ES256"));
        promise("mTLS, × mod_oauth2's", 1.0 / 20.0, over("keybound mTLS", "Apache mod_oauth2, mTLS ES256"));
        for flaw in ["spent proof", "bad signature"] {
            let name = format!("keybound refuses: {flaw}");
            promise(&format!("{flaw} refused, × accepting"), 1.0, over(&name, "keybound DPoP ES256"));
        }
        for flaw in ["stale proof", "other method", "other token"] {
            let name = format!("keybound refuses: {flaw}");
            promise(&format!("{flaw} refused, × public"), 1.2, over(&name, "keybound public"));
        }
        promise(
            "handshake with client certificate, × nginx",
            0.45,
            ratio("handshake with client certificate, keybound"),
        );
        promise("p99.9, public, × nginx", 2.0, self.row("keybound public").map(|row| row.tail_ratio));
        let each = |server: &str| self.idle.iter().find(|idle| idle.server == server).map(|idle| idle.each_kib);
        promise(
            "idle connection, × nginx's memory",
            1.25,
            each("keybound").zip(each("nginx")).map(|(own, nginx)| own / nginx),
        );
        targets
    }
}

fn aligned(cells: &[String; 9]) -> String {
    let mut line = format!("{:<46}", cells[0]);
    for cell in &cells[1..] {
        write!(line, "{cell:>14}").unwrap();
    }
    line
}

fn versions() -> String {
    let peers = ["nginx", "haproxy", "apache2"].map(|peer| {
        let version = peers::version(peer).unwrap_or_else(|| "not installed".to_owned());
        format!("{peer} {version}")
    });
    format!("keybound {}, {}.", env!("CARGO_PKG_VERSION"), peers.join(", "))
}
