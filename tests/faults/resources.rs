//! File descriptors and memory that come to their end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::crowd::Crowd;
use crate::kills::{is_gone, somewhere};
use crate::stage::{Configuration, Gateway, Stage};
use crate::support::wire::{Http, Stream};
use crate::{eventually, in_time};

/// So many files it may have open.
const FILES: usize = 128;

#[tokio::test]
async fn no_file_descriptors_are_left() {
    let stage = Arc::new(Stage::set().await);
    let mut command = Command::new("prlimit");
    command.args([&format!("--nofile={FILES}"), env!("CARGO_BIN_EXE_keybound")]);
    let gateway = stage.gateway_by(&mut command, |configuration| {
        configuration.limits = "{ handshake_timeout: 3s }".to_owned();
    });
    let gateway = gateway.await;
    gateway.program.says("ready").await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    crowd.passes().await;
    let mut hoard = Vec::new();
    for _ in 0..2 * FILES {
        hoard.push(TcpStream::connect(gateway.address).await.unwrap());
    }
    let open = || fs::read_dir(format!("/proc/{}/fd", gateway.program.id())).unwrap().count();
    eventually("nothing is left", async || (open() >= FILES).then_some(())).await;
    let told = gateway.program.says("connections cannot be accepted").await;
    assert_eq!(told["error"], "Too many open files (os error 24)");
    // Those who have a connection are served meanwhile; the operator and who connects anew wait until the silent are cut.
    in_time("the operator is answered", gateway.readiness()).await;
    crowd.passes().await;
    eventually("they are free again", async || (open() < FILES / 2).then_some(())).await;
    drop(hoard);
    crowd.passes().await;
    crowd.is_robbed_in_vain().await;
    crowd.goes(&stage.api, &[200, 502, 503]).await;
}

/// A bound on memory beyond which the kernel kills.
struct Cage(PathBuf);

impl Cage {
    fn of(bytes: u64) -> Self {
        let old = PathBuf::from("/sys/fs/cgroup/memory");
        let name = format!("keybound-{}", std::process::id());
        let needs = "this test needs root, and cgroups that bound memory";
        let (cage, limit) = if old.join("cgroup.procs").exists() {
            (Self(old.join(name)), "memory.limit_in_bytes")
        } else {
            (Self(PathBuf::from("/sys/fs/cgroup").join(name)), "memory.max")
        };
        fs::create_dir(&cage.0).expect(needs);
        fs::write(cage.0.join(limit), bytes.to_string()).expect(needs);
        cage
    }

    /// The program, inside.
    fn command(&self) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]).arg(self.0.join("cgroup.procs"));
        command.arg(env!("CARGO_BIN_EXE_keybound"));
        command
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Heads that grow up to what a head may be, and do not end.
async fn devours(gateway: &Gateway, connections: usize, bytes: usize) -> Vec<Box<dyn Stream>> {
    let (mut held, piece) = (Vec::new(), "x".repeat(60 * 1024));
    for _ in 0..connections {
        let Ok(mut stream) = gateway.dialer().connect(Http::One).await else { break };
        let mut head = "GET /open/x HTTP/1.1\r\nHost: rs.example\r\n".to_owned();
        while head.len() + piece.len() < bytes {
            head += &format!("X: {piece}\r\n");
        }
        if stream.write_all(head.as_bytes()).await.is_err() {
            break;
        }
        held.push(stream);
    }
    held
}

/// Started in this way and then bounded, it dies of hunger, and comes back.
async fn starves(start: impl Fn() -> Command, bound: impl Fn(&Gateway)) {
    let (stage, somewhere) = (Arc::new(Stage::set().await), somewhere());
    let change = |configuration: &mut Configuration| {
        somewhere(configuration);
        configuration.limits = "{ header_bytes: 1MiB }".to_owned();
    };
    let gateway = stage.gateway_by(&mut start(), change).await;
    gateway.program.says("ready").await;
    let crowd = Crowd::gathers(&stage, gateway.address);
    crowd.passes().await;
    bound(&gateway);
    let held = devours(&gateway, 300, 1000 * 1024).await;
    is_gone(gateway).await;
    drop(held);
    let gateway = stage.gateway_by(&mut start(), change).await;
    crowd.is_robbed_in_vain().await;
    crowd.passes().await;
    let account = crowd.goes(&stage.api, &[200, 401, 503]).await;
    assert!(account.good.contains_key(&0), "nobody noticed: {account:?}");
    drop(gateway);
}

#[tokio::test]
async fn killed_for_its_memory() {
    let cage = Cage::of(96 * 1024 * 1024);
    starves(|| cage.command(), |_| {}).await;
}

#[tokio::test]
async fn an_allocation_fails() {
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keybound"));
        // Else the allocator asks for a gigabyte of addresses at once, and lives on that.
        command.env("MIMALLOC_ARENA_RESERVE", "32768");
        command
    };
    let bound = |gateway: &Gateway| {
        let most = gateway.program.memory("VmSize") + 64 * 1024 * 1024;
        let mut command = Command::new("prlimit");
        command.args([format!("--pid={}", gateway.program.id()), format!("--as={most}")]);
        assert!(command.status().unwrap().success());
    };
    starves(start, bound).await;
}
