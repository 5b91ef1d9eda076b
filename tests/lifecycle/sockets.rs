//! Sockets of another kind: the admin port as a file, and sockets that a supervisor opened (systemd's socket activation).

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::process::{Ended, Program};
use crate::stage::{Configuration, Gateway, Stage, message, missing};
use crate::support::wire::Http;
use crate::{eventually, in_time};

/// An address of this host that no other test uses, and where nobody listens.
fn free(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

/// What `keybound health` says of the admin port.
async fn health(stage: &Stage, admin: &str) -> (i32, String, String) {
    let Ended { code, out, err } = Program::run(stage.folder.path(), &["health", "--ready", "--admin", admin]).await;
    (code, out, err)
}

/// The configuration of a gateway whose admin port is a file, in a folder of its own, and the address of that.
fn with_file(stage: &Stage) -> (impl Fn(&mut Configuration) + use<>, String) {
    std::fs::create_dir_all(stage.file("run")).unwrap();
    let admin = format!("unix:{}", stage.file("run/admin.sock").display());
    let address = admin.clone();
    (move |configuration: &mut Configuration| configuration.admin = address.clone(), admin)
}

fn start(stage: &Stage, change: impl FnOnce(&mut Configuration)) -> Program {
    Program::start(stage.folder.path(), &["serve", "--config", stage.configured(change)], &[])
}

#[tokio::test]
async fn the_admin_port_may_be_a_file() {
    let stage = Stage::set().await;
    let (change, admin) = with_file(&stage);
    let url = format!("{admin} http://localhost/readyz");
    let (code, _, err) = health(&stage, &admin).await;
    assert_eq!((code, err), (1, format!("error: no answer from {url}: No such file or directory (os error 2)")));

    let first = start(&stage, &change);
    assert_eq!(first.says("admin listening").await["address"], admin);
    first.says("ready").await;
    assert_eq!(health(&stage, &admin).await, (0, "ready".to_owned(), String::new()));
    // Another process does not take it away.
    let second = start(&stage, &change).ended().await;
    let wanted =
        format!("error: the admin port cannot be opened: cannot listen on {admin}: another process listens there");
    assert_eq!((second.code, second.out.as_str(), second.err), (1, "", wanted));
    assert_eq!(health(&stage, &admin).await.0, 0);

    // One that cannot clean up leaves the file, and the next replaces it.
    first.signal("KILL");
    first.closes(0).await;
    drop(first);
    assert!(stage.file("run/admin.sock").exists());
    let (code, _, err) = health(&stage, &admin).await;
    assert_eq!((code, missing(&err, &["Connection refused"])), (1, String::new()));
    let third = start(&stage, &change);
    third.says("ready").await;
    assert_eq!(health(&stage, &admin).await.0, 0);
    third.signal("TERM");
    assert_eq!(third.ended().await.code, 0);
    assert!(!stage.file("run/admin.sock").exists());
}

/// Starts the gateway as a supervisor does that opened a socket: as descriptor 3 of its process.
fn start_with(stage: &Stage, socket: impl Into<OwnedFd>, environment: &str) -> Program {
    let mut command = Command::new("sh");
    let exec = format!("exec 3<&0 </dev/null; export {environment}; exec \"$0\" serve --config keybound.yaml");
    command.args(["-c", &exec, env!("CARGO_BIN_EXE_keybound")]).current_dir(stage.folder.path());
    Program::run_by(&mut command, Stdio::from(socket.into()))
}

const ITS_OWN: &str = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=front.socket";

/// Calls over new connections, one after the other.
async fn call_until(gateway: Arc<(Stage, SocketAddr)>, done: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let (stage, address) = &*gateway;
    while !done.load(Ordering::Relaxed) {
        let answer = in_time("an answer", stage.dialer(*address).send(Http::One, &message("/open/x", &[]))).await;
        assert_eq!(answer.expect("a connection was lost").status, 200);
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn no_connection_is_lost_while_processes_follow_one_another_on_a_socket() {
    let stage = Stage::set().await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    stage.configured(|configuration| configuration.listener = address.to_string());
    let gateway = Arc::new((stage, address));
    let stage = &gateway.0;
    let (done, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let callers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(call_until(Arc::clone(&gateway), Arc::clone(&done), Arc::clone(&answers))))
        .collect();
    let more = async || {
        let before = answers.load(Ordering::Relaxed);
        eventually("more answers", async || (answers.load(Ordering::Relaxed) > before + 20).then_some(())).await;
    };
    for round in 0..5 {
        let program = start_with(stage, socket.try_clone().unwrap(), ITS_OWN);
        let line = program.says("listening").await;
        assert_eq!((&line["address"], &line["passed"]), (&address.to_string().into(), &true.into()));
        more().await;
        if round == 0 {
            // Another configuration leaves the socket where it is.
            let changed = |configuration: &mut Configuration| {
                configuration.listener = address.to_string();
                configuration.limits = "{ body_bytes: 1MiB }".to_owned();
            };
            stage.configured(changed);
            program.signal("HUP");
            program.says("configuration reloaded").await;
            more().await;
        }
        program.signal("TERM");
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    }
    // The last calls wait for a last process.
    done.store(true, Ordering::Relaxed);
    let program = start_with(stage, socket, ITS_OWN);
    for caller in callers {
        in_time("the end of a caller", caller).await.unwrap();
    }
    program.signal("TERM");
    assert_eq!(program.ended().await.code, 0);
}

/// The real thing: systemd opens the sockets and starts the program for the first client.
#[tokio::test]
async fn systemd_starts_it_for_a_client_who_is_served() {
    let stage = Stage::set().await;
    let (network, own) = (free("127.0.0.1"), free("127.0.72.1"));
    let (change, admin) = with_file(&stage);
    stage.configured(|configuration| {
        // One is passed, and the other is not.
        configuration.listener = format!("{network}', tls: {} }}, {{ address: '{own}", configuration.tls);
        change(configuration);
    });
    let file = stage.file("run/admin.sock");
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &network.to_string(), "--listen", file.to_str().unwrap(), "--fdname=front:admin"]);
    command.args([env!("CARGO_BIN_EXE_keybound"), "serve", "--config", "keybound.yaml"]);
    let program = Program::run_by(command.current_dir(stage.folder.path()), Stdio::null());
    eventually("two sockets", async || program.everything().contains(" as 4").then_some(())).await;
    assert!(!program.everything().contains("listening"), "nothing runs before somebody comes");

    let first = stage.dialer(network).send(Http::One, &message("/open/x", &[])).await.unwrap();
    assert_eq!(first.status, 200);
    for (address, passed) in [(&network.to_string(), true), (&own.to_string(), false), (&admin, true)] {
        let line = program.line(address, |line| line["address"] == *address.as_str()).await;
        assert_eq!(line["passed"] == true, passed, "{line}");
    }
    program.says("ready").await;
    for address in [network, own] {
        assert_eq!(stage.dialer(address).send(Http::One, &stage.call("/api/item")).await.unwrap().status, 200);
    }
    assert_eq!(health(&stage, &admin).await, (0, "ready".to_owned(), String::new()));
    program.signal("TERM");
    in_time("the end", async { program.closes(0).await }).await;
    drop(program);
    assert!(file.exists(), "it is whose who opened it");
}

#[tokio::test]
async fn what_is_passed_must_be_wanted_and_usable() {
    let stage = Stage::set().await;
    let (listener, admin) = (free("127.0.72.2"), free("127.0.72.3"));
    stage.configured(|configuration| {
        configuration.listener = listener.to_string();
        configuration.admin = admin.to_string();
    });
    let socket = || TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = socket();
    let address = elsewhere.local_addr().unwrap();
    let nobody = format!(
        "error: a socket was passed for {address} (front.socket), where nobody is to listen; listeners: {listener}; admin \
         port: {admin}"
    );
    let unusable = "error: the passed socket front.socket (number 0) cannot be listened on: ";
    let connected = std::net::TcpStream::connect(address).unwrap();
    let cases: [(OwnedFd, &str, &str); 5] = [
        (elsewhere.try_clone().unwrap().into(), ITS_OWN, &nobody),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), ITS_OWN, unusable),
        (std::fs::File::open("/dev/null").unwrap().into(), ITS_OWN, unusable),
        (connected.into(), ITS_OWN, "it does not listen; `Accept=no` is needed"),
        (
            socket().into(),
            "LISTEN_PID=$$ LISTEN_FDS=many",
            "error: sockets are passed wrongly (LISTEN_FDS): invalid LISTEN_FDS",
        ),
    ];
    for (socket, environment, wanted) in cases {
        let Ended { code, out, err } = start_with(&stage, socket, environment).ended().await;
        assert_eq!((code, out.as_str(), missing(&err, &[wanted])), (1, "", String::new()));
        for address in [listener, admin] {
            TcpListener::bind(address).unwrap();
        }
    }
    // Those of another process are none of its business.
    let program = start_with(&stage, elsewhere, "LISTEN_PID=1 LISTEN_FDS=1");
    assert!(program.says("listening").await.get("passed").is_none());
    let gateway = Gateway { program, address: listener, admin };
    gateway.program.says("ready").await;
    assert_eq!(gateway.status(&stage.call("/api/item")).await, 200);
}
