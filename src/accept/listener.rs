//! Where clients connect.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::address::Address;
use super::connection::{Door, serve};
use super::gate::{Gate, Place};
use super::passed::PassedSockets;
use super::proxy_protocol::Announced;
use super::settings::ListenerSettings;
use super::tls::{CurrentTls, TlsError};
use super::{Events, Handler};
use crate::workers::Workers;

/// Connections that the system may keep waiting for us; it caps this at `net.core.somaxconn`.
pub(super) const BACKLOG: u32 = 4096;

/// How long a client may be silent before it is asked whether it is there. A silent tunnel or stream has no other end.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// The pause after the system refused to hand out a connection, for want of file descriptors or memory.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {}", explain(address, cause))]
    Address {
        /// The address that was asked for.
        address: Address,
        /// What the system said.
        cause: io::Error,
    },
    /// The TLS settings cannot be served.
    #[error("cannot serve TLS on {address}: {cause}")]
    Tls {
        /// The address that was asked for.
        address: SocketAddr,
        /// What is wrong with them.
        cause: TlsError,
    },
}

fn explain(address: &Address, error: &io::Error) -> String {
    match error.kind() {
        _ if address.network().is_none() => error.to_string(),
        io::ErrorKind::AddrInUse => "another process, or another listener, holds that address".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied; ports below 1024 may need a capability".to_owned(),
        _ => error.to_string(),
    }
}

/// An open socket on which nothing is accepted until [`run`](Self::run). Clients that connect meanwhile wait.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    passed: bool,
    announced: Announced,
    tls: Option<CurrentTls>,
}

impl Listener {
    /// Opens the socket. Needs a runtime.
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    pub fn bind(settings: &ListenerSettings) -> Result<Self, BindError> {
        Self::open(settings, &mut PassedSockets::default())
    }

    /// Takes the socket among the `passed` ones that has the address, or else opens it. Needs a runtime.
    ///
    /// # Errors
    /// [`BindError`], which names the address.
    pub fn open(settings: &ListenerSettings, passed: &mut PassedSockets) -> Result<Self, BindError> {
        let address = settings.address;
        let tls = settings.tls.as_ref().map(CurrentTls::new).transpose();
        let tls = tls.map_err(|cause| BindError::Tls { address, cause })?;
        let open = || {
            let (socket, passed) = match passed.take_network(address) {
                Some(socket) => (TcpListener::from_std(socket)?, true),
                None => (listen(address)?, false),
            };
            // Inherited by accepted sockets: finds out about clients that vanished, in two minutes and not in two hours.
            SockRef::from(&socket).set_tcp_keepalive(
                &TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4).with_retries(4),
            )?;
            let address = socket.local_addr()?;
            let announced = Announced::new(settings.proxy_protocol, settings.front.trusted.clone());
            Ok(Self { socket, address, passed, announced, tls })
        };
        open().map_err(|cause| BindError::Address { address: address.into(), cause })
    }

    /// Where it listens, with the port that the system picked.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether somebody else opened the socket.
    pub const fn is_passed(&self) -> bool {
        self.passed
    }

    /// The TLS settings in force, to replace them while running; `None` on a plain listener.
    pub fn tls(&self) -> Option<CurrentTls> {
        self.tls.clone()
    }

    /// Accepts connections and serves them on this runtime until the gate closes. When this resolves, the socket is
    /// closed; connections may still be open, which [`Gate::drained`] waits for.
    pub async fn run<H: Handler>(self, handler: H, events: Arc<dyn Events>, gate: Gate) {
        let door = Arc::new(Door::new(handler, gate, self.announced.clone(), self.tls.clone()));
        let begin = |stream, address, place| {
            tokio::spawn(serve(Arc::clone(&door), stream, address, place));
        };
        self.accept_until_closed(door.gate(), &events, begin).await;
    }

    /// The same, but every connection is served by one of the `workers`.
    pub async fn run_on<H: Handler>(self, handler: H, events: Arc<dyn Events>, gate: Gate, workers: Arc<Workers>) {
        let door = Arc::new(Door::new(handler, gate, self.announced.clone(), self.tls.clone()));
        let begin = |stream: TcpStream, address, place| {
            // From this runtime's event queue to the worker's.
            let stream = match stream.into_std() {
                Ok(stream) => stream,
                Err(error) => return events.accept_failed(&error),
            };
            let (door, events) = (Arc::clone(&door), Arc::clone(&events));
            workers.spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => serve(door, stream, address, place).await,
                    Err(error) => events.accept_failed(&error),
                }
            });
        };
        self.accept_until_closed(door.gate(), &events, begin).await;
    }

    async fn accept_until_closed(
        &self,
        gate: &Gate,
        events: &Arc<dyn Events>,
        begin: impl Fn(TcpStream, SocketAddr, Place),
    ) {
        // Accepts first and waits for a place then. The other way round, a listener at rest would sit on the last place
        // while clients wait at another one. The clients behind wait in the backlog.
        let mut accepting = gate.accepting();
        while let Some(((stream, address), place)) = accepting.next(next_client(&self.socket, events), events).await {
            begin(stream, address, place);
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart need not wait for the old process's connections to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn next_client(socket: &TcpListener, events: &Arc<dyn Events>) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            // On a dual-stack socket IPv4 clients have mapped addresses; everyone else wants the plain ones.
            Ok((stream, address)) => {
                return (stream, SocketAddr::new(address.ip().to_canonical(), address.port()));
            }
            // The fault of that one client: it left before it was accepted.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                events.accept_failed(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
