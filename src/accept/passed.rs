//! Sockets that somebody opened before this process began, such as systemd (sd_listen_fds(3)).

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use socket2::SockRef;

use super::address::Address;

/// Listening sockets. Each is for the listener that has its address; whoever passed it keeps it open, so that clients wait
/// and are not refused while one process follows another.
#[derive(Debug, Default)]
pub struct PassedSockets(Vec<Passed>);

#[derive(Debug)]
struct Passed {
    name: String,
    address: Address,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Network(TcpListener),
    Unix(UnixListener),
}

impl PassedSockets {
    /// Adds a socket of the network, which whoever passed it calls `name`.
    ///
    /// # Errors
    /// It cannot be accepted on.
    pub fn add_network(&mut self, name: String, socket: TcpListener) -> io::Result<()> {
        must_listen(&SockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?.into();
        self.0.push(Passed { name, address, socket: Socket::Network(socket) });
        Ok(())
    }

    /// Adds a Unix socket.
    ///
    /// # Errors
    /// It cannot be accepted on, or no path leads to it.
    pub fn add_unix(&mut self, name: String, socket: UnixListener) -> io::Result<()> {
        must_listen(&SockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let path = address.as_pathname().ok_or_else(|| unusable("it has no path in the file system"))?;
        let address = Address::Unix(path.to_owned());
        self.0.push(Passed { name, address, socket: Socket::Unix(socket) });
        Ok(())
    }

    /// Whether one is for this address.
    pub fn has(&self, address: &Address) -> bool {
        self.0.iter().any(|passed| passed.address == *address)
    }

    pub(super) fn take_network(&mut self, address: SocketAddr) -> Option<TcpListener> {
        match self.take(&Address::Network(address))? {
            Socket::Network(socket) => Some(socket),
            Socket::Unix(_) => None,
        }
    }

    pub(super) fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        match self.take(&Address::Unix(path.to_owned()))? {
            Socket::Unix(socket) => Some(socket),
            Socket::Network(_) => None,
        }
    }

    fn take(&mut self, address: &Address) -> Option<Socket> {
        let index = self.0.iter().position(|passed| passed.address == *address)?;
        Some(self.0.remove(index).socket)
    }

    /// What nobody took, in words; `None`: nothing is left.
    pub fn left(&self) -> Option<String> {
        let mut words = String::new();
        for Passed { name, address, .. } in &self.0 {
            let _ = write!(words, "{}{address} ({name})", if words.is_empty() { "" } else { ", " });
        }
        (!words.is_empty()).then_some(words)
    }
}

/// A connection that was accepted already is no place to accept others.
fn must_listen(socket: &SockRef<'_>) -> io::Result<()> {
    if socket.is_listener()? { Ok(()) } else { Err(unusable("it does not listen; `Accept=no` is needed")) }
}

fn unusable(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
