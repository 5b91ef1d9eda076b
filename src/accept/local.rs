//! A Unix socket on which clients of this host connect.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use super::address::Address;
use super::connection::{Door, serve_this_host};
use super::gate::Gate;
use super::listener::{BACKLOG, BindError, PAUSE};
use super::passed::PassedSockets;
use super::proxy_protocol::Announced;
use super::{Events, Handler, ProxyProtocol};

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// An open Unix socket on which nothing is accepted until [`run`](Self::run). Clients that connect meanwhile wait.
#[derive(Debug)]
pub struct LocalListener {
    socket: UnixListener,
    path: PathBuf,
    passed: bool,
    file: Option<SocketFile>,
}

impl LocalListener {
    /// Takes the socket among the `passed` ones that is there, or else makes it, with mode 0660. A file that an ended
    /// process left behind is replaced. Needs a runtime.
    ///
    /// # Errors
    /// [`BindError`], which names the path: somebody listens there, or something else than a socket is there.
    pub fn open(path: &Path, passed: &mut PassedSockets) -> Result<Self, BindError> {
        let mut open = || {
            let (socket, file) = match passed.take_unix(path) {
                // Whoever passed it owns the file.
                Some(socket) => (socket, None),
                None => bind(path).map(|(socket, file)| (socket.into(), Some(file)))?,
            };
            Ok(Self { socket: UnixListener::from_std(socket)?, path: path.to_owned(), passed: file.is_none(), file })
        };
        open().map_err(|cause| BindError::Address { address: Address::Unix(path.to_owned()), cause })
    }

    /// Removes what an ended process left behind at `path`, for who will not be able to later. Whatever is in the way of
    /// that is in the way of [`Self::open`] too, which tells.
    pub fn clear(path: &Path) {
        if let Ok(address) = SockAddr::unix(path) {
            let _ = remove_stale(path, &address);
        }
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        Address::Unix(self.path.clone())
    }

    /// Whether somebody else opened the socket.
    pub const fn is_passed(&self) -> bool {
        self.passed
    }

    /// The file, for whoever is to remove it in the end; `None` if that is not this process.
    pub fn take_file(&mut self) -> Option<SocketFile> {
        self.file.take()
    }

    /// Accepts connections and serves them on this runtime until the gate closes.
    pub async fn run<H: Handler>(self, handler: H, events: Arc<dyn Events>, gate: Gate) {
        let announced = Announced::new(ProxyProtocol::Off, Vec::new());
        let door = Arc::new(Door::new(handler, gate.clone(), announced, None));
        let mut accepting = gate.accepting();
        while let Some((stream, place)) = accepting.next(self.next_client(&events), &events).await {
            tokio::spawn(serve_this_host(Arc::clone(&door), stream, place));
        }
    }

    async fn next_client(&self, events: &Arc<dyn Events>) -> UnixStream {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    events.accept_failed(&error);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The file of a socket, removed when this is dropped, unless it is another's by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode and when it was made: inodes are used again.
type Identity = (u64, u64, i64, i64);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // It harms nobody if it stays: the next process replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
}

fn bind(path: &Path) -> io::Result<(Socket, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != io::ErrorKind::AddrInUse {
            return Err(error);
        }
        remove_stale(path, &address)?;
        socket.bind(&address)?;
    }
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    // Before anybody can connect, which takes a socket that listens.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG.cast_signed())?;
    Ok((socket, file))
}

/// Removes what an ended process left behind: a socket on which nobody listens.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let in_use = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return in_use("something else than a socket is there");
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A backlog that is full must not hold up the start; whose it is lives.
    caller.set_nonblocking(true)?;
    match caller.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => in_use("another process listens there"),
    }
}
