//! The machine: cores, processor time and memory of process trees, and what one signature verification costs here.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
};

/// Where servers under test run.
pub const PROXY_CORE: &str = "0";

/// Where load and upstream run.
pub const LOAD_CORE: &str = "1";

/// Open files that ten thousand connections need, on each side.
const OPEN_FILES: usize = 12_000;

/// Binds this process to its core and lets it open many connections. Children inherit the second.
pub fn take_the_second_core() {
    let pid = std::process::id().to_string();
    let files = open_files();
    assert!(files >= OPEN_FILES, "at most {files} open files; {OPEN_FILES} needed");
    for command in [
        Command::new("taskset").args(["--cpu-list", "--pid", LOAD_CORE, &pid]),
        Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:{files}")]),
    ] {
        let done = command.output().is_ok_and(|output| output.status.success());
        assert!(done, "{command:?} failed: the benchmark needs two cores and util-linux");
    }
}

/// How many files a process may have open here, if it asks.
pub fn open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    files.split_whitespace().nth(4).and_then(|most| most.parse().ok()).unwrap_or(usize::MAX)
}

/// Nanoseconds of processor time for one P-256 verification by aws-lc-rs, over the bytes of a typical proof. Each
/// signature is another one, as it is in service: a processor learns the branches of one that it sees again and again.
pub fn time_verifications() -> u64 {
    const COUNT: usize = 4096;
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let signed: Vec<_> = (0..COUNT)
        .map(|number| {
            let message = format!("{number:0420}");
            let signature = key.sign(&random, message.as_bytes()).unwrap();
            (message, signature)
        })
        .collect();
    let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()).unwrap();
    std::thread::yield_now();
    let (before, started) = (cpu_nanos(std::process::id()), Instant::now());
    for (message, signature) in &signed {
        parsed.verify_sig(message.as_bytes(), signature.as_ref()).unwrap();
    }
    // The scheduler's account is brought up to date when the thread yields.
    std::thread::yield_now();
    let cpu = cpu_nanos(std::process::id()) - before;
    let wall = u64::try_from(started.elapsed().as_nanos()).unwrap();
    cpu.min(wall) / COUNT as u64
}

/// The same, on the core of the servers under test.
pub fn verification_nanos() -> u64 {
    let own = std::env::current_exe().unwrap();
    let output =
        Command::new("taskset").args(["--cpu-list", PROXY_CORE]).arg(own).arg("--verifications").output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("nanoseconds")
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may hold anything; the parent is the second field behind it.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(pid);
    }
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        found.extend(children.get(&found[at]).into_iter().flatten());
        at += 1;
    }
    found
}

/// User and system time of a process tree so far, from the scheduler's own account.
pub fn cpu_nanos(root: u32) -> u64 {
    let of_task = |path: std::path::PathBuf| -> Option<u64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
    };
    let of_process = |pid: &u32| -> u64 {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        tasks.into_iter().flatten().flatten().filter_map(|task| of_task(task.path())).sum()
    };
    tree(root).iter().map(of_process).sum()
}

/// Memory of a process tree in KiB: pages that are shared are counted in proportion.
pub fn memory_kib(root: u32) -> u64 {
    let of_process = |pid: &u32| -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = rollup.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    tree(root).iter().filter_map(of_process).sum()
}

/// Processor, cores and kernel, for the report.
pub fn description() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
    };
    let cores = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cores = cores.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: String = kernel.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    format!("{}, {} MHz, {cores} cores, Linux {kernel}", field("model name"), field("cpu MHz"))
}
