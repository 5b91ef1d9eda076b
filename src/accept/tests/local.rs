//! Unix sockets, and sockets that others opened.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixStream;

use super::{Witness, anywhere, ask, get, rest, within};
use crate::accept::{Gate, Limits, Listener, ListenerSettings, LocalListener, PassedSockets};

fn open(path: &Path) -> Result<LocalListener, String> {
    LocalListener::open(path, &mut PassedSockets::default()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn clients_of_this_host_are_served_until_the_gate_closes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let mut listener = open(&path).unwrap();
    assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(listener.address().to_string(), format!("unix:{}", path.display()));
    let file = listener.take_file();
    let gate = Gate::new(Limits::default());
    let task = tokio::spawn(listener.run(Arc::new(Witness::default()), Arc::new(()), gate.clone()));
    let mut client = within(UnixStream::connect(&path)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&mut client, &get("/")).await, (200, "HTTP/1.1 http - -".to_owned()));
    }
    gate.close();
    within(task).await.unwrap();
    within(gate.drained()).await;
    assert!(rest(&mut client).await.is_empty());
    assert!(path.exists());
    drop(file);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_an_ended_process_left_is_replaced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let refused = |why: &str| {
        let expected = format!("cannot listen on unix:{}: {why}", path.display());
        assert_eq!(open(&path).map(drop), Err(expected));
    };
    // A socket that is closed leaves its file.
    drop(net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut first = open(&path).unwrap();
    refused("another process listens there");
    UnixStream::connect(&path).await.unwrap();
    // The file is another's by the time that the first is done with it.
    let file = first.take_file();
    drop(first);
    fs::remove_file(&path).unwrap();
    let _second = open(&path).unwrap();
    drop(file);
    refused("another process listens there");

    for other in ["file", "folder", "link"] {
        let path = folder.path().join(other);
        match other {
            "file" => fs::write(&path, "precious").unwrap(),
            "folder" => fs::create_dir(&path).unwrap(),
            // Even to a socket where nobody listens.
            _ => {
                drop(net::UnixListener::bind(folder.path().join("b.sock")).unwrap());
                std::os::unix::fs::symlink(folder.path().join("b.sock"), &path).unwrap();
            }
        }
        let expected = format!("cannot listen on unix:{}: something else than a socket is there", path.display());
        assert_eq!(open(&path).map(drop), Err(expected));
        assert!(fs::symlink_metadata(&path).is_ok());
    }
    let error = open(&folder.path().join("missing/a.sock")).map(drop).unwrap_err();
    assert!(error.ends_with("No such file or directory (os error 2)"), "{error}");
}

#[tokio::test]
async fn a_passed_socket_is_for_whoever_has_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.sock");
    let network = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = network.local_addr().unwrap();
    let mut passed = PassedSockets::default();
    passed.add_network("front".to_owned(), network.try_clone().unwrap()).unwrap();
    passed.add_unix("admin".to_owned(), net::UnixListener::bind(&path).unwrap()).unwrap();
    let words = format!("{address} (front), unix:{} (admin)", path.display());
    assert_eq!(passed.left(), Some(words));

    let elsewhere = Listener::open(&anywhere(None), &mut passed).unwrap();
    assert_ne!(elsewhere.address(), address);
    let listener = Listener::open(&ListenerSettings::plain(address), &mut passed).unwrap();
    assert_eq!(listener.address(), address);
    let mut local = LocalListener::open(&path, &mut passed).unwrap();
    assert_eq!((local.take_file().is_none(), passed.left()), (true, None));
    // It was taken: for another there is none.
    assert!(Listener::open(&ListenerSettings::plain(address), &mut passed).is_err());

    // Whoever passed it keeps it open, and clients wait.
    drop(listener);
    let _waiting = within(tokio::net::TcpStream::connect(address)).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_accepted_on_is_refused() {
    let mut passed = PassedSockets::default();
    let unbound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let error = passed.add_network("a".to_owned(), unbound.into()).unwrap_err();
    assert_eq!(error.to_string(), "it does not listen; `Accept=no` is needed");
    let unnamed = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    assert!(passed.add_unix("a".to_owned(), unnamed.into()).is_err());
    assert_eq!(passed.left(), None);
}
